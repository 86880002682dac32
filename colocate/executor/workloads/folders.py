"""The folders below ``units/``, one for each unit: made and removed whole, for this user alone."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from colocate.executor.errors import UnitError
from colocate.executor.workloads.keeper.files import FileError, read_json, sync_folder, write_json
from colocate.executor.workloads.keeper.status import STATUS, UNIT, WANTED, Status, Wanted
from colocate.launch import Ports

__all__ = ["Folders"]

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


class Folders:
    """The units' folders below a state folder."""

    def __init__(self, root: Path) -> None:
        self.top = Path(root) / "units"

    def of(self, key: str) -> Path:
        """Return the folder of a unit, whether it is there or not."""
        if _KEY.fullmatch(key) is None:
            raise UnitError(
                f"unit {key[:130]!r} has a key that is no name",
                advice="use the keys that `status` shows.",
            )
        return self.top / key

    def names(self) -> list[str]:
        """Return the units that have a folder."""
        try:
            names = os.listdir(self.top)  # noqa: PTH208 - names alone are wanted
        except FileNotFoundError:
            return []
        return sorted(n for n in names if _KEY.fullmatch(n) and (self.top / n).is_dir())

    def make(self, key: str, spec: dict[str, Any], wanted: Wanted) -> Path:
        """Make the folder of a unit, or bring the one that is there up to date."""
        self._make_top()
        folder = self.of(key)
        try:
            if not folder.is_dir() and self._make_whole(folder, spec, wanted):
                return folder
            write_json(folder / WANTED, wanted.as_json())
            write_json(folder / UNIT, spec)
        except OSError as error:
            raise _cannot_write(folder, error) from None
        return folder

    def _make_whole(self, folder: Path, spec: dict[str, Any], wanted: Wanted) -> bool:
        """Make a folder under another name, then rename it: one that has the key is complete."""
        half = self.top / f".new-{secrets.token_hex(6)}"
        half.mkdir(mode=0o700)
        try:
            write_json(half / WANTED, wanted.as_json())
            write_json(half / UNIT, spec)
            half.rename(folder)
        except OSError as error:
            shutil.rmtree(half, ignore_errors=True)
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False  # somebody was faster
            raise
        sync_folder(self.top)
        return True

    def remove(self, key: str) -> None:
        """Remove the folder of a unit."""
        folder = self.of(key)
        gone = self.top / f".gone-{secrets.token_hex(6)}"
        try:
            folder.rename(gone)
            sync_folder(self.top)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _cannot_write(folder, error) from None
        shutil.rmtree(gone, ignore_errors=True)

    def spec(self, key: str) -> dict[str, Any] | None:
        """Return how a unit is run, or None when it is not there; raise `UnitError`."""
        try:
            return read_json(self.of(key) / UNIT)
        except FileError as error:
            raise UnitError(
                f"unit {key!r}: {error}",
                advice=f"look into {str(self.of(key))!r}, and remove it when nothing runs.",
            ) from None

    def status(self, key: str) -> Status | None:
        """Return what its keeper wrote last, or None when that is missing or cannot be read."""
        with contextlib.suppress(FileError):
            found = read_json(self.of(key) / STATUS)
            return None if found is None else Status.of(found)
        return None

    def wanted(self, key: str) -> Wanted:
        """Return what the unit should be doing: as it does now, where that cannot be read."""
        with contextlib.suppress(FileError):
            found = read_json(self.of(key) / WANTED)
            if found is not None and (read := Wanted.of(found)) is not None:
                return read
        status = self.status(key)
        if status is None:
            return Wanted()
        state = {"paused": "paused", "draining": "stopped"}.get(status.phase, "running")
        return Wanted(serial=status.serial, state=state, batch=status.batch)

    def want(self, key: str, wanted: Wanted) -> None:
        """Write down what the unit should be doing; raise `OSError`."""
        write_json(self.of(key) / WANTED, wanted.as_json())

    def free_port(self, key: str, ports: Ports | None) -> int | None:
        """Return the port that a unit has, or the first that no other unit has and nobody uses."""
        if ports is None:
            return None
        taken: set[int] = set()
        for other in self.names():
            with contextlib.suppress(UnitError):
                port = (self.spec(other) or {}).get("port")
                if isinstance(port, int):
                    if other == key and ports.first <= port <= ports.last:
                        return port
                    taken.add(port)
        for port in range(ports.first, ports.last + 1):
            if port not in taken and _is_free(port):
                return port
        raise UnitError(
            f"unit {key!r}: no port from {ports.first} to {ports.last} is free",
            advice="widen `ports` in the launch file: two for each replica of this node.",
        )

    def _make_top(self) -> None:
        try:
            for folder in (self.top.parent, self.top):
                with contextlib.suppress(FileExistsError):
                    folder.mkdir(mode=0o700, parents=True)
            about = os.lstat(self.top)
        except OSError as error:
            raise _cannot_write(self.top, error) from None
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
            raise UnitError(
                f"{str(self.top)!r} is no folder that this user alone may write to",
                advice="choose another --root, or correct its owner and permissions.",
            )
        for name in self._left_over():
            shutil.rmtree(name, ignore_errors=True)

    def _left_over(self) -> Iterator[Path]:
        """Yield what an executor that was killed did not get to remove."""
        yield from self.top.glob(".gone-*")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("", port))
        except OSError:
            return False
    return True


def _cannot_write(folder: Path, error: OSError) -> UnitError:
    return UnitError(
        f"cannot write below {str(folder)!r}: {error.strerror or error}",
        advice="free some space, or choose another --root.",
    )
