"""What measuring needs of the world: a bench on which tenants run and tell what they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from colocate.executor.measure.tenants import Tenant
from colocate.executor.ports import GpuReading

__all__ = ["BadStartError", "Bench", "Company", "GpuAbout", "TenantFacts", "Window"]


class BadStartError(Exception):
    """Tenants could not be started; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuAbout:
    """The GPU that is measured."""

    gpu_type: str
    """Name under which rows are written."""
    name: str = ""
    uuid: str = ""
    driver: str = ""
    mps: bool = True
    """Whether shares are enforced by MPS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one tenant, all its processes together, did between two counts."""

    seconds: float
    """Without arrivals: from the end of a batch to the end of another one."""
    samples: int
    batches: int
    busy_s: float = 0.0
    latencies_ms: tuple[float, ...] = ()
    waiting: int = 0
    """At its end."""
    memory_mib: float | None = None
    """Of the process that held most."""

    @property
    def rate(self) -> float:
        """Samples per second."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFacts:
    """What is known about the processes of a tenant."""

    pids: tuple[int, ...] = ()
    sm_count: int | None = None
    """Multiprocessors that its processes see."""
    more: dict[str, str | float | int | bool | None] = field(default_factory=dict)


class Company(Protocol):
    """Tenants that are on the GPU together."""

    @property
    def fresh(self) -> bool:
        """Whether all its processes were started for it, and nobody else's ended meanwhile.

        What the memory in use has grown by is theirs then.
        """
        ...

    def set(self, tenants: Sequence[Tenant]) -> None:
        """Bring them to these settings, in the order in which they entered, all warm."""
        ...

    def window(self, seconds: float) -> tuple[Window, ...]:
        """Let so much time pass, and return what each did since the last window or `set`."""
        ...

    def facts(self) -> tuple[TenantFacts, ...]:
        """Return what is known about each."""
        ...

    def leave(self) -> None:
        """Take them off the GPU."""
        ...


class Bench(Protocol):
    """Where tenants run."""

    def about(self) -> GpuAbout:
        """Return what is measured on."""
        ...

    def seconds(self) -> float:
        """Return the time, on a clock that only goes forward."""
        ...

    def enter(self, tenants: Sequence[Tenant]) -> Company:
        """Start processes for these tenants and nobody else, and wait until they have reported.

        Raises
        ------
        BadStartError
            When one does not start or is no client of MPS; nothing is left behind then.
        """
        ...

    def renew(self) -> None:
        """End every process that waits, so that the next company gets new ones."""
        ...

    def read(self) -> GpuReading | None:
        """Return what the GPU says of itself now, or None where nothing tells."""
        ...
