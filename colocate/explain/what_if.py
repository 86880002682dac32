"""What a change would bring: the plan before, the plan after, and the difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from colocate.errors import PlanError
from colocate.explain.changes import Change, apply_changes
from colocate.explain.counts import Shift, shift
from colocate.instance import Instance
from colocate.placement import PlacementGroup
from colocate.plan import Plan, PlanDiff, diff
from colocate.result import Limits, Result
from colocate.solve import solve
from colocate.verify import verify

__all__ = ["WhatIf", "whatif"]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """An answer to "what if"."""

    instance: Instance
    """The changed instance."""
    words: tuple[str, ...]
    """The changes, in words."""
    before: Plan | None
    """The plan as things are; None where there is none."""
    bound_before: float | None
    """No plan as things are is worth more (less, where the objective is minimised)."""
    after: Result
    """Of the changed instance. GPUs of pools that were split have the pieces' names."""
    difference: PlanDiff | None
    """What moves, with the pools' old names; None where one of the plans is missing."""
    shift: Shift | None
    """Tasks and replicas that are gained and lost."""

    @property
    def gain(self) -> float | None:
        """By how much the plan gets better: the change of the value, in its good direction.

        Better plans than the two may exist: `bound_before` and `after.bound` say how much better.
        """
        if self.before is None or self.after.plan is None:
            return None
        change = self.after.plan.objective.value - self.before.objective.value
        return change if self.before.objective.sense == "max" else -change


def whatif(
    instance: Instance,
    changes: Sequence[Change],
    *,
    plan: Plan | None = None,
    solver: str = "auto",
    limits: Limits | None = None,
    seed: int = 0,
    stop: Callable[[], bool] | None = None,
) -> WhatIf:
    """Solve an instance with changes, and compare with the plan as it is.

    Parameters
    ----------
    instance
        The question as it is.
    changes
        What changes: `AddGpus("a100", 2)`, `SetSlo("bert", 250)`, `Quarantine("a100", "3")`, ...
    plan
        The present plan; when left out, the instance is solved as it is.
    solver, limits, seed, stop
        As in `solve`, for each of the two.

    Raises
    ------
    InstanceError
        When a change names what is not there, or leaves an instance that contradicts itself.
    PlanError
        When the plan belongs to another instance, or breaks its rules.
    """
    applied = apply_changes(instance, changes)
    bound: float | None = None
    if plan is None:
        result = solve(instance, solver, limits=limits, seed=seed, stop=stop)
        plan, bound = result.plan, result.bound
    else:
        verdict = verify(instance, plan)
        if not verdict.ok:
            raise PlanError(
                f"the plan does not answer this instance: {verdict.violations[0]}",
                advice="give the plan of this instance, or none.",
            )
        bound = verdict.bound
    after = solve(applied.instance, solver, limits=limits, seed=seed, stop=stop)
    difference = moved = None
    if plan is not None and after.plan is not None:
        renamed = with_old_names(after.plan, applied.pool_names)
        difference = diff(plan, renamed)
        moved = shift(instance, plan, applied.instance, after.plan)
    words = tuple(c.words(instance) for c in changes)
    return WhatIf(applied.instance, words, plan, bound, after, difference, moved)


def with_old_names(plan: Plan, pool_names: dict[str, str]) -> Plan:
    """Return a plan with the pieces of split pools under the pools' names."""
    if not pool_names:
        return plan
    groups: list[PlacementGroup] = [
        g.model_copy(update={"pool": pool_names.get(g.pool, g.pool)}) for g in plan.placements
    ]
    return plan.model_copy(update={"placements": tuple(groups)})
