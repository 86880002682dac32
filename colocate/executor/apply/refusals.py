"""What is refused before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.errors import InputError
from colocate.executor.apply.actions import Step, gpus_of
from colocate.executor.errors import ForeignError

if TYPE_CHECKING:
    from colocate.executor.apply.observed import Observed
    from colocate.executor.apply.target import Target

__all__ = ["SLACK_GIB", "refuse_foreign", "refuse_missing", "refuse_overfull", "room_gib"]

SLACK_GIB = 1e-6
"""Rounding, not memory."""


def room_gib(observed: Observed, gpu: str) -> float:
    """Return the device memory of a GPU that is there for units."""
    return observed.facts[gpu].memory_mib / 1024 - observed.others_gib.get(gpu, 0.0)


def refuse_missing(observed: Observed, target: Target) -> None:
    """Refuse a target that speaks of GPUs which are not here."""
    gone = [gpu for gpu in target.scope if gpu not in observed.facts]
    if gone:
        raise InputError(
            f"GPU {gone[0]} is not on this node any more ({len(gone)} of {len(target.scope)} gone)",
            advice="look at 'nvidia-smi -L', and plan without the GPUs that are lost.",
        )


def refuse_overfull(observed: Observed, target: Target) -> None:
    """Refuse a target that does not fit in device memory."""
    for gpu in target.scope:
        needed = sum(unit.memory_gib for unit in target.units_on(gpu))
        if needed > room_gib(observed, gpu) + SLACK_GIB:
            raise InputError(
                f"GPU {gpu}: its units need {needed:.2f} GiB of device memory, "
                f"and it has {room_gib(observed, gpu):.2f} GiB for them",
                advice="correct the pool's memory_gib, or end what else uses the GPU.",
            )


def refuse_foreign(observed: Observed, steps: tuple[Step, ...]) -> None:
    """Refuse to work on GPUs where something that is not ours would be in the way."""
    touched = sorted({gpu for step in steps for gpu in gpus_of(step.action)})
    for gpu in touched:
        daemon = observed.daemon(gpu)
        if daemon.alive and not daemon.ours:
            raise ForeignError(
                f"GPU {gpu}: its MPS daemon was started by somebody else",
                advice="stop it, or take it over with --adopt.",
            )
        strangers = observed.foreign(gpu)
        if strangers:
            shown = ", ".join(str(c.pid) for c in strangers[:10])
            raise ForeignError(
                f"GPU {gpu}: {len(strangers)} MPS clients are not ours (pid {shown}), "
                "and they would have to share it with what is planned",
                advice="end them, or leave this GPU out of the plan; colocate never does.",
            )
