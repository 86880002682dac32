"""What one more, or one less, of each thing is worth at the margin: the prices of a certificate.

With the certificate's prices p of services, tasks, gang levels and quotas, the prices of GPUs and
of gangs follow: each as low as it can be while no column, and no gang, is worth more than it pays.

    gpu g    max(0, max over columns c on g of  v_c - p (what c uses))
    gang t   max(0, max over levels l of t of   V_l - p (what l uses))

By weak duality the bound with one thing more (or one demand less) is at most the bound plus its
price. So a price says how much better plans could get at most, counted from the bound; it is the
slope of the linear relaxation at this point, and says nothing about large changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colocate.errors import PlanError
from colocate.instance import Instance
from colocate.plan import Certificate, Plan, Price
from colocate.prices import legal_prices
from colocate.problem import Problem, compile_problem

__all__ = ["Marginal", "Marginals", "marginal_values"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Marginal:
    """What one unit more, or one unit of a demand less, adds to the bound at most."""

    kind: str
    """`gpu`, `service`, `task`, `quota` or `floor`."""
    name: str
    """The pool, service, task or tenant."""
    change: str
    """What is meant, in words: `one more GPU`, `one replica less`, ..."""
    worth: float
    """At least 0, in the unit of the objective, whatever its sense."""


@dataclass(frozen=True, slots=True)
class Marginals:
    """All marginal values of a plan's certificate, the largest of each kind first."""

    rows: tuple[Marginal, ...]
    value: float
    bound: float
    """What the prices prove, recomputed."""
    sense: str

    @property
    def is_tight(self) -> bool:
        """Whether the bound is the plan's value, so that the slopes start at the plan itself."""
        return abs(self.bound - self.value) <= 1e-6 * max(1.0, abs(self.value))


def marginal_values(instance: Instance, plan: Plan) -> Marginals:
    """Return what the plan's certificate says about the worth of things.

    Raises
    ------
    PlanError
        When the plan has no certificate, or belongs to another instance.
    """
    if plan.instance_sha256 != instance.sha256:
        raise PlanError(
            "the plan is for another instance",
            path="$.instance_sha256",
            advice="give the instance that the plan was made for.",
        )
    if plan.certificate is None:
        raise PlanError(
            "the plan has no certificate, and so no prices",
            path="$.certificate",
            advice="solve again without constraints from plug-ins.",
        )
    problem = compile_problem(instance)
    prices = legal_prices(problem, _row_prices(problem, plan.certificate))
    gpu, gang, bound = _derived(problem, prices)
    rows = [
        *_gpus(problem, gpu),
        *_services(problem, prices),
        *_tasks(problem, prices, gang),
        *_quotas(problem, prices),
    ]
    kinds = ("gpu", "service", "task", "quota", "floor")
    rows.sort(key=lambda r: (kinds.index(r.kind), -r.worth, r.name))
    return Marginals(
        tuple(rows), plan.objective.value, problem.objective_of(bound), plan.objective.sense
    )


def _row_prices(problem: Problem, certificate: Certificate) -> Floats:
    """Return the certificate's prices as prices of the problem's rows."""
    classes, instance = problem.source.classes, problem.source.instance
    services = _by_class(certificate.services, instance.service_name, classes.services.entry_class)
    tasks = _by_class(certificate.tasks, instance.task_name, classes.tasks.entry_class)
    names = {instance.task_name(e): int(c) for e, c in enumerate(classes.tasks.entry_class)}
    levels = {
        (names[p.task], p.batch, p.rate): p.price for p in certificate.levels if p.task in names
    }
    quotas = {
        (p.tenant, p.unit): p.price if p.side == "maximum" else -p.price for p in certificate.quotas
    }
    prices = np.zeros(problem.rows.size)
    for row, label in enumerate(problem.rows.labels):
        if label.kind == "service":
            prices[row] = services.get(label.index, 0.0)
        elif label.kind == "task":
            prices[row] = tasks.get(label.index, 0.0)
        elif label.kind == "gang":
            at = problem.levels
            key = (int(at.task[label.index]), int(at.batch[label.index]), at.rate[label.index])
            prices[row] = -levels.get(key, 0.0)
        elif label.kind == "quota":
            quota = problem.source.quota_rows[label.index].quota
            if quota is not None:
                prices[row] = quotas.get((quota.tenant, quota.unit), 0.0)
    return prices


