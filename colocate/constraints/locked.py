"""Locked GPUs: they hold exactly what `current` has on them, at the same batches and shares.

The front door takes them out of the question before anything is compiled, so that there is nothing
to prune here; this is what the judge says of a plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from colocate.constraints.base import PlainConstraint
from colocate.instance import Instance
from colocate.placement import PlacedService, PlacedTask, PlacementGroup
from colocate.plan import Plan
from colocate.runs import ids_of
from colocate.violation import Violation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LockedConstraint(PlainConstraint):
    """What is on a locked GPU stays there."""

    name: ClassVar[str] = "locked"

    def violations(self, instance: Instance, plan: Plan) -> Iterator[Violation]:
        """Yield locked GPUs that hold something else."""
        locked = {
            (ref.pool, gpu) for ref in instance.rules.locked for gpu in ids_of(ref.gpus).tolist()
        }
        if not locked:
            return
        stays = _on(instance.current or (), locked)
        holds = _on(plan.placements, locked)
        for pool, gpu in sorted(locked):
            before, now = stays.get((pool, gpu), set()), holds.get((pool, gpu), set())
            if before != now:
                yield Violation(
                    kind="locked",
                    where=f"{pool}/{gpu}",
                    message=f"is locked with {_words(before)}, but the plan has {_words(now)}",
                )


Resident = tuple[str, str, int, int, int]
"""Kind, id, ordinal, batch, percentage."""


def _on(
    groups: Iterable[PlacementGroup], gpus: set[tuple[str, int]]
) -> dict[tuple[str, int], set[Resident]]:
    """Return what each of some GPUs holds."""
    pools = {pool for pool, _ in gpus}
    found: dict[tuple[str, int], set[Resident]] = {}
    for group in groups:
        if group.pool not in pools:
            continue
        residents: list[tuple[str, str, NDArray[np.int64], PlacedService | PlacedTask]]
        residents = [("service", s.service, ids_of(s.replicas), s) for s in group.services]
        residents += [("task", t.task, ids_of(t.workers), t) for t in group.tasks]
        for i, gpu in enumerate(ids_of(group.gpus).tolist()):
            if (group.pool, gpu) in gpus:
                found.setdefault((group.pool, gpu), set()).update(
                    (kind, name, int(ids[i]), placed.batch, placed.share_pct)
                    for kind, name, ids, placed in residents
                )
    return found


def _words(residents: set[Resident]) -> str:
    if not residents:
        return "nothing"
    shown = [
        f"{kind} {name} {ordinal} (batch {batch}, {share} %)"
        for kind, name, ordinal, batch, share in sorted(residents)
    ]
    more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
    return ", ".join(shown[:4]) + more
