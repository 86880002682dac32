"""The bound that a certificate's prices prove, by pricing every column of the instance anew.

Weak duality, in the maximised form; see the formulation for the rows and the argument:

    bound = constant
          + sum over services and tasks of price times number
          + sum over gangs of count * omega
          + sum over quotas of price times limit
          + sum over GPUs of max(0, the best column's reduced value)

A GPU to which a required service is pinned holds it in every valid plan, so its best column is
taken from those that hold it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

from colocate.instance import GpuPool, Instance
from colocate.judge.candidates import Evaluations, GpuKind, TooManyEvaluationsError
from colocate.judge.classes import (
    Prices,
    ServiceClass,
    best_of_each_kind,
    service_classes,
    task_classes,
)
from colocate.judge.columns import Pricer
from colocate.judge.findings import Findings
from colocate.judge.speeds import Grid, Speeds
from colocate.objectives.base import Objective
from colocate.plan import Certificate
from colocate.runs import run_pairs

__all__ = ["EVALUATION_CAP", "certificate_bound"]

EVALUATION_CAP = 20_000_000
COMBINATION_CAP = 200_000_000
"""Combinations of knobs of sets whose slowdowns depend on them; these are quicker."""


_NOT_TIGHT = (
    "slowdowns depend on batches and shares, and trying all of them takes more than {} "
    "combinations: the smallest slowdowns count instead, and the bound may not be the tightest"
)


def certificate_bound(
    instance: Instance, certificate: Certificate, objective: Objective, findings: Findings
) -> tuple[float | None, str]:
    """Return the bound on the objective, in its own sense, or None and why there is none.

    A note beside a bound says why the prices may prove more than that.
    """
    with np.errstate(all="ignore"):  # what is not finite proves nothing
        return _bound(instance, certificate, objective, findings)


def _bound(
    instance: Instance, certificate: Certificate, objective: Objective, findings: Findings
) -> tuple[float | None, str]:
    prices = Prices.of(instance, certificate, findings)
    free, pinned, constant = service_classes(instance, prices)
    tasks, task_constant = task_classes(instance, objective, prices)
    constant += task_constant + prices.quota_worth
    rules = instance.rules
    services = best_of_each_kind(free, lambda s: s.worth, rules.services_per_gpu)
    trained = best_of_each_kind(tasks, lambda t: -t.task_price, rules.tasks_per_gpu)
    evaluations = Evaluations(EVALUATION_CAP, COMBINATION_CAP)
    pricer = Pricer(Speeds(instance), objective, rules, evaluations)
    bound = constant
    try:
        for kind, n in _kinds(instance, pinned).items():
            best = pricer.best(kind, services, trained)
            if best == -math.inf:
                return None, "no plan is valid: a GPU cannot hold the services pinned to it"
            bound += n * best
    except TooManyEvaluationsError:
        return None, f"pricing all columns takes more than {EVALUATION_CAP} evaluations"
    if not math.isfinite(bound):
        return None, "the prices prove no finite bound"
    note = "" if evaluations.enough else _NOT_TIGHT.format(COMBINATION_CAP)
    return (bound if objective.sense == "max" else -bound), note


def _kinds(instance: Instance, pinned: dict[str, ServiceClass]) -> dict[GpuKind, int]:
    """Return the kinds of schedulable GPUs with their numbers."""
    pins: dict[str, list[tuple[int, int, str]]] = {}
    for service in instance.services:
        for ref in service.pinned or ():
            runs = run_pairs(ref.gpus)
            pins.setdefault(ref.pool, []).extend((low, high, service.id) for low, high in runs)
    found: dict[GpuKind, int] = {}
    for pool in instance.gpu_pools:
        if not pool.schedulable:
            continue
        grid = Grid.of(pool)
        for names, n in _stretches(pool, pins.get(pool.id, [])):
            kind = GpuKind(
                pool.gpu_type,
                pool.memory_gib - pool.reserve_gib,
                pool.max_clients,
                grid,
                _counted([pinned[name] for name in names]),
            )
            found[kind] = found.get(kind, 0) + n
    return found


def _stretches(
    pool: GpuPool, pins: list[tuple[int, int, str]]
) -> list[tuple[tuple[str, ...], int]]:
    """Cut a pool where pinned services begin and end; return who is pinned there, and how many."""
    begins: dict[int, list[str]] = {pool.first: []}
    ends: dict[int, list[str]] = {}
    for low, high, name in pins:
        begins.setdefault(low, []).append(name)
        ends.setdefault(high + 1, []).append(name)
    cuts = sorted({*begins, *ends, pool.first + pool.size})
    here: set[str] = set()
    found = []
    for cut, following in pairwise(cuts):
        here -= set(ends.get(cut, ()))
        here |= set(begins.get(cut, ()))
        found.append((tuple(sorted(here)), following - cut))
    return found


def _counted(services: list[ServiceClass]) -> tuple[ServiceClass, ...]:
    """Return each class once, with its copies added up, in one order."""
    copies: dict[ServiceClass, int] = {}
    for service in services:
        copies[service] = copies.get(service, 0) + service.copies
    counted = (replace(service, copies=n) for service, n in copies.items())
    return tuple(sorted(counted, key=repr))
