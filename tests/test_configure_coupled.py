"""Sets whose slowdowns depend on the knobs, against enumeration of all knobs in plain numbers."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings

import colocate as co
from colocate.classes import GpuClass
from colocate.columns import _sets, _shapes
from colocate.components import at_most
from colocate.configure import Configurator
from colocate.errors import TooLargeError
from colocate.instance import Instance, Service, Task
from colocate.models.bounds import relative_error
from colocate.models.curves import rate_alone
from colocate.models.interference import Knobs, slowdown
from colocate.models.memory import memory_per_process
from colocate.models.slo import slo_model
from colocate.task_facts import task_facts
from colocate.testing import instances, solve_by_enumeration
from colocate.testing._plain_model import progress
from tests.helpers import instance, profile
from tests.test_configure import configurators, percentages, single, tabulated, value_of

MOST_CHOICES = 1500


class Point(NamedTuple):
    """One workload at one batch and percentage."""

    batch: int
    percent: int
    lo: int
    hi: int
    memory_gib: float
    rate: float
    rate_lo: float


class Outcome(NamedTuple):
    """What a choice of all knobs comes to."""

    gains: tuple[float, ...]
    """Value of single tasks, then the progress of gang workers."""
    batches: tuple[int, ...]
    """Of gang workers."""
    shares: tuple[int, ...]
    """Percentages of each tenant whose shares are counted."""


class Enumeration:
    """All knobs of one set of co-tenants, all combinations."""

    def __init__(self, where: Instance, at: Configurator, row: list[int], n_services: int) -> None:
        self.where, self.at, self.gpu = where, at, at.gpu
        classes = at.classes
        self.index = row[n_services:]
        self.services: list[Service] = [
            classes.services.representative[s] for s in row[:n_services]
        ]
        self.tasks: list[Task] = [classes.tasks.representative[t] for t in self.index]
        self.entries: list[Service | Task] = [*self.services, *self.tasks]
        self.names = [w.profile for w in self.entries]
        self.counted = sorted({q.tenant for q in where.rules.quotas if q.unit == "gpu_share"})

    def points(self, entry: Service | Task) -> list[Point]:
        p = self.where.profile(entry.profile, self.gpu.gpu_type)
        if p is None:
            return []
        found = []
        error = relative_error(p.rate_error, self.where.confidence)
        for b in (x.batch for x in p.curve.batches):
            memory = memory_per_process(p, b)
            if isinstance(entry, Task):
                allowed, least = b in (entry.batches or (entry.batch,)), 1
                memory = entry.memory_gib or memory
            else:
                allowed, least = entry.batches is None or b in entry.batches, entry.min_share_pct
            for q, lo, hi in percentages(self.where, self.gpu):
                rate = rate_alone(p, b, 100 * lo / self.gpu.sm_count) or 0.0
                if memory is not None and rate > 0 and allowed and q >= least:
                    gib = memory * entry.processes
                    found.append(Point(b, q, lo, hi, gib, rate, rate * max(0.0, 1 - error)))
        if isinstance(entry, Task) and entry.tenant in self.counted:
            return found
        # Percentages that give and take the same are the same, unless shares are counted.
        return list({(x.batch, x.lo, x.hi): x for x in reversed(found)}.values())

    def outcomes(self) -> set[Outcome] | None:
        """What every allowed choice comes to; None when there are too many choices."""
        points = [self.points(e) for e in self.entries]
        if math.prod(len(p) for p in points) > MOST_CHOICES:
            return None
        found = set()
        for choice in itertools.product(*points):
            if sum(x.hi for x in choice) > self.gpu.sm_count:
                continue
            if not at_most(sum(x.memory_gib for x in choice), self.gpu.memory_gib):
                continue
            outcome = self.outcome(choice)
            if outcome is not None:
                found.add(outcome)
        return found

    def outcome(self, choice: tuple[Point, ...]) -> Outcome | None:
        where, sms = self.where, self.gpu.sm_count
        knobs = [Knobs(x.batch, 100 * x.lo / sms, 100 * x.hi / sms) for x in choice]
        rates = []
        for i, x in enumerate(choice):
            others = self.names[:i] + self.names[i + 1 :]
            slower = slowdown(
                where.interference,
                self.gpu.gpu_type,
                self.names[i],
                others,
                where.confidence,
                at=knobs[i],
                beside=knobs[:i] + knobs[i + 1 :],
            )
            if slower is None:
                return None
            entry = self.entries[i]
            rate = x.rate / slower.mean
            rates.append(progress(entry, x.batch, rate) if isinstance(entry, Task) else rate)
            if i < len(self.services):
                s, low = self.services[i], x.rate_lo / slower.high
                tau_hi = x.batch / low if low > 0 else math.inf
                asked = s.rate_rps, s.slo_ms, s.slo_percentile
                model = slo_model(where.slo_model)
                if low <= 0 or not model.judge(x.batch, tau_hi, tau_hi, *asked).allowed:
                    return None
        return self.summary(rates, [x.percent for x in choice], [x.batch for x in choice])

    def summary(self, rates: list[float], percents: list[int], batches: list[int]) -> Outcome:
        n = len(self.services)
        mine = list(zip(self.tasks, self.index, rates[n:], percents[n:], strict=True))
        singles = [(t, i, r) for t, i, r, _ in mine if t.gang_size == 1]
        tasks, index, at = ([list(c) for c in zip(*singles, strict=True)]) or ([], [], [])
        facts = task_facts(self.where, self.at.classes.tasks.representative)
        value = value_of(self.where, tasks, facts, index, tuple(at))
        gangs = [r for t, _, r, _ in mine if t.gang_size > 1]
        shares = (sum(q for t, _, _, q in mine if t.tenant == name) for name in self.counted)
        trained = zip(self.tasks, batches[n:], strict=True)
        of_gangs = tuple(b for t, b in trained if t.gang_size > 1)
        return Outcome((value, *gangs), of_gangs, tuple(shares))


@given(instances(slowdown_tables=True))
def test_settings_equal_enumeration(drawn: Instance) -> None:
    """Every setting is allowed, and no allowed choice beats all settings."""
    for at in configurators(drawn):
        for n_services, n_tasks in _shapes(drawn):
            sets = _sets(at.classes, at, n_services, n_tasks)[:6]
            found = at.settings(sets, n_services)
            for i, row in enumerate(sets.tolist()):
                plain = Enumeration(drawn, at, row, n_services)
                if tabulated(drawn, at.gpu.gpu_type, plain.names):
                    compare(plain, found.set_index == i, found, at.gpu)


def compare(plain: Enumeration, mine: Any, found: Any, gpu: GpuClass) -> None:
    truth = plain.outcomes()
    if truth is None:
        return
    chosen = [
        plain.summary(rate, gpu.grid.share_pct[grid].tolist(), batch)
        for rate, grid, batch in zip(
            found.rate[mine].tolist(), found.grid[mine], found.batch[mine].tolist(), strict=True
        )
    ]
    assert bool(truth) == bool(chosen)
    for setting in chosen:
        same = (one for one in truth if one.shares == setting.shares)
        assert any(reaches(one, setting) and reaches(setting, one) for one in same), setting
    floor = any(q.minimum is not None for q in plain.where.rules.quotas if q.unit == "gpu_share")
    for one in truth:
        beaten = (
            s.shares == one.shares
            if floor
            else all(a <= b for a, b in zip(s.shares, one.shares, strict=True))
            for s in chosen
            if reaches(s, one)
        )
        assert any(beaten), (one, chosen)


def reaches(a: Outcome, b: Outcome) -> bool:
    """Whether a gains no less than b, with gangs at the same batches."""
    return a.batches == b.batches and all(
        x >= y - 1e-9 * max(1.0, abs(y)) for x, y in zip(a.gains, b.gains, strict=True)
    )


# -- by hand -----------------------------------------------------------------------------------


def with_table(victim: str, neighbour: str, **table: Any) -> dict[str, Any]:
    axes = {
        "victim_batch": [1],
        "neighbour_batch": [1],
        "victim_share_pct": [100.0],
        "neighbour_share_pct": [100.0],
    }
    pair = {"gpu_type": "A", "victim": victim, "neighbour": neighbour}
    return {"default_slowdown": 1.0, "pairs": [{**pair, "table": {**axes, **table}}]}


def test_a_service_takes_more_than_it_needs_where_that_speeds_the_task_up() -> None:
    """The least share, 50 %, leaves the task 20 samples/s over 2; beside 75 % it has 10 over 1/2.

    At 51 % the service is sure of no more than at 50 %, but may take three of four: that counts.
    """
    over = {"neighbour_share_pct": [50.0, 75.0], "slowdown": [2.0, 0.5]}
    (at,) = configurators(instance(interference=with_table("train", "net", **over)))
    assert single(at, [[0, 0]], 1) == [([1, 8], [51, 25])]


def test_a_task_takes_less_than_it_could_where_that_saves_the_service() -> None:
    """Beside 50 % of training the service misses its SLO at 50 %, beside 25 % it holds it."""
    over = {"neighbour_share_pct": [25.0, 50.0], "slowdown": [1.0, 1.6]}
    (at,) = configurators(instance(interference=with_table("net", "train", **over)))
    assert single(at, [[0, 0]], 1) == [([1, 8], [50, 25])]


def test_the_batch_of_a_service_is_chosen_for_its_neighbour() -> None:
    """Both batches hold the SLO at the same share; the task prefers the company of batch 2."""
    profiles = [
        profile("net", "A", "inference", {1: [30.0] * 4, 2: [30.0] * 4}, {1: 2.0}),
        profile("train", "A", "training", {8: [10.0, 20.0, 30.0, 40.0]}, {8: 4.0}),
    ]
    profiles[0]["memory"].append({"batch": 2, "memory_gib": 3.0})
    for slow, batch in (([2.0, 1.0], 2), ([1.0, 2.0], 1)):
        over = {"neighbour_batch": [1, 2], "slowdown": slow}
        table = with_table("train", "net", **over)
        (at,) = configurators(instance(profiles=profiles, interference=table))
        assert single(at, [[0, 0]], 1) == [([batch, 8], [25, 75])]


def test_unmeasured_shares_are_read_at_both_ends() -> None:
    """Of 3 multiprocessors 34 % is sure of one and may take two."""
    pool = {"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 16.0, "sm_count": 3}
    over = {"victim_share_pct": [100 / 3, 200 / 3], "neighbour_share_pct": [100 / 3, 200 / 3]}
    table = with_table("net", "train", **over, slowdown=[1.0, 4.0, 9.0, 16.0])
    (at,) = configurators(instance(gpu_pools=[pool], interference=table))
    grid = at.gpu.grid
    q34 = int(np.flatnonzero(grid.share_pct == 34)[0])
    assert (grid.lo[q34], grid.hi[q34]) == (1, 2)
    mean, high = at.slowdowns_at(np.array([0, 0]), 1, np.array([1, 8]), np.array([q34, q34]))
    assert mean.tolist() == high.tolist() == pytest.approx([4.0, 1.0])


def test_two_services_that_only_together_hold_their_slos() -> None:
    """A service that speeds another up: neither the least share nor the first batch is right."""
    services = [
        {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0},
        {"id": "ads", "profile": "net", "rate_rps": 10.0, "slo_ms": 200.0},
    ]
    # Both need 10.5 samples/s. Alone 25 % give 8; beside 50 % they give 16.
    table = with_table("net", "net", neighbour_share_pct=[25.0, 50.0], slowdown=[1.0, 0.5])
    (at,) = configurators(
        instance(services=services, tasks=[], interference=table, rules={"services_per_gpu": 2})
    )
    assert single(at, [[0, 1]], 2) == [([1, 1], [25, 50])]


def test_a_table_without_differences_changes_nothing() -> None:
    """The slow way and the quick way come to the same plan."""
    flat = with_table("train", "net", neighbour_share_pct=[10.0, 90.0], slowdown=[1.5, 1.5])
    pair = {"gpu_type": "A", "victim": "train", "neighbour": "net", "slowdown": 1.5}
    constant = {"default_slowdown": 1.0, "pairs": [pair]}
    for rules in ({}, {"tasks_per_gpu": 2}):
        plans = [
            co.solve(instance(interference=model, rules=rules), "brute_force").plan
            for model in (flat, constant)
        ]
        assert plans[0] is not None
        assert plans[1] is not None
        assert plans[0].placements == plans[1].placements
        assert plans[0].objective == plans[1].objective


def test_too_much_work_is_refused_before_it_is_begun() -> None:
    """Four tasks over 76 percentages each, in every combination."""
    tasks = [{"id": f"t{i}", "profile": "train", "batch": 8, "weight": 1.0 + i} for i in range(40)]
    pool = {"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 900.0, "sm_count": 100}
    over = {"neighbour_share_pct": [10.0, 90.0], "slowdown": [1.5, 1.6]}
    big = instance(
        gpu_pools=[pool],
        services=[],
        tasks=tasks,
        interference=with_table("train", "train", **over),
        rules={"services_per_gpu": 0, "tasks_per_gpu": 4},
    )
    with pytest.raises(TooLargeError, match=r"sets of 4 co-tenants on 'A', with 33362176 settings"):
        co.solve(big)


@settings(max_examples=settings().max_examples // 2)
@given(instances(slowdown_tables=True))
def test_the_oracle_agrees(drawn: Instance) -> None:
    """Brute force over the columns finds what enumeration of everything finds."""
    try:
        found = co.solve(drawn, "brute_force")
        truth = solve_by_enumeration(drawn, max_steps=100_000)
    except TooLargeError:
        return
    assert found.violations == ()
    if truth.objective is None:
        assert found.plan is None
    else:
        assert found.objective == pytest.approx(truth.objective, rel=1e-9, abs=1e-9)
        assert found.bound is not None
