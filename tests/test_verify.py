"""The judge: every kind of violation on a minimal broken plan, and what it lets pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from colocate import registry
from colocate.constraints.base import PlainConstraint
from colocate.errors import PluginError
from colocate.instance import Instance
from colocate.plan import Certificate, Plan, UnplacedTasks
from colocate.schema import Evidence
from colocate.verify import Verdict, verify
from colocate.violation import Violation, ViolationKind
from tests.judging.plans import On, hand_made
from tests.judging.toy import TOY_GROUPS, toy, toy_plan, toy_spec

Spec = dict[str, Any]


def changed(change: Callable[[Spec], object]) -> Instance:
    """Return the toy instance after a change to its plain form."""
    spec = toy_spec()
    change(spec)
    return Instance.model_validate(spec)


def judged(change: Callable[[Spec], object], *groups: On) -> Verdict:
    """Judge a hand-made plan for a changed toy instance."""
    instance = changed(change)
    return verify(instance, hand_made(instance, groups or TOY_GROUPS))


def nothing(_: Spec) -> None:
    """Change nothing."""


def expect(verdict: Verdict, kind: ViolationKind, *words: str, where: str | None = None) -> None:
    """Check that there is a violation of this kind that says all these words, and no other kind."""
    assert not verdict.ok
    assert {v.kind for v in verdict.violations} == {kind}, list(map(str, verdict.violations))
    found = [
        v
        for v in verdict.violations
        if all(word in v.message for word in words) and where in (None, v.where)
    ]
    assert found, list(map(str, verdict.violations))


def kinds(verdict: Verdict) -> set[str]:
    """Return the kinds of what was found."""
    return {v.kind for v in verdict.violations}


def swap(plan: Plan, **fields: object) -> Plan:
    """Return the plan with other fields, unchecked, as a careless program could make it."""
    return plan.model_copy(update=fields)


def swap_in(plan: Plan, group: int, kind: str, at: int, **fields: object) -> Plan:
    """Return the plan with other fields of one placed service or task."""
    placements = list(plan.placements)
    placed = list(getattr(placements[group], kind))
    placed[at] = placed[at].model_copy(update=fields)
    placements[group] = placements[group].model_copy(update={kind: tuple(placed)})
    return swap(plan, placements=tuple(placements))


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


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (On("b100", "0", (), [("resnet", "2", 64, 60)]), ("pool 'b100'",)),
        (On("h100", "2", (), [("resnet", "2", 64, 60)]), ("GPU 2", "0-1")),
        (On("h100", "1-2", (), [("resnet", "1-2", 64, 60)]), ("GPU 1-2",)),
        (On("h100", "0", (), [("vgg", "2", 64, 60)]), ("task 'vgg'",)),
        (On("h100", "0", (), [("resnet-1", "2", 64, 60)]), ("task 'resnet-1'",)),
        (On("h100", "0", [("vgg", "2", 64, 60)]), ("service 'vgg'",)),
        (On("h100", "0", [("bert", "3", 8, 60)]), ("3 of service bert", "0-2")),
        (On("h100", "0", (), [("gpt", "4", 4, 60)]), ("4 of task gpt", "0-3")),
    ],
)
def test_a_dangling_reference(group: On, words: tuple[str, ...]):
    instance = changed(lambda s: s["gpu_pools"].append({**s["gpu_pools"][1], "id": "b100"}))
    instance = changed(
        lambda s: (
            s["gpu_pools"].append({**s["gpu_pools"][1], "id": "b100"}),
            s["gpu_pools"][1].update(count=3),
            s["services"].append({**s["services"][0], "id": "vgg", "replicas": 9}),
            s["services"][0].update(replicas=9),
            s["tasks"].append({**s["tasks"][0], "id": "resnet-1", "count": 9}),
            s["tasks"][1].update(count=9),
        )
    ) if group.services != () or group.tasks[0][0] != "vgg" else changed(
        lambda s: s["tasks"].append({**s["tasks"][0], "id": "vgg"})
    )
    plan = hand_made(instance, [group])
    verdict = verify(toy(), swap(plan, instance_sha256=toy().sha256))
    assert "reference" in kinds(verdict)
    messages = [v.message for v in verdict.violations if v.kind == "reference"]
    assert any(all(word in m for word in words) for m in messages), messages
    assert verdict.objective is None


def test_unknown_names_among_what_is_left_out():
    plan = toy_plan()
    gone = UnplacedTasks(task="vgg", ids="0", reason="outbid")
    assert "reference" in kinds(verify(toy(), swap(plan, unplaced=(*plan.unplaced, gone))))
    far = plan.missing[0].model_copy(update={"replicas": "0,7"})
    assert "reference" in kinds(verify(toy(), swap(plan, missing=(far,))))


@pytest.mark.parametrize(
    ("gpus", "other", "shown"),
    [("0-1", "1", "a100/1"), ("0-2", "1", "a100/1"), ("0,0", "1", "a100/0"), ("1-2", "0-2", None)],
)
def test_a_gpu_used_twice(gpus: str, other: str, shown: str | None):
    def more(spec: Spec) -> None:
        spec["tasks"][0]["count"] = 10

    instance = changed(more)
    n, m = len(np.arange(10)[: len(gpus.split(","))]), 1
    n = {"0-1": 2, "0-2": 3, "0,0": 2, "1-2": 2}[gpus]
    m = {"1": 1, "0-2": 3}[other]
    groups = [
        On("a100", gpus, (), [("resnet", f"0-{n - 1}", 64, 60)]),
        On("a100", other, (), [("resnet", f"5-{4 + m}" if m > 1 else "5", 64, 60)]),
    ]
    verdict = verify(instance, hand_made(instance, groups))
    assert "gpu_used_twice" in kinds(verdict)
    found = [v.where for v in verdict.violations if v.kind == "gpu_used_twice"]
    assert shown is None or shown in found
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
    def pair(spec: Spec) -> None:
        spec["services"] = spec["services"][1:]

    both = On("h100", "0-1", (), [("gpt", "0,2", 4, 40), ("gpt", "3,1", 4, 40)])
    assert judged(lambda s: (pair(s), s["tasks"][1].update(memory_gib=1.0)), both).ok
    both = On("h100", "0-1", (), [("gpt", "0,2", 4, 40), ("gpt", "1,3", 4, 40)])
    verdict = judged(lambda s: (pair(s), s["tasks"][1].update(memory_gib=1.0)), both)
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
    expect(verify(toy(), swap(plan, missing=())), "accounting", "1 replicas placed and 0 missing of 2")
    both = plan.missing[0].model_copy(update={"replicas": "0-1"})
    verdict = verify(toy(), swap(plan, missing=(both,)))
    expect(verdict, "accounting", "replica 1 is placed and listed missing", where="service yolo")
    twice = (*plan.missing, *plan.missing)
    expect(verify(toy(), swap(plan, missing=twice)), "accounting", "replica 0 is listed missing twice")


def test_accounting_of_tasks():
    plan = toy_plan()
    verdict = verify(toy(), swap(plan, unplaced=()))
    expect(verdict, "accounting", "2 tasks placed and 0 unplaced of 3", where="task resnet")
    other = plan.unplaced[0].model_copy(update={"ids": "1"})
    verdict = verify(toy(), swap(plan, unplaced=(other,)))
    expect(verdict, "accounting", "task 1 is placed and listed unplaced")
    twice = (*plan.unplaced, *plan.unplaced)
    expect(verify(toy(), swap(plan, unplaced=twice)), "accounting", "task 2 is listed unplaced twice")


def test_groups_whose_lists_differ_in_length():
    plan = swap_in(toy_plan(), 0, "services", 0, replicas="0")
    assert "accounting" in kinds(verify(toy(), plan))
    hollow = plan.placements[0].model_copy(update={"services": (), "tasks": ()})
    plan = swap(toy_plan(), placements=(*toy_plan().placements[1:], hollow))
    verdict = verify(toy(), plan)
    assert any(v.message == "holds nothing" for v in verdict.violations)


def test_a_batch_that_is_not_allowed():
    verdict = judged(lambda s: s["services"][0].update(batches=[16]))
    expect(verdict, "knobs", "batch 8 is not one of its batches (16)", where="a100/0-1")
    only_h = judged(
        lambda s: s["profiles"][0]["curve"]["batches"].pop(0),
    )
    assert "knobs" in kinds(only_h)
    plan = swap_in(toy_plan(), 0, "tasks", 0, batch=32)
    verdict = verify(toy(), plan)
    assert any("trains at 64" in v.message for v in verdict.violations if v.kind == "knobs")


def test_shares_that_do_not_fit():
    over = On("a100", "0-1", [("bert", "0-1", 8, 41)], [("resnet", "0-1", 64, 60)])
    verdict = judged(nothing, over, *TOY_GROUPS[1:])
    expect(verdict, "share", "may take 101 of 100", where="a100/0-1")


def test_shares_are_rounded_up_for_the_sum():
    """40 % and 60 % of 99 multiprocessors may take 40 and 60 of them."""
    verdict = judged(lambda s: s["gpu_pools"][0].update(sm_count=99))
    expect(verdict, "share", "may take 100 of 99", where="a100/0-1")


def test_multiprocessors_other_than_the_share_gives():
    plan = swap_in(toy_plan(), 0, "services", 0, sms=41)
    expect(verify(toy(), plan), "share", "states 41 multiprocessors, but 40 % gives 40")


def test_a_share_that_is_not_sure_to_give_a_multiprocessor():
    """34 % of 3 multiprocessors is 1.02 of them, 33 % is 0.99."""
    instance = changed(lambda s: s["gpu_pools"][1].update(sm_count=3))
    few = On("h100", "0-1", (), [("gpt", "0,3", 4, 34)])
    plan = hand_made(instance, [*TOY_GROUPS[:2], few, TOY_GROUPS[3]])
    assert verify(instance, plan).ok
    verdict = verify(instance, swap_in(plan, 2, "tasks", 0, share_pct=33))
    assert any("33 % of 3 multiprocessors is not sure" in v.message for v in verdict.violations)
    assert {"share", "rate"} == kinds(verdict)


def test_a_share_below_the_services_smallest():
    verdict = judged(lambda s: s["services"][0].update(min_share_pct=41))
    expect(verdict, "share", "40 % is less than its smallest share, 41 %")


def test_a_share_that_was_not_measured():
    measured = [{"share_pct": q, "sms": q} for q in (40, 50, 60)]
    assert judged(lambda s: s["gpu_pools"][0].update(measured_sms=measured)).ok
    instance = changed(lambda s: s["gpu_pools"][0].update(measured_sms=measured[1:]))
    verdict = verify(instance, swap(toy_plan(), instance_sha256=instance.sha256))
    expect(verdict, "share", "40 % was not measured on pool a100")
    assert verdict.objective is None
    fewer = [{"share_pct": q, "sms": q - 10} for q in (40, 50, 60)]
    plan = toy_plan()
    instance = changed(lambda s: s["gpu_pools"][0].update(measured_sms=fewer))
    verdict = verify(instance, swap(plan, instance_sha256=instance.sha256))
    assert {"share", "prediction"} <= kinds(verdict)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("services", "rate_rps"),
        ("services", "rate_lo_rps"),
        ("services", "latency_ms"),
        ("services", "latency_hi_ms"),
        ("services", "memory_gib"),
        ("tasks", "rate"),
        ("tasks", "rate_lo"),
        ("tasks", "normalised_rate"),
        ("tasks", "memory_gib"),
    ],
)
@pytest.mark.parametrize("factor", [1 + 1e-6, 0.5, float("nan"), float("inf"), 0.0])
def test_a_prediction_that_does_not_hold(kind: str, field: str, factor: float):
    plan = toy_plan()
    stated = getattr(plan.placements[0], kind)[0].predicted
    forged = stated.model_copy(update={field: getattr(stated, field) * factor})
    verdict = verify(toy(), swap_in(plan, 0, kind, 0, predicted=forged))
    expect(verdict, "prediction", f"states {field}", where="a100/0-1")
    assert verdict.objective is None


def test_a_prediction_within_rounding_is_accepted():
    plan = toy_plan()
    stated = plan.placements[0].tasks[0].predicted
    assert stated is not None
    near = stated.model_copy(update={"rate": stated.rate * (1 + 1e-9)})
    assert verify(toy(), swap_in(plan, 0, "tasks", 0, predicted=near)).ok


def test_a_prediction_with_other_evidence():
    plan = toy_plan()
    stated = plan.placements[0].services[0].predicted
    assert stated is not None
    assert stated.evidence is Evidence.REGRESSED
    forged = stated.model_copy(update={"evidence": Evidence.MEASURED})
    verdict = verify(toy(), swap_in(plan, 0, "services", 0, predicted=forged))
    expect(verdict, "prediction", "evidence measured, but it is regressed")


@pytest.mark.parametrize("kind", ["services", "tasks"])
def test_a_plan_without_predictions(kind: str):
    verdict = verify(toy(), swap_in(toy_plan(), 0, kind, 0, predicted=None))
    expect(verdict, "prediction", "states no prediction")


def test_an_slo_that_is_missed():
    verdict = judged(lambda s: s["services"][0].update(slo_ms=52.0))
    expect(
        verdict,
        "slo",
        "service bert: p99 latency bound 52.8333 ms exceeds its SLO of 52 ms",
        where="a100/0-1",
    )


def test_a_load_that_is_not_stable():
    def loaded(spec: Spec) -> None:
        spec["services"][0].update(rate_rps=620.0, slo_ms=1000.0)

    expect(judged(loaded), "slo", "the load 0.994", "too high for SLO model fill")


def test_an_slo_without_a_bound():
    verdict = judged(lambda s: s.update(confidence=0.99))
    assert kinds(verdict) == {"slo"}
    assert all("no bound at confidence 0.99" in v.message for v in verdict.violations)


def test_the_slo_of_the_mudi_model():
    def mudi(slo: float) -> Callable[[Spec], None]:
        return lambda s: (
            s.update(slo_model={"name": "mudi"}),
            s["services"][0].update(slo_ms=slo),
        )  # type: ignore[return-value]

    # rate bound 800 * 0.9 / (1.1 * 1.05), and 720 / (1.25 * 1.2) beside gpt
    assert judged(mudi(1000 * 200 / (720 / 1.5))).ok
    expect(judged(mudi(1000 * 200 / (720 / 1.5) * 0.999)), "slo", "exceeds its SLO", where="a100/3")


def test_a_workload_without_a_profile():
    def drop(spec: Spec) -> None:
        spec["profiles"] = [
            p for p in spec["profiles"] if (p["workload"], p["gpu_type"]) != ("gpt", "H")
        ]

    verdict = judged(drop)
    assert any("gpt has no profile for H" in v.message for v in verdict.violations)
    assert "rate" in kinds(verdict)


def test_a_workload_that_does_not_run():
    few = On("a100", "3", [("bert", "2", 8, 40)], [("gpt", "1", 4, 4)])
    verdict = judged(nothing, *TOY_GROUPS[:3], few)
    expect(verdict, "rate", "does not run at batch 4 and 4 %", where="a100/3")


def test_company_of_which_nothing_is_known():
    verdict = judged(lambda s: s["interference"].update(default_slowdown=None))
    assert "rate" in kinds(verdict)
    assert any(
        v.message == "task resnet: nobody knows its slowdown beside bert" for v in verdict.violations
    )


def test_memory_that_does_not_fit():
    verdict = judged(lambda s: s["gpu_pools"][0].update(memory_gib=28.9))
    expect(
        verdict,
        "memory",
        "needs 28 GiB (service yolo 8, task gpt 20) of 27.9 GiB",
        where="a100/2",
    )
    assert judged(lambda s: s["gpu_pools"][0].update(memory_gib=29.0)).ok


def test_memory_counts_processes():
    verdict = judged(lambda s: s["tasks"][1].update(processes=2, memory_gib=18.0))
    expect(verdict, "memory", "task gpt 36", where="a100/2")


def test_memory_that_is_unknown():
    plan = swap_in(toy_plan(), 1, "services", 0, batch=32)
    assert any("at batch 32 is unknown" in v.message for v in verify(toy(), plan).violations)


def test_too_many_clients():
    verdict = judged(lambda s: s["gpu_pools"][0].update(max_clients=2))
    expect(verdict, "clients", "3 processes, but MPS takes 2", where="a100/2")


@pytest.mark.parametrize(
    ("rule", "limit", "what"),
    [
        ("services_per_gpu", 0, "1 services"),
        ("tasks_per_gpu", 0, "1 training workers"),
        ("workloads_per_gpu", 1, "2 workloads"),
        ("tenants_per_gpu", 1, "2 tenants"),
    ],
)
def test_limits_of_one_gpu(rule: ViolationKind, limit: int, what: str):
    expect(judged(lambda s: s["rules"].update({rule: limit})), rule, f"holds {what}", str(limit))
    assert judged(lambda s: s["rules"].update({rule: limit + 1})).ok


def test_users_that_differ():
    verdict = judged(lambda s: s["services"][1].update(user_id=7))
    expect(verdict, "user_id", "service yolo runs as user 7, task gpt as no stated user")
    assert judged(lambda s: [w.update(user_id=7) for w in (*s["services"], *s["tasks"])]).ok


@pytest.mark.parametrize(
    ("left", "right", "where"),
    [
        (["bert"], ["resnet"], "a100/0-1"),
        (["gpt"], ["yolo", "resnet"], "a100/2"),
        (["bert"], ["bert", "yolo"], None),
        (["resnet"], ["gpt"], None),
    ],
)
def test_workloads_kept_apart(left: list[str], right: list[str], where: str | None):
    verdict = judged(lambda s: s["rules"].update(anti_affinity=[{"left": left, "right": right}]))
    if where is None:
        assert verdict.ok
    else:
        expect(verdict, "anti_affinity", "anti-affinity rule 0 keeps apart", where=where)


def test_a_name_on_both_sides_keeps_its_own_kind_apart():
    both = On("h100", "0", (), [("resnet", "0", 64, 40), ("resnet", "1", 64, 40)])
    rule = {"left": ["resnet"], "right": ["resnet"]}
    verdict = judged(lambda s: (s["services"].pop(0), s["rules"].update(anti_affinity=[rule])), both)
    expect(verdict, "anti_affinity", "task resnet beside task resnet")


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
        ({"blast_radius": {"max_replicas_per_node": 1}}, "blast radius"),
        ({"locked": [{"pool": "a100", "gpus": "0"}]}, "locked placements"),
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


@pytest.mark.parametrize("name", list(toy_plan().totals.model_fields_set))
def test_totals_that_do_not_add_up(name: str):
    plan = toy_plan()
    forged = plan.totals.model_copy(update={name: getattr(plan.totals, name) + 1})
    expect(verify(toy(), swap(plan, totals=forged)), "totals", f"states {name}")


# -- certificates -------------------------------------------------------------------------------


def certified(**fields: Any) -> Verdict:  # noqa: ANN401
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


def test_prices_of_things_that_do_not_exist():
    for fields in (
        {"services": [{"id": "resnet", "price": 1.0}]},
        {"tasks": [{"id": "bert", "price": 1.0}]},
        {"levels": [{"task": "vgg", "rate": 1.0, "price": 1.0}]},
        {"quotas": [{"tenant": "text", "unit": "tasks", "side": "maximum", "price": 1.0}]},
    ):
        verdict = certified(bound=1e9, **fields)
        expect(verdict, "certificate", "which the instance does not have", where="certificate")


def test_prices_that_are_given_twice():
    prices = [{"id": "bert", "price": 1.0}, {"id": "bert", "price": 2.0}]
    expect(certified(bound=1e9, services=prices), "certificate", "prices service bert twice")


def test_work_beyond_the_cap_gives_no_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("colocate._judge_bound.EVALUATION_CAP", 50)
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


# -- plug-ins and size --------------------------------------------------------------------------


class NoBertConstraint(PlainConstraint):
    """Nobody may have bert."""

    def violations(self, instance: Instance, plan: Plan) -> Iterator[Violation]:
        for group in plan.placements:
            if any(s.service == "bert" for s in group.services):
                yield Violation(kind="constraint", where=group.pool, message="holds bert")


def test_a_constraint_of_a_plug_in_is_heard(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(registry._ADDED["constraint"], "no_bert", NoBertConstraint)
    verdict = judged(lambda s: s.update(constraints=[{"name": "no_bert"}]))
    expect(verdict, "constraint", "holds bert", where="a100")
    with pytest.raises(PluginError):
        judged(lambda s: s.update(constraints=[{"name": "no_such_constraint"}]))


def test_what_is_found_is_bounded():
    """A plan that is wrong everywhere does not drown the reader."""
    plan = toy_plan()
    wrong = plan.placements[0].model_copy(update={"pool": "nowhere"})
    verdict = verify(toy(), swap(plan, placements=(wrong,) * 1000))
    assert len(verdict.violations) < 100
    shown = [v for v in verdict.violations if v.kind == "reference"]
    assert len(shown) == 21
    assert shown[-1].message == "980 more of this kind"


def test_long_lists_of_gpus_are_cut_short():
    instance = changed(lambda s: s["gpu_pools"][0].update(count=1000, memory_gib=5.0))
    gpus = ",".join(map(str, range(0, 1000, 2)))
    plan = hand_made(instance, [On("a100", gpus, [("bert", "0-499", 16, 40)])][:0])
    group = toy_plan().placements[0].model_copy(update={"gpus": gpus})
    verdict = verify(instance, swap(plan, placements=(group,)))
    assert verdict.violations
    assert max(len(v.where) for v in verdict.violations) < 60


def million(n: int) -> tuple[Instance, Plan]:
    """Return an instance with n GPUs in one pool, and a plan with gangs on two thirds of them."""
    third = n // 3

    def large(spec: Spec) -> None:
        spec["gpu_pools"] = [{**spec["gpu_pools"][0], "count": n}]
        spec["services"][0]["replicas"] = third
        spec["tasks"][0]["count"] = third
        spec["tasks"][1]["count"] = third

    instance = changed(large)
    small = toy_plan()
    bert, alone = small.placements[0], small.placements[2]
    gpt = hand_made(
        changed(lambda s: s["tasks"][1].update(count=4)),
        [On("a100", "0", (), [("gpt", "0", 4, 50)])],
    ).placements[0]
    groups = (
        bert.model_copy(
            update={
                "gpus": f"0-{third - 1}",
                "services": (
                    bert.services[0].model_copy(update={"replicas": f"0-{third - 1}"}),
                ),
                "tasks": (bert.tasks[0].model_copy(update={"workers": f"0-{third - 1}"}),),
            }
        ),
        gpt.model_copy(
            update={
                "gpus": f"{third}-{3 * third - 1}",
                "tasks": (gpt.tasks[0].model_copy(update={"workers": f"0-{2 * third - 1}"}),),
            }
        ),
    )
    assert alone.pool == "h100"
    missing = small.missing[0].model_copy(update={"replicas": "0-1"})
    value = 2 * third * 480 / 2000 + 2 * third * 200 / 800 - 1.0
    totals = small.totals.model_copy(
        update={
            "gpus_used": 3 * third,
            "gpus_shared": third,
            "replicas_placed": third,
            "replicas_missing": 2,
            "tasks_placed": 2 * third,
            "tasks_unplaced": 0,
            "normalised_throughput": third * 480 / 2000 + 2 * third * 200 / 800,
        }
    )
    plan = swap(
        small,
        instance_sha256=instance.sha256,
        placements=groups,
        missing=(missing,),
        unplaced=(),
        totals=totals,
        objective=small.objective.model_copy(update={"value": value}),
    )
    return instance, plan


def test_a_million_gpus_are_judged_at_once():
    instance, plan = million(1_000_000)
    started = time.perf_counter()
    verdict = verify(instance, plan)
    elapsed = time.perf_counter() - started
    assert verdict.ok, verdict.violations
    assert elapsed < 1.5
    third = 333_333
    one_short = plan.placements[0].tasks[0].model_copy(update={"workers": f"0-{third - 2},0"})
    group = plan.placements[0].model_copy(update={"tasks": (one_short,)})
    verdict = verify(instance, swap(plan, placements=(group, plan.placements[1])))
    assert {"worker_placed_twice", "accounting"} == kinds(verdict)


def test_one_stray_gpu_among_a_million():
    instance, plan = million(999_999)
    group = plan.placements[1]
    gpus = f"333333-666665,0,666667-{999_998}"
    verdict = verify(
        instance,
        swap(plan, placements=(plan.placements[0], group.model_copy(update={"gpus": gpus}))),
    )
    assert [(v.kind, v.where) for v in verdict.violations] == [("gpu_used_twice", "a100/0")]


def test_hostile_runs_cost_no_more_than_their_text():
    plan = toy_plan()
    group = plan.placements[0].model_copy(update={"gpus": "0-99999999"})
    started = time.perf_counter()
    verdict = verify(toy(), swap(plan, placements=(group,) * 50))
    assert not verdict.ok
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("rows", [3000, pytest.param(1_000_000, marks=pytest.mark.deep)])
def test_tables_are_accounted_for_row_by_row(rows: int):
    def tabled(spec: Spec) -> None:
        spec["services"] = []
        spec["tasks"] = []
        spec["task_table"] = {
            "rows": rows,
            "profile": "resnet",
            "batch": 64,
            "count": [1 + i % 2 for i in range(rows)],
            "weight": [1.0 + i % 3 for i in range(rows)],
        }
        spec["service_table"] = {
            "rows": 10,
            "profile": "bert",
            "rate_rps": 100.0,
            "slo_ms": 200.0,
            "required": False,
            "missing_price": 0.25,
        }

    instance = changed(tabled)
    placed = On("a100", "0-1", [("service-3", "0", 8, 30)][:0], [("task-1", "0-1", 64, 60)])
    small = hand_made(
        changed(lambda s: (tabled(s), s["task_table"].update(rows=3000, count=1, weight=2.0))),
        [],
    )
    group = toy_plan().placements[2].model_copy(
        update={
            "gpus": "0-1",
            "pool": "h100",
            "services": (),
            "tasks": (
                toy_plan().placements[0].tasks[0].model_copy(
                    update={"task": "task-1", "workers": "0-1"}
                ),
            ),
        }
    )
    assert placed.gpus == group.gpus
    rate = 1200.0
    predicted = group.tasks[0].predicted
    assert predicted is not None
    predicted = predicted.model_copy(
        update={"rate": rate, "rate_lo": rate * 0.95, "normalised_rate": rate / 2000}
    ).model_copy(update={"evidence": Evidence.MEASURED})
    group = group.model_copy(
        update={"tasks": (group.tasks[0].model_copy(update={"predicted": predicted}),)}
    )
    left = tuple(
        UnplacedTasks.model_construct(
            task=f"task-{i}", ids="0-1" if i % 2 else "0", reason="outbid", detail=""
        )
        for i in range(rows)
        if i != 1
    )
    count = rows + rows // 2
    plan = swap(
        small,
        instance_sha256=instance.sha256,
        placements=(group,),
        unplaced=left,
        totals=small.totals.model_copy(
            update={
                "gpus_used": 2,
                "tasks_placed": 2,
                "tasks_unplaced": count - 2,
                "normalised_throughput": 1.2,
            }
        ),
        objective=small.objective.model_copy(update={"value": 2 * 2 * 0.6 - 2.5}),
    )
    verdict = verify(instance, plan)
    assert verdict.ok, verdict.violations
    verdict = verify(instance, swap(plan, unplaced=left[1:]))
    assert [str(v) for v in verdict.violations] == [
        "accounting at task task-0: 0 tasks placed and 0 unplaced of 1"
    ]
    stray = left[0].model_copy(update={"task": f"task-{rows}"})
    verdict = verify(instance, swap(plan, unplaced=(*left, stray)))
    assert [v.kind for v in verdict.violations] == ["reference"]
    stray = left[0].model_copy(update={"task": "task-007"})
    assert "reference" in kinds(verify(instance, swap(plan, unplaced=(*left, stray))))
