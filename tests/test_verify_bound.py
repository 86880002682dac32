"""The bound of a certificate: equal to the formulation's in plain loops, and never beaten."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from colocate import solve
from colocate.errors import ColocateError
from colocate.instance import Instance
from colocate.judge.bound import certificate_bound
from colocate.judge.findings import Findings
from colocate.objectives.base import objective
from colocate.plan import Certificate
from colocate.testing.strategies import instances
from tests.judging.plain_bound import PlainBound
from tests.judging.toy import toy_spec

ITERATION_TIME = {"name": "iteration_time", "params": {"unplaced_s": 3.0}}


def recomputed(instance: Instance, certificate: Certificate) -> tuple[float | None, str]:
    """Return the judge's bound, and check that it found nothing wrong."""
    findings = Findings()
    found = certificate_bound(instance, certificate, objective(instance.objective), findings)
    assert findings.violations() == ()
    return found


@st.composite
def certificates(draw: st.DrawFn, instance: Instance) -> Certificate:
    """Draw any prices, of the size of what they price, of either sign."""
    size = 3.0 if instance.objective.name == "throughput" else 30.0
    price = st.integers(-12, 12).map(lambda n: n * size / 12)
    services = [s.id for s in instance.iter_services() if draw(st.integers(0, 3))]
    tasks = [t.id for t in instance.iter_tasks() if draw(st.integers(0, 3))]
    return Certificate.model_validate(
        {
            "bound": 0.0,
            "services": [{"id": name, "price": draw(price)} for name in services],
            "tasks": [{"id": name, "price": draw(price)} for name in tasks],
            "levels": [
                {
                    "task": t.id,
                    "batch": draw(st.sampled_from([*(t.batches or ()), t.batch])),
                    "rate": draw(st.just(0.0) | st.floats(1e-3, 2000)),
                    "price": draw(price),
                }
                for t in instance.iter_tasks()
                if t.gang_size > 1
                for _ in range(draw(st.integers(0, 3)))
            ],
            "quotas": [
                {"tenant": q.tenant, "unit": q.unit, "side": side, "price": draw(price)}
                for q in instance.rules.quotas
                for side in ("maximum", "minimum")
                if draw(st.integers(0, 3))
            ],
        }
    )


@st.composite
def questions(draw: st.DrawFn) -> tuple[Instance, Certificate]:
    """Draw an instance with prices."""
    instance = draw(instances())
    return instance, draw(certificates(instance))