def _by_class(
    listed: Sequence[Price], name_of: Callable[[int], str], entry_class: NDArray[np.int64]
) -> dict[int, float]:
    stated = {p.id: p.price for p in listed}
    return {int(c): stated[n] for e, c in enumerate(entry_class) if (n := name_of(e)) in stated}


def _derived(problem: Problem, prices: Floats) -> tuple[Floats, Floats, float]:
    """Return the prices of GPU classes and gang classes, and the bound on the maximised value."""
    rows, n = problem.rows, problem.columns.size
    worth = np.concatenate([problem.columns.value, problem.levels.value])
    charged = np.bincount(
        rows.variable,
        weights=rows.coefficient * prices[rows.row],
        minlength=problem.n_variables,
    )
    reduced = worth - charged
    gpu, gang = np.zeros(problem.gpu_count.size), np.zeros(problem.task_count.size)
    np.maximum.at(gpu, problem.columns.gpu, reduced[:n])
    np.maximum.at(gang, problem.levels.task, reduced[n:])
    side = np.where(prices > 0, rows.upper, np.where(prices < 0, rows.lower, 0.0))
    side[prices == 0] = 0.0
    bound = prices @ side + gpu @ problem.gpu_count + gang @ problem.task_count
    return gpu, gang, float(bound)


def _gpus(problem: Problem, price: Floats) -> list[Marginal]:
    found: dict[str, float] = {}
    for g, gpu in enumerate(problem.source.classes.gpus):
        for pool, _ in gpu.members:
            # A GPU that comes to a pool has nothing pinned to it.
            if not gpu.pinned or pool not in found:
                found[pool] = float(price[g])
    return [Marginal("gpu", pool, "one more GPU", worth) for pool, worth in found.items()]


def _of_kind(problem: Problem, prices: Floats, kind: str) -> dict[int, float]:
    labels = problem.rows.labels
    return {x.index: float(prices[row]) for row, x in enumerate(labels) if x.kind == kind}


def _services(problem: Problem, prices: Floats) -> list[Marginal]:
    instance, classes = problem.source.instance, problem.source.classes
    by_class = _of_kind(problem, prices, "service")
    found = []
    for e, cls in enumerate(classes.services.entry_class.tolist()):
        price = by_class[cls]
        less = price < 0
        change = "one replica less" if less else "one replica more to place"
        if price != 0:
            found.append(Marginal("service", instance.service_name(e), change, abs(price)))
    return found


def _tasks(problem: Problem, prices: Floats, gang: Floats) -> list[Marginal]:
    instance, classes = problem.source.instance, problem.source.classes
    by_class = _of_kind(problem, prices, "task")
    found = []
    for e, cls in enumerate(classes.tasks.entry_class.tolist()):
        price = float(gang[cls]) if problem.gang_size[cls] > 1 else by_class[cls]
        if price > 0:
            found.append(Marginal("task", instance.task_name(e), "one more such task", price))
    return found


def _quotas(problem: Problem, prices: Floats) -> list[Marginal]:
    found = []
    for row, label in enumerate(problem.rows.labels):
        quota = problem.source.quota_rows[label.index].quota if label.kind == "quota" else None
        price = float(prices[row])
        if quota is None or price == 0:
            continue
        unit = "task" if quota.unit == "tasks" else "GPU of shares"
        if price > 0:
            found.append(Marginal("quota", quota.tenant, f"one {unit} more allowed", price))
        else:
            found.append(Marginal("floor", quota.tenant, f"one {unit} less due", -price))
    return found
