"""The judge on whole plans: what is right, and each kind of violation on a small plan."""

from __future__ import annotations

from typing import Any

import pytest

from colocate.plan import Certificate, UnplacedTasks
from colocate.verify import Verdict, verify
from tests.judging.plans import On, hand_made
from tests.judging.toy import TOY_GROUPS, toy, toy_plan
from tests.judging.words import Spec, changed, expect, judged, kinds, nothing, swap, swap_in

# -- what is right ------------------------------------------------------------------------------


def test_a_plan_worked_out_by_hand_is_accepted_with_its_worth():
    verdict = verify(toy(), toy_plan())
    assert verdict.ok
    # resnet: 2 tasks x weight 2 x 600/1.25/2000; gpt: 2 gangs of 2 at 200/1.25/800 (the slowest);
    # yolo: one of two replicas is missing at 0.5.
    assert verdict.objective == pytest.approx(2 * 2 * 0.24 + 2 * 2 * 0.2 - 0.5)
    assert verdict.bound is None
    assert verdict.bound_note == "the plan has no certificate"


def test_iteration_time_charges_what_is_left_out():
    instance = changed(
        lambda s: s.update(objective={"name": "iteration_time", "params": {"unplaced_s": 7.0}})
    )
    verdict = verify(instance, toy_plan(instance))
    assert verdict.ok
    seconds = 2 * (2 * 64 / 480) + 2 * (4 / 160) + 2.0 * 7.0 + 0.5
    assert verdict.objective == pytest.approx(seconds)


def test_an_empty_plan_is_right_when_nothing_is_required():
    instance = changed(lambda s: s["services"].pop(0))
    plan = hand_made(instance, [])
    verdict = verify(instance, plan)
    assert verdict.ok
    assert verdict.objective == -1.0


def test_exact_fits_fit():
    def exact(spec: Spec) -> None:
        spec["services"][0]["slo_ms"] = 40 + 8000 / (800 * 0.9 / (1.25 * 1.2))
        spec["gpu_pools"][0]["memory_gib"] = 1.0 + 4.0 + 10.0
        spec["gpu_pools"][0]["max_clients"] = 2
        spec["tasks"][1]["memory_gib"] = 10.0
        spec["services"][1]["processes"] = 1
        spec["rules"]["quotas"] = [{"tenant": "vision", "maximum": 2, "minimum": 2}]
        spec["rules"]["quotas"] += [
            {"tenant": "vision", "unit": "gpu_share", "maximum": 1.2, "minimum": 1.2}
        ]

    assert judged(exact).violations == ()


@pytest.mark.parametrize("gpus", ["0-1", "0,1", "1,0"])
def test_the_same_ids_written_differently_are_the_same(gpus: str):
    on = On("a100", gpus, [("bert", "0-1", 8, 40)], [("resnet", "0-1", 64, 60)])
    assert verify(toy(), toy_plan(None, on, *TOY_GROUPS[1:])).ok


# -- what is wrong ------------------------------------------------------------------------------


def test_a_plan_for_another_instance():
    plan = toy_plan()
    expect(verify(toy(), swap(plan, instance_sha256="0" * 64)), "instance", "000000000000")
    expect(verify(toy(), swap(plan, instance_name="other")), "instance", "'other'", "'toy'")


def roomy(spec: Spec) -> None:
    """Add more of everything, for plans that refer to more than the toy instance has."""
    spec["gpu_pools"].append({**spec["gpu_pools"][1], "id": "b100"})
    spec["gpu_pools"][1]["count"] = 3
    spec["services"].append({**spec["services"][0], "id": "vgg", "replicas": 9})
    spec["services"][0]["replicas"] = 9
    spec["tasks"].append({**spec["tasks"][0], "id": "resnet-1", "count": 9})
    spec["tasks"][1]["count"] = 9


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (On("b100", "0", (), [("resnet", "2", 64, 60)]), ("pool 'b100'",)),
        (On("h100", "2", (), [("resnet", "2", 64, 60)]), ("GPU 2", "0-1")),
        (On("h100", "1-2", (), [("resnet", "1-2", 64, 60)]), ("GPU 1-2",)),
        (On("h100", "0", (), [("resnet-1", "2", 64, 60)]), ("task 'resnet-1'",)),
        (On("h100", "0", [("vgg", "2", 8, 60)]), ("service 'vgg'",)),
        (On("h100", "0", [("bert", "3", 8, 60)]), ("3 of service bert", "0-2")),
        (On("h100", "0", (), [("gpt", "4", 4, 60)]), ("4 of task gpt", "0-3")),
    ],
)
def test_a_dangling_reference(group: On, words: tuple[str, ...]):
    plan = hand_made(changed(roomy), [group])
    verdict = verify(toy(), swap(plan, instance_sha256=toy().sha256))
    messages = [v.message for v in verdict.violations if v.kind == "reference"]
    assert any(all(word in m for word in words) for m in messages), messages
    assert verdict.objective is None


