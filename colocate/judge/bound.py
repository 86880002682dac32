"""The bound that a certificate's prices prove, by pricing every column of the instance anew.

Weak duality, in the maximised form; see the formulation for the rows and the argument:

    bound = constant
          + sum over services and tasks of price times number
          + sum over gangs of count * omega
          + sum over quotas of price times limit
          + sum over GPUs of max(0, the best column's reduced value)

A GPU to which a required service is pinned holds it in every valid plan, so its best column is
taken from those that hold it.

Where a certificate cuts the plans into boxes, each box has a bound of its own, with the statements
of the box as further rows (`boxes`); every plan is in one of the boxes, so the weakest bound holds
for all.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

from colocate.instance import GpuPool, Instance
from colocate.judge.boxes import EVERYTHING, Box, check_splits
from colocate.judge.candidates import Evaluations, GpuKind, TooManyEvaluationsError
from colocate.judge.classes import (
    Prices,
    ServiceClass,
    TaskClass,
    best_of_each_kind,
    service_classes,
    task_classes,
)
from colocate.judge.columns import Pricer
from colocate.judge.findings import Findings
from colocate.judge.speeds import Grid, Speeds
from colocate.objectives.base import Objective
from colocate.plan import Certificate
from colocate.runs import count_ids, run_pairs

__all__ = ["EVALUATION_CAP", "Bounds", "certificate_bound"]

EVALUATION_CAP = 20_000_000
COMBINATION_CAP = 200_000_000
"""Combinations of knobs of sets whose slowdowns depend on them; these are quicker."""
_ROUNDING = 64 * 2.0**-52
_NOTHING = 1e-9


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
    sign = 1.0 if objective.sense == "max" else -1.0
    bounds = Bounds(instance, objective)
    try:
        whole = bounds.of(Prices.of(instance, certificate, findings), EVERYTHING)
    except TooManyEvaluationsError:
        return None, f"pricing all columns takes more than {EVALUATION_CAP} evaluations"
    if whole == -math.inf:
        return None, "no plan is valid: a GPU cannot hold the services pinned to it"
    note = bounds.note
    if certificate.kind == "tree":
        check_splits(instance, certificate, findings)
        bounds.allow_as_much_again()
        try:
            # Both hold, so the better one counts.
            whole = min(whole, _weakest(bounds, certificate, findings))
            note = note or bounds.note
        except TooManyEvaluationsError:
            note = f"pricing all boxes takes more than {EVALUATION_CAP} evaluations"
    if not math.isfinite(whole):
        return None, "the prices prove no finite bound"
    return sign * whole, note


def _weakest(bounds: Bounds, certificate: Certificate, findings: Findings) -> float:
    """Return the bound of the box that has the weakest: every plan is in one of them."""
    weakest = -math.inf
    said: set[str] = set()
    for path, leaf in certificate.leaves():
        stated = {name: getattr(leaf, name) for name in _LISTS if getattr(leaf, name) is not None}
        here = Findings()
        prices = Prices.of(bounds.instance, certificate.model_copy(update=stated), here)
        if stated:
            new = [v for v in here.violations() if v.message not in said]
            findings.extend(new)
            said |= {v.message for v in new}
        bound = bounds.of(prices, Box.of(path, leaf.splits))
        if math.isnan(bound):
            return math.inf
        weakest = max(weakest, bound)
    return weakest


_LISTS = ("services", "tasks", "levels", "quotas")


class Bounds:
    """Bounds on the maximised value of the plans in one box after the other."""

    def __init__(self, instance: Instance, objective: Objective) -> None:
        self.instance = instance
        self.objective = objective
        self._speeds = Speeds(instance)
        self._evaluations = Evaluations(EVALUATION_CAP, COMBINATION_CAP)

    def allow_as_much_again(self) -> None:
        """Start counting evaluations anew."""
        self._evaluations = Evaluations(EVALUATION_CAP, COMBINATION_CAP)

    @property
    def note(self) -> str:
        """Why the prices may prove more than was found."""
        return "" if self._evaluations.enough else _NOT_TIGHT.format(COMBINATION_CAP)

    def of(self, prices: Prices, box: Box) -> float:
        """Return the bound that prices prove for the plans of a box.

        Minus infinity where some GPU cannot hold what every plan of the box has there.
        """
        instance, rules = self.instance, self.instance.rules
        free, pinned, constant = service_classes(instance, prices, box)
        tasks, task_constant = task_classes(instance, self.objective, prices, box)
        constant += task_constant + prices.quota_worth + box.worth
        services = best_of_each_kind(free, lambda s: s.worth, rules.services_per_gpu)
        trained = best_of_each_kind(tasks, lambda t: -t.task_price, rules.tasks_per_gpu)
        pricer = Pricer(self._speeds, self.objective, rules, self._evaluations, box)
        bound = constant
        for kind, n in _kinds(instance, pinned, box).items():
            best = pricer.best(kind, services, trained)
            if best == -math.inf:
                return best
            bound += n * best
        lost = self._rounding(prices, box, free, tasks)
        # What is far below every tolerance is left out, so that a bound may be exactly 0.
        return bound if lost <= _NOTHING * max(1.0, abs(bound)) else bound + lost

    def _rounding(
        self,
        prices: Prices,
        box: Box,
        free: dict[ServiceClass, int],
        tasks: dict[TaskClass, int],
    ) -> float:
        """Return more than the arithmetic can have lost: prices may be huge and cancel out."""
        replicas = sum(free.values()) + sum(
            count_ids(ref.gpus) for s in self.instance.services for ref in s.pinned or ()
        )
        workers = sum(n * t.gang_size for t, n in tasks.items())
        gpus = sum(pool.size for pool in self.instance.gpu_pools)
        most = self.instance.rules.services_per_gpu + self.instance.rules.tasks_per_gpu
        units = replicas + 2 * workers + gpus * (1 + most)
        return _ROUNDING * (prices.largest * units + prices.quota_reach + box.at_stake * (1 + gpus))


def _kinds(instance: Instance, pinned: dict[str, ServiceClass], box: Box) -> dict[GpuKind, int]:
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
        grid, here = Grid.of(pool), box.pools(pool.id)
        for names, n in _stretches(pool, pins.get(pool.id, [])):
            kind = GpuKind(
                pool.gpu_type,
                pool.memory_gib - pool.reserve_gib,
                pool.max_clients,
                grid,
                _counted([pinned[name] for name in names]),
                here,
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
