"""What runs on the GPU while something is measured: workloads, tenants, points."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Point", "Role", "Tenant", "Workload"]

Role = Literal["inference", "training"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A program that can be measured."""

    name: str
    role: Role
    command: tuple[str, ...]
    """Program and arguments; the program by its absolute path."""
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None
    processes: int = 1
    """Processes that the command makes; each is a client of MPS and speaks for itself."""
    memory_limit_mib: int | None = None
    """Limit for each of its processes."""

    @property
    def digest(self) -> str:
        """Return eight hexadecimal digits that change with what is run."""
        environment = sorted(self.environment.items())
        what = [self.role, self.command, environment, self.directory, self.processes]
        text = json.dumps([*what, self.memory_limit_mib])
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A workload at a setting."""

    workload: str
    batch: int
    share_pct: int
    arrival_rps: float | None = None
    """Samples that arrive in a second; None: the next batch starts when the last one ends."""
    load: float | None = None
    """The same as a part of the rate without arrivals at this batch and share, alone; what
    `arrival_rps` is then is known once that has been measured."""

    @property
    def text(self) -> str:
        """Return it as one word."""
        at = "" if self.arrival_rps is None else f".r{self.arrival_rps:g}"
        at = at if self.load is None else f".x{self.load:g}"
        return f"{self.workload}.b{self.batch}.s{self.share_pct}{at}"

    @property
    def process(self) -> tuple[str, int]:
        """What needs a process of its own: the share of one that runs cannot be changed."""
        return (self.workload, self.share_pct)

    @property
    def closed(self) -> bool:
        """Whether work never ends."""
        return self.arrival_rps is None and self.load is None


@dataclass(frozen=True, slots=True)
class Point:
    """Tenants that are measured together, sorted."""

    tenants: tuple[Tenant, ...]

    @classmethod
    def of(cls, *tenants: Tenant) -> Point:
        """Return the point of some tenants, in whatever order."""
        return cls(tuple(sorted(tenants, key=_order)))

    def key(self, workloads: Mapping[str, Workload]) -> str:
        """Return a name that stays the same as long as the same programs run at these settings."""
        return "~".join(f"{t.text}#{workloads[t.workload].digest}" for t in self.tenants)

    @property
    def text(self) -> str:
        """Return it in words."""
        return " beside ".join(_words(t) for t in self.tenants)

    @property
    def processes(self) -> tuple[tuple[str, int], ...]:
        """Which processes it needs; points with the same ones can be measured in one go."""
        return tuple(t.process for t in self.tenants)


def _order(tenant: Tenant) -> tuple[str, int, int, float, float]:
    rates = (tenant.arrival_rps or 0.0, tenant.load or 0.0)
    return (tenant.workload, tenant.batch, tenant.share_pct, *rates)


def _words(tenant: Tenant) -> str:
    at = "" if tenant.arrival_rps is None else f", {tenant.arrival_rps:g}/s"
    at = at if tenant.load is None else f", {100 * tenant.load:g} % load"
    return f"{tenant.workload} b{tenant.batch} {tenant.share_pct}%{at}"