def test_gpus_before_the_first_of_a_pool():
    instance = changed(lambda s: s["gpu_pools"][1].update(first=5))
    verdict = verify(instance, swap(toy_plan(), instance_sha256=instance.sha256))
    assert [(v.kind, v.message) for v in verdict.violations] == [
        ("reference", "GPU 1 is not in pool h100, which has 5-6"),
        ("reference", "GPU 0 is not in pool h100, which has 5-6"),
    ]
    moved = On("h100", "6,5", (), [("gpt", "0,3", 4, 50)])
    assert verify(instance, hand_made(instance, [*TOY_GROUPS[:2], moved, TOY_GROUPS[3]])).ok


def test_unknown_names_among_what_is_left_out():
    plan = toy_plan()
    gone = UnplacedTasks(task="vgg", ids="0", reason="outbid")
    assert "reference" in kinds(verify(toy(), swap(plan, unplaced=(*plan.unplaced, gone))))
    far = plan.missing[0].model_copy(update={"replicas": "0,7"})
    assert "reference" in kinds(verify(toy(), swap(plan, missing=(far,))))


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        (("0-1", "0-1"), ("1", "5"), "a100/1"),
        (("0-2", "0-2"), ("1", "5"), "a100/1"),
        (("0,0", "0-1"), ("1", "5"), "a100/0"),
        (("1-2", "0-1"), ("0-2", "5-7"), "a100/1-2"),
        (("0-3", "0-3"), ("1-2", "5-6"), "a100/1-2"),
        (("0-3", "0-3"), ("1,3", "5-6"), "a100/3"),
    ],
)
def test_a_gpu_used_twice(first: tuple[str, str], second: tuple[str, str], shown: str):
    instance = changed(lambda s: s["tasks"][0].update(count=10))
    groups = [On("a100", g, (), [("resnet", ids, 64, 60)]) for g, ids in (first, second)]
    verdict = verify(instance, hand_made(instance, groups))
    assert shown in [v.where for v in verdict.violations if v.kind == "gpu_used_twice"]
    assert verdict.objective is None


def test_a_replica_placed_twice():
    more = On("h100", "0", [("bert", "1", 8, 40)], [("gpt", "0", 4, 50)])
    verdict = judged(nothing, *TOY_GROUPS[:2], more, TOY_GROUPS[3])
    assert {"replica_placed_twice", "accounting"} <= kinds(verdict)


def test_a_worker_placed_twice():
    again = On("h100", "0-1", (), [("resnet", "1-2", 64, 60)])
    verdict = judged(nothing, *TOY_GROUPS[:1], again)
    assert "worker_placed_twice" in kinds(verdict)


def test_a_gang_that_is_not_whole():
    verdict = judged(nothing, *TOY_GROUPS[:3])
    found = [v for v in verdict.violations if v.kind == "gang"]
    assert [v.message for v in found] == [
        "task 0 has workers 0-1, but only 0 of them are placed here"
    ]
    assert verdict.objective is None


def test_a_gang_on_one_gpu():
    def light(spec: Spec) -> None:
        spec["services"] = spec["services"][1:]
        spec["tasks"][1]["memory_gib"] = 1.0

    both = On("h100", "0-1", (), [("gpt", "0,2", 4, 40), ("gpt", "3,1", 4, 40)])
    assert judged(light, both).ok
    both = On("h100", "0-1", (), [("gpt", "0,2", 4, 40), ("gpt", "1,3", 4, 40)])
    expect(judged(light, both), "gang", "two workers of task 0 of gpt", where="h100/0")


def test_a_gang_on_one_gpu_of_several():
    def light(spec: Spec) -> None:
        spec["services"] = spec["services"][1:]
        spec["tasks"][1].update(memory_gib=1.0, count=3)

    right = On("a100", "0-2", (), [("gpt", "2,0,3", 4, 40), ("gpt", "4,5,1", 4, 40)])
    assert judged(light, right).ok
    wrong = On("a100", "0-2", (), [("gpt", "2,0,3", 4, 40), ("gpt", "4,1,5", 4, 40)])
    expect(judged(light, wrong), "gang", "two workers of task 0 of gpt", where="a100/1")


def test_two_of_three_neighbours_are_of_one_gang():
    def roomy(spec: Spec) -> None:
        spec["services"] = []
        spec["tasks"][1].update(memory_gib=1.0, count=3)
        spec["rules"]["tasks_per_gpu"] = 3

    three = On("h100", "0-1", (), [("gpt", ids, 4, 30) for ids in ("0,5", "2,1", "4,3")])
    assert judged(roomy, three).ok
    three = On("h100", "0-1", (), [("gpt", ids, 4, 30) for ids in ("0,5", "2,3", "1,4")])
    verdict = judged(roomy, three)
    expect(verdict, "gang", "two workers of task 0 of gpt", where="h100/0")


