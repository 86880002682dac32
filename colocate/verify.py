"""The judge: is a plan right, what is it worth, and how good can any plan be.

Everything is worked out anew from the instance. This room and its helpers import nothing of the
compiler or the solvers, and use the models' plain-number faces only, so that a mistake there
cannot excuse itself here. What a plan breaks is returned as data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from colocate.constraints._residents import Reading, reading
from colocate.constraints.base import constraints_of
from colocate.entries import Entries, service_entries, task_entries
from colocate.instance import Instance, Task
from colocate.judge.bound import certificate_bound
from colocate.judge.findings import Findings
from colocate.judge.ids import check_ids
from colocate.judge.placement import PlacementJudge
from colocate.locked import bound_of_whole, free, locked_gpus, on_gpus
from colocate.objectives._gangs import placed_tasks, reference_rates
from colocate.objectives._worst import WorstPart, all_satisfied, is_worst, within
from colocate.objectives.base import Objective
from colocate.objectives.base import objective as objective_of
from colocate.plan import Certificate, Plan
from colocate.violation import Violation

__all__ = ["Verdict", "Violation", "verify"]

VALUE_TOLERANCE = 1e-7


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge found."""

    violations: tuple[Violation, ...]
    """What the plan breaks; of each kind at most the first twenty, and how many more there are."""
    objective: float | None
    """The plan's worth, recomputed; None when the plan is too broken to have one."""
    bound: float | None
    """No plan is worth more (less, where the objective is minimised): recomputed from the prices of
    the certificate. None when there is no certificate, or when that is too much work."""
    bound_note: str
    """Why there is no bound, or perhaps not the tightest; else empty."""

    @property
    def ok(self) -> bool:
        """Whether the plan breaks nothing."""
        return not self.violations


def verify(instance: Instance, plan: Plan) -> Verdict:
    """Judge a plan from the instance alone.

    Parameters
    ----------
    instance
        The question.
    plan
        The answer to judge. Nothing in it is believed.

    Returns
    -------
    Verdict
        What is wrong with the plan, its worth and its bound.

    Raises
    ------
    InputError
        When the instance names a component that does not exist or has wrong parameters.
    """
    findings = Findings()
    objective = objective_of(instance.objective)
    services, tasks = service_entries(instance), task_entries(instance)
    check_ids(instance, plan, services, tasks, findings)
    whole = findings.clean
    _unsupported(instance, findings)
    _same_instance(instance, plan, findings)
    judge = PlacementJudge(instance, findings)
    read = Reading(instance, plan)
    _placements(read, judge, findings)
    # What names something unknown has been written down, and is of no use to anybody else.
    readable = read.plan = plan.model_copy(update={"placements": tuple(read.groups)})
    with reading(read):
        for constraint in constraints_of(instance):
            findings.extend(constraint.violations(instance, readable))
    # There is no telling what a plan is worth that names things wrongly or predicts wrongly.
    scored = whole and judge.predictions_hold
    value = _value(instance, plan, objective, tasks, findings) if scored else None
    bound, note = _bound(instance, plan, objective, value, findings)
    return Verdict(findings.violations(), value, bound, note)


def _unsupported(instance: Instance, findings: Findings) -> None:
    rules = instance.rules
    for used, what in ((rules.moves is not None, "move prices and budgets"),):
        if used:
            message = f"the instance uses {what}, which this version cannot judge"
            findings.add("unsupported", "instance", message)


def _same_instance(instance: Instance, plan: Plan, findings: Findings) -> None:
    if plan.instance_sha256 != instance.sha256:
        findings.add(
            "instance",
            "plan",
            f"is for the instance with hash {plan.instance_sha256[:12]}..., this one has "
            f"{instance.sha256[:12]}...",
        )
    if plan.instance_name != instance.name:
        message = f"is for instance {plan.instance_name!r}, this one is {instance.name!r}"
        findings.add("instance", "plan", message)


def _placements(read: Reading, judge: PlacementJudge, findings: Findings) -> None:
    """Judge every group that names known things only; of groups that are alike and good, one."""
    broken: dict[int, bool] = {}
    for group, kind in zip(read.groups, read.kind, strict=True):
        if broken.get(kind, True):
            before = findings.count
            judge.judge(read.pools[group.pool], group, *read.entries(group))
            broken[kind] = findings.count > before


def _close(stated: float, found: float) -> bool:
    return math.isfinite(found) and abs(stated - found) <= _slack(found)


def _slack(value: float) -> float:
    return VALUE_TOLERANCE * max(1.0, abs(value))


def _value(
    instance: Instance,
    plan: Plan,
    objective: Objective,
    tasks: Entries[Task],
    findings: Findings,
) -> float | None:
    """Check name, sense and value of the objective and the totals; return the value."""
    stated = plan.objective
    if (stated.name, stated.sense) != (instance.objective.name, objective.sense):
        findings.add(
            "objective",
            "plan",
            f"states objective {stated.name} ({stated.sense}), the instance asks for "
            f"{instance.objective.name} ({objective.sense})",
        )
    with np.errstate(all="ignore"):  # what is not finite is reported below
        value = float(objective.score(instance, plan))
    if not _close(stated.value, value):
        findings.add("objective", "plan", f"states {stated.value:.9g}, but is worth {value:.9g}")
    _totals(instance, plan, tasks, findings)
    return value if math.isfinite(value) else None


