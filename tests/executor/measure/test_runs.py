"""What a campaign measures, in which order, and what it needs."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.advice.runs import Run as Advised
from colocate.advice.runs import Tenant as AdvisedTenant
from colocate.advice.runs import queries
from colocate.errors import InputError
from colocate.executor.measure.builtin import builtin_campaign
from colocate.executor.measure.campaign import Campaign, CampaignWorkload, Companies
from colocate.executor.measure.effort import Effort
from colocate.executor.measure.runs import (
    estimate_s,
    in_order,
    points_of,
    points_of_rows,
    runs_of,
)
from colocate.executor.measure.tenants import Point, Tenant, Workload
from colocate.tables.table import ProfileTable

NAMES = ("bert", "gpt", "vgg")


def tenant(name: str = "bert", batch: int = 4, share: int = 50, **more: float) -> Tenant:
    return Tenant(workload=name, batch=batch, share_pct=share, **more)


def workload(name: str, *command: str) -> Workload:
    return Workload(name=name, role="training", command=command or ("/bin/true",))


TENANTS = st.builds(
    Tenant,
    workload=st.sampled_from(NAMES),
    batch=st.sampled_from([1, 4, 16]),
    share_pct=st.sampled_from([10, 50, 100]),
    load=st.sampled_from([None, None, 0.5]),
)
POINTS = st.lists(st.lists(TENANTS, min_size=1, max_size=2), min_size=1, max_size=25).map(
    lambda lists: list(dict.fromkeys(Point.of(*tenants) for tenants in lists))
)


def small() -> Campaign:
    return Campaign(
        name="small",
        workloads=(
            CampaignWorkload(
                name="a",
                role="inference",
                builtin="synthetic",
                batches=(1, 8),
                shares_pct=(25, 100),
                loads=(0.5,),
                arrivals_rps=(3.0,),
            ),
            CampaignWorkload(name="b", role="training", builtin="synthetic", batches=(2, 4)),
        ),
        companies=(Companies(of=("a",), beside=("b",), shares_pct=((30, 70),)),),
    )


def test_a_campaign_is_every_setting_once():
    found = points_of(small())
    expected = {
        Point.of(tenant("a", batch, share, **rate))
        for batch, share, rate in itertools.product(
            (1, 8), (25, 100), ({}, {"load": 0.5}, {"arrival_rps": 3.0})
        )
    }
    expected |= {Point.of(tenant("b", batch, 100)) for batch in (2, 4)}
    expected.add(Point.of(tenant("a", 8, 30), tenant("b", 4, 70)))
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("batches", "expected"),
    [("largest", {(8, 4)}), ("smallest", {(1, 2)}), ("all", {(1, 2), (1, 4), (8, 2), (8, 4)})],
)
def test_companies_take_the_batches_that_they_name(batches, expected):
    plan = small()
    company = plan.companies[0].model_copy(update={"batches": batches})
    plan = plan.model_copy(update={"companies": (company,)})
    pairs = [p.tenants for p in points_of(plan) if len(p.tenants) == 2]
    assert {(a.batch, b.batch) for a, b in pairs} == expected


@given(POINTS, st.randoms())
def test_the_order_does_not_depend_on_the_order_of_the_file(points, shuffle):
    shuffled = list(points)
    shuffle.shuffle(shuffled)
    assert in_order(points) == in_order(shuffled)
    assert sorted(map(repr, in_order(points))) == sorted(map(repr, points))


@given(POINTS)
def test_points_with_the_same_processes_follow_each_other_those_with_arrivals_last(points):
    groups = [list(g) for _, g in itertools.groupby(in_order(points), key=lambda p: p.processes)]
    seen = [g[0].processes for g in groups]
    assert len(seen) == len(set(seen))
    for group in groups:
        closed = [all(t.closed for t in p.tenants) for p in group]
        assert closed == sorted(closed, reverse=True)


def test_shares_spread_and_every_workload_gets_its_turn():
    points = [Point.of(tenant(name, 1, s)) for name in NAMES for s in (10, 20, 30, 50, 80, 100)]
    order = [p.tenants[0] for p in in_order(points)]
    assert {t.workload for t in order[:3]} == set(NAMES)
    for name in NAMES:
        shares = [t.share_pct for t in order if t.workload == name]
        assert shares[:3] == [100, 10, 30]


def test_company_comes_after_what_is_alone_and_before_the_last_shares():
    points = [Point.of(tenant("bert", 1, s)) for s in (10, 30, 100)]
    points.append(Point.of(tenant("bert", 1, 40), tenant("vgg", 1, 60)))
    order = [len(p.tenants) for p in in_order(points)]
    assert order[0] == 1
    assert order.index(2) < 3


def test_keys_change_with_what_is_run_and_with_nothing_else():
    point = Point.of(tenant("bert"), tenant("vgg", 8, 40))
    programs = {name: workload(name) for name in NAMES}
    key = point.key(programs)
    assert key == Point.of(*reversed(point.tenants)).key(dict(reversed(programs.items())))
    assert key == point.key({**programs, "gpt": workload("gpt", "/bin/false")})
    others = [
        point.key({**programs, "vgg": workload("vgg", "/bin/false")}),
        Point.of(tenant("bert", 8), tenant("vgg", 8, 40)).key(programs),
        Point.of(tenant("bert", share=51), tenant("vgg", 8, 40)).key(programs),
        Point.of(tenant("bert", load=0.5), tenant("vgg", 8, 40)).key(programs),
        Point.of(tenant("bert", arrival_rps=0.5), tenant("vgg", 8, 40)).key(programs),
        Point.of(tenant("bert")).key(programs),
    ]
    assert len({key, *others}) == 7


def test_every_start_comes_after_the_one_before():
    points = points_of(small())
    runs = runs_of(points, small().programs(), 3)
    assert [r.start for r in runs] == sorted(r.start for r in runs)
    assert len({r.key for r in runs}) == 3 * len(points)


def test_more_runs_never_take_less_time_and_parking_never_more():
    runs = runs_of(points_of(builtin_campaign()), builtin_campaign().programs())
    times = [estimate_s(runs[:i], Effort()) for i in range(0, len(runs), 7)]
    assert times == sorted(times)
    assert times[0] == 0
    assert estimate_s(runs, Effort(parked=20)) < estimate_s(runs, Effort(parked=0))


def test_the_rows_that_models_next_asks_for_become_points():
    advised = [
        Advised(
            "A100",
            (AdvisedTenant("bert", "inference", 4, 31), AdvisedTenant("vgg", "training", 64, 68)),
        ),
        Advised("A100", (AdvisedTenant("gpt", "inference", 8, 100),)),
    ]
    found = points_of_rows(queries(advised), NAMES)
    assert found == [
        Point.of(tenant("bert", 4, 31), tenant("vgg", 64, 68)),
        Point.of(tenant("gpt", 8, 100)),
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"workload": "other", "batch": 4, "share_pct": 50}, "not in the campaign"),
        ({"workload": "bert", "share_pct": 50}, "batch and share"),
        ({"workload": "bert", "batch": 4, "share_pct": 31.5}, "whole percentages"),
        ({"workload": "bert", "batch": 4, "share_pct": 0.2}, "whole percentages"),
        ({"workload": "bert", "batch": 4, "share_pct": 50, "neighbour": "vgg"}, "batch and share"),
    ],
)
def test_rows_that_cannot_be_run_are_refused_by_number(columns, message):
    table = ProfileTable.of(role="inference", gpu="A100", **columns)
    with pytest.raises(InputError, match=message) as caught:
        points_of_rows(table, NAMES)
    assert "row 1" in caught.value.message


def test_a_row_with_arrivals_keeps_its_own_rate_and_not_its_neighbours():
    table = ProfileTable.of(
        workload="bert",
        role="inference",
        gpu="A100",
        batch=4,
        share_pct=40,
        neighbour="vgg",
        neighbour_batch="8",
        neighbour_share_pct="60",
        arrival_rps=25,
    )
    (point,) = points_of_rows(table, NAMES)
    assert point == Point.of(tenant("bert", 4, 40, arrival_rps=25.0), tenant("vgg", 8, 60))