def test_single_tasks_of_one_entry_may_share_a_gpu():
    both = On("h100", "0", (), [("resnet", "0", 64, 40), ("resnet", "1", 64, 40)])
    assert judged(lambda s: s["services"].pop(0), both).ok


def test_a_required_service_that_is_missing():
    verdict = judged(nothing, *TOY_GROUPS[:2])
    assert "required_service" in kinds(verdict)
    found = next(v for v in verdict.violations if v.kind == "required_service")
    assert (found.where, found.message) == (
        "service bert",
        "is required, but 2 of 3 replicas are placed",
    )


@pytest.mark.parametrize(
    ("pins", "ok"),
    [
        ([{"pool": "a100", "gpus": "0-1"}, {"pool": "a100", "gpus": "3"}], True),
        ([{"pool": "a100", "gpus": "0-1"}, {"pool": "a100", "gpus": "2"}], False),
        ([{"pool": "a100", "gpus": "1-3"}], False),
        ([{"pool": "a100", "gpus": "0,2-3"}], False),
        ([{"pool": "a100", "gpus": "3,0"}, {"pool": "a100", "gpus": "1"}], True),
        ([{"pool": "h100", "gpus": "0-1"}, {"pool": "old", "gpus": "0"}], False),
    ],
)
def test_pinned_services_stay_on_their_gpus(pins: list[Spec], ok: bool):
    verdict = judged(lambda s: s["services"][0].update(pinned=pins))
    if ok:
        assert verdict.ok
    else:
        expect(verdict, "pinned_service", "bert is pinned to other GPUs")


def test_two_replicas_on_one_pinned_gpu():
    pins = [{"pool": "a100", "gpus": "0-2"}]
    two = On("a100", "0", [("bert", "0", 8, 40), ("bert", "1", 8, 40)])
    verdict = judged(
        lambda s: s["services"][0].update(pinned=pins), two, On("a100", "1", [("bert", "2", 8, 40)])
    )
    expect(verdict, "pinned_service", "two replicas of bert", where="a100/0")


def test_accounting_of_replicas():
    plan = toy_plan()
    expect(
        verify(toy(), swap(plan, missing=())), "accounting", "1 replicas placed and 0 missing of 2"
    )
    both = plan.missing[0].model_copy(update={"replicas": "0-1"})
    verdict = verify(toy(), swap(plan, missing=(both,)))
    expect(verdict, "accounting", "replica 1 is placed and listed missing", where="service yolo")
    twice = (*plan.missing, *plan.missing)
    expect(
        verify(toy(), swap(plan, missing=twice)), "accounting", "replica 0 is listed missing twice"
    )


def test_accounting_of_tasks():
    plan = toy_plan()
    verdict = verify(toy(), swap(plan, unplaced=()))
    expect(verdict, "accounting", "2 tasks placed and 0 unplaced of 3", where="task resnet")
    other = plan.unplaced[0].model_copy(update={"ids": "1"})
    verdict = verify(toy(), swap(plan, unplaced=(other,)))
    expect(verdict, "accounting", "task 1 is placed and listed unplaced")
    twice = (*plan.unplaced, *plan.unplaced)
    expect(
        verify(toy(), swap(plan, unplaced=twice)), "accounting", "task 2 is listed unplaced twice"
    )


def test_groups_whose_lists_differ_in_length():
    plan = swap_in(toy_plan(), 0, "services", 0, replicas="0")
    assert "accounting" in kinds(verify(toy(), plan))
    hollow = plan.placements[0].model_copy(update={"services": (), "tasks": ()})
    plan = swap(toy_plan(), placements=(*toy_plan().placements[1:], hollow))
    verdict = verify(toy(), plan)
    assert any(v.message == "holds nothing" for v in verdict.violations)


@pytest.mark.parametrize(
    ("quota", "words"),
    [
        ({"tenant": "vision", "maximum": 1}, "2 placed tasks, but at most 1"),
        ({"tenant": "text", "minimum": 2.5}, "2 placed tasks, but at least 2.5"),
        ({"tenant": "text", "unit": "gpu_share", "maximum": 1.9}, "2 GPUs' worth"),
        ({"tenant": "vision", "unit": "gpu_share", "minimum": 1.21}, "at least 1.21 are due"),
    ],
)
def test_quotas_and_floors(quota: Spec, words: str):
    verdict = judged(lambda s: s["rules"].update(quotas=[quota]))
    expect(verdict, "quota", words, where=f"tenant {quota['tenant']}")


