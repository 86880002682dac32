"""Sentences about a plan that the command line and the HTML page share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.result import relative_gap

if TYPE_CHECKING:
    from colocate.plan import Plan
    from colocate.result import Termination

__all__ = [
    "CLOSED",
    "OBJECTIVES",
    "number",
    "of",
    "percent",
    "plural",
    "quality",
    "relative_gap",
    "shorten",
    "termination_words",
    "totals_words",
]

CLOSED = 1e-6
"""Below this relative gap a plan is called optimal."""

OBJECTIVES = {
    "throughput": "training throughput in whole-GPU equivalents",
    "iteration_time": "seconds for one iteration of every task, charges included",
    "degradation": "how much slower than alone, over all tasks, charges included",
    "active_gpus": "GPUs that hold anything, charges included",
    "max_slowdown": "how much slower than alone, of the task that is slowed down most",
    "finish_time_fairness": "how much later than with an even share the unluckiest task finishes",
    "within": "tasks that are no worse off than the level",
}
"""What the built-in objectives measure, in words."""


def number(value: float) -> str:
    """Return a number with the digits that a reader can use."""
    return f"{value:,.0f}" if 10_000 <= abs(value) < 10_000_000 else f"{value:.4g}"


def percent(part: float) -> str:
    """Return a share as percent; small but not zero is never shown as 0."""
    value = 100 * part
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return f"{value:.0f} %" if value == round(value) or value >= 99.95 else f"{value:.1f} %"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Return `1 GPU`, `2 GPUs`, `1,200 GPUs`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def of(part: int, whole: int, noun: str) -> str:
    """Return `3 of 5 GPUs`."""
    return f"{part:,} of {plural(whole, noun)}"


def shorten(text: str, length: int) -> str:
    """Cut a text to a length, with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def quality(objective: float, bound: float | None, sense: str) -> str:
    """Say how good a plan is, from a bound that holds for every plan."""
    if bound is None:
        return "No bound is known: better plans may exist."
    if relative_gap(objective, bound) <= CLOSED:
        return "Proven optimal: no plan can be better."
    if (bound < objective) == (sense == "max"):
        return f"The bound, {number(bound)}, contradicts the plan's own worth: do not trust it."
    if abs(objective) < 1e-9:
        return f"No plan can be better than {number(bound)}."
    better = percent(abs(bound - objective) / abs(objective))
    return f"No plan can be more than {better} better: the bound is {number(bound)}."


_REASONS = {
    "optimal": "optimal",
    "feasible": "a valid plan, not proven optimal",
    "infeasible": "infeasible: no plan meets what the instance requires",
    "no_solution_found": "no plan found",
    "error": "the solver failed",
}
_LIMITS = {
    "none": "",
    "time": "stopped at the time limit",
    "memory": "stopped at the memory limit",
    "interrupted": "interrupted",
}


def termination_words(termination: Termination, gap: float | None = None) -> str:
    """Say how a solve ended; with a gap left, optimal is only the solver's claim."""
    reason = _REASONS[termination.reason.value]
    if termination.reason.value == "optimal" and (gap is None or gap > CLOSED):
        reason = "optimal by the solver's own account, which the bound does not prove"
    limit = _LIMITS[termination.limit.value]
    return f"{reason}; {limit}" if limit else reason


def totals_words(plan: Plan) -> list[tuple[str, str]]:
    """Return label and sentence for what is placed and what is not."""
    t = plan.totals
    lines = [("GPUs", f"{plural(t.gpus_used, 'GPU')} in use, {t.gpus_shared:,} of them shared")]
    replicas = t.replicas_placed + t.replicas_missing
    if replicas:
        lines.append(("Inference", f"{of(t.replicas_placed, replicas, 'replica')} placed"))
    tasks = t.tasks_placed + t.tasks_unplaced
    if tasks:
        lines.append(
            (
                "Training",
                (
                    f"{of(t.tasks_placed, tasks, 'task')} placed, at the pace of "
                    f"{number(t.normalised_throughput)} whole GPUs"
                ),
            )
        )
    return lines
