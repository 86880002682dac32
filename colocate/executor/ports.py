"""What the executor needs of the world: MPS daemons, GPUs and processes.

`apply`, the guard and the tuner know only these. Behind them are real daemons and processes
(`colocate.executor.mps`, `.nvml`, `.workloads`), or, in tests, the same things in memory.

Every call has a deadline of its own and raises an error of `colocate.executor.errors` instead of
waiting for ever; whatever sets something reads it back before it returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from colocate.executor.unit import Unit

__all__ = [
    "Client",
    "DaemonState",
    "Daemons",
    "Dialect",
    "GpuFacts",
    "GpuReading",
    "Gpus",
    "Limits",
    "Processes",
    "ServerStatus",
    "Space",
    "UnitPhase",
    "UnitState",
]

Dialect = Literal["v2", "v3"]
ServerStatus = Literal["none", "initializing", "active", "fault"]
UnitPhase = Literal[
    "starting", "ready", "paused", "draining", "backing_off", "stopped", "failed", "lost"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Limits of one unit where the daemon keeps them (a namespace of the v3 dialect)."""

    name: str
    share_pct: int
    memory_limit_mib: int | None = None
    low_priority: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a daemon enforces on one GPU."""

    share_pct: int = 100
    """Default active thread percentage: no client gets more."""
    memory_limit_mib: int | None = None
    """Default limit of pinned device memory of each client process."""
    spaces: tuple[Space, ...] = ()
    """By name. Always empty in the v2 dialect, where the environment of a client carries them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A process that an MPS server serves."""

    pid: int
    server_pid: int
    unit: str | None
    """Key of the unit that it belongs to, or None when it is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonState:
    """What is true of the control daemon of one GPU now."""

    gpu: str
    alive: bool
    ours: bool
    """Whether this executor started it. One that is not ours is adopted on request, or left."""
    dialect: Dialect | None
    server: ServerStatus
    limits: Limits | None
    """None when it is not alive, or is not ours and does not tell."""
    settled: bool = True
    """False where a server that runs enforces other limits than the daemon's defaults, as a crash
    between the two leaves it; setting the limits again mends it."""
    clients: tuple[Client, ...] = ()


class Daemons(Protocol):
    """The MPS control daemons of this node, one for each GPU."""

    def observe(self, gpu: str) -> DaemonState:
        """Ask the daemon of a GPU what is true."""
        ...

    def start(self, gpu: str) -> None:
        """Start the daemon of a GPU; nothing happens when it is there already."""
        ...

    def stop(self, gpu: str) -> None:
        """Stop a daemon of ours that has no clients; nothing happens when it is not there."""
        ...

    def set_limits(self, gpu: str, limits: Limits) -> None:
        """Bring the limits of a GPU to these, and read them back."""
        ...

    def reset(self, gpu: str) -> None:
        """Shut the MPS server of a GPU down, so that the next client gets a new one."""
        ...

    def environment(self, unit: Unit) -> Mapping[str, str]:
        """Return what the environment of a unit's processes must hold to be its client."""
        ...

    def terminate(self, gpu: str, client: Client) -> None:
        """Ask the server to end a client of ours that does not end by itself."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """What is true of one unit now."""

    unit: Unit
    phase: UnitPhase
    pids: tuple[int, ...] = ()
    """Its processes; empty when none runs."""
    restarts: int = 0
    detail: str = ""
    """Why it failed, or what it waits for."""


class Processes(Protocol):
    """The units of this node."""

    def observe(self) -> tuple[UnitState, ...]:
        """Return every unit that was started and not removed, by key."""
        ...

    def start(self, unit: Unit, environment: Mapping[str, str]) -> None:
        """Start a unit; nothing happens when it runs already."""
        ...

    def wait_ready(self, key: str) -> None:
        """Wait until its readiness probe says yes, or raise when its deadline passes."""
        ...

    def switch(self, old: str | None, new: str | None) -> None:
        """Send requests to `new` instead of `old`, by the launch file's own hook."""
        ...

    def stop(self, key: str) -> None:
        """Let it checkpoint and end within its deadlines, then remove it; idempotent."""
        ...

    def pause(self, key: str) -> None:
        """Halt its processes where that is safe."""
        ...

    def resume(self, key: str) -> None:
        """Let them go on."""
        ...

    def set_batch(self, key: str, batch: int) -> None:
        """Change its batch size without a new process, where its launch entry can."""
        ...

    def can_set_batch(self, unit: Unit) -> bool:
        """Tell whether its launch entry can change the batch size of a running process."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFacts:
    """What does not change about a GPU of this node."""

    uuid: str
    name: str
    memory_mib: int
    compute_mode: str
    mig: bool
    driver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """What a GPU says of itself at one moment. None stands for what it does not tell."""

    seconds: float
    """On a clock that only goes forward."""
    gpu_util_pct: float | None = None
    sm_active_pct: float | None = None
    dram_active_pct: float | None = None
    memory_used_mib: float | None = None
    memory_total_mib: float | None = None
    sm_clock_mhz: float | None = None
    max_sm_clock_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    xids: tuple[int, ...] = ()
    """Fatal errors that the driver reported since the last reading."""


class Gpus(Protocol):
    """The GPUs of this node, by UUID."""

    def facts(self) -> Sequence[GpuFacts]:
        """Return what there is."""
        ...

    def read(self, gpu: str) -> GpuReading:
        """Return what one GPU says now."""
        ...

    def mps_pids(self, gpu: str) -> tuple[int, ...]:
        """Return the processes that the driver counts as MPS clients on a GPU."""
        ...
