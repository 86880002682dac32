"""Is it ready? One look at a time; who asks decides how often and for how long."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from colocate.executor.workloads.keeper.calls import CallError, never, request, run

__all__ = ["look"]


def look(
    probe: Mapping[str, Any],
    running_s: float,
    started: float,
    environment: Mapping[str, str],
    directory: str,
    interrupted: Callable[[], bool] = never,
) -> str | None:
    """Return None when the probe says yes, else why it does not.

    Parameters
    ----------
    probe
        What to look at.
    running_s
        How long the process has run.
    started
        When it started, on the clock of files: an older file is left over.
    environment, directory
        For a command.
    interrupted
        Tells that the look is not worth waiting for any more.
    """
    kind = probe["kind"]
    try:
        if kind == "alive":
            settled = float(probe["settle_s"])
            return None if running_s >= settled else f"runs for less than {settled:g} s"
        if kind == "tcp":
            return _tcp(probe["host"], probe["port"], probe["timeout_s"])
        if kind == "http":
            request("GET", probe["url"], None, probe["timeout_s"])
            return None
        if kind == "file":
            return _file(Path(probe["path"]), started)
        run(probe["argv"], environment, directory, probe["timeout_s"], interrupted)
    except CallError as error:
        return str(error)
    return None


def _tcp(host: str, port: int, seconds: float) -> str | None:
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    return None


def _file(path: Path, started: float) -> str | None:
    try:
        about = os.stat(path)  # noqa: PTH116
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not stat.S_ISREG(about.st_mode):
        return f"{path} is no regular file"
    # clocks of file systems tick coarsely; and a clock may be set while we wait
    if about.st_mtime < started - 0.05 and started <= time.time():
        return f"{path} is older than the process"
    return None
