"""The judge on large plans, hostile plans, tables and plug-ins."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from colocate import registry
from colocate.constraints.base import PlainConstraint
from colocate.errors import PluginError
from colocate.instance import Instance
from colocate.plan import Plan
from colocate.verify import verify
from colocate.violation import Violation
from tests.judging.plans import On, hand_made
from tests.judging.toy import toy, toy_plan
from tests.judging.words import Spec, changed, expect, judged, kinds, swap


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
    plan = toy_plan()
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
                "services": (bert.services[0].model_copy(update={"replicas": f"0-{third - 1}"}),),
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
    started = time.process_time()
    verdict = verify(instance, plan)
    elapsed = time.process_time() - started
    assert verdict.ok, verdict.violations
    assert elapsed < 2, "about 0.2 s on an idle machine"
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
    started = time.process_time()
    verdict = verify(toy(), swap(plan, placements=(group,) * 50))
    assert not verdict.ok
    assert time.process_time() - started < 2


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
    shared = On("h100", "0", [("service-3", "0", 8, 30)], [("task-1", "0", 64, 60)])
    plan = hand_made(instance, [shared, On("h100", "1", (), [("task-1", "1", 64, 60)])])
    left = plan.unplaced
    assert len(left) == rows - 1
    verdict = verify(instance, plan)
    assert verdict.ok, verdict.violations
    assert verdict.objective == pytest.approx(2.0 * (0.6 + 0.6 / 1.25) - 9 * 0.25)
    verdict = verify(instance, swap(plan, unplaced=left[1:]))
    assert [str(v) for v in verdict.violations] == [
        "accounting at task task-0: 0 tasks placed and 0 unplaced of 1"
    ]
    stray = left[0].model_copy(update={"task": f"task-{rows}"})
    verdict = verify(instance, swap(plan, unplaced=(*left, stray)))
    assert [v.kind for v in verdict.violations] == ["reference"]
    stray = left[0].model_copy(update={"task": "task-007"})
    assert "reference" in kinds(verify(instance, swap(plan, unplaced=(*left, stray))))