def test_gpus_that_are_not_to_be_planned_with():
    verdict = judged(nothing, *TOY_GROUPS, On("old", "0", (), [("resnet", "2", 64, 60)]))
    expect(verdict, "unschedulable", "pool old is not to be planned with", where="old/0")


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"moves": {"price": 1.0}}, "move prices"),
    ],
)
def test_rules_that_this_version_cannot_judge(rules: Spec, words: str):
    instance = changed(lambda s: (s["rules"].update(rules), s.update(current=[])))
    plan = swap(toy_plan(instance), certificate=Certificate(bound=100.0))
    verdict = verify(instance, plan)
    expect(verdict, "unsupported", words)
    assert verdict.bound is None


def test_an_objective_that_is_not_the_plans():
    plan = toy_plan()
    for value in (plan.objective.value + 1e-5, float("nan"), 1e15, -plan.objective.value):
        forged = plan.objective.model_copy(update={"value": value})
        verdict = verify(toy(), swap(plan, objective=forged))
        expect(verdict, "objective", "but is worth 1.26")
        assert verdict.objective == pytest.approx(1.26)
    other = plan.objective.model_copy(update={"sense": "min"})
    expect(verify(toy(), swap(plan, objective=other)), "objective", "throughput (min)")


@pytest.mark.parametrize("name", sorted(toy_plan().totals.model_fields_set))
def test_totals_that_do_not_add_up(name: str):
    plan = toy_plan()
    for more in (1, -1):
        forged = plan.totals.model_copy(update={name: getattr(plan.totals, name) + more})
        expect(verify(toy(), swap(plan, totals=forged)), "totals", f"states {name}")


# -- certificates -------------------------------------------------------------------------------


def certified(**fields: Any) -> Verdict:
    return verify(toy(), swap(toy_plan(), certificate=Certificate(**fields)))


def test_a_bound_that_its_prices_do_not_prove():
    free = certified(bound=1e6)
    assert free.ok
    assert free.bound is not None
    assert free.objective is not None
    assert free.bound > free.objective
    assert certified(bound=free.bound).ok
    assert certified(bound=free.bound * (1 - 1e-9)).ok
    verdict = certified(bound=free.bound * (1 - 1e-6))
    expect(verdict, "certificate", "its prices prove", "only")
    assert verdict.bound == free.bound
    nan = Certificate(bound=0.0).model_copy(update={"bound": float("nan")})
    expect(verify(toy(), swap(toy_plan(), certificate=nan)), "certificate", "nan")


def test_the_bound_of_a_minimum_is_below_it():
    objective = {"name": "iteration_time", "params": {"unplaced_s": 7.0}}
    instance = changed(lambda s: s.update(objective=objective))
    plan = toy_plan(instance)

    def stating(bound: float) -> Verdict:
        return verify(instance, swap(plan, certificate=Certificate(bound=bound)))

    loose = stating(-1e6)
    assert loose.ok
    assert loose.bound is not None
    assert loose.objective is not None
    assert loose.bound < loose.objective
    assert stating(loose.bound).ok
    expect(stating(loose.bound + 0.001), "certificate", "its prices prove")


def test_prices_of_things_that_do_not_exist():
    for fields in (
        {"services": [{"id": "resnet", "price": 1.0}]},
        {"tasks": [{"id": "bert", "price": 1.0}]},
        {"levels": [{"task": "vgg", "batch": 8, "rate": 1.0, "price": 1.0}]},
        {"quotas": [{"tenant": "text", "unit": "tasks", "side": "maximum", "price": 1.0}]},
    ):
        verdict = certified(bound=1e9, **fields)
        expect(verdict, "certificate", "which the instance does not have", where="certificate")


def test_prices_that_are_given_twice():
    prices = [{"id": "bert", "price": 1.0}, {"id": "bert", "price": 2.0}]
    expect(certified(bound=1e9, services=prices), "certificate", "prices service bert twice")


def test_work_beyond_the_cap_gives_no_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("colocate.judge.bound.EVALUATION_CAP", 50)
    verdict = certified(bound=0.0)
    assert verdict.ok
    assert verdict.bound is None
    assert "more than 50 evaluations" in verdict.bound_note


def test_an_objective_that_contradicts_itself_is_found_out(monkeypatch: pytest.MonkeyPatch):
    """A plug-in objective whose solver's face promises less than its score gives."""
    from colocate.objectives.throughput import Throughput

    monkeypatch.setattr(
        Throughput, "placed_value", lambda self, task, rate: 0.001 * rate / task.reference_rate
    )
    verdict = certified(bound=1e9, services=[{"id": "yolo", "price": 0.5}])
    expect(verdict, "certificate", "contradicts itself")
