"""Advice on what to measure: worth more than chance, within its budget, and always the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

from colocate.advice import Run, Tenant, next_measurements, queries
from colocate.errors import InputError
from colocate.instance import Instance
from colocate.profile import Interference, PairSlowdown
from colocate.solve import solve
from colocate.tables import ProfileTable
from tests.advice.worlds import measured, workload, world, worth

NOTHING = ProfileTable.of()


def value(instance) -> float:
    found = solve(instance).objective
    assert found is not None
    return found


def regret(seed, choose, steps, services, tasks):
    """Return the share of the best value that is lost, after each of some measurements."""
    instance, truth = world(seed, services, tasks)
    best = value(measured(instance, truth, truth))
    rng = np.random.default_rng(seed + 1000)
    known: list[frozenset[str]] = []
    lost = []
    for step in range(steps + 1):
        now = measured(instance, truth, known)
        plan = solve(now).plan
        lost.append(1 - worth(now, truth, plan) / best)
        if step < steps:
            left = sorted((key for key in truth if key not in known), key=sorted)
            known += choose(now, left, rng)
    return lost


def by_advice(instance, left, rng):
    advice = next_measurements(NOTHING, instance, 3)
    return [frozenset(t.workload for t in a.run.tenants) for a in advice]


def by_chance(instance, left, rng):
    return [left[rng.integers(len(left))]]


def widest(instance, left, rng):
    error: dict[frozenset[str], float] = {}
    for pair in instance.interference.pairs:
        key = frozenset((pair.victim, pair.neighbour))
        error[key] = max(error.get(key, 0.0), pair.error[0].relative)
    return [max(left, key=lambda key: (error[key], sorted(key)))]


def mean_regret(choose, seeds, steps, services, tasks):
    return np.mean([regret(s, choose, steps, services, tasks) for s in seeds], axis=0)


def test_following_advice_reduces_regret_faster_than_other_rules():
    seeds, steps = range(4), 2
    advised = mean_regret(by_advice, seeds, steps, 1, 5)
    for rule in (by_chance, widest):
        others = mean_regret(rule, seeds, steps, 1, 5)
        assert advised[0] == others[0]
        # One measurement rarely decides a world; two well-chosen ones do.
        assert advised[2] < 0.2 * others[2]


@pytest.mark.deep
def test_following_advice_reduces_regret_faster_in_larger_worlds():
    seeds, steps = range(20), 5
    advised = mean_regret(by_advice, seeds, steps, 3, 5)
    for rule in (by_chance, widest):
        others = mean_regret(rule, seeds, steps, 3, 5)
        assert (advised[1:] < others[1:]).all()
        assert advised[-1] < 0.5 * others[-1]


def two_tasks(**changes):
    """One GPU, one service; beside it either task fits; only the slowdown of `b` is unsure."""
    data = {
        "name": "two",
        "slo_model": {"name": "fill"},
        "confidence": 0.5,
        "objective": {"name": "throughput"},
        "gpu_pools": [{"id": "p", "gpu_type": "V", "count": 1, "memory_gib": 32.0, "sm_count": 20}],
        "services": [{"id": "S", "profile": "s", "rate_rps": 50.0, "slo_ms": 100.0}],
        "tasks": [{"id": "A", "profile": "a", "batch": 8}, {"id": "B", "profile": "b", "batch": 8}],
        "profiles": [
            workload("s", "inference", 1, 0.001, 0.002),
            workload("a", "training", 8, 0.01, 0.01),
            workload("b", "training", 8, 0.01, 0.01),
        ],
        "interference": {
            "pairs": [
                {"gpu_type": "V", "victim": "s", "neighbour": "a", "slowdown": 1.1},
                {"gpu_type": "V", "victim": "s", "neighbour": "b", "slowdown": 1.1},
                {"gpu_type": "V", "victim": "a", "neighbour": "s", "slowdown": 1.4},
                {
                    "gpu_type": "V",
                    "victim": "b",
                    "neighbour": "s",
                    "slowdown": 1.5,
                    "error": [{"confidence": 0.9, "relative": 0.3}],
                    "evidence": "regressed",
                },
            ]
        },
    }
    return Instance.model_validate({**data, **changes})


def with_slowdown(instance, victim, slowdown):
    pairs = [
        p.model_copy(update={"slowdown": slowdown}) if p.victim == victim else p
        for p in instance.interference.pairs
    ]
    return instance.replace(interference=Interference(pairs=tuple(pairs)))


SIGMA = math.log(1.3) / 1.2815515655446004


def test_the_gain_is_what_the_definition_says():
    """`b` is out; only if it turns out fast does it enter, in one outcome out of three."""
    instance = two_tasks()
    (advice,) = next_measurements(NOTHING, instance, 5)
    today = value(instance)
    fast = value(with_slowdown(instance, "b", 1.5 * math.exp(-math.sqrt(3) * SIGMA)))
    assert fast > today
    assert advice.gain == pytest.approx((fast - today) / 6, rel=1e-9)
    assert [t.workload for t in advice.run.tenants] == ["b", "s"]
    assert "not in the plan" in advice.reason
    assert advice.cost == 1


def test_a_run_of_the_plan_gains_by_being_left_as_well():
    """Now `b` is in: if it turns out slow, `a` takes its place; if fast, nothing changes."""
    instance = with_slowdown(two_tasks(), "b", 1.3)
    (advice,) = next_measurements(NOTHING, instance, 5)
    slow = 1.3 * math.exp(math.sqrt(3) * SIGMA)
    with_a = value(with_slowdown(instance, "b", slow))
    kept = value(instance) * 1.3 / slow
    assert advice.gain == pytest.approx((with_a - kept) / 6, rel=1e-9)
    assert "slower" in advice.reason


def test_an_objective_to_be_minimised_has_gains_too():
    instance = two_tasks(objective={"name": "iteration_time", "params": {"unplaced_s": 10.0}})
    (advice,) = next_measurements(NOTHING, instance, 5)
    today = value(instance)
    fast = value(with_slowdown(instance, "b", 1.5 * math.exp(-math.sqrt(3) * SIGMA)))
    assert advice.gain == pytest.approx((today - fast) / 6, rel=1e-9)


def test_error_bounds_that_cost_shares_are_worth_removing():
    """At a confidence the service of the plan is given more share than it is likely to need."""
    pairs = [p.model_dump(exclude_none=True) for p in two_tasks().interference.pairs]
    for p in pairs:
        p["error"] = [{"confidence": 0.9, "relative": 0.3 if p["victim"] == "s" else 0.0}]
        p["evidence"] = "regressed"
    b = [p for p in pairs if "b" in (p["victim"], p["neighbour"])]
    for p in b:
        p["error"], p["evidence"] = [{"confidence": 0.9, "relative": 0.02}], "measured"
        p["slowdown"] = 1.1 if p["victim"] == "s" else 2.5
    instance = two_tasks(confidence=0.9, interference={"pairs": pairs})
    service = instance.services[0].model_copy(update={"rate_rps": 200.0, "slo_ms": 12.0})
    instance = instance.replace(services=(service,))
    advice = next_measurements(NOTHING, instance, 3)[0]
    assert [t.workload for t in advice.run.tenants] == ["a", "s"]
    assert advice.cost == len(advice.runs) == len(advice.query) / 2 == 3
    splits = [run.tenants[0].share_pct for run in advice.runs]
    assert max(splits) - min(splits) >= 40
    assert "once it counts as measured" in advice.reason
    assert advice.gain > 0
    # Two runs leave the bound what it is, and so does a third beside pairs with bounds as wide.
    assert next_measurements(NOTHING, instance, 2) == ()
    for p in b:
        p["error"] = [{"confidence": 0.9, "relative": 0.3}]
    alike = instance.replace(
        interference=Interference(pairs=tuple(PairSlowdown.model_validate(p) for p in pairs))
    )
    assert "once" not in "".join(a.reason for a in next_measurements(NOTHING, alike, 3))


def test_nothing_is_advised_where_nothing_can_change_the_plan():
    known = two_tasks()
    pairs = tuple(p.model_copy(update={"error": ()}) for p in known.interference.pairs)
    for p in pairs:
        assert p.slowdown is not None
    sure = tuple(p.model_copy(update={"evidence": pairs[0].evidence}) for p in pairs)
    assert next_measurements(NOTHING, known.replace(interference=Interference(pairs=sure)), 9) == ()
    # So uncertain it may be, but even at its best it is worse than what the plan has.
    assert next_measurements(NOTHING, with_slowdown(known, "b", 3.0), 9) == ()


def test_what_was_measured_is_not_advised_again():
    instance = two_tasks()
    (advice,) = next_measurements(NOTHING, instance, 5)
    rows = advice.query.replace(rate=[10.0, 100.0])
    assert next_measurements(rows, instance, 5) == ()
    # A fit moves the whole pair through one split; another tells nothing new about its mean.
    assert next_measurements(rows.replace(share_pct=[1.0, 2.0]), instance, 5) == ()
    # The side that is unsure is not in the other one's row.
    assert next_measurements(rows.take([1]), instance, 5) == (advice,)


def test_pairs_about_which_nothing_is_known_are_looked_at():
    """Without an entry the two are not put together; measuring them may change that."""
    instance = two_tasks()
    known = tuple(p for p in instance.interference.pairs if "b" not in (p.victim, p.neighbour))
    instance = instance.replace(interference=Interference(pairs=known))
    (advice,) = next_measurements(NOTHING, instance, 5)
    assert [t.workload for t in advice.run.tenants] == ["b", "s"]


def test_without_a_plan_what_stands_in_its_way_comes_first():
    """At confidence 0.95 no bound holds, so the service cannot be placed at all."""
    instance = two_tasks(confidence=0.95)
    assert solve(instance).plan is None
    advice = next_measurements(NOTHING, instance, 6)
    assert len(advice) == 2
    assert all(math.isinf(a.gain) and "no plan" in a.reason for a in advice)


def test_a_rate_alone_is_advised_where_it_decides():
    """The slowdowns are exact; how fast `b` is alone is not."""
    pairs = [p.model_dump(exclude_none=True) for p in two_tasks().interference.pairs]
    for p in pairs:
        p["error"], p["evidence"] = [], "measured"
    profiles = [p.model_dump() for p in two_tasks().profiles]
    for profile in profiles:
        if profile["workload"] == "b":
            profile["rate_error"] = [{"confidence": 0.9, "relative": 0.2}]
    instance = two_tasks(profiles=profiles, interference={"pairs": pairs})
    whole = ProfileTable.of(
        workload=["b"], role="training", gpu="V", batch=8.0, share_pct=100.0, rate=400.0
    )
    advice = next_measurements(whole, instance, 1)
    assert [t.workload for t in advice[0].run.tenants] == ["b"]
    assert len(advice[0].query) == 1
    assert advice[0].query["neighbour"][0] == ""
    # Measured at every share, nothing is left to be learnt.
    shares = [float(p) for p in range(1, 101)]
    rows = ProfileTable.of(
        workload=["b"] * 100, role="training", gpu="V", batch=8.0, share_pct=shares, rate=10.0
    )
    assert next_measurements(rows, instance, 1) == ()


def test_a_budget_is_kept_and_cheap_runs_are_preferred():
    instance, _ = world(3, 2, 4)
    by_gain = next_measurements(NOTHING, instance, 9)
    assert 1 < len(by_gain) <= 3
    assert sum(a.cost for a in by_gain) <= 9
    first = by_gain[0].run

    def seconds(run: Run) -> float:
        return 100.0 if run.what == first.what else 10.0

    timed = next_measurements(NOTHING, instance, 95.0, cost=seconds)
    assert 0 < len(timed) <= 3
    assert sum(a.cost for a in timed) <= 95.0
    assert first.what not in [a.run.what for a in timed]
    assert timed[0].run.what == by_gain[1].run.what or timed[0].gain <= by_gain[0].gain
    assert next_measurements(NOTHING, instance, 0) == ()
    assert next_measurements(NOTHING, instance, 5.0, cost=seconds) == ()


def test_advice_is_the_same_whatever_the_order_of_the_input():
    instance, _ = world(5, 2, 3)
    table = ProfileTable.of(
        workload=["s0", "t1", "s1"],
        role=["inference", "training", "inference"],
        gpu="V",
        batch=[1.0, 8.0, 1.0],
        share_pct=[50.0, 40.0, 20.0],
        rate=[100.0, 20.0, 40.0],
    )
    expected = next_measurements(table, instance, 9)
    turned = Instance.model_validate(
        {
            **instance.model_dump(by_alias=True, exclude_none=True),
            "tasks": [t.model_dump(exclude_none=True) for t in reversed(instance.tasks)],
            "profiles": [p.model_dump(exclude_none=True) for p in reversed(instance.profiles)],
        }
    )
    assert next_measurements(table.take([2, 0, 1]), turned, 9) == expected
    assert len({a.run.what for a in expected}) == len(expected)


def test_advice_becomes_rows_of_a_profile_table():
    run = Run("V", (Tenant("s", "inference", 4, 60), Tenant("t", "training", 8, 40)))
    rows = queries([run])
    assert rows["workload"].tolist() == ["s", "t"]
    assert rows["role"].tolist() == ["inference", "training"]
    assert rows["batch"].tolist() == [4, 8]
    assert rows["share_pct"].tolist() == [60, 40]
    assert [rows.neighbours(i)[0] for i in (0, 1)] == [("t", 8, 40), ("s", 4, 60)]
    assert np.isnan(rows["rate"]).all()


def test_wrong_input_is_refused():
    instance = two_tasks()
    with pytest.raises(InputError, match="budget -1"):
        next_measurements(NOTHING, instance, -1)
    with pytest.raises(InputError, match="unknown_error 0"):
        next_measurements(NOTHING, instance, 1, unknown_error=0)
    with pytest.raises(InputError, match="costs 0"):
        next_measurements(NOTHING, instance, 1, cost=lambda run: 0.0)
