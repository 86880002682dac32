"""What a target leaves unsaid. Defaults are no promise: a loss is what the launch file states."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from colocate.export.launchers.job import Job, Order
from colocate.export.launchers.result import Loss
from colocate.launch import Program

__all__ = ["losses_of"]

_INSTEAD = {
    "ready": "nobody waits until it is ready",
    "batch": "its batch size changes with a new process only",
    "switch": "nobody sends requests to another process",
    "checkpoint": "its work is not saved before it is stopped",
    "stop": "it is stopped as the launcher does it",
    "restart": "it is started again as the launcher does it, or not at all",
    "pausable": "it is never halted",
    "log_mib": "what it writes goes where the launcher puts it, of any size",
}
"""Fields of a program that a launcher may not know, and what happens then."""


def losses_of(order: Order, *, kept: Collection[str] = (), more: Iterable[Loss] = ()) -> list[Loss]:
    """Return what is lost of every program, in order.

    Parameters
    ----------
    order
        What is exported.
    kept
        The fields that the target expresses.
    more
        Further losses.
    """
    found = set(more)
    for program in _programs(order.jobs):
        for field, instead in _INSTEAD.items():
            if field not in kept and _says(program, field):
                found.add(Loss(field, program.id, instead))
    return sorted(found)


def _programs(jobs: Iterable[Job]) -> list[Program]:
    return list({job.program.id: job.program for job in jobs}.values())


def _says(program: Program, field: str) -> bool:
    if field == "batch":
        return program.sets_batch_live
    if field == "pausable":
        return program.pausable
    return field in program.model_fields_set and getattr(program, field) is not None
