"""Device memory: what the workloads of a GPU take together fits beside the reserve.

The memory of a workload depends on its batch; the configurator holds this row while it chooses the
batches, so there is nothing to prune here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from colocate.components import at_most
from colocate.constraints._residents import Holding, Resident, each_group
from colocate.constraints.base import PlainConstraint
from colocate.instance import Instance, Task
from colocate.models.memory import memory_per_process
from colocate.plan import Plan
from colocate.violation import Violation


class MemoryConstraint(PlainConstraint):
    """sum of processes * memory(batch) <= memory_gib - reserve_gib."""

    name: ClassVar[str] = "memory"

    def violations(self, instance: Instance, plan: Plan) -> Iterator[Violation]:
        """Yield GPUs whose memory is exceeded."""
        return each_group(instance, plan, lambda held: _broken(instance, held))


def _broken(instance: Instance, held: Holding) -> Iterator[Violation]:
    needed = []
    for resident in held.residents:
        each = _per_process(instance, held.pool.gpu_type, resident)
        if each is None:
            yield Violation(
                kind="memory",
                where=held.where,
                message=f"{resident.name}: its memory at batch {resident.batch} is unknown",
            )
            return
        needed.append(each * resident.entry.processes)
    room = held.pool.memory_gib - held.pool.reserve_gib
    if not at_most(sum(needed), room):
        parts = ", ".join(
            f"{r.name} {gib:.6g}" for r, gib in zip(held.residents, needed, strict=True)
        )
        yield Violation(
            kind="memory",
            where=held.where,
            message=f"needs {sum(needed):.6g} GiB ({parts}) of {room:.6g} GiB",
        )


def _per_process(instance: Instance, gpu_type: str, resident: Resident) -> float | None:
    """Return GiB of one process, or None when nobody knows."""
    entry = resident.entry
    if isinstance(entry, Task) and entry.memory_gib is not None:
        return entry.memory_gib
    profile = instance.profile(entry.profile, gpu_type)
    return None if profile is None else memory_per_process(profile, resident.batch)
