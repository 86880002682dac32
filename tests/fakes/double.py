"""The MPS double as tests use it.

Put in a folder, told what to be and what to get wrong, and cleaned away with all it started:

    with Double(tmp_path / "bin", gpus=[Gpu(uuid)]) as double:
        daemons = NodeDaemons(root, double.binary, allow_root=True, gpus=double.gpus, ...)
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from colocate.executor.ports import GpuFacts, GpuReading
from tests.fakes.mps_core import Gpu, Machine
from tests.fakes.mps_main import PID_FILE

HERE = Path(__file__).resolve().parent
CLIENT = HERE / "mps_client"
READING = ("get_", "ps", "lspart", "device_query", "server list", "server get", "namespace list")
READING_V3 = ("namespace get", "client list", "client get", "device list", "-v", "-h", "-p 3 -h")


def uuid(number: int) -> str:
    """Return a UUID for tests; the first digits differ, as those of real GPUs do."""
    return f"GPU-{number:08x}-0000-4000-8000-{number:012x}"


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Give a folder with a short path: a socket's may have 107 bytes, and pytest's are long."""
    folder = Path(tempfile.mkdtemp(prefix="mps"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class KnownGpus:
    """The machine's GPUs as `colocate.executor.ports.Gpus`, when NVML is not what is tested."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.lost: set[str] = set()
        self.mps: dict[str, tuple[int, ...]] = {}

    def facts(self) -> Sequence[GpuFacts]:
        return tuple(
            GpuFacts(
                uuid=gpu.uuid,
                name=gpu.name,
                memory_mib=gpu.memory_mib,
                compute_mode="default",
                mig=False,
                driver=self.machine.driver,
            )
            for gpu in self.machine.gpus
            if gpu.uuid not in self.lost
        )

    def read(self, gpu: str) -> GpuReading:
        return GpuReading(seconds=time.monotonic())

    def mps_pids(self, gpu: str) -> tuple[int, ...]:
        return self.mps.get(gpu, ())


class Double:
    """A control program in a folder of its own.

    Parameters
    ----------
    folder
        Where to put it; made when missing.
    gpus
        What the machine has; a number makes that many.
    options
        Further fields of `Machine`: driver, version, poison, initializing, multiuser.
    """

    def __init__(self, folder: Path, gpus: Sequence[Gpu] | int = 1, **options: Any) -> None:
        many = [Gpu(uuid(n + 1)) for n in range(gpus)] if isinstance(gpus, int) else list(gpus)
        self.folder = folder
        self.machine = Machine(gpus=tuple(many), **options)
        self.gpus = KnownGpus(self.machine)
        self.uuids = [gpu.uuid for gpu in many]
        folder.mkdir(parents=True, exist_ok=True)
        self.binary = folder / "nvidia-cuda-mps-control"
        # -I -S: starts in half the time, and takes nothing from the environment.
        self.binary.write_text(
            f"#!{sys.executable} -IS\n"
            f"import sys; sys.path.insert(0, {str(HERE.parents[1])!r})\n"
            "from tests.fakes.mps_main import main\n"
            f"sys.exit(main(sys.argv, {str(folder)!r}))\n"
        )
        self.binary.chmod(0o755)
        (folder / "double.json").write_text(json.dumps(asdict(self.machine)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every daemon that this program started."""
        for process in self.daemons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def daemons(self) -> list[int]:
        """Return the daemons that live, found by this very program in their command line."""
        mine = os.fsencode(self.binary)
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mine in (entry / "cmdline").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    # --- what goes wrong -------------------------------------------------------------------------

    def fail(self, when: str, do: str, **more: Any) -> None:
        """Let commands that start with `when` go wrong; more: times, after, value, code, pipe."""
        rules = self._rules()
        rules.append({"when": when, "do": do, "times": 1_000_000, "after": 0, **more})
        (self.folder / "faults.json").write_text(json.dumps(rules))

    def heal(self) -> None:
        (self.folder / "faults.json").unlink(missing_ok=True)

    def _rules(self) -> list[dict[str, Any]]:
        path = self.folder / "faults.json"
        return list(json.loads(path.read_text())) if path.exists() else []

    def meet_fault(self, pipe: Path, pid: int) -> None:
        """Let a client meet a fatal fault: its server goes to FAULT."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(str(pipe / "control"))
            channel.sendall(json.dumps({"kind": "fault", "pid": pid}).encode() + b"\n")
            channel.recv(64)

    def kill_daemon(self, pipe: Path) -> None:
        """Kill the daemon of a pipe directory; its pid file stays behind."""
        os.kill(int((pipe / PID_FILE).read_text()), signal.SIGKILL)

    # --- what was said ---------------------------------------------------------------------------

    def commands(self) -> list[dict[str, Any]]:
        """Return every command so far: argv, stdin, pipe, reply, source, code."""
        path = self.folder / "commands.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        names = ("argv", "stdin", "pipe", "reply", "source", "code")
        return [dict(zip(names, ast.literal_eval(line), strict=True)) for line in lines]

    def changes(self) -> list[str]:
        """Return the commands so far that change something."""
        said = [entry["stdin"] or " ".join(entry["argv"]) for entry in self.commands()]
        return [text for text in said if not text.startswith((*READING, *READING_V3))]


def client_argv(*options: str) -> list[str]:
    """Return the argument list of a process that becomes a client."""
    return [sys.executable, "-IS", str(CLIENT), *options]


def wait_for(path: Path, seconds: float = 30) -> Mapping[str, Any]:
    """Return what a client wrote into its ready file."""
    until = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(path)
        time.sleep(0.01)
    data: Mapping[str, Any] = json.loads(path.read_text())
    return data
