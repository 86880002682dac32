"""Certificates with boxes: as the formulation says, and never beaten, whatever stands in them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from colocate import solve
from colocate.certificate import MAX_DEPTH, MAX_LEAVES, Certificate
from colocate.errors import ColocateError, PlanError
from colocate.instance import Instance
from colocate.io import parse_plan
from colocate.judge.bound import Bounds, certificate_bound
from colocate.judge.boxes import Box
from colocate.judge.classes import Prices
from colocate.judge.findings import Findings
from colocate.objectives.base import objective
from colocate.plan import Plan
from colocate.testing.strategies import instances
from colocate.verify import verify
from tests.helpers import instance as small_instance
from tests.helpers import profile
from tests.judging.plain_boxes import PlainBox, plain_tree_bound
from tests.judging.toy import toy, toy_plan
from tests.test_verify_bound import certificates, recomputed, small_toy

EXAMPLES = settings().max_examples
LISTS = ("services", "tasks", "levels", "quotas")
TOY_BEST = 5.416
"""What every exact solver finds for the toy instance."""


@st.composite
def splits(draw: st.DrawFn, instance: Instance) -> dict[str, Any]:
    """Draw a split that names what the instance has."""
    services = [s.id for s in instance.iter_services()]
    tasks = [t.id for t in instance.iter_tasks()]
    counts = draw(st.sampled_from(["gpus", *["workers"] * bool(tasks), *["tasks"] * bool(tasks)]))
    if services and draw(st.integers(0, 4)) == 0:
        counts = "replicas"
    found: dict[str, Any] = {"kind": "split", "counts": counts, "at_most": draw(st.integers(0, 4))}

    def some(names: list[str]) -> list[str]:
        drawn: list[str] = draw(st.lists(st.sampled_from(names), min_size=1, max_size=len(names)))
        return drawn

    if counts != "gpus":
        found["of"] = some(services if counts == "replicas" else tasks)
    if counts in ("gpus", "workers"):
        if draw(st.integers(0, 1)):
            pools = [p.id for p in instance.gpu_pools]
            found["pools"] = some(pools)
        named = services + tasks
        beside = draw(st.booleans())
        if named and beside:
            at_least = st.sampled_from([1, 1, 1, 2])
            how_many = draw(st.integers(1, 2))
            found["holding"] = [
                {"ids": some(named), "at_least": draw(at_least)} for _ in range(how_many)
            ]
    if counts in ("workers", "tasks") and draw(st.integers(0, 3)) == 0:
        batches = [b for t in instance.iter_tasks() for b in (t.batch, *(t.batches or ()))]
        found["batch"] = draw(st.sampled_from(batches))
    if counts == "tasks" and draw(st.booleans()):
        end = draw(st.sampled_from(["faster_than", "not_faster_than"]))
        found[end] = draw(st.sampled_from([0.0, 3.0, 8.0, 12.0, 20.0, 40.0, 60.0, 300.0]))
    if counts == "workers" and draw(st.booleans()):
        found["share_from"] = draw(st.integers(1, 100))
    return found


@st.composite
def trees(draw: st.DrawFn, instance: Instance, most: int = 4) -> Certificate:
    """Draw boxes with any prices, of either sign, some of them inherited."""
    size = 3.0 if instance.objective.name == "throughput" else 30.0
    price = st.integers(-3, 12).map(lambda n: n * size / 12)
    whole = draw(certificates(instance))
    tree: list[dict[str, Any]] = []
    depths, budget = [0], draw(st.integers(0, most))
    while depths:
        depth = depths.pop()
        if budget > 0 and draw(st.booleans()):
            budget -= 1
            tree.append(draw(splits(instance)))
            depths += [depth + 1, depth + 1]
        else:
            leaf = {"kind": "leaf", "splits": [draw(price) for _ in range(depth)]}
            if draw(st.integers(0, 2)) == 0:
                own = draw(certificates(instance)).model_dump()
                leaf |= {name: own[name] for name in LISTS if draw(st.booleans())}
            tree.append(leaf)
    return Certificate.model_validate(
        {"kind": "tree", "tree": tree, **whole.model_dump(exclude={"kind", "tree"})}
    )


@st.composite
def questions(draw: st.DrawFn, slowdown_tables: bool | None = None) -> tuple[Instance, Certificate]:
    """Draw an instance with boxes."""
    if slowdown_tables is None:
        drawn = draw(instances())
    else:
        drawn = draw(instances(slowdown_tables=slowdown_tables))
    return drawn, draw(trees(drawn))


def like_the_plain_reading(drawn: Instance, certificate: Certificate) -> None:
    expected = plain_tree_bound(drawn, certificate)
    found, note = recomputed(drawn, certificate)
    if math.isnan(expected) or math.isinf(expected):
        assert found is None
    else:
        assert found == pytest.approx(expected, rel=1e-9, abs=2e-9), note


@settings(max_examples=2 * EXAMPLES)
@given(questions())
def test_the_bound_is_that_of_the_formulation(question: tuple[Instance, Certificate]) -> None:
    """Every GPU, set and knob in plain loops, box by box."""
    like_the_plain_reading(*question)


@given(questions(slowdown_tables=True))
def test_it_is_where_slowdowns_depend_on_knobs(question: tuple[Instance, Certificate]) -> None:
    """The same where sets are priced as a whole."""
    like_the_plain_reading(*question)


@given(questions())
def test_no_plan_beats_the_bound_of_any_boxes(question: tuple[Instance, Certificate]) -> None:
    """Boxes cover all plans, whatever they are and whatever their prices."""
    drawn, certificate = question
    try:
        result = solve(drawn, "brute_force")
    except ColocateError:
        assume(False)
    found, _ = recomputed(drawn, certificate)
    if result.plan is not None:
        assert found is not None
        sign = 1 if result.plan.objective.sense == "max" else -1
        assert sign * result.plan.objective.value <= sign * found + 1e-7 * max(1, abs(found))


@pytest.mark.parametrize("huge", [1e12, 1e14, 1e15])
def test_huge_prices_that_cancel_out_prove_nothing(huge: float) -> None:
    """Beside prices of 1e15 small worths are lost; the bound is then worse, never wrong.

    Two GPUs hold a service each, for which they are paid, and a task of little weight.
    """
    service = {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0, "replicas": 2}
    task = {"id": "job", "profile": "train", "batch": 8, "count": 3, "weight": 0.05}
    drawn = small_instance(services=[service], tasks=[task])
    best = solve(drawn, "brute_force").objective
    assert best is not None
    assert best > 0.01
    prices = [{"id": "web", "price": -huge}]
    found, _ = recomputed(drawn, Certificate.model_validate({"bound": 0.0, "services": prices}))
    assert found is not None
    assert found >= best


# -- by hand -----------------------------------------------------------------------------------

HAND: dict[str, Any] = {"kind": "split", "counts": "tasks", "of": ["resnet"], "at_most": 1}
LEAF: dict[str, Any] = {"kind": "leaf", "splits": [0.5]}


def bound_of(tree: list[dict[str, Any]], **fields: Any) -> float | None:
    certificate = Certificate.model_validate({"kind": "tree", "bound": 0.0, "tree": tree, **fields})
    return recomputed(toy(), certificate)[0]


@pytest.mark.parametrize(
    "split",
    [
        {"counts": "gpus"},
        {"counts": "gpus", "pools": ["a100"], "holding": [{"ids": ["resnet"]}]},
        {"counts": "gpus", "pools": ["h100"], "holding": [{"ids": ["resnet"]}]},
        {"counts": "gpus", "holding": [{"ids": ["bert", "yolo"]}, {"ids": ["gpt"]}]},
        {"counts": "gpus", "holding": [{"ids": ["gpt", "resnet"], "at_least": 2}]},
        {"counts": "workers", "of": ["resnet"], "share_from": 42, "pools": ["a100", "old"]},
        {"counts": "workers", "of": ["gpt", "resnet"], "holding": [{"ids": ["bert"]}]},
        {"counts": "workers", "of": ["gpt"], "batch": 4, "share_from": 92},
        {"counts": "tasks", "of": ["resnet", "gpt"]},
        {"counts": "tasks", "of": ["gpt"], "faster_than": 150.0},
        {"counts": "tasks", "of": ["gpt"], "not_faster_than": 150.0, "batch": 4},
        {"counts": "tasks", "of": ["gpt"], "faster_than": 50.0, "not_faster_than": 150.0},
        {"counts": "tasks", "of": ["resnet"], "not_faster_than": 700.0},
        {"counts": "replicas", "of": ["yolo"]},
    ],
)
@pytest.mark.parametrize("at_most", [0, 1])
def test_each_kind_of_split(split: dict[str, Any], at_most: int) -> None:
    """Both sides, at prices at which everybody wants to be with everybody."""
    spec = small_toy()
    for pool in spec["gpu_pools"]:
        # Small, so that plain loops end soon; two workers of `gpt` fit on one GPU.
        pool.update(sm_count=7, reserve_gib=0.0)
    instance = Instance.model_validate(spec)
    fields = {
        "services": [{"id": "bert", "price": -0.7}, {"id": "yolo", "price": 0.1}],
        "levels": [
            {"task": "gpt", "batch": 4, "rate": 100.0, "price": 0.3},
            {"task": "gpt", "batch": 4, "rate": 300.0, "price": 0.4},
        ],
    }
    like_the_plain_reading_on_both_sides(instance, {"at_most": at_most, **split}, fields)


def like_the_plain_reading_on_both_sides(
    instance: Instance, split: dict[str, Any], fields: dict[str, Any]
) -> None:
    for price in (0.0, 0.35):
        leaf = {"kind": "leaf", "splits": [price]}
        tree = [{"kind": "split", **split}, leaf, leaf]
        certificate = Certificate.model_validate(
            {"kind": "tree", "bound": 0.0, "tree": tree, **fields}
        )
        prices = Prices.of(instance, certificate, Findings())
        bounds = Bounds(instance, objective(instance.objective))
        for path, side in certificate.leaves():
            expected = PlainBox(instance, certificate, path, side).bound()
            found = bounds.of(prices, Box.of(path, side.splits))
            assert found == pytest.approx(expected), (price, path[0][1])


@pytest.mark.parametrize("name", ["gpt", "resnet"])
@pytest.mark.parametrize("at_most", [0, 1])
@pytest.mark.parametrize("end", [{"faster_than": 100.0}, {"not_faster_than": 100.0}, {"batch": 4}])
def test_two_workers_that_are_alone_on_a_gpu(name: str, at_most: int, end: dict[str, Any]) -> None:
    """What limits how many of them are slow, or in fast gangs, at levels that decide."""
    spec = small_toy()
    spec["services"], spec["rules"]["quotas"] = [], []
    spec["tasks"] = [{**t, "count": 4} for t in spec["tasks"] if t["id"] == name]
    for pool in spec["gpu_pools"]:
        pool.update(sm_count=7, reserve_gib=0.0)
    levels = [
        {"task": "gpt", "batch": 4, "rate": 40.0, "price": 0.3},
        {"task": "gpt", "batch": 4, "rate": 120.0, "price": 0.5},
    ]
    for fields in ({}, {"levels": levels if name == "gpt" else []}):
        split = {"counts": "tasks", "of": [name], "at_most": at_most, **end}
        like_the_plain_reading_on_both_sides(Instance.model_validate(spec), split, fields)
        if name == "resnet" and "batch" not in end:
            split |= {key: 5 * value for key, value in end.items()}
            like_the_plain_reading_on_both_sides(Instance.model_validate(spec), split, fields)


def test_a_share_inside_those_that_give_the_same() -> None:
    """Two workers run best at 26 ... 49 %, whatever it is; a split counts from 40 % on."""
    axes = {"victim_batch": [1], "neighbour_batch": [1], "victim_share_pct": [100.0]}
    table = {**axes, "neighbour_share_pct": [25.0, 50.0], "slowdown": [9.0, 1.0]}
    pair = {"gpu_type": "A", "victim": "train", "neighbour": "train", "table": table}
    drawn = small_instance(
        interference={"default_slowdown": 1.0, "pairs": [pair]},
        profiles=[
            profile("net", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0}),
            profile("train", "A", "training", {8: [40.0, 10.0, 10.0, 10.0]}, {8: 4.0}),
        ],
        services=[],
        rules={"tasks_per_gpu": 2},
    )
    split = {"counts": "workers", "of": ["job"], "share_from": 40, "at_most": 1}
    like_the_plain_reading_on_both_sides(drawn, split, {})


def test_an_empty_box_does_not_count() -> None:
    """There are three of `resnet`: more than that is in no plan, and prices say so."""
    none = {**HAND, "at_most": 3}
    alone = bound_of([{"kind": "leaf"}])
    assert alone is not None
    both = bound_of([none, {"kind": "leaf", "splits": [0.0]}, {"kind": "leaf", "splits": [50.0]}])
    assert both == pytest.approx(alone)


def test_one_worker_of_a_gang_that_is_alone_is_on_a_gpu() -> None:
    """At most one gang placed: no GPU holds two workers of it, at no price."""
    spec = toy().model_dump(by_alias=True, mode="json", exclude_none=True)
    spec |= {"services": [], "tasks": [t for t in spec["tasks"] if t["id"] == "gpt"]}
    spec["gpu_pools"] = [{**spec["gpu_pools"][0], "count": 1, "sm_count": 12, "reserve_gib": 0.0}]
    one = Instance.model_validate(spec)
    paid = {"task": "gpt", "batch": 4, "rate": 30.0}
    free = {"kind": "leaf", "splits": [0.0]}
    # Two gangs do not fit: the second part is worth less than nothing at these prices.
    none = {"kind": "leaf", "splits": [90.0], "levels": [{**paid, "price": 46.0}]}
    bounds = []
    for at_most in (1, 2):
        split = {**HAND, "of": ["gpt"], "at_most": at_most}
        certificate = Certificate.model_validate(
            {
                "kind": "tree",
                "bound": 0.0,
                "levels": [{**paid, "price": 1.0}],
                "tree": [split, free, none],
            }
        )
        bounds.append(recomputed(one, certificate)[0])
        assert bounds[-1] == pytest.approx(plain_tree_bound(one, certificate))
    assert bounds == pytest.approx([1.0, 2.0])


# -- hostile -----------------------------------------------------------------------------------


def written(tree: list[dict[str, Any]], **fields: Any) -> bytes:
    plan = toy_plan().model_dump(by_alias=True, mode="json", exclude_none=True)
    plan["certificate"] = {"kind": "tree", "bound": 99.0, "tree": tree, **fields}
    return json.dumps(plan).encode()


def deep(n: int) -> list[dict[str, Any]]:
    """All on one side: n splits, then their leaves from the bottom."""
    leaves = [{"kind": "leaf", "splits": [0.0] * d} for d in (n, *range(n, 0, -1))]
    return [HAND] * n + leaves


@pytest.mark.parametrize(
    ("tree", "fields", "what"),
    [
        ([], {}, "with a tree of 0 parts"),
        ([LEAF], {}, "below 0 splits has 1 prices"),
        ([HAND, LEAF], {}, "ends before its last leaf"),
        ([HAND], {}, "ends before its last leaf"),
        ([HAND, LEAF, LEAF, LEAF], {}, "goes on after its last leaf"),
        ([HAND, LEAF, {"kind": "leaf", "splits": [1.0, 1.0]}], {}, "below 1 splits has 2 prices"),
        ([{"kind": "leaf"}], {"kind": "prices"}, "'prices' with a tree of 1 parts"),
        (deep(MAX_DEPTH + 1), {}, "must hold at most 100"),
        ([HAND] * (MAX_DEPTH + 1) + [LEAF] * (MAX_DEPTH + 2), {}, "more than 100 splits"),
        ([{"kind": "node"}], {}, "kind"),
        ([{**HAND, "at_most": -1}, LEAF, LEAF], {}, "at_most"),
        ([{**HAND, "at_most": 1.5}, LEAF, LEAF], {}, "at_most"),
        ([{**HAND, "counts": "columns"}, LEAF, LEAF], {}, "counts"),
        ([{**HAND, "of": []}, LEAF, LEAF], {}, "must say of what"),
        ([{**HAND, "share_from": 7}, LEAF, LEAF], {}, "has no 'share_from'"),
        ([{**HAND, "pools": ["a100"]}, LEAF, LEAF], {}, "has no 'pools'"),
        ([{**HAND, "counts": "gpus"}, LEAF, LEAF], {}, "has no 'of'"),
        ([{**HAND, "counts": "replicas", "batch": 4}, LEAF, LEAF], {}, "has no 'batch'"),
        ([{**HAND, "holding": [{"ids": ["resnet"]}]}, LEAF, LEAF], {}, "has no 'holding'"),
        ([{**HAND, "counts": "workers", "faster_than": 1.0}, LEAF, LEAF], {}, "'faster_than'"),
        ([HAND, {**LEAF, "splits": [math.nan]}, LEAF], {}, "splits"),
        ([HAND, LEAF, {**LEAF, "gpus": []}], {}, "gpus"),
    ],
)
def test_a_tree_that_is_none(tree: list[dict[str, Any]], fields: dict[str, Any], what: str) -> None:
    """Refused when read, with a place and in words."""
    with pytest.raises(PlanError) as caught:
        parse_plan(written(tree, **fields))
    assert "certificate" in (caught.value.path or "")
    assert what in str(caught.value) + (caught.value.path or "")


def test_a_tree_with_too_many_leaves() -> None:
    """More than a judge cares to price."""
    many = [HAND] * MAX_LEAVES + [LEAF] * (MAX_LEAVES + 1)
    with pytest.raises(PlanError) as caught:
        parse_plan(written(many))
    assert "tree" in (caught.value.path or "")


def test_the_deepest_tree_is_judged() -> None:
    """A hundred times the same split, which is allowed and proves nothing more."""
    plan = parse_plan(written(deep(MAX_DEPTH)))
    found = verify(toy(), plan)
    alone = bound_of([{"kind": "leaf"}])
    assert found.bound == pytest.approx(alone)


@pytest.mark.parametrize(
    ("split", "named"),
    [
        ({**HAND, "of": ["resnet", "nobody"]}, "task 'nobody'"),
        ({**HAND, "of": ["bert"]}, "task 'bert'"),
        ({**HAND, "counts": "replicas", "of": ["gpt"]}, "service 'gpt'"),
        ({"kind": "split", "counts": "gpus", "pools": ["b200"], "at_most": 1}, "pool 'b200'"),
        (
            {"kind": "split", "counts": "gpus", "holding": [{"ids": ["ghost"]}], "at_most": 1},
            "workload 'ghost'",
        ),
    ],
)
def test_names_that_nobody_has(split: dict[str, Any], named: str) -> None:
    """Written down by the judge, once each, and still no plan is better than the bound."""
    plan = parse_plan(written([split, split, *[{"kind": "leaf", "splits": [9.0, 9.0]}] * 2, LEAF]))
    found = verify(toy(), plan)
    messages = [v.message for v in found.violations if v.kind == "certificate"]
    assert sum(named in m for m in messages) == 1
    assert "splits by the" in messages[0]
    assert found.bound is not None
    assert found.bound >= TOY_BEST


def test_prices_of_a_leaf_that_nobody_has() -> None:
    """As those of the certificate."""
    leaf = {**LEAF, "tasks": [{"id": "nobody", "price": 1.0}]}
    found = verify(toy(), parse_plan(written([HAND, LEAF, leaf])))
    assert any("task 'nobody'" in v.message for v in found.violations)


def test_more_boxes_than_the_judge_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """It then takes the prices of all plans, says so, and rejects nothing."""
    monkeypatch.setattr("colocate.judge.bound.EVALUATION_CAP", 20_000)
    tree = [HAND, {"kind": "leaf", "splits": [0.0]}, {"kind": "leaf", "splits": [0.0]}]
    alone = Certificate.model_validate({"bound": 0.0})
    many = Certificate.model_validate({"kind": "tree", "bound": 0.0, "tree": tree})
    drawn, findings = toy(), Findings()
    value = objective(drawn.objective)
    bound, note = certificate_bound(drawn, many, value, findings)
    assert bound == pytest.approx(certificate_bound(drawn, alone, value, findings)[0])
    assert bound is None or "boxes" in note or note == ""


def test_plans_with_boxes_survive_a_file(tmp_path: Any) -> None:
    """Written and read again, they are the same."""
    plan = parse_plan(written([HAND, LEAF, LEAF]))
    assert isinstance(plan, Plan)
    again = parse_plan(plan.model_dump_json(by_alias=True, exclude_none=True).encode())
    assert again == plan
