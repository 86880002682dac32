"""Changes of services and tasks: SLO, load, replicas, pins, weights, gangs."""

from __future__ import annotations

from dataclasses import dataclass

from colocate.explain.change_words import instead
from colocate.explain.draft import TABLE, Draft
from colocate.instance import Instance, Service

__all__ = [
    "AnyBatch",
    "MakeOptional",
    "SetGangSize",
    "SetLeastShare",
    "SetRate",
    "SetReplicas",
    "SetSlo",
    "SetWeight",
    "Unpin",
]


@dataclass(frozen=True, slots=True)
class SetSlo:
    """Another SLO for a service."""

    service: str
    slo_ms: float

    def apply(self, draft: Draft) -> None:
        """Change the service."""
        draft.service(self.service, slo_ms=float(self.slo_ms))

    def words(self, instance: Instance) -> str:
        """Return `SLO of bert 346 ms instead of 330 ms`."""
        old = _of_service(instance, self.service, "slo_ms")
        return f"SLO of {self.service} {self.slo_ms:.6g} ms{instead(old, ' ms')}"


@dataclass(frozen=True, slots=True)
class SetRate:
    """Another arrival rate at each replica of a service."""

    service: str
    rate_rps: float

    def apply(self, draft: Draft) -> None:
        """Change the service."""
        draft.service(self.service, rate_rps=float(self.rate_rps))

    def words(self, instance: Instance) -> str:
        """Return `load of bert 8 samples/s at each replica instead of 10`."""
        old = _of_service(instance, self.service, "rate_rps")
        return f"load of {self.service} {self.rate_rps:.6g} samples/s at each replica{instead(old)}"


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Another number of replicas of a service that is not pinned."""

    service: str
    replicas: int

    def apply(self, draft: Draft) -> None:
        """Change the service."""
        draft.service(self.service, replicas=self.replicas)

    def words(self, instance: Instance) -> str:
        """Return `2 replicas of bert instead of 3`."""
        old = _of_service(instance, self.service, "replicas")
        what = "replica" if self.replicas == 1 else "replicas"
        return f"{self.replicas} {what} of {self.service}{instead(old)}"


@dataclass(frozen=True, slots=True)
class MakeOptional:
    """Let a plan leave a service out, at no charge."""

    service: str

    def apply(self, draft: Draft) -> None:
        """Change the service."""
        draft.service(self.service, required=False, missing_price=0.0)

    def words(self, instance: Instance) -> str:
        """Return `let service bert be left out`."""
        del instance
        return f"let service {self.service} be left out (required: false)"


@dataclass(frozen=True, slots=True)
class Unpin:
    """Let a service be placed freely."""

    service: str

    def apply(self, draft: Draft) -> None:
        """Change the service."""
        draft.service(self.service, pinned=None)

    def words(self, instance: Instance) -> str:
        """Return `let service bert be placed on any GPU`."""
        del instance
        return f"let service {self.service} be placed on any GPU (no pin)"


@dataclass(frozen=True, slots=True)
class SetLeastShare:
    """Another smallest share for a service."""

    service: str
    share_pct: int

    def apply(self, draft: Draft) -> None:
        """Change the service."""
        draft.service(self.service, min_share_pct=self.share_pct)

    def words(self, instance: Instance) -> str:
        """Return `smallest share of bert 20 % instead of 50 %`."""
        old = _of_service(instance, self.service, "min_share_pct")
        return f"smallest share of {self.service} {self.share_pct} %{instead(old, ' %')}"


@dataclass(frozen=True, slots=True)
class AnyBatch:
    """Let a service run at every batch size that was profiled."""

    service: str

    def apply(self, draft: Draft) -> None:
        """Change the service."""
        draft.service(self.service, batches=None)

    def words(self, instance: Instance) -> str:
        """Return `let service bert run at any profiled batch`."""
        del instance
        return f"let service {self.service} run at any profiled batch"


@dataclass(frozen=True, slots=True)
class SetWeight:
    """Another weight for a task entry."""

    task: str
    weight: float

    def apply(self, draft: Draft) -> None:
        """Change the task."""
        draft.task(self.task, weight=float(self.weight))

    def words(self, instance: Instance) -> str:
        """Return `weight of vgg 2 instead of 1`."""
        old = None if self.task.endswith(TABLE) else instance.task(self.task).weight
        return f"weight of {self.task} {self.weight:.6g}{instead(old)}"


@dataclass(frozen=True, slots=True)
class SetGangSize:
    """Another number of workers for each task of an entry."""

    task: str
    gang_size: int

    def apply(self, draft: Draft) -> None:
        """Change the task."""
        draft.task(self.task, gang_size=self.gang_size)

    def words(self, instance: Instance) -> str:
        """Return `2 workers for each task of vgg instead of 3`."""
        old = None if self.task.endswith(TABLE) else instance.task(self.task).gang_size
        workers = "worker" if self.gang_size == 1 else "workers"
        return f"{self.gang_size} {workers} for each task of {self.task}{instead(old)}"


def _of_service(instance: Instance, name: str, field_name: str) -> float | None:
    if name.endswith(TABLE):
        return None
    service: Service = instance.service(name)
    value: float = getattr(service, field_name)
    return value
