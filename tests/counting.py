"""How many plans of each solver the judge has seen in a run; printed at its end."""

from __future__ import annotations

from collections import Counter

from colocate.result import Reason, Result

PLANS: Counter[str] = Counter()
"""Plans returned, by solver, since they were last taken."""
INVALID: Counter[str] = Counter()
"""Answers that the judge rejected."""


def count(result: Result) -> Result:
    """Count an answer, and return it."""
    PLANS[result.solver] += result.plan is not None
    INVALID[result.solver] += bool(result.violations) or result.termination.reason is Reason.ERROR
    return result


def take() -> dict[str, tuple[int, int]]:
    """Return plans and rejected answers by solver, and begin anew."""
    found = {name: (PLANS[name], INVALID[name]) for name in {*PLANS, *INVALID}}
    PLANS.clear()
    INVALID.clear()
    return found
