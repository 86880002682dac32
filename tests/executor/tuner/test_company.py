"""What the models say of one GPU, and the smallest question about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError, UnsupportedError
from colocate.executor.simulated.example import example_instance
from colocate.executor.tuner.company import Load, OneGpu, Tenant, slower
from colocate.executor.tuner.decision import decide, gain
from colocate.executor.tuner.drift import drift
from colocate.executor.tuner.retune import question, relief, retune
from colocate.executor.tuner.sources import Signal
from colocate.schema import Component
from colocate.solve import solve

INSTANCE = example_instance()
MODEL = OneGpu(INSTANCE, "node")


def web(batch: int = 8, share: int = 31) -> Tenant:
    return Tenant(entry="web", role="service", batch=batch, share_pct=share)


def train(share: int = 69) -> Tenant:
    return Tenant(entry="train", role="task", batch=64, share_pct=share)


def load(rate: float, slower: float = 1.0) -> dict[str, Load]:
    return {"web": Load(rate_rps=rate, slower=slower)}


def test_speeds_and_latencies_are_those_of_the_plan():
    """The tuner's plain numbers and the library's arrays say the same."""
    found = solve(INSTANCE, isolation="none")
    assert found.plan is not None
    placement = next(found.plan.iter_placements())
    (_, s), (_, t) = placement.services[0], placement.tasks[0]
    tenants = [web(s.batch, s.share_pct), train(t.share_pct)]
    speed = MODEL.speed(tenants[0], tenants[1:])
    check = MODEL.check(tenants[0], tenants[1:], Load(rate_rps=200.0))
    other = MODEL.speed(tenants[1], tenants[:1])
    assert s.predicted is not None
    assert t.predicted is not None
    assert speed is not None
    assert check is not None
    assert other is not None
    assert speed.rate == pytest.approx(s.predicted.rate_rps)
    assert speed.rate_lo == pytest.approx(s.predicted.rate_lo_rps)
    assert check.latency_ms == pytest.approx(s.predicted.latency_ms)
    assert check.latency_hi_ms == pytest.approx(s.predicted.latency_hi_ms)
    assert other.rate == pytest.approx(t.predicted.rate)
    assert MODEL.memory_gib(tenants[0]) == pytest.approx(s.predicted.memory_gib)
    assert MODEL.all_in_time(tenants, load(200.0))


@given(st.sampled_from([2, 8, 32]), st.integers(20, 90), st.floats(0.5, 2.5), st.floats(20, 300))
def test_a_slower_service_is_a_faster_clock(batch, share, factor, rate):
    """f times slower at rate L is f times as late as the modelled one at rate f L."""
    slow = MODEL.check(web(batch, share), [train(10)], Load(rate_rps=rate, slower=factor))
    plain = MODEL.check(web(batch, share), [train(10)], Load(rate_rps=rate * factor))
    assert slow is not None
    assert plain is not None
    assert slow.latency_ms == pytest.approx(factor * plain.latency_ms, rel=1e-6)


def test_a_timeout_is_on_the_same_clock():
    spec = Component(name="queue", params={"timeout_ms": 12.0, "burstiness": 2.0})
    assert slower(spec, 2.0).params == {"timeout_ms": 6.0, "burstiness": 2.0}
    assert slower(spec, 1.0) is spec
    assert slower(Component(name="fill"), 2.0) == Component(name="fill")


@given(st.floats(0.5, 2.0), st.floats(80, 220))
def test_how_slow_it_is_can_be_told_from_its_latency(factor, rate):
    tenant, others = web(16, 50), [train(50)]
    check = MODEL.check(tenant, others, Load(rate_rps=rate, slower=factor))
    assert check is not None
    found = MODEL.slower_by(tenant, others, rate, check.latency_ms)
    assert found == pytest.approx(factor, rel=0.02)


def test_the_question_about_one_gpu_has_the_plans_answer():
    """Solved by itself, the GPU gets what the whole plan gives it."""
    whole = solve(INSTANCE, isolation="none").plan
    assert whole is not None
    placement = next(whole.iter_placements())
    found = retune(MODEL, [web(), train()], load(200.0))
    service, task = placement.services[0][1], placement.tasks[0][1]
    assert found.in_time
    assert found.tenants == (web(service.batch, service.share_pct), train(task.share_pct))
    assert found.worth == pytest.approx(whole.totals.normalised_throughput)


@given(st.floats(20, 1500), st.floats(0.8, 1.5))
def test_whatever_the_load_the_answer_is_in_time_or_gives_the_service_everything(rate, factor):
    loads = load(rate, factor)
    found = retune(MODEL, [web(), train()], loads)
    assert len(found.tenants) + len(found.paused) == 2
    assert sum(t.share_pct for t in found.tenants) <= 100
    if found.in_time:
        assert MODEL.all_in_time(found.tenants, loads)
    else:
        assert found.paused == (train(),)
        assert found.tenants[0].share_pct == 100


def test_halving_the_load_never_costs_training():
    worths = [retune(MODEL, [web(), train()], load(r)).worth for r in (600, 400, 200, 100, 50)]
    assert worths == sorted(worths)


def test_two_replicas_of_one_service_are_refused():
    with pytest.raises(UnsupportedError, match="2 replicas"):
        question(INSTANCE, "node", [web(), web()], load(200.0))


def test_who_is_not_in_the_instance_is_told():
    with pytest.raises(InputError, match="no service 'nobody'"):
        MODEL.service("nobody")
    with pytest.raises(InputError, match="no task 'nobody'"):
        MODEL.task("nobody")


def test_relief_changes_batches_and_nothing_else():
    before = [web(1, 31), train()]
    found = relief(MODEL, before, load(230.0))
    assert found.in_time
    assert [t.share_pct for t in found.tenants] == [31, 69]
    assert found.tenants[0].batch > 1
    assert found.tenants[1] == before[1]
    hopeless = relief(MODEL, before, load(5000.0))
    assert not hopeless.in_time
    assert hopeless.tenants[0].batch == 32  # the fastest


# -- decisions ---------------------------------------------------------------------------------


def decided(tenants, rate, *, halted=None, least_gain=0.1, bare=None):
    return decide(
        MODEL,
        tenants,
        halted or [False] * len(tenants),
        load(rate),
        bare=None if bare is None else load(bare),
        least_gain=least_gain,
    )


def test_what_is_good_enough_is_left_alone():
    found = decided([web(8, 33), train(67)], 200.0)
    assert not found.change
    assert not found.halt
    assert found.relief == (web(8, 33), train(67))


def test_a_batch_comes_first_and_may_be_all():
    found = decided([web(2, 31), train(69)], 200.0)
    assert not found.halt
    assert not found.change
    assert found.relief[0].batch > 2


def test_where_no_batch_helps_training_is_halted_and_shares_change():
    found = decided([web(), train()], 600.0)
    assert found.halt
    assert found.change
    assert found.relief == (web(32), train())
    assert found.target.tenants[0].share_pct > 60


def test_headroom_alone_halts_nobody():
    found = decided([web(8, 31), train(69)], 260.0, bare=200.0)
    assert not found.halt
    assert found.change


def test_much_more_training_is_worth_a_new_process_and_a_little_is_not():
    assert decided([web(16, 60), train(40)], 200.0).change
    assert not decided([web(8, 33), train(67)], 200.0, least_gain=0.1).change
    assert decided([web(8, 40), train(60)], 200.0, least_gain=0.01).change


def test_halted_training_comes_back_when_there_is_room():
    found = decided([web(32, 90), train(69)], 200.0, halted=[False, True])
    assert found.change
    assert [t.role for t in found.target.tenants] == ["service", "task"]


def test_the_service_keeps_its_process_where_training_fits_beside_it():
    found = decided([web(8, 33), train(10)], 200.0, halted=[False, True])
    assert found.change
    assert found.target.tenants == (web(8, 33), train(67))


def test_shares_that_do_not_fit_together_change():
    found = decided([web(16, 100), train(50)], 200.0)
    assert found.change
    assert sum(t.share_pct for t in found.target.tenants) <= 100


def test_gain_counts_training_before_and_after():
    target = retune(MODEL, [web(), train()], load(200.0))
    assert gain(MODEL, list(target.tenants), target) == pytest.approx(1.0)
    assert gain(MODEL, [web()], target) == float("inf")
    assert gain(MODEL, [web(), train(20)], target) > 2
    nothing = retune(MODEL, [web(), train()], load(3000.0))
    assert gain(MODEL, [web(), train()], nothing) == 0.0


# -- drift -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, "as planned"), (0.6, "better"), (1.25, "worse than its bound"), (2.0, "over its SLO")],
)
def test_drift_tells_a_plan_from_reality(factor, verdict):
    tenants = [web(16, 50), train(50)]
    check = MODEL.check(tenants[0], tenants[1:], Load(rate_rps=200.0, slower=factor))
    assert check is not None
    seen = {"web": Signal(seconds=0.0, rate_rps=200.0, p99_ms=check.latency_ms)}
    (found,) = drift(MODEL, tenants, seen, {"web": 180.0})
    assert found.verdict == verdict
    assert found.slower == pytest.approx(factor, rel=0.02)
    assert found.planned_rps == 180.0
    assert found.record()["seen_ms"] == pytest.approx(check.latency_ms, abs=1e-3)


def test_drift_of_a_silent_service_is_unknown():
    (found,) = drift(MODEL, [web(), train()], {}, {})
    assert found.verdict == "unknown"
    assert found.planned_rps == 200.0
