"""A node with the MPS double as its control program, a fake NVML, and real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colocate.executor.apply.operator import NodeSettings, Operator, Request
from colocate.instance import Instance
from colocate.io import dumps_instance, dumps_plan, parse_launch
from colocate.launch import LaunchFile
from colocate.plan import Plan
from colocate.solve import solve
from tests.fakes import fake_nvml
from tests.fakes.double import Double, client_argv, short_folder
from tests.helpers import instance as small_instance

__all__ = ["Outcome", "RealNode", "real_node"]

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class RealNode:
    """One node below a folder with a short name: sockets have short paths."""

    def __init__(self, folder: Path, dialect: str, gpus: int) -> None:
        self.folder, self.dialect = folder, dialect
        self.root = folder / "state"
        self.double = Double(folder / "bin", gpus=gpus)
        self.ready = folder / "ready"
        self.ready.mkdir()
        self.gpu_state = folder / "gpus.json"
        self.tell_gpus(self.double.uuids)

    def tell_gpus(self, uuids: list[str]) -> None:
        """Let the driver know these GPUs."""
        gpus = [{"uuid": uuid, "name": "Double", "memory_mib": 16384} for uuid in uuids]
        self.gpu_state.write_text(
            json.dumps({"driver": "615.71.09", "init": True, "gpus": gpus, "events": []})
        )

    # --- what is asked for ---

    def instance(self, *, slo_ms: float = 300.0, tasks: int | None = None) -> Instance:
        n = len(self.double.uuids)
        counts = [n if tasks is None else tasks] if tasks != 0 else []
        return small_instance(
            gpu_pools=[
                {
                    "id": "a",
                    "gpu_type": "A",
                    "uuids": self.double.uuids,
                    "memory_gib": 16.0,
                    "sm_count": 4,
                }
            ],
            services=[
                {
                    "id": "web",
                    "profile": "net",
                    "rate_rps": 10.0,
                    "slo_ms": slo_ms,
                    "replicas": n,
                }
            ],
            tasks=[
                {"id": "job", "profile": "train", "batch": 8, "count": count} for count in counts
            ],
        )

    def plan(self, instance: Instance) -> Plan:
        plan = solve(instance, "greedy").plan
        assert plan is not None
        return plan

    def launch(self, *options: str, env: dict[str, str] | None = None, **more: Any) -> LaunchFile:
        """Return how everything starts: a client of the double that tells when it is ready."""
        ready = str(self.ready / "{key}.json")
        program = {
            "id": "client",
            "workloads": ["web", "job"],
            "argv": client_argv("--ready", ready, *options),
            "env": env or {},
            "ready": {"kind": "file", "path": ready, "interval_s": 0.05, "deadline_s": PATIENCE_S},
            "batch": {"kind": "environment", "variable": "BATCH"},
            "stop": {"grace_s": PATIENCE_S},
            **more,
        }
        return parse_launch(json.dumps({"schema": "colocate/launch/v1", "programs": [program]}))

    def request(self, launch: LaunchFile | None = None, **changes: Any) -> Request:
        instance = self.instance(**changes)
        return Request.of(instance, self.plan(instance), launch or self.launch())

    def files(self, launch: LaunchFile | None = None, **changes: Any) -> list[str]:
        """Write a plan with its instance and launch file; return the command line's words."""
        from colocate.io import dumps_launch

        instance = self.instance(**changes)
        texts = {
            "plan": dumps_plan(self.plan(instance)),
            "instance": dumps_instance(instance),
            "launch": dumps_launch(launch or self.launch()),
        }
        number = len(list(self.folder.glob("plan*.json")))
        paths = {name: self.folder / f"{name}{number}.json" for name in texts}
        for name, text in texts.items():
            paths[name].write_text(text)
        return [
            str(paths["plan"]),
            "--instance",
            str(paths["instance"]),
            "--launch",
            str(paths["launch"]),
        ]

    # --- doing it ---

    def operator(self, launch: LaunchFile | None = None, **more: Any) -> Operator:
        settings = NodeSettings(
            root=self.root,
            binary=self.double.binary,
            allow_root=True,
            dialect="v3" if self.dialect == "v3" else "v2",
            member_timeout_s=PATIENCE_S,
        )
        self.root.mkdir(mode=0o700, exist_ok=True)
        return Operator(settings, launch, gpus=self.double.gpus, **more)

    @property
    def surroundings(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("COLOCATE_")}
        return {
            **kept,
            "COLOCATE_FAKE_NVML": str(Path(fake_nvml.__file__)),
            "COLOCATE_FAKE_NVML_STATE": str(self.gpu_state),
            "COLOCATE_ROOT": str(self.root),
            "COLOCATE_MPS_CONTROL": str(self.double.binary),
            "COLOCATE_ALLOW_ROOT": "1",
            "COLOCATE_DIALECT": self.dialect,
            "COLOCATE_MEMBER_TIMEOUT": str(PATIENCE_S),
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        }

    def start(self, *words: str, python: list[str] | None = None) -> subprocess.Popen[str]:
        """Start a command line in a process of its own."""
        return subprocess.Popen(
            [sys.executable, *(python or ["-m", "colocate"]), *words],
            env=self.surroundings,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def cli(self, *words: str) -> Outcome:
        """Run a command line in a process of its own."""
        out, err = (process := self.start(*words)).communicate(timeout=5 * PATIENCE_S)
        return Outcome(process.returncode, out, err)

    # --- around it ---

    def left(self) -> list[int]:
        """Return every process that runs and carries this folder's name."""
        mark = os.fsencode(self.folder)
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    marked = mark in (entry / "cmdline").read_bytes()
                    marked = marked or mark in (entry / "environ").read_bytes()
                    dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
                    if marked and not dead:
                        found.append(int(entry.name))
        return found

    def clear(self) -> None:
        """Kill what is left: keepers first, or they would start their processes again."""
        self.double.close()
        until = time.monotonic() + PATIENCE_S
        while pids := self.left():
            assert time.monotonic() < until, f"still there: {pids}"
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


@contextlib.contextmanager
def real_node(dialect: str = "v2", gpus: int = 1) -> Iterator[RealNode]:
    """Give a node, and clean it away with all that runs on it."""
    with short_folder() as folder:
        node = RealNode(folder, dialect, gpus)
        try:
            yield node
        finally:
            node.clear()
