"""Each published rule, worked out by hand on instances with one or two GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import colocate as co
from colocate.datasets import generate
from colocate.placement import PlacedService, PlacedTask
from colocate.problem import compile_problem
from colocate.result import Reason
from colocate.solvers.policies._company import Company, Held, Setting
from colocate.solvers.policies._lines import fit_lines
from colocate.solvers.policies.gslice import knee, settled
from colocate.solvers.policies.iadeep import extra_time, extra_time_as_printed
from colocate.solvers.policies.muxflow import sm_activity
from tests.helpers import instance, profile

SATURATED = [10.0, 20.0, 20.0, 20.0]
"""Rates at 25, 50, 75 and 100 %."""
LINEAR = [10.0, 20.0, 30.0, 40.0]
KNEE_MS = {10: 90, 20: 60, 30: 30, 50: 28, 70: 26, 90: 24, 100: 23}
"""Two straight lines through (30 %, 30 ms), with slopes -3 and -0.1."""


def pool(count: int = 1, sms: int = 100) -> list[dict[str, Any]]:
    return [{"id": "a", "gpu_type": "A", "count": count, "memory_gib": 16.0, "sm_count": sms}]


def net(rates: list[float], name: str = "net") -> dict[str, Any]:
    return profile(name, "A", "inference", {1: rates}, {1: 2.0})


def train(rates: list[float], name: str = "train") -> dict[str, Any]:
    return profile(name, "A", "training", {8: rates}, {8: 4.0})


def by_latency(name: str, latency_ms: Mapping[int, float]) -> dict[str, Any]:
    """An inference profile at batch 1 with these times of a batch."""
    found = net(LINEAR, name)
    points = [{"share_pct": float(q), "rate": 1000.0 / ms} for q, ms in latency_ms.items()]
    found["curve"]["batches"] = [{"batch": 1, "points": points}]
    return found


def together(result: co.Result) -> list[tuple[PlacedService, PlacedTask]]:
    """Return service and task of each shared GPU."""
    assert result.plan is not None, result.termination.detail
    assert result.violations == ()
    return [(g.services[0], g.tasks[0]) for g in result.plan.placements if g.services and g.tasks]


def shares(result: co.Result) -> list[tuple[int, int]]:
    return [(s.share_pct, t.share_pct) for s, t in together(result)]


# -- exclusive, even, uncapped -----------------------------------------------------------------


def test_exclusive() -> None:
    """One of two GPUs is idle: one task, whole."""
    found = co.solve(instance(), "exclusive")
    assert shares(found) == []
    assert found.objective == pytest.approx(1.0)


def test_even() -> None:
    """Half the rate beside the service, and all of it on the other GPU."""
    found = co.solve(instance(), "even")
    assert shares(found) == [(50, 50)]
    assert found.objective == pytest.approx(1.5)


def test_even_does_not_help_a_service_that_needs_more() -> None:
    """20 / s is a load over 0.95 at half the GPU (16 / s), so nothing goes beside it."""
    asked = instance(services=[{"id": "web", "profile": "net", "rate_rps": 20.0, "slo_ms": 300.0}])
    assert co.solve(asked, "even").objective == pytest.approx(1.0)
    assert co.solve(asked, "gslice").objective == pytest.approx(1.25)


def test_uncapped() -> None:
    """The service fills 48 % (95 % of 20 is 19 = 10 + 0.4 * 22.5), the task 95 %: 48 : 95."""
    asked = instance(gpu_pools=pool(), profiles=[net(SATURATED), train(LINEAR)])
    found = co.solve(asked, "uncapped")
    assert shares(found) == [(33, 66)]
    assert found.objective == pytest.approx(0.66)


# -- Mudi --------------------------------------------------------------------------------------


def test_two_lines() -> None:
    """Slopes -3 and -0.1 through (30, 30); 45 ms at 25 %, 27 ms at 60 %, 20 ms nowhere."""
    q = np.array([10.0, 20, 30, 50, 70, 90])
    lines = fit_lines(q, np.array([float(KNEE_MS[int(x)]) for x in q]))
    assert lines is not None
    assert lines == pytest.approx((-3.0, -0.1, 30.0, 30.0))
    assert lines.slope == pytest.approx(1.55)
    assert [lines.least_share(ms) for ms in (45, 27, 20, 200)] == pytest.approx(
        [25.0, 60.0, np.inf, 0.0]
    )
    assert [lines.latency_ms(x) for x in (20, 30, 60)] == pytest.approx([60, 30, 27])


def test_lines_through_few_samples() -> None:
    """Nothing where nothing is known; a point or a line where there is no more."""
    q = np.array([10.0, 20.0])
    assert fit_lines(q, np.array([np.inf, np.inf])) is None
    assert fit_lines(q, np.array([np.inf, 5.0])) == (0.0, 0.0, 20.0, 5.0)
    assert fit_lines(q, np.array([9.0, 5.0])) == pytest.approx((-0.4, 0.0, 20.0, 5.0))


def mudi_instance(slo_ms: float, **changes: Any) -> co.Instance:
    """W = 10 / s, batch 1: the row is 10 P <= SLO, so theta = SLO / 10."""
    base: dict[str, Any] = {
        "slo_model": {"name": "mudi"},
        "gpu_pools": pool(),
        "services": [{"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": slo_ms}],
        "profiles": [by_latency("net", KNEE_MS), train(LINEAR)],
    }
    return instance(**(base | changes))


@pytest.mark.parametrize("name", ["mudi", "mudi-fixed"])
def test_mudi_takes_the_minimum_and_a_tenth(name: str) -> None:
    """theta = 45 ms is on the lines at 25 %; 1.1 * 25 = 27.5, so 28 %. The curve allows 24 %."""
    asked = mudi_instance(450.0)
    assert shares(co.solve(asked, name)) == [(28, 72)]
    assert shares(co.solve(asked, "brute_force")) == [(24, 76)]


def test_mudi_pauses_training_where_its_row_cannot_be_met() -> None:
    """At 20 / s the printed row wants P <= 15 ms of a batch that takes 23 at best."""
    service = {"id": "web", "profile": "net", "rate_rps": 20.0, "slo_ms": 300.0}
    asked = mudi_instance(0, slo_model={"name": "fill"}, services=[service])
    assert shares(co.solve(asked, "mudi")) == []
    # 0.95 of a second for 20 batches: P <= 47.5 ms, at 30 - 17.5 / 3 = 24.2 %, and a tenth.
    assert shares(co.solve(asked, "mudi-fixed")) == [(27, 73)]


def two_services(slo_ms: float) -> co.Instance:
    """`slow` takes ten times as long as `quick`, at a tenth of the arrivals."""
    slow = {q: 10.0 * ms for q, ms in KNEE_MS.items()}
    return mudi_instance(
        0,
        gpu_pools=pool(2),
        services=[
            {"id": "quick", "profile": "net", "rate_rps": 10.0, "slo_ms": 450.0},
            {"id": "slow", "profile": "slow", "rate_rps": 1.0, "slo_ms": slo_ms},
        ],
        tasks=[{"id": "job", "profile": "train", "batch": 8}],
        profiles=[by_latency("net", KNEE_MS), by_latency("slow", slow), train(LINEAR)],
    )


def test_mudi_chooses_the_smallest_slope() -> None:
    """1.55 ms per percent against 15.5; in parts of theta, 45 ms against 900, it is the reverse."""
    asked = two_services(900.0)
    assert [s.service for s, _ in together(co.solve(asked, "mudi"))] == ["quick"]
    assert [s.service for s, _ in together(co.solve(asked, "mudi-fixed"))] == ["slow"]


# -- MuxFlow -----------------------------------------------------------------------------------


def muxflow_instance(**changes: Any) -> co.Instance:
    base: dict[str, Any] = {
        "gpu_pools": pool(),
        "profiles": [net(SATURATED), train(LINEAR)],
    }
    return instance(**(base | changes))


def test_sm_activity() -> None:
    """Busy half the time (10 of 20 / s) with 48 % of the multiprocessors: 24 %."""
    problem = compile_problem(muxflow_instance())
    setting = Setting(Held(0, 0), (1,), (0,))
    assert sm_activity(Company(problem), setting) == pytest.approx(24.0)


@pytest.mark.parametrize("name", ["muxflow", "muxflow-fixed"])
def test_muxflow_raises_what_activity_leaves(name: str) -> None:
    """24 % is no share of this curve; the load is under 0.95 from 10.53 / s on: at 26.3, so 27."""
    assert shares(co.solve(muxflow_instance(), name)) == [(27, 73)]


def test_muxflow_keeps_more_than_is_needed() -> None:
    """Busy 0.8 of the time with 95 %: 76 %. The load is under 0.95 from 33.7 / s on, at 75 %."""
    asked = muxflow_instance(
        profiles=[net([16.0, 24.0, 34.0, 40.0]), train(LINEAR)],
        services=[{"id": "web", "profile": "net", "rate_rps": 32.0, "slo_ms": 300.0}],
    )
    # 95 % of 40 is 38 = 34 + 0.24 * 16.7, so 92 %, and 0.8 * 92 = 73.6: no more than is needed.
    assert shares(co.solve(asked, "muxflow")) == [(75, 25)]
    lower = asked.model_dump(mode="json", exclude_none=True, by_alias=True)
    lower["services"][0]["rate_rps"] = 25.0
    # 0.625 * 92 = 57.5, so 58 %; 26.4 / s would do, at 56 %.
    assert shares(co.solve(co.Instance.model_validate(lower), "muxflow")) == [(58, 42)]
    assert shares(co.solve(co.Instance.model_validate(lower), "brute_force")) == [(56, 44)]


def beside(slowdowns: dict[tuple[str, str], float]) -> dict[str, Any]:
    return {
        "default_slowdown": 1.0,
        "pairs": [
            {"gpu_type": "A", "victim": v, "neighbour": n, "slowdown": s, "evidence": "measured"}
            for (v, n), s in slowdowns.items()
        ],
    }


def test_muxflow_matches() -> None:
    """1 + 0.8 beats 0.5 + 1, though g beside p alone looks as good as f beside p."""
    asked = muxflow_instance(
        gpu_pools=pool(2),
        services=[{"id": s, "profile": s, "rate_rps": 10.0, "slo_ms": 300.0} for s in ("p", "q")],
        tasks=[{"id": t, "profile": t, "batch": 8} for t in ("f", "g")],
        profiles=[
            net(SATURATED, "p"),
            net(SATURATED, "q"),
            train(LINEAR, "f"),
            train(LINEAR, "g"),
        ],
        interference=beside({("f", "q"): 2.0, ("g", "q"): 1.25}),
    )
    found = {(s.service, t.task) for s, t in together(co.solve(asked, "muxflow"))}
    assert found == {("p", "f"), ("q", "g")}


def test_muxflow_does_not_know_weights() -> None:
    """A task that is slowed down loses, unless its weight counts."""
    asked = muxflow_instance(
        tasks=[
            {"id": "light", "profile": "train", "batch": 8},
            {"id": "heavy", "profile": "slowed", "batch": 8, "weight": 10.0},
        ],
        profiles=[net(SATURATED), train(LINEAR), train(LINEAR, "slowed")],
        interference=beside({("slowed", "net"): 1.25}),
    )
    assert [t.task for _, t in together(co.solve(asked, "muxflow"))] == ["light"]
    assert [t.task for _, t in together(co.solve(asked, "muxflow-fixed"))] == ["heavy"]


# -- GSLICE ------------------------------------------------------------------------------------


def test_knee() -> None:
    """Where the curve goes flat."""
    share = np.array([25.0, 50, 75, 100])
    assert knee(share, np.array(SATURATED)) == 50.0


def test_the_controller_settles_where_the_service_keeps_up() -> None:
    """A rate of 1 / s for each percent and 20 / s arriving: at 20 %, from 50 % or capped."""
    share = np.arange(1.0, 101.0)
    assert settled(share, share, 20.0, 100.0) == pytest.approx(20.0, rel=0.03)
    assert settled(share, share, 80.0, 100.0) == pytest.approx(80.0, rel=0.03)
    assert settled(share, share, 80.0, 60.0) == pytest.approx(60.0)


def test_gslice_goes_on_to_what_the_slo_needs() -> None:
    """It just keeps up at 25 %; a load of 0.95 takes 26.3, so 27 %."""
    assert shares(co.solve(muxflow_instance(), "gslice")) == [(27, 73)]


def test_gslice_takes_the_largest_batch_that_keeps_the_slo() -> None:
    """At 27 % batches of 1, 2 and 4 keep up; 4 take 400 ms to arrive, 2 take 200 + 185 ms."""
    net_batches = profile(
        "net", "A", "inference", dict.fromkeys((1, 2, 4), SATURATED), {1: 2.0, 2: 2.0, 4: 2.0}
    )
    asked = muxflow_instance(
        profiles=[net_batches, train(LINEAR)],
        services=[{"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 390.0}],
    )
    ((service, _),) = together(co.solve(asked, "gslice"))
    assert (service.share_pct, service.batch) == (27, 2)


# -- IADeep ------------------------------------------------------------------------------------


def test_the_wait_test() -> None:
    """eps = 0.2, 0.8: 1.2 (0.2/1.2 + 0.2/1.8) - 1 as printed, else 1.2 (0.2/1.2 + 0.8/1.8) - 1."""
    assert extra_time_as_printed([0.2, 0.8], 0) == pytest.approx(-2 / 3)
    assert extra_time([0.2, 0.8], 0) == pytest.approx(-4 / 15)
    assert extra_time([0.5, 0.5], 0) == pytest.approx(0.0)


@pytest.mark.parametrize("name", ["iadeep", "iadeep-fixed"])
def test_iadeep_lets_wait_what_would_only_take_turns(name: str) -> None:
    """Two that each want the whole GPU: eps = 1 and 1, E = 1 > 0. Two that fill half: no loss."""
    rules = {"tasks_per_gpu": 2}
    whole = instance(gpu_pools=pool(), services=[], profiles=[train(LINEAR)], rules=rules)
    half = instance(gpu_pools=pool(), services=[], profiles=[train(SATURATED)], rules=rules)
    assert co.solve(whole, name).objective == pytest.approx(1.0)
    assert co.solve(half, name).objective == pytest.approx(2.0)
    assert co.solve(whole, "even").objective == pytest.approx(1.0)


def test_iadeep_minds_others_too() -> None:
    """Of two residents the newcomer slows one to a half: it goes to the other."""
    asked = instance(
        gpu_pools=pool(2),
        services=[
            {"id": s, "profile": s, "rate_rps": 1.0, "slo_ms": 2000.0} for s in ("calm", "touchy")
        ],
        tasks=[{"id": "job", "profile": "train", "batch": 8}],
        profiles=[net(SATURATED, "calm"), net(SATURATED, "touchy"), train(SATURATED)],
        interference=beside({("touchy", "train"): 2.0}),
    )
    for seed in range(4):
        found = co.solve(asked, "iadeep", seed=seed)
        assert [s.service for s, _ in together(found)] == ["calm"]


def test_iadeep_trains_at_the_batch_of_least_degradation() -> None:
    """At 16, 72 / s count (8 + 8) / (8 + 16): 48 / s against 40 at 8, so PD is 5/6 of that at 8."""
    both = profile(
        "train",
        "A",
        "training",
        {8: LINEAR, 16: [18.0, 36.0, 54.0, 72.0]},
        {8: 4.0, 16: 4.0},
    )
    asked = instance(
        gpu_pools=pool(),
        tasks=[
            {"id": "job", "profile": "train", "batch": 8, "batches": [8, 16], "noise_scale": 8.0}
        ],
        profiles=[net(SATURATED), both],
    )
    ((_, task),) = together(co.solve(asked, "iadeep"))
    assert task.batch == 16


# -- all ---------------------------------------------------------------------------------------


def test_arrival_follows_from_the_seed() -> None:
    """The same seed gives the same plan; some other seed another one."""
    asked = generate("tight_slo", gpus=20, sm_count=20)
    plans = [co.solve(asked, "gslice", seed=seed).plan for seed in (0, 0, 1, 2, 3)]
    assert plans[0] == plans[1]
    assert any(plan != plans[0] for plan in plans[2:])


def test_no_gpu_left_for_a_required_service() -> None:
    """Two services, one GPU, and no policy that would put them together."""
    services = [
        {"id": s, "profile": "net", "rate_rps": 1.0, "slo_ms": 2000.0} for s in ("one", "two")
    ]
    asked = instance(gpu_pools=pool(), services=services, rules={"services_per_gpu": 2})
    found = co.solve(asked, "even")
    assert found.termination.reason is Reason.NO_SOLUTION_FOUND
    assert "1 required" in found.termination.detail
