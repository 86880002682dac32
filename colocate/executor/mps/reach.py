"""Finding the daemon of a GPU of this node, and speaking to it in its own dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from colocate.errors import clean_text
from colocate.executor.errors import MpsError
from colocate.executor.mps import encode
from colocate.executor.mps.binary import resolve_binary
from colocate.executor.mps.control import Control, Exchange
from colocate.executor.mps.dialect import Dialect
from colocate.executor.mps.directories import GpuFolders, folders_of
from colocate.executor.mps.identity import DaemonProcess
from colocate.executor.mps.others import Found, find_daemon
from colocate.executor.mps.probe import spoken_dialect
from colocate.executor.mps.v2 import V2
from colocate.executor.mps.v3 import V3
from colocate.executor.ports import Dialect as DialectName
from colocate.executor.ports import GpuFacts, Gpus

__all__ = ["Reach"]


@dataclass(slots=True, kw_only=True)
class Reach:
    """What of MPS is within reach on this node; parameters as those of `NodeDaemons`."""

    root: Path
    given_binary: Path | str | None
    gpus: Gpus | None
    other_pipes: tuple[Path, ...]
    deadline_s: float
    patience_s: float
    record: Callable[[Exchange], None] | None
    _binary: Path | None = None
    _facts: Mapping[str, GpuFacts] | None = None
    _spoken: dict[DaemonProcess, DialectName] = field(default_factory=dict)

    def program(self) -> Path:
        """Return the control program; looked for once."""
        if self._binary is None:
            self._binary = resolve_binary(self.given_binary)
        return self._binary

    def folders(self, gpu: str) -> GpuFolders:
        """Return where our own daemon of a GPU lives, or will."""
        self._fact(gpu)
        return folders_of(self.root, gpu, tuple(self._known()))

    def find(self, gpu: str) -> Found | None:
        """Return the living daemon that serves a GPU, whosever it is."""
        return find_daemon(gpu, self.folders(gpu), self.other_pipes, self.program)

    def control(self, where: GpuFolders | Found) -> Control:
        """Return how to give commands to the daemon of some folders."""
        return Control(
            binary=self.program(),
            pipe=where.pipe,
            log=where.log,
            lock=where.lock,
            deadline_s=self.deadline_s,
            record=self.record,
        )

    def speak(self, gpu: str, found: Found) -> Dialect:
        """Return the dialect of a living daemon; each daemon is asked once."""
        control = self.control(found)
        name = self._spoken.get(found.process)
        if name is None:
            name = self._spoken[found.process] = spoken_dialect(control)
        maker = V2 if name == "v2" else V3
        return maker(control, gpu, self._fact(gpu).memory_mib, self.patience_s)

    def mps_pids(self, gpu: str) -> tuple[int, ...]:
        """Return what the driver counts as MPS clients of a GPU."""
        self._fact(gpu)
        assert self.gpus is not None
        return self.gpus.mps_pids(gpu)

    def _known(self) -> Mapping[str, GpuFacts]:
        if self._facts is None:
            if self.gpus is None:
                from colocate.executor.nvml import NvmlGpus

                self.gpus = NvmlGpus()
            self._facts = {fact.uuid: fact for fact in self.gpus.facts()}
        return self._facts

    def _fact(self, gpu: str) -> GpuFacts:
        known = self._known()
        fact = known.get(encode.gpu_uuid(gpu))
        if fact is None:
            self._facts = None  # look again the next time: it may come back
            raise MpsError(
                f"GPU {clean_text(gpu, 60)} is not on this node, which has "
                f"{', '.join(sorted(known)) or 'none'}",
                advice="make the plan for the GPUs of this node, or run on the right one.",
            )
        return fact