def _totals(instance: Instance, plan: Plan, tasks: Entries[Task], findings: Findings) -> None:
    placed = placed_tasks(instance, plan, tasks)
    workers = tasks.integers("gang_size")[placed.entry] * placed.number
    relative = placed.rate / reference_rates(instance, tasks, placed.entry)
    n_tasks = int(placed.number.sum())
    n_replicas = sum(len(group.services) * group.count for group in plan.placements)
    found = {
        "gpus_used": sum(group.count for group in plan.placements),
        "gpus_shared": sum(
            group.count for group in plan.placements if len(group.services) + len(group.tasks) > 1
        ),
        "replicas_placed": n_replicas,
        "replicas_missing": int(service_entries(instance).integers("replicas").sum()) - n_replicas,
        "tasks_placed": n_tasks,
        "tasks_unplaced": int(tasks.integers("count").sum()) - n_tasks,
        "normalised_throughput": float((workers * relative).sum()),
    }
    for name, value in found.items():
        stated = getattr(plan.totals, name)
        if stated != value and (isinstance(value, int) or not _close(stated, value)):
            findings.add("totals", "plan", f"states {name} {stated:.9g}, but it is {value:.9g}")


def _bound(
    instance: Instance,
    plan: Plan,
    objective: Objective,
    value: float | None,
    findings: Findings,
) -> tuple[float | None, str]:
    """Recompute the bound from the certificate's prices and hold the stated one against it."""
    certificate = plan.certificate
    if certificate is None:
        return None, "the plan has no certificate"
    if findings.any_of("unsupported"):
        return None, "the instance uses rules that this version cannot judge"
    if instance.rules.locked:
        return _bound_beside_locked(instance, plan, certificate, objective, value, findings)
    if is_worst(objective):
        return _worst_bound(instance, certificate, objective, value, findings)
    bound, note = certificate_bound(instance, certificate, objective, findings)
    if bound is None:
        return None, note
    _hold_against(instance, certificate, bound, note, value, objective, findings)
    return bound, note


def _worst_bound(
    instance: Instance,
    certificate: Certificate,
    objective: WorstPart,
    value: float | None,
    findings: Findings,
) -> tuple[float | None, str]:
    """Return the level that the certificate's prices rule out, if they do.

    They are prices of the question whether everybody can keep to that level: a bound on how many
    can, which must be below all.
    """
    level = certificate.bound
    if level < 0:
        return level, ""
    question = within(instance, level)
    most, note = certificate_bound(
        question, certificate, objective_of(question.objective), findings
    )
    if most is None:
        return None, note
    everybody = all_satisfied(instance, objective, level)
    if most >= everybody - _slack(everybody):
        if not note:
            findings.add(
                "certificate",
                "plan",
                f"says that not all of {everybody} tasks can keep to {level:.9g}, but its prices "
                f"allow {most:.9g}",
            )
        return None, note or "the prices do not rule the stated level out"
    if value is not None and findings.clean and value < level - _slack(level):
        findings.add(
            "certificate",
            "plan",
            f"is worth {value:.9g}, below the level {level:.9g} that its prices rule out: "
            f"objective {instance.objective.name} contradicts itself",
        )
    return level, note


def _bound_beside_locked(
    instance: Instance,
    plan: Plan,
    certificate: Certificate,
    objective: Objective,
    value: float | None,
    findings: Findings,
) -> tuple[float | None, str]:
    """Return the bound on the whole: that on the rest, and what the locked GPUs add.

    The certificate's prices, and of a worst case its bound, are those of the rest.
    """
    if value is None or findings.any_of("locked"):
        return None, "what stays on the locked GPUs is not worth what the plan says"
    freed = free(instance)
    held = plan.model_copy(
        update={"placements": tuple(on_gpus(plan.placements, locked_gpus(instance)))}
    )
    if is_worst(objective):
        bound, note = _worst_bound(freed.instance, certificate, objective, None, findings)
    else:
        bound, note = certificate_bound(freed.instance, certificate, objective, findings)
    if bound is None:
        return None, note
    bound = bound_of_whole(instance, freed, objective, held, bound)
    _hold_against(instance, certificate, bound, note, value, objective, findings)
    return bound, note


def _hold_against(
    instance: Instance,
    certificate: Certificate,
    bound: float,
    note: str,
    value: float | None,
    objective: Objective,
    findings: Findings,
) -> None:
    """Hold the stated bound, and the plan's worth, against what the prices prove."""
    sign = 1.0 if objective.sense == "max" else -1.0
    slack = _slack(bound)
    # Written so that a stated bound which is not a number is rejected too. Where the judge could
    # not price all columns exactly (see the note), it cannot say that the prices prove less.
    if not note and not sign * certificate.bound >= sign * bound - slack:
        findings.add(
            "certificate",
            "plan",
            f"states the bound {certificate.bound:.9g}, but its prices prove {bound:.9g} only",
        )
    if value is not None and findings.clean and sign * value > sign * bound + slack:
        findings.add(
            "certificate",
            "plan",
            f"is worth {value:.9g}, beyond the bound {bound:.9g}: objective "
            f"{instance.objective.name} contradicts itself",
        )
