"""Guard and tuner in closed loop against a simulated GPU."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.executor.simulated.closed_loop import run
from colocate.executor.simulated.example import example_instance
from colocate.executor.simulated.queue import ServiceQueue
from colocate.executor.simulated.scenario import Scenario, arrivals_of
from colocate.simulator import BatchServer, serve

QUICK = Scenario(
    name="burst, drift and crash",
    seconds=800.0,
    burst_at=100.0,
    burst_s=60.0,
    ramp_s=10.0,
    drift_at=300.0,
    drift_s=100.0,
    crash_at=600.0,
)
HOUR = Scenario(
    name="burst, drift and crash", seconds=3600.0, burst_at=600.0, drift_at=1500.0, crash_at=2700.0
)


def test_a_burst_a_drift_and_a_crash():
    instance = example_instance()
    plain = run(instance, QUICK, guarded=False, seed=7, start_s=2.0)
    kept = run(instance, QUICK, guarded=True, seed=7, start_s=2.0)
    assert plain.over_pct > 5
    assert kept.over_pct < 1
    assert kept.longest_idle_s <= kept.calm_most_s
    assert 2 <= kept.state_changes <= 20
    assert kept.state_changes <= kept.most_state_changes
    assert kept.setting_changes <= 25
    assert kept.trained > 0.5
    # what it was about did happen, and was seen
    events = {r["event"] for r in kept.records}
    assert {"state", "fault", "retune", "drift", "halt"} <= events
    assert sum(late * n for _, n, late, _ in plain.course) == pytest.approx(plain.over)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ramp_s", [0.0, 20.0])
def test_an_hour(seed, ramp_s):
    from dataclasses import replace

    scenario = replace(HOUR, ramp_s=ramp_s)
    kept = run(example_instance(), scenario, guarded=True, seed=seed)
    plain = run(example_instance(), scenario, guarded=False, seed=seed)
    assert plain.over_pct > 10
    assert kept.over_pct < 1.0
    assert kept.longest_idle_s <= kept.calm_most_s
    assert kept.state_changes <= 40


@pytest.mark.deep
def test_training_that_crashes_again_and_again_is_kept_away_for_longer_each_time():
    scenario = Scenario(
        name="crash loop", seconds=900.0, crash_at=100.0, crash_again_s=25.0, crashes=12
    )
    kept = run(example_instance(), scenario, guarded=True)
    plain = run(example_instance(), scenario, guarded=False)
    assert kept.over < plain.over / 2
    calms = [r for r in kept.records if r.get("after") == "calm_down"]
    assert [r["offences"] for r in calms] == sorted(r["offences"] for r in calms)
    # a server that had to be reset a fourth time within the hour: a person must look
    assert [r["after"] for r in kept.records if r["event"] == "state"][-1] == "disabled"


def test_without_anything_happening_nothing_is_done():
    scenario = Scenario(name="quiet", seconds=150.0)
    kept = run(example_instance(), scenario, guarded=True, seed=3)
    assert kept.over_pct < 1
    assert kept.setting_changes == 0
    assert kept.state_changes == 1  # healthy, and stays so
    assert kept.trained > 0.9


def test_the_same_seed_gives_the_same_run():
    scenario = Scenario(name="b", seconds=60.0, burst_at=20.0, burst_s=20.0)
    a, b = (run(example_instance(), scenario, guarded=True, seed=1) for _ in range(2))
    assert (a.over, a.trained, a.course) == (b.over, b.trained, b.course)


# -- the queue, piece by piece -----------------------------------------------------------------


@given(
    st.lists(st.floats(0.0, 0.4), min_size=1, max_size=60),
    st.sampled_from([1, 2, 5]),
    st.floats(0.02, 0.5),
    st.lists(st.floats(0.05, 3.0), max_size=6),
)
def test_a_queue_in_pieces_is_the_queue_at_once(gaps, batch, service_s, cuts):
    arrivals = np.cumsum(np.array(gaps))
    whole = serve(BatchServer(batch=batch, service_s=service_s), arrivals[None, :])
    queue = ServiceQueue(arrivals)
    at = 0.0
    for cut in cuts:
        at += cut
        queue.advance(at, batch, service_s)
        assert queue.waiting(at) >= 0
    queue.advance(1e6, batch, service_s)
    assert queue.latency_s == pytest.approx(whole.latency_s[0], abs=1e-9)


def test_nobody_is_served_while_nobody_serves():
    queue = ServiceQueue(np.array([0.5, 1.0]))
    queue.advance(2.0, 1, None)
    assert queue.waiting(2.0) == 2
    queue.advance(3.0, 1, 0.1)
    assert queue.latency_s == pytest.approx([1.6, 1.2])


def test_arrivals_follow_the_rate():
    scenario = Scenario(name="x", seconds=100.0, burst_at=40.0, burst_s=20.0, ramp_s=5.0)
    found = arrivals_of(scenario, 500.0, 1)
    assert (np.diff(found) >= 0).all()
    per_s = np.histogram(found, np.arange(0.0, 101.0))[0]
    assert per_s[:40].mean() == pytest.approx(500, rel=0.05)
    assert per_s[46:54].mean() == pytest.approx(1500, rel=0.05)
    assert 600 < per_s[42] < 1400
    assert per_s[61:].mean() == pytest.approx(500, rel=0.05)
