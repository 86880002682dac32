"""The judge on what one GPU holds: knobs, predictions, SLOs, memory and limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from colocate.schema import Evidence
from colocate.verify import verify
from colocate.violation import ViolationKind
from tests.judging.plans import On, hand_made
from tests.judging.toy import TOY_GROUPS, toy, toy_plan
from tests.judging.words import Spec, changed, expect, judged, kinds, nothing, swap, swap_in


def test_a_batch_that_is_not_allowed():
    verdict = judged(lambda s: s["services"][0].update(batches=[16]))
    expect(verdict, "knobs", "batch 8 is not one of its batches (16)", where="a100/0-1")
    only_h = judged(
        lambda s: s["profiles"][0]["curve"]["batches"].pop(0),
    )
    assert "knobs" in kinds(only_h)
    for batch in (32, 128):
        plan = swap_in(toy_plan(), 0, "tasks", 0, batch=batch)
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
    for sms in (39, 41):
        plan = swap_in(toy_plan(), 0, "services", 0, sms=sms)
        expect(verify(toy(), plan), "share", f"states {sms} multiprocessors, but 40 % gives 40")


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
        v.message == "task resnet: nobody knows its slowdown beside bert"
        for v in verdict.violations
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
    verdict = judged(lambda s: s["tasks"][1].update(user_id=7))
    expect(verdict, "user_id", "service yolo runs as no stated user, task gpt as user 7")
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
    verdict = judged(
        lambda s: (s["services"].pop(0), s["rules"].update(anti_affinity=[rule])), both
    )
    expect(verdict, "anti_affinity", "task resnet beside task resnet")
