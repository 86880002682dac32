"""One command to the control program: an argument list, standard input, a deadline, and a reply.

No shell, an absolute path, and an environment that holds what MPS needs and nothing else. What can
go wrong has a kind, so that callers need not read messages.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from colocate.errors import clean_text
from colocate.executor.mps import encode
from colocate.executor.mps.binary import library_path
from colocate.executor.mps.failures import ControlError, FailureKind
from colocate.executor.mps.turns import turn

__all__ = ["Control", "ControlError", "Exchange", "FailureKind"]

MOST_BYTES = 1 << 20
"""How long a reply may be."""
# Seen where no daemon listens, with exit status 1; also where its socket's path was too long.
_NO_DAEMON = "Cannot find MPS control daemon process"
# Seen when two callers speak at once: the daemon takes one connection at a time.
_BUSY = "Cannot send command to MPS control daemon process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One command and what came of it, for a transcript."""

    argv: tuple[str, ...]
    """Without the program."""
    stdin: str
    reply: str
    exit_code: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The control program, for the daemon of one pipe directory."""

    binary: Path
    pipe: Path
    log: Path
    lock: Path | None = None
    """A file that callers lock in turn: the daemon refuses a second caller."""
    deadline_s: float = 10.0
    record: Callable[[Exchange], None] | None = None

    def ask(self, *words: str, deadline_s: float | None = None) -> str:
        """Send one line of the v2 dialect and return the reply, stripped."""
        return self._exchange((), encode.stdin_line(*words), deadline_s)

    def call(self, *argv: str, deadline_s: float | None = None) -> str:
        """Run one command of the v3 dialect and return the reply, stripped."""
        return self._exchange(argv, "", deadline_s)

    def start(self, gpu: str, argv: Sequence[str], deadline_s: float) -> None:
        """Start a daemon that sees one GPU; returns when the program has gone to the background.

        Its output goes to a file: a daemon that keeps it open must not keep us waiting.
        """
        environment = self.environment() | {"CUDA_VISIBLE_DEVICES": encode.gpu_uuid(gpu)}
        out = self.log / "start.out"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(out, flags, 0o600)
        except OSError as failed:
            raise ControlError(
                f"cannot write {out}: {failed.strerror}",
                kind="system",
                advice="check that the folder is ours, writable and has room.",
            ) from None
        began = time.monotonic()
        with contextlib.closing(os.fdopen(handle, "wb")) as file:
            process = self._spawn(argv, environment, stdin=subprocess.DEVNULL, stdout=file)
            try:
                code = process.wait(timeout=deadline_s)
            except subprocess.TimeoutExpired:
                _end(process)
                raise self._late(argv, "", deadline_s) from None
        text = out.read_bytes()[:MOST_BYTES].decode("utf-8", "replace").strip()
        self._note(argv, "", text, code, began)
        if code != 0:
            raise self._failed(argv, "", text, code)

    def environment(self) -> dict[str, str]:
        """Return the whole environment of the control program."""
        values = {
            # The daemon starts its server program, which lies beside it.
            "PATH": f"{self.binary.parent}:{os.defpath}",
            "LC_ALL": "C",
            "CUDA_MPS_PIPE_DIRECTORY": encode.path_text(self.pipe),
            "CUDA_MPS_LOG_DIRECTORY": encode.path_text(self.log),
        }
        libraries = library_path(os.environ.get("LD_LIBRARY_PATH"))
        return values if libraries is None else values | {"LD_LIBRARY_PATH": libraries}

    def _exchange(self, argv: Sequence[str], stdin: str, deadline_s: float | None) -> str:
        limit = self.deadline_s if deadline_s is None else deadline_s
        until = time.monotonic() + limit
        wait = 0.0
        while True:
            try:
                with self._turn(until, argv, stdin, limit):
                    began = time.monotonic()
                    text, code = self._once(argv, stdin, until, limit)
            except ControlError as failed:
                if failed.kind == "timeout" and wait:
                    raise self._busy(limit) from None
                raise
            self._note(argv, stdin, text, code, began)
            if _BUSY not in text:
                break
            wait = min(max(2 * wait, 0.02), 0.5)
            if time.monotonic() + wait > until:
                raise self._busy(limit)
            time.sleep(wait)
        if _NO_DAEMON in text or code != 0:
            raise self._failed(argv, stdin, text, code)
        return text

    def _once(self, argv: Sequence[str], stdin: str, until: float, limit: float) -> tuple[str, int]:
        process = self._spawn(
            argv, self.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            # A command is far shorter than a pipe's buffer, so this cannot block.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(stdin.encode("ascii"))
                process.stdin.close()
            data = _read(process.stdout.fileno(), until)
            if data is None:
                raise self._late(argv, stdin, limit)
            if len(data) > MOST_BYTES:
                raise ControlError(
                    f"{self._said(argv, stdin)} was answered with more than {MOST_BYTES} bytes",
                    kind="reply",
                    advice="check that this is NVIDIA's control program.",
                )
            try:
                code = process.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise self._late(argv, stdin, limit) from None
        except BaseException:
            _end(process)
            raise
        finally:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        return data.decode("utf-8", "replace").strip(), code

    def _spawn(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdin: int,
        stdout: int | IO[bytes],
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [str(self.binary), *argv],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
                close_fds=True,
            )
        except FileNotFoundError:
            raise ControlError(
                f"{self.binary} is not there any more",
                kind="missing",
                advice="install the compute part of the NVIDIA driver again.",
            ) from None
        except OSError as failed:
            raise ControlError(
                f"cannot run {self.binary}: {failed.strerror}",
                kind="system",
                advice="check its permissions, and how many processes this user may have.",
            ) from None

    @contextlib.contextmanager
    def _turn(self, until: float, argv: Sequence[str], stdin: str, limit: float) -> Iterator[None]:
        """Wait for our turn among the callers of this daemon that know the lock."""
        if self.lock is None or not self.lock.parent.is_dir():
            yield  # no folder yet, hence no daemon of ours either
            return
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(turn(self.lock, until))
            except TimeoutError:
                raise self._late(argv, stdin, limit) from None
            except OSError as failed:
                raise ControlError(
                    f"cannot lock {self.lock}: {failed.strerror}",
                    kind="system",
                    advice="check that the folder is ours and writable.",
                ) from None
            yield

    def _note(self, argv: Sequence[str], stdin: str, text: str, code: int, began: float) -> None:
        if self.record is not None:
            seconds = time.monotonic() - began
            self.record(
                Exchange(argv=tuple(argv), stdin=stdin, reply=text, exit_code=code, seconds=seconds)
            )

    def _said(self, argv: Sequence[str], stdin: str) -> str:
        said = " ".join(argv) if argv else stdin.strip()
        return f"'{clean_text(said, 120)}' to the MPS daemon in {self.pipe}"

    def _late(self, argv: Sequence[str], stdin: str, limit: float) -> ControlError:
        return ControlError(
            f"{self._said(argv, stdin)} was not answered within {limit:g} s",
            kind="timeout",
            advice=f"look into {self.log / 'control.log'}; a hung daemon has to be restarted.",
        )

    def _busy(self, limit: float) -> ControlError:
        return ControlError(
            f"the MPS daemon in {self.pipe} was busy for {limit:g} s",
            kind="refused",
            advice="see who else talks to it (another apply, a monitoring script).",
        )

    def _failed(self, argv: Sequence[str], stdin: str, text: str, code: int) -> ControlError:
        if _NO_DAEMON in text:
            return ControlError(
                f"no MPS daemon listens in {self.pipe}",
                kind="no-daemon",
                advice="start it by applying the plan.",
            )
        said = f", and said {clean_text(text, 200)!r}" if text else ""
        return ControlError(
            f"{self._said(argv, stdin)} failed with exit status {code}{said}",
            kind="status",
            advice=f"look into {self.log / 'control.log'}.",
        )


def _read(handle: int, until: float) -> bytes | None:
    """Return everything up to the end, or None when the deadline passes first."""
    parts: list[bytes] = []
    size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(handle, selectors.EVENT_READ)
        while size <= MOST_BYTES:
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            part = os.read(handle, 1 << 16)
            if not part:
                break
            parts.append(part)
            size += len(part)
    return b"".join(parts)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a control program that does not, and whatever it started in its own session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
