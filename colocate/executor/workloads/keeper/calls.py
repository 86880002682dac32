"""Commands and HTTP requests that a launch file names, each with a deadline."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["CallError", "InterruptedCallError", "perform", "request", "run"]

MAX_REPLY = 64 * 1024
KILL_AFTER = 2.0
_POLL = 0.02
_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT


class CallError(Exception):
    """A command or request did not do what it was for."""


class InterruptedCallError(CallError):
    """Something more important came up."""


def never() -> bool:
    """Let a call run to its deadline."""
    return False


def perform(
    call: Mapping[str, Any],
    environment: Mapping[str, str],
    directory: str,
    interrupted: Callable[[], bool] = never,
) -> str:
    """Run a command or send a request, as the call says, and return what came back."""
    if call["kind"] == "command":
        return run(call["argv"], environment, directory, call["timeout_s"], interrupted)
    body = call.get("body")
    return request(call.get("method", "GET"), call["url"], body, call["timeout_s"])


def run(
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: str,
    seconds: float,
    interrupted: Callable[[], bool] = never,
) -> str:
    """Run a command to its end and return the start of what it wrote.

    Raises
    ------
    CallError
        When it cannot be started, ends with another code than 0, or takes too long.
    """
    end = time.monotonic() + seconds
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    try:
        try:
            child = subprocess.Popen(
                argv,
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            msg = f"{argv[0]} cannot be started: {_reason(error)}"
            raise CallError(msg) from None
        finally:
            os.close(write_end)
        kept = b""
        while True:
            ended = child.poll() is not None
            kept = _drain(read_end, kept)
            if ended:
                break
            if time.monotonic() >= end:
                _end(child)
                msg = f"{argv[0]} took longer than {seconds:g} s"
                raise CallError(msg)
            if interrupted():
                _end(child)
                msg = f"{argv[0]} was interrupted"
                raise InterruptedCallError(msg)
            time.sleep(_POLL)
    finally:
        os.close(read_end)
    text = kept.decode("utf-8", "replace")
    if child.returncode != 0:
        shown = " ".join(text.split())[-200:]
        msg = f"{argv[0]} ended with {child.returncode}" + (f": {shown}" if shown else "")
        raise CallError(msg)
    return text


def _drain(handle: int, kept: bytes) -> bytes:
    """Read what is there, so that the writer never waits; keep the start of it."""
    while True:
        try:
            part = os.read(handle, MAX_REPLY)
        except BlockingIOError:
            return kept
        if not part:
            return kept
        kept = (kept + part)[:MAX_REPLY]


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a command of ours with all that it started; it is no client of a GPU."""
    _signal_group(child, signal.SIGTERM)
    end = time.monotonic() + KILL_AFTER
    # Looked at and not collected: as long as it is not, the number of its group is its own.
    while time.monotonic() < end and os.waitid(os.P_PID, child.pid, _LOOK) is None:
        time.sleep(_POLL)
    _signal_group(child, signal.SIGKILL)
    child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def request(method: str, url: str, body: str | None, seconds: float) -> str:
    """Send one HTTP request, straight to its host, and return the reply; 2xx alone will do.

    No proxy, no redirect: the request goes where the launch file says and nowhere else.

    Raises
    ------
    CallError
        When there is no such reply in time.
    """
    # most keepers send none, and these two take a third of their memory
    import http.client
    import urllib.parse

    parts = urllib.parse.urlsplit(url)
    sort = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    end = time.monotonic() + seconds
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Connection": "close"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection = sort(parts.hostname or "", parts.port, timeout=seconds)
        try:
            connection.request(method, target, body, headers)
            reply = connection.getresponse()
            data = b""
            while len(data) < MAX_REPLY and (part := reply.read1(MAX_REPLY - len(data))):
                data += part
                if time.monotonic() > end:  # the timeout is for each read
                    msg = f"{method} {url} took longer than {seconds:g} s"
                    raise CallError(msg)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        msg = f"{method} {url}: {_reason(error)}"
        raise CallError(msg) from None
    if not 200 <= reply.status < 300:
        msg = f"{method} {url}: status {reply.status}"
        raise CallError(msg)
    return data.decode("utf-8", "replace")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
