"""What an instance needs of a solver, and what a solver says it can do."""

from __future__ import annotations

from enum import StrEnum

from colocate.errors import UnsupportedError
from colocate.instance import Instance

__all__ = ["Capability", "needed", "refuse"]


class Capability(StrEnum):
    """One thing that a solver can do: first about its answers, then about its input."""

    EXACT = "exact"
    BOUND = "bound"
    TIME_LIMIT = "time_limit"
    INTERRUPT = "interrupt"

    SEVERAL_TASKS = "several tasks on one GPU"
    SEVERAL_SERVICES = "several services on one GPU"
    FREE_SERVICES = "services that are free to place"
    PINNED_SERVICES = "services pinned to GPUs"
    OPTIONAL_SERVICES = "services that may be left out for a price"
    GANGS = "gangs of workers"
    QUOTAS = "quotas"
    FLOORS = "floors (minimum quotas)"
    GPU_TYPES = "several GPU types"
    EXTRA_CONSTRAINTS = "constraints from plug-ins"
    MOVES = "move prices and budgets"
    BLAST_RADIUS = "blast radius"


def needed(instance: Instance) -> frozenset[Capability]:
    """Return what a solver must support to answer this instance as it is stated."""
    rules, table, tasks = instance.rules, instance.service_table, instance.task_table
    found = {
        Capability.SEVERAL_TASKS: rules.tasks_per_gpu > 1,
        Capability.SEVERAL_SERVICES: rules.services_per_gpu > 1,
        Capability.FREE_SERVICES: table is not None
        or any(s.pinned is None for s in instance.services),
        Capability.PINNED_SERVICES: any(s.pinned is not None for s in instance.services),
        Capability.OPTIONAL_SERVICES: (table is not None and not table.required)
        or any(not s.required for s in instance.services),
        Capability.GANGS: (tasks is not None and tasks.gang_size > 1)
        or any(t.gang_size > 1 for t in instance.tasks),
        Capability.QUOTAS: any(q.maximum is not None for q in rules.quotas),
        Capability.FLOORS: any(q.minimum is not None for q in rules.quotas),
        Capability.GPU_TYPES: len({p.gpu_type for p in instance.gpu_pools if p.schedulable}) > 1,
        Capability.EXTRA_CONSTRAINTS: bool(instance.constraints),
        Capability.MOVES: rules.moves is not None,
        Capability.BLAST_RADIUS: rules.blast_radius is not None,
    }
    return frozenset(capability for capability, is_needed in found.items() if is_needed)


def refuse(solver: str, capabilities: frozenset[Capability], instance: Instance) -> None:
    """Raise `UnsupportedError` when the instance needs what the solver does not support."""
    lacking = sorted(c.value for c in needed(instance) - capabilities)
    if lacking:
        raise UnsupportedError(
            f"solver {solver!r} does not support: {'; '.join(lacking)}",
            path="$",
            advice="choose another solver (the solver table in the documentation lists what each "
            "supports), or take the rule out of the instance.",
        )
