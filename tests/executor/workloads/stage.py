"""A stage for tests of workloads: a state folder, one program, and a clean end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from colocate.executor.ports import UnitState
from colocate.executor.unit import Unit
from colocate.executor.workloads import KeptProcesses, keyed
from colocate.executor.workloads.keeper.status import keeper_pid
from colocate.io import parse_launch
from colocate.launch import LaunchFile

PROGRAM = Path(__file__).with_name("program.py")
GPU = "GPU-00000000-0000-0000-0000-00000000000a"
PATIENCE = 60.0
"""Seconds for what takes a moment: machines may be very busy."""


def eventually(so: Callable[[], Any], what: str = "it") -> Any:
    """Wait until something is so, and return it."""
    end = time.monotonic() + PATIENCE
    while not (found := so()):
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.01)
    return found


def launches(*words: str, **more: Any) -> LaunchFile:
    """Return a launch file with one program `p`: the test program with these words."""
    program = {
        "id": "p",
        "argv": [sys.executable, "-I", "-S", str(PROGRAM), *words],
        "batch": {"kind": "environment", "variable": "BATCH"},
        "ready": {"kind": "alive", "settle_s": 0.05, "interval_s": 0.02},
        "stop": {"grace_s": PATIENCE},
        **more,
    }
    return parse_launch(json.dumps({"schema": "colocate/launch/v1", "programs": [program]}))


class Stage:
    """One state folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def set(self, *words: str, **more: Any) -> tuple[KeptProcesses, Unit]:
        """Return the processes of the folder, and a unit of the program."""
        file = launches(*words, env={"STAGE": str(self.root)}, **more)
        return self.processes(file), unit(file)

    def processes(self, file: LaunchFile | None) -> KeptProcesses:
        return KeptProcesses(self.root, file, {"PATH": os.environ["PATH"], "SECRET": "x"})

    def folder(self, one: Unit) -> Path:
        return self.root / "units" / one.key

    def keeper(self, one: Unit) -> int | None:
        return keeper_pid(self.folder(one))

    def kill_keeper(self, one: Unit) -> None:
        pid = self.keeper(one)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.keeper(one) is None, "the keeper's end")

    def left(self) -> list[int]:
        """Return every process of this stage that runs: they carry the folder's name."""
        mark = str(self.root).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    marked = mark in (entry / "environ").read_bytes()
                    marked = marked or mark in (entry / "cmdline").read_bytes()
                    dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
                except OSError:
                    continue
                if marked and not dead:
                    found.append(int(entry.name))
        return found

    def none_left(self) -> None:
        """Check that nothing runs; what has just let go of its lock gets a moment to be gone."""
        eventually(lambda: not self.left(), "the end of all processes")

    def clear(self) -> None:
        """Kill what is left."""

        def none_left() -> bool:
            pids = self.left()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not pids

        eventually(none_left, "the end of all processes")


def unit(file: LaunchFile, **more: Any) -> Unit:
    values: dict[str, Any] = {
        "key": "",
        "role": "service",
        "workload": "p",
        "ordinal": 0,
        "gpu": GPU,
        "share_pct": 30,
        "batch": 4,
        "memory_gib": 1.0,
        "memory_limit_mib": None,
        "launch": "p",
        **more,
    }
    return keyed(Unit(**values), file)


def state(processes: KeptProcesses, one: Unit) -> UnitState:
    return next(s for s in processes.observe() if s.unit.key == one.key)
