"""One thing that is wrong with a plan, as data and in domain words."""

from __future__ import annotations

from typing import Literal

from colocate.schema import Frozen

__all__ = ["Violation", "ViolationKind"]

ViolationKind = Literal[
    "instance",
    "reference",
    "gpu_used_twice",
    "replica_placed_twice",
    "worker_placed_twice",
    "gang",
    "required_service",
    "pinned_service",
    "accounting",
    "knobs",
    "share",
    "prediction",
    "slo",
    "rate",
    "memory",
    "clients",
    "services_per_gpu",
    "tasks_per_gpu",
    "workloads_per_gpu",
    "tenants_per_gpu",
    "user_id",
    "anti_affinity",
    "blast_radius",
    "locked",
    "quota",
    "unschedulable",
    "unsupported",
    "objective",
    "totals",
    "certificate",
    "constraint",
]


class Violation(Frozen):
    """A broken rule: which one, where, and the values."""

    kind: ViolationKind
    where: str
    """Such as `a100/3`, `service bert` or `plan`."""
    message: str
    """A sentence with the values."""

    def __str__(self) -> str:
        """Return `kind at where: message`."""
        return f"{self.kind} at {self.where}: {self.message}"
