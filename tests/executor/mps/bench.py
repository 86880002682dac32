"""A node with the executable double, and the clients that a test starts on it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from colocate.executor.mps import NodeDaemons, space_of
from colocate.executor.ports import Limits
from colocate.executor.unit import Unit
from tests.fakes.double import Double, client_argv, wait_for

Name = Literal["v2", "v3"]


class Node:
    """A node with the double, and the clients that a test starts."""

    def __init__(self, tmp_path: Path, dialect: Name) -> None:
        self.tmp_path, self.dialect = tmp_path, dialect
        self.double = Double(tmp_path / "bin", gpus=2)
        self.gpu, self.other = self.double.uuids
        self.units: dict[str, list[int]] = {}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.daemons = self.make()

    def make(self, **changes: object) -> NodeDaemons:
        values: dict[str, object] = {
            "allow_root": True,
            "gpus": self.double.gpus,
            "dialect": self.dialect,
            "unit_pids": lambda: self.units,
            "other_pipes": (),
            "stop_deadline_s": 20.0,
            "deadline_s": 20.0,
        }
        root = self.tmp_path / "root"
        return NodeDaemons(root, self.double.binary, **{**values, **changes})  # type: ignore[arg-type]

    def unit(self, name: str = "a", **changes: object) -> Unit:
        unit = Unit(
            key=f"{name}.0.01234567",
            role="service",
            workload=name,
            ordinal=0,
            gpu=self.gpu,
            share_pct=50,
            batch=4,
            memory_gib=2.0,
            memory_limit_mib=2048,
            launch=name,
        )
        return replace(unit, **changes)  # type: ignore[arg-type]

    def limits(self, *units: Unit, share_pct: int = 100, memory: int | None = None) -> Limits:
        spaces = tuple(space_of(unit) for unit in units) if self.dialect == "v3" else ()
        return Limits(share_pct=share_pct, memory_limit_mib=memory, spaces=spaces)

    def run(
        self, name: str, environment: Mapping[str, str], *options: str
    ) -> tuple[subprocess.Popen[bytes], Mapping[str, object]]:
        """Start a process that becomes a client, and return what it got."""
        ready = self.tmp_path / f"{name}.json"
        process = subprocess.Popen(
            client_argv("--ready", str(ready), *options),
            env=dict(environment),
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process, wait_for(ready)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.double.close()


def eventually(true: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
