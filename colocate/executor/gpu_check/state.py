"""What one stage leaves for the next ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colocate.executor.gpu_check.stages import Course, NotPossibleError
from colocate.executor.gpu_check.transcript import Transcript
from colocate.executor.gpu_check.world import Sizes, World
from colocate.executor.measure.bench import GpuAbout
from colocate.executor.measure.process_bench import ProcessBench
from colocate.executor.measure.results import Record
from colocate.executor.measure.shares import MpsShares
from colocate.executor.ports import GpuFacts, GpuReading

if TYPE_CHECKING:
    from colocate.instance import Instance
    from colocate.plan import Plan
    from colocate.profile.fitted import FittedModels

__all__ = ["Found", "State"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The GPU as it was at some moment."""

    facts: GpuFacts
    reading: GpuReading
    daemon_alive: bool
    clients: int
    mps_pids: tuple[int, ...]


@dataclass(kw_only=True)
class State:
    """What is known so far."""

    world: World
    sizes: Sizes
    course: Course
    out: Path
    transcript: Transcript
    gpu: GpuFacts | None = None
    before: Found | None = None
    about: GpuAbout | None = None
    shares: MpsShares | None = None
    """The daemon for measuring, once it runs."""
    bench: ProcessBench | None = None
    failed_starts: dict[tuple[str, int], str] = field(default_factory=dict)
    sm_counts: dict[int, int] = field(default_factory=dict)
    """Multiprocessors that a client saw, by share."""
    records: list[Record] = field(default_factory=list)
    """Everything measured, alone and in company."""
    held_out: list[Record] = field(default_factory=list)
    models: FittedModels | None = None
    instance: Instance | None = None
    plan: Plan | None = None
    applied: Any = None
    """The running plan; see `applied`."""

    def need_gpu(self) -> GpuFacts:
        """Return the GPU, or say that nothing is possible without."""
        if self.gpu is None:
            raise NotPossibleError("there is no GPU to look at")
        return self.gpu

    @property
    def limit_mib(self) -> int:
        """Memory limit that is tried: an eighth of the GPU where that is little."""
        return min(self.sizes.limit_mib, self.need_gpu().memory_mib // 8)

    def need_bench(self) -> ProcessBench:
        """Return the bench."""
        if self.bench is None:
            raise NotPossibleError("no process could be started to measure")
        return self.bench

    def need_mps(self) -> MpsShares:
        """Return the daemon for measuring."""
        if self.shares is None:
            raise NotPossibleError("MPS does not run here")
        return self.shares
