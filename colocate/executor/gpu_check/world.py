"""What the check needs of the world, and how much it asks of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colocate.executor.measure.activity import WithActivity
from colocate.executor.measure.effort import Effort
from colocate.executor.measure.processes import bare_environment
from colocate.executor.measure.tenants import Role, Workload
from colocate.executor.ports import Daemons, Gpus

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Kind", "Sizes", "World", "real_world", "software"]

UnitPids = Callable[[], "Mapping[str, Sequence[int]]"]
NEEDED = ("torch", "numpy", "scipy", "pydantic", "nvidia-ml-py", "ortools")
MODULES = {"nvidia-ml-py": "pynvml"}

QUICK = Effort(
    warm_up_s=0.4,
    window_s=0.4,
    steady_windows=2,
    steady_most_s=4.0,
    least_windows=6,
    most_windows=8,
    parked=40,
)
"""The library's own effort takes several times as long, and knows rates better for it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A workload of the check."""

    name: str
    role: Role
    batches: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    services: tuple[Kind, ...] = (
        Kind("resnet50-inference", "inference", (4, 16)),
        Kind("bert-inference", "inference", (4, 16)),
    )
    training: tuple[Kind, ...] = (
        Kind("resnet50-training", "training", (32,)),
        Kind("bert-training", "training", (16,)),
        Kind("lstm-training", "training", (64,)),
    )
    shares: tuple[int, ...] = (30, 50, 70, 100)
    """At which everything is measured alone."""
    splits: tuple[tuple[int, int], ...] = ((50, 50), (30, 70), (70, 30))
    """Shares of service and training in company."""
    held_out: tuple[tuple[int, int], ...] = ((0, 2), (1, 0))
    """Pairs of service and training, by their place above, that are predicted, not fitted."""
    caps: tuple[int, ...] = (100, 75, 50, 25, 10)
    """Shares of the products of matrices."""
    limit_mib: int = 4096
    """Memory limit that is tried; a quarter of it must fit, twice as much must not."""
    effort: Effort = QUICK
    watch_s: float = 10.0
    """How long the applied plan is watched."""
    before_kill_s: float = 4.0
    """How long it is watched before."""
    after_kill_s: float = 20.0
    """How long is watched what a killed process does to the others."""
    window_s: float = 0.5
    pairs_s: float = 60.0
    """What is kept for pairs while everything is measured alone."""
    plan_s: float = 150.0
    """What is kept for planning, applying, comparing and killing while anything is measured."""
    total_s: float = 520.0
    tidy_s: float = 60.0

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """All workloads."""
        return (*self.services, *self.training)


@dataclass(kw_only=True)
class World:
    """Where the check runs."""

    gpus: Gpus
    daemons: Callable[[Path, UnitPids, Callable[[Any], None] | None], Daemons]
    """Makes the daemons below a folder, given the processes of our units, and who is told of every
    exchange with a daemon."""
    command: Callable[[str], tuple[str, ...]]
    """Returns the program and arguments of a built-in workload."""
    root: Path
    """Folder of the executor's state."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What every workload is given besides."""
    software: Callable[[], Mapping[str, str | None]] = lambda: software()

    def workload(
        self, kind: str, role: Role, name: str = "", limit_mib: int | None = None
    ) -> Workload:
        """Return a workload of the check as a program."""
        return Workload(
            name=name or kind,
            role=role,
            command=self.command(kind),
            environment=self.environment,
            memory_limit_mib=limit_mib,
        )


def software() -> dict[str, str | None]:
    """Return the versions of what the stages use; None for what is missing."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in NEEDED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            module = MODULES.get(name, name)
            found[name] = None if importlib.util.find_spec(module) is None else "unknown"
    return found


def real_world(root: Path, *, allow_root: bool, binary: str | None) -> World:
    """Return the world of this machine.

    Raises
    ------
    ImportError
        When a package is missing that even looking needs.
    """
    from colocate.executor.mps import NodeDaemons
    from colocate.executor.nvml import NvmlGpus
    from colocate.executor.nvml.dcgm import find_dcgm

    gpus = WithActivity(NvmlGpus(dcgm=find_dcgm()))

    def daemons(
        below: Path, unit_pids: UnitPids, record: Callable[[Any], None] | None
    ) -> NodeDaemons:
        return NodeDaemons(
            below,
            binary,
            allow_root=allow_root,
            gpus=gpus,
            unit_pids=unit_pids,
            record=record,
        )

    module = "colocate.executor.measure.workloads"
    return World(
        gpus=gpus,
        daemons=daemons,
        command=lambda kind: (sys.executable, "-m", module, kind),
        root=root,
    )


def passed_environment() -> dict[str, str]:
    """Return what a launch file has to give a workload so that it runs as it does when measured."""
    return {k: v for k, v in bare_environment().items() if k != "PATH"}
