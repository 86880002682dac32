"""The configurator against enumeration of every percentage and batch, in plain numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given

from colocate.capability import Capability
from colocate.classes import GpuClass, classify
from colocate.columns import _sets, _shapes
from colocate.components import at_most
from colocate.configure import MAX_WORK, Configurator
from colocate.errors import TooLargeError
from colocate.instance import Instance, Service, Task
from colocate.models.bounds import relative_error
from colocate.models.curves import rate_alone
from colocate.models.interference import slowdown
from colocate.models.memory import memory_per_process
from colocate.models.slo import slo_model
from colocate.objectives.base import TaskFacts, objective
from colocate.problem import compile_problem
from colocate.task_facts import task_facts
from colocate.testing import any_instance
from colocate.testing._plain_model import progress
from tests.helpers import instance, profile


def configurators(given_instance: Instance) -> list[Configurator]:
    classes = classify(given_instance)
    facts = task_facts(given_instance, classes.tasks.representative)
    slo, value = slo_model(given_instance.slo_model), objective(given_instance.objective)
    return [Configurator(given_instance, classes, g, slo, value, facts) for g in classes.gpus]


def percentages(where: Instance, gpu: GpuClass) -> list[tuple[int, int, int]]:
    """Every percentage of the GPU class with what it gives and takes, straight from its pool."""
    pool = where.pool(gpu.members[0][0])
    if pool.measured_sms is not None:
        return [(m.share_pct, m.sms, m.sms) for m in pool.measured_sms]
    n = pool.sm_count
    return [(q, q * n // 100, -(-q * n // 100)) for q in range(1, 101) if q * n // 100]


def tabulated(where: Instance, gpu_type: str, names: list[str]) -> bool:
    """Whether a slowdown between two of these depends on their knobs."""
    met = {(a, b) for i, a in enumerate(names) for j, b in enumerate(names) if i != j}
    return any(
        p.table is not None and p.gpu_type == gpu_type and (p.victim, p.neighbour) in met
        for p in where.interference.pairs
    )


class Enumeration:
    """All knobs of one set of co-tenants, one by one."""

    def __init__(
        self, where: Instance, gpu: GpuClass, services: list[Service], tasks: list[Task]
    ) -> None:
        self.where, self.gpu, self.services, self.tasks = where, gpu, services, tasks
        self.slo = slo_model(where.slo_model)
        self.shares = percentages(where, gpu)

    def company(self, i: int) -> tuple[float, float] | None:
        """Slowdown of workload i and its bound."""
        names = [s.profile for s in self.services] + [t.profile for t in self.tasks]
        found = slowdown(
            self.where.interference,
            self.gpu.gpu_type,
            names[i],
            names[:i] + names[i + 1 :],
            self.where.confidence,
        )
        return None if found is None else (found.mean, found.high)

    def service_knobs(self, i: int) -> list[tuple[int, float]]:
        """(multiprocessors, memory) of every batch and percentage that meets the SLO."""
        s, company = self.services[i], self.company(i)
        p = self.where.profile(s.profile, self.gpu.gpu_type)
        if p is None or company is None:
            return []
        error = relative_error(p.rate_error, self.where.confidence)
        found = []
        for b in (x.batch for x in p.curve.batches):
            memory = memory_per_process(p, b)
            if (s.batches is not None and b not in s.batches) or memory is None:
                continue
            for q, lo, hi in self.shares:
                rate = rate_alone(p, b, 100 * lo / self.gpu.sm_count) or 0.0
                low = rate * max(0.0, 1 - error) / company[1]
                if q < s.min_share_pct or low <= 0 or math.isinf(company[1]):
                    continue
                tau, tau_hi = b * company[0] / rate, b / low
                asked = s.rate_rps, s.slo_ms, s.slo_percentile
                if self.slo.judge(b, tau, tau_hi, *asked).allowed:
                    found.append((hi, memory * s.processes))
        return found

    def task_knobs(self, i: int) -> list[tuple[int, float, float, int]]:
        """(multiprocessors, memory, rate) of every percentage."""
        t, company = self.tasks[i], self.company(len(self.services) + i)
        p = self.where.profile(t.profile, self.gpu.gpu_type)
        if p is None or company is None:
            return []
        found = []
        for b in t.batches or (t.batch,):
            memory = t.memory_gib or memory_per_process(p, b)
            if memory is None:
                continue
            for _, lo, hi in self.shares:
                rate = rate_alone(p, b, 100 * lo / self.gpu.sm_count) or 0.0
                if rate > 0:
                    made = progress(t, b, rate / company[0])
                    found.append((hi, memory * t.processes, made, b if t.gang_size > 1 else 0))
        return found

    def outcomes(self) -> list[tuple[float, ...]] | None:
        """Progress of the tasks, then the batches of gangs, for every allowed choice of knobs.

        None when there are too many.
        """
        services = [sorted(set(self.service_knobs(i))) for i in range(len(self.services))]
        tasks = [sorted(set(self.task_knobs(i))) for i in range(len(self.tasks))]
        if math.prod([len(k) for k in services] + [len(k) for k in tasks]) > 3000:
            return None
        found = set()
        for choice in itertools.product(*services, *tasks):
            if sum(k[0] for k in choice) <= self.gpu.sm_count and at_most(
                sum(k[1] for k in choice), self.gpu.memory_gib
            ):
                mine = choice[len(services) :]
                found.add((*(k[2] for k in mine), *(k[3] for k in mine)))
        return sorted(found)


def value_of(
    where: Instance, tasks: list[Task], facts: TaskFacts, index: list[int], rates: tuple[float, ...]
) -> float:
    """Worth of single tasks at these rates."""
    goal = objective(where.objective)
    total = 0.0
    for t, i, r in zip(tasks, index, rates, strict=True):
        one = TaskFacts(t.weight, t.gang_size, t.batch, float(np.asarray(facts.reference_rate)[i]))
        total += float(goal.placed_value(one, np.array(r)))
    return total


@given(any_instance())
def test_settings_equal_enumeration(drawn: Instance) -> None:
    """A set has a setting just when some knobs fit, and its best setting is the best there is."""
    for at in configurators(drawn):
        classes = at.classes
        for n_services, n_tasks in _shapes(drawn):
            sets = _sets(classes, at, n_services, n_tasks)[:8]
            found = at.settings(sets, n_services)
            for i, row in enumerate(sets.tolist()):
                services = [classes.services.representative[s] for s in row[:n_services]]
                tasks = [classes.tasks.representative[t] for t in row[n_services:]]
                names = [w.profile for w in (*services, *tasks)]
                if tabulated(drawn, at.gpu.gpu_type, names):
                    continue  # see test_configure_coupled
                truth = Enumeration(drawn, at.gpu, services, tasks).outcomes()
                batch = np.where([t.gang_size > 1 for t in tasks], found.batch[:, n_services:], 0)
                both = np.hstack([found.rate[:, n_services:], batch])[found.set_index == i]
                mine = [tuple(r) for r in both.tolist()]
                if truth is not None:
                    compare(drawn, at, tasks, row[n_services:], truth, mine)


Rates = list[tuple[float, ...]]


def compare(
    where: Instance,
    at: Configurator,
    tasks: list[Task],
    index: list[int],
    truth: Rates,
    mine: Rates,
) -> None:
    """Hold the rates of the settings against all rates that some knobs give."""
    assert bool(truth) == bool(mine), (index, truth, mine)
    if not truth:
        return
    attained = np.array(truth).reshape(len(truth), -1)
    chosen = np.array(mine).reshape(len(mine), -1)
    for rates in chosen:
        assert np.isclose(attained, rates, rtol=1e-9).all(axis=1).any()
    if any(t.gang_size > 1 for t in tasks):
        # Whatever its members can attain must be reached by some setting.
        n = len(tasks)
        for one in attained:
            as_quick = (chosen[:, :n] >= one[:n] * (1 - 1e-9)).all(axis=1)
            assert (as_quick & (chosen[:, n:] == one[n:]).all(axis=1)).any()
    else:
        facts = task_facts(where, at.classes.tasks.representative)
        best = max(value_of(where, tasks, facts, index, r[: len(tasks)]) for r in truth)
        got = max(value_of(where, tasks, facts, index, r[: len(tasks)]) for r in mine)
        assert got == pytest.approx(best, rel=1e-9, abs=1e-9)


def single(
    at: Configurator, sets: list[list[int]], n_services: int
) -> list[tuple[list[int], list[int]]]:
    found = at.settings(np.array(sets), n_services)
    shares = at.gpu.grid.share_pct
    return [(b.tolist(), shares[g].tolist()) for b, g in zip(found.batch, found.grid, strict=True)]


def test_the_service_gets_the_least_share_and_the_task_the_rest() -> None:
    """10 samples/s within 300 ms at batch 1 need 16 samples/s, that is half of the GPU."""
    (at,) = configurators(instance())
    assert single(at, [[0, 0]], 1) == [([1, 8], [50, 50])]


def test_a_service_alone_gets_the_whole_gpu() -> None:
    """Without company the share with the lowest latency bound is chosen, not the least."""
    (at,) = configurators(instance())
    assert single(at, [[0]], 1) == [([1], [100])]


def test_a_curve_that_falls_is_not_given_more() -> None:
    """Where the rate falls with the share, the best share is taken, not the largest."""
    profiles = [
        profile("net", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0}),
        profile("train", "A", "training", {8: [10.0, 40.0, 30.0, 35.0]}, {8: 4.0}),
    ]
    (at,) = configurators(instance(profiles=profiles))
    assert single(at, [[0]], 0) == [([8], [50])]


def test_memory_decides_between_batches() -> None:
    """The batch that needs the smaller share is left when its memory does not fit."""
    rates = {1: [8.0, 16.0, 24.0, 32.0], 2: [30.0, 40.0, 50.0, 60.0]}
    service = [{"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0}]
    for two, expected in ((10.0, ([2, 8], [25, 75])), (12.5, ([1, 8], [50, 50]))):
        profiles = [
            profile("net", "A", "inference", rates, {1: 2.0, 2: two}),
            profile("train", "A", "training", {8: [10.0, 20.0, 30.0, 40.0]}, {8: 4.0}),
        ]
        (at,) = configurators(instance(profiles=profiles, services=service))
        assert single(at, [[0, 0]], 1) == [expected]


def test_no_bound_at_this_confidence_means_no_service() -> None:
    """A service without an error bound cannot be promised anything beyond the mean."""
    (at,) = configurators(instance(confidence=0.9, interference={"default_slowdown": 1.0}))
    assert single(at, [[0]], 1) == []
    assert single(at, [[0]], 0) == [([8], [100])]


def test_unknown_company_is_kept_apart() -> None:
    """Without a pair entry or a constant two workloads are not put together."""
    (at,) = configurators(instance(interference={}))
    assert single(at, [[0, 0]], 1) == []
    assert single(at, [[0]], 1) == [([1], [100])]


def test_too_much_work_is_refused() -> None:
    """More settings than can be looked at are refused, with the counts and what to change."""
    tasks = [{"id": f"t{i}", "profile": "train", "batch": 8, "weight": 1.0 + i} for i in range(40)]
    pool = {"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 900.0, "sm_count": 100}
    big = instance(
        gpu_pools=[pool],
        services=[],
        tasks=tasks,
        rules={"services_per_gpu": 0, "tasks_per_gpu": 4},
    )
    assert Capability.SEVERAL_TASKS in compile_problem(instance(rules={"tasks_per_gpu": 2})).needed
    with pytest.raises(TooLargeError, match="settings each") as caught:
        compile_problem(big)
    assert caught.value.advice is not None
    assert MAX_WORK > 0
