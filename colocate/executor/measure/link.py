"""The side that measures: a socket on which processes report, and a link to each of them."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colocate.executor.errors import UnitError
from colocate.executor.measure.protocol import (
    LINE_LIMIT,
    Count,
    Hello,
    ProtocolError,
    decode,
    encode,
    read_count,
    read_hello,
)

__all__ = ["CannotRunError", "Link", "Listener"]

LONGEST_ADDRESS = 107
"""Bytes of a Unix socket's path, without the final zero (unix(7))."""


class CannotRunError(UnitError):
    """A process says that it cannot run at a setting, such as for want of memory."""


class Link:
    """One process, once it has said who it is."""

    def __init__(self, link: socket.socket, hello: Hello, peer_pid: int) -> None:
        self.hello = hello
        self.peer_pid = peer_pid
        """Its process id as the kernel knows it, which is that of this PID namespace."""
        self._link = link
        self._rest = b""
        self._asked = 0

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._link.fileno()

    def ask(self, message: Mapping[str, Any]) -> None:
        """Send a request; its answer is read later, with `answer`."""
        try:
            self._link.settimeout(10.0)
            self._link.sendall(encode(message))
        except OSError as failed:
            raise self._gone(failed) from None
        self._asked += 1

    def answer(self, deadline: float) -> Mapping[str, Any]:
        """Return the answer to the oldest request; the deadline is on the monotonic clock."""
        assert self._asked, "nothing was asked"
        message = decode_line(self._line(deadline), self.hello.name)
        self._asked -= 1
        if "cannot" in message:
            raise CannotRunError(
                f"{self.hello.name} says that it cannot: {str(message['cannot'])[:400]}",
                advice="leave that batch size out, or give it more memory.",
            )
        return message

    def count(self, deadline: float) -> Count:
        """Return the answer to a "count" that was asked before."""
        try:
            return read_count(self.answer(deadline))
        except ProtocolError as failed:
            raise _rude(self.hello.name, failed) from None

    def close(self) -> None:
        """Close the link; a worker of ours ends when it notices."""
        with contextlib.suppress(OSError):
            self._link.close()

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0:
                raise UnitError(
                    f"{self.hello.name} (process {self.peer_pid}) does not answer in time",
                    advice="see whether it hangs, or allow it more time.",
                )
            try:
                self._link.settimeout(left)
                part = self._link.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError as failed:
                raise self._gone(failed) from None
            if not part:
                raise self._gone(None)
            self._rest += part
            if len(self._rest) > LINE_LIMIT:
                raise _rude(self.hello.name, ProtocolError("its answer is too long"))
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _gone(self, failed: OSError | None) -> UnitError:
        why = "" if failed is None else f": {failed.strerror or failed}"
        return UnitError(
            f"{self.hello.name} (process {self.peer_pid}) has gone{why}",
            advice="look at what it wrote to its log.",
        )


class Listener:
    """A socket in a folder of its own, which only this user can enter.

    Parameters
    ----------
    folder
        Where to make the folder; the system's temporary folder when left out.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="colocate-", dir=folder))
        self.address = str(self.folder / "socket")
        self._names: dict[socket.socket, bytes] = {}
        self._arrived: list[Link] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if len(os.fsencode(self.address)) > LONGEST_ADDRESS:
                raise UnitError(
                    f"the path of a socket, {self.address!r}, is too long",
                    advice="choose a folder with a shorter name, such as by TMPDIR.",
                )
            self._socket.bind(self.address)
            self._socket.listen(128)
            self._socket.setblocking(False)
        except BaseException:
            self.close()
            raise

    def links(self, name: str) -> list[Link]:
        """Return those who said that this is their name since it was last asked, and forget."""
        mine = [link for link in self._arrived if link.hello.name == name]
        self._arrived = [link for link in self._arrived if link.hello.name != name]
        return mine

    def wait(self, seconds: float) -> None:
        """Hear who reports, for at most so long; return as soon as somebody has."""
        before = len(self._arrived)
        deadline = time.monotonic() + seconds
        while len(self._arrived) == before:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            with selectors.DefaultSelector() as ready:
                ready.register(self._socket, selectors.EVENT_READ)
                for link in self._names:
                    ready.register(link, selectors.EVENT_READ)
                found = [key.fileobj for key, _ in ready.select(left)]
            for each in found:
                if each is self._socket:
                    self._accept()
                else:
                    self._hear(each)  # type: ignore[arg-type]

    def close(self) -> None:
        """Close everything and remove the folder."""
        for link in [*self._names, self._socket]:
            link.close()
        for arrived in self._arrived:
            arrived.close()
        self._names, self._arrived = {}, []
        shutil.rmtree(self.folder, ignore_errors=True)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            link, _ = self._socket.accept()
            link.setblocking(False)
            self._names[link] = b""

    def _hear(self, link: socket.socket) -> None:
        """Read on in the greeting of a process; whoever is not polite is hung up on."""
        try:
            heard = self._names.pop(link) + link.recv(4096)
            credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        except OSError:
            link.close()
            return
        pid, uid, _ = struct.unpack("3i", credentials)
        line, found, rest = heard.partition(b"\n")
        if not found:
            if heard and len(heard) < 1 << 14 and not heard.startswith(b"\0"):
                self._names[link] = heard
            else:
                link.close()
            return
        try:
            hello = read_hello(decode(line))
        except ProtocolError:
            link.close()
            return
        if rest or uid not in (os.getuid(), 0):
            link.close()
            return
        self._arrived.append(Link(link, hello, pid))


def decode_line(line: bytes, name: str) -> dict[str, Any]:
    """Return the message of a line, or raise who sent what is none."""
    try:
        return decode(line)
    except ProtocolError as failed:
        raise _rude(name, failed) from None


def _rude(name: str, failed: ProtocolError) -> UnitError:
    return UnitError(
        f"{name} does not keep to the protocol: {failed}",
        advice="see the page on measuring for what a worker has to say.",
    )