@given(questions())
def test_the_bound_is_that_of_the_formulation(question: tuple[Instance, Certificate]):
    instance, certificate = question
    plain = PlainBound(instance, certificate)
    expected = plain.bound()
    found, note = recomputed(instance, certificate)
    if math.isnan(expected):
        assert found is None
        assert "pinned" in note
    else:
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(questions())
@settings(max_examples=settings().max_examples // 2)
def test_no_plan_beats_the_bound_of_any_prices(question: tuple[Instance, Certificate]):
    instance, certificate = question
    try:
        result = solve(instance, "brute_force")
    except ColocateError:
        assume(False)
    found, _ = recomputed(instance, certificate)
    if result.plan is not None:
        assert found is not None
        sign = 1 if result.plan.objective.sense == "max" else -1
        assert sign * result.plan.objective.value <= sign * found + 1e-7 * max(1, abs(found))


def priced(spec: dict[str, Any], **fields: Any) -> float | None:
    """Return the bound for an instance as plain data."""
    certificate = Certificate.model_validate({"bound": 0.0, **fields})
    return recomputed(Instance.model_validate(spec), certificate)[0]


def one_gpu() -> dict[str, Any]:
    """Return the toy instance with one a100 and `resnet` alone."""
    spec = toy_spec()
    spec["gpu_pools"] = [{**spec["gpu_pools"][0], "count": 1}]
    spec["services"] = []
    spec["tasks"] = [{**spec["tasks"][0], "count": 5}]
    spec["rules"] = {"tasks_per_gpu": 2}
    return spec


def test_bounds_worked_out_by_hand():
    spec = one_gpu()
    # Alone resnet makes 1000 of 2000 samples/s at weight 2; two of them share at 1.25 times slower.
    assert priced(spec) == pytest.approx(1.0)
    assert priced(spec, tasks=[{"id": "resnet", "price": 0.3}]) == pytest.approx(5 * 0.3 + 0.7)
    assert priced(spec, tasks=[{"id": "resnet", "price": -9.0}]) == pytest.approx(1.0)
    assert priced(spec, tasks=[{"id": "resnet", "price": 9.0}]) == pytest.approx(45.0)
    spec["rules"]["quotas"] = [{"tenant": "vision", "unit": "gpu_share", "maximum": 0.5}]
    price = {"tenant": "vision", "unit": "gpu_share", "side": "maximum", "price": 1.0}
    assert priced(spec, quotas=[price]) == pytest.approx(0.5)
    assert priced(spec, quotas=[{**price, "side": "minimum"}]) == pytest.approx(1.0)


def small_toy() -> dict[str, Any]:
    """Return the toy instance with fewer multiprocessors, so that plain loops end soon."""
    spec = toy_spec()
    for pool in spec["gpu_pools"]:
        pool["sm_count"] = 12
    vision = {"tenant": "vision", "unit": "gpu_share", "maximum": 3.0, "minimum": 0.5}
    spec["rules"]["quotas"] = [vision, {"tenant": "text", "maximum": 1, "minimum": 0}]
    return spec


@pytest.mark.parametrize(
    "fields",
    [
        {"services": [{"id": "yolo", "price": -1.0}]},
        {"services": [{"id": "yolo", "price": 0.3}, {"id": "bert", "price": -0.4}]},
        {"services": [{"id": "bert", "price": 0.4}], "tasks": [{"id": "resnet", "price": -0.2}]},
        {"tasks": [{"id": "gpt", "price": 5.0}, {"id": "resnet", "price": 0.2}]},
        {"levels": [{"task": "gpt", "batch": 4, "rate": 150.0, "price": 0.3}]},
        {
            "levels": [
                {"task": "gpt", "batch": 4, "rate": 150.0, "price": 0.3},
                {"task": "gpt", "batch": 4, "rate": 300.0, "price": 0.1},
                {"task": "resnet", "batch": 64, "rate": 300.0, "price": 9.0},
            ]
        },
        {"levels": [{"task": "gpt", "batch": 4, "rate": 90.0, "price": -0.3}]},
        {
            "tasks": [{"id": "resnet", "price": 5.0}],
            "levels": [{"task": "gpt", "batch": 4, "rate": 450.0, "price": 0.3}],
        },
        {
            "tasks": [{"id": "resnet", "price": 5.0}],
            "levels": [{"task": "gpt", "batch": 4, "rate": 300.0, "price": 0.2}],
            "quotas": [{"tenant": "text", "unit": "tasks", "side": "maximum", "price": 0.1}],
        },
        *(
            {"quotas": [{"tenant": tenant, "unit": unit, "side": side, "price": price}]}
            for tenant, unit in (("vision", "gpu_share"), ("text", "tasks"))
            for side in ("maximum", "minimum")
            for price in (-0.3, 0.2)
        ),
    ],
)
@pytest.mark.parametrize("named", [{"name": "throughput"}, ITERATION_TIME])
def test_each_kind_of_price(fields: dict[str, Any], named: dict[str, Any]):
    instance = Instance.model_validate({**small_toy(), "objective": named})
    certificate = Certificate.model_validate({"bound": 0.0, **fields})
    found, _ = recomputed(instance, certificate)
    assert found == pytest.approx(PlainBound(instance, certificate).bound())


def test_a_worker_that_just_reaches_a_level_is_paid_its_price():
    """Alone on an a100 `gpt` makes exactly 400 samples/s."""
    instance = Instance.model_validate(small_toy())
    level = {"task": "gpt", "batch": 4, "rate": 400.0, "price": 2.0}
    at, above = (
        Certificate.model_validate({"bound": 0.0, "levels": [{**level, "rate": rate}]})
        for rate in (400.0, 400.1)
    )
    found, beyond = recomputed(instance, at)[0], recomputed(instance, above)[0]
    assert found == pytest.approx(PlainBound(instance, at).bound())
    assert beyond == pytest.approx(PlainBound(instance, above).bound())
    assert found is not None
    assert beyond is not None
    assert found > beyond + 1


@pytest.mark.parametrize("price", [-0.8, 0.0, 0.3])
def test_pins_are_priced_on_each_of_their_gpus(price: float):
    """`bert` must stand on three GPUs, `yolo` may on two, and on one of them both meet."""
    spec = small_toy()
    spec["gpu_pools"][0]["first"] = 7
    spec["services"][0]["pinned"] = [{"pool": "a100", "gpus": "7-9"}]
    spec["services"][1]["pinned"] = [{"pool": "a100", "gpus": "9-10"}]
    instance = Instance.model_validate(spec)
    certificate = Certificate.model_validate(
        {
            "bound": 0.0,
            "services": [{"id": "bert", "price": price}, {"id": "yolo", "price": price}],
            "tasks": [{"id": "resnet", "price": 0.1}],
        }
    )
    found, _ = recomputed(instance, certificate)
    assert found == pytest.approx(PlainBound(instance, certificate).bound())


def apart(left: str, right: str) -> Callable[[dict[str, Any]], object]:
    """Return a change that keeps two names apart."""
    rule = {"left": [left], "right": [right]}
    return lambda spec: spec["rules"].update(anti_affinity=[rule])


def twins(spec: dict[str, Any]) -> None:
    """Pin two services that cannot be told apart to the same GPUs, and a third that can."""
    pins = [{"pool": "a100", "gpus": "0-2"}]
    spec["services"][0].update(pinned=pins, min_share_pct=1)
    spec["services"].append({**spec["services"][0], "id": "bert-2"})
    spec["services"][1].update(pinned=[{"pool": "a100", "gpus": "2-3"}])
    spec["rules"]["services_per_gpu"] = 3


def hungry(spec: dict[str, Any]) -> None:
    """One process of `bert` fits beside `resnet`, all of them do not."""
    spec["services"][0]["processes"] = 3
    spec["gpu_pools"][0]["reserve_gib"] = 24.0


@pytest.mark.parametrize(
    "change",
    [
        *(apart(a, b) for a in ("bert", "resnet", "yolo") for b in ("bert", "resnet", "gpt")),
        lambda spec: spec["services"][0].update(user_id=5),
        lambda spec: spec["tasks"][0].update(user_id=5),
        lambda spec: spec["rules"].update(tenants_per_gpu=1),
        lambda spec: spec["rules"].update(tenants_per_gpu=2),
        lambda spec: spec["rules"].update(workloads_per_gpu=1),
        lambda spec: spec["rules"].update(workloads_per_gpu=2),
        lambda spec: spec["gpu_pools"][0].update(max_clients=2),
        lambda spec: spec["gpu_pools"][0].update(reserve_gib=20.0),
        lambda spec: spec["gpu_pools"][1].update(schedulable=False),
        lambda spec: spec["interference"].update(default_slowdown=None),
        lambda spec: spec["services"][0].update(min_share_pct=60),
        lambda spec: spec["services"][0].update(processes=3),
        lambda spec: spec["services"][0].update(replicas=1),
        lambda spec: spec["tasks"][0].update(count=1),
        lambda spec: spec["tasks"][1].update(count=1),
        hungry,
        twins,
    ],
)
@pytest.mark.parametrize("bert", [-0.7, 0.7])
def test_each_rule(change: Callable[[dict[str, Any]], object], bert: float):
    """At prices at which everybody wants to be with everybody, and at others."""
    spec = small_toy()
    change(spec)
    instance = Instance.model_validate(spec)
    prices = {"bert": bert, "bert-2": bert, "yolo": 0.1}
    certificate = Certificate.model_validate(
        {
            "bound": 0.0,
            "services": [{"id": s.id, "price": prices[s.id]} for s in instance.services],
            "levels": [
                {"task": "gpt", "batch": 4, "rate": 100.0, "price": 0.3},
                {"task": "gpt", "batch": 4, "rate": 300.0, "price": 0.4},
            ],
            "quotas": [{"tenant": "text", "unit": "tasks", "side": "maximum", "price": 0.25}],
        }
    )
    found, _ = recomputed(instance, certificate)
    assert found == pytest.approx(PlainBound(instance, certificate).bound())


@pytest.mark.parametrize("together", [3, 4])
def test_many_tasks_divide_a_gpu_among_themselves(together: int):
    """The judge combines them by their multiprocessors, the plain reading tries everything."""
    spec = one_gpu()
    spec["gpu_pools"][0].update(sm_count=11, max_clients=48)
    spec["tasks"].append({**toy_spec()["tasks"][1], "count": 4, "memory_gib": 4.0})
    spec["profiles"][1]["curve"]["batches"][0]["points"].insert(1, {"share_pct": 20, "rate": 900})
    spec["profiles"][1]["memory"][0]["memory_gib"] = 6.0
    spec["rules"]["tasks_per_gpu"] = together
    certificate = Certificate.model_validate(
        {
            "bound": 0.0,
            "tasks": [{"id": "resnet", "price": 0.1}],
            "levels": [{"task": "gpt", "batch": 4, "rate": 100.0, "price": 0.2}],
        }
    )
    instance = Instance.model_validate(spec)
    found, _ = recomputed(instance, certificate)
    assert found == pytest.approx(PlainBound(instance, certificate).bound())


def test_a_worker_more_than_there_are_is_not_priced():
    spec = one_gpu()
    spec["interference"]["default_slowdown"] = 0.5
    assert priced(spec) == pytest.approx(2.0)
    spec["tasks"][0]["count"] = 1
    assert priced(spec) == pytest.approx(1.0)


def test_entries_that_differ_in_their_price_alone_do_not_hide_each_other():
    """The best pair is two different entries, one of each."""
    spec = one_gpu()
    spec["interference"]["default_slowdown"] = 0.5
    spec["tasks"] = [{**spec["tasks"][0], "id": f"t{i}", "count": 1} for i in range(4)]
    prices = [{"id": f"t{i}", "price": p} for i, p in enumerate([0.9, 0.1, 0.5, 0.2])]
    assert priced(spec, tasks=prices) == pytest.approx(1.7 + 2.0 - 0.1 - 0.2)


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["services"][0].update(slo_ms=41.0),
        lambda spec: spec.update(confidence=0.99),
        lambda spec: spec["rules"].update(services_per_gpu=0),
        lambda spec: spec["gpu_pools"][0].update(memory_gib=3.9),
    ],
)
def test_a_gpu_that_cannot_hold_what_is_pinned_to_it_has_no_bound(
    change: Callable[[dict[str, Any]], object],
):
    spec = toy_spec()
    spec["services"][0]["pinned"] = [{"pool": "a100", "gpus": "0-2"}]
    assert priced(spec) is not None
    change(spec)
    found, note = recomputed(Instance.model_validate(spec), Certificate(bound=0.0))
    assert found is None
    assert "pinned" in note


def test_a_batch_that_one_gpu_type_was_not_measured_at():
    spec = toy_spec()
    whole = priced(spec)
    for profile in spec["profiles"]:
        if (profile["workload"], profile["gpu_type"]) == ("bert", "H"):
            del profile["curve"]["batches"][1]
    assert priced(spec) == whole
    instance = Instance.model_validate(spec)
    prices = Certificate.model_validate({"bound": 0.0, "services": [{"id": "bert", "price": -3.0}]})
    expected = PlainBound(instance, prices).bound()
    assert recomputed(instance, prices)[0] == pytest.approx(expected)


def test_prices_that_prove_nothing_finite():
    spec = one_gpu()
    spec["tasks"][0]["weight"] = 1e15
    spec["profiles"][1]["curve"]["batches"][0]["points"][0]["rate"] = 1e15
    spec["profiles"][1]["curve"]["batches"][0]["points"][1]["rate"] = 1e-300
    spec["profiles"][4]["curve"]["batches"][0]["points"][0]["rate"] = 1e-300
    spec["profiles"][4]["curve"]["batches"][0]["points"][1]["rate"] = 1e-300
    found, note = recomputed(Instance.model_validate(spec), Certificate(bound=0.0))
    assert found is None
    assert "no finite bound" in note
