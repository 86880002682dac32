"""The facts that terminal and page draw from: every GPU is in them, once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate import datasets, solve
from colocate.placement import PlacedTask, PlacementGroup
from colocate.plan import Plan
from colocate.report import facts, words
from colocate.runs import iter_ids
from colocate.schema import Evidence


@pytest.fixture(scope="module", params=["quickstart", "everything", "two-tasks-per-gpu"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plan(name: str) -> Plan:
    found = solve(datasets.get(name)).plan
    assert found is not None
    return found


def held(plan: Plan) -> dict[tuple[str, int], list[tuple[str, int, int]]]:
    """Return what each GPU holds, straight from the plan's own view."""
    return {
        (p.pool, p.gpu): sorted(
            [(s.service, s.batch, s.share_pct) for _, s in p.services]
            + [(t.task, t.batch, t.share_pct) for _, t in p.tasks]
        )
        for p in plan.iter_placements()
    }


def test_rows_hold_every_gpu_once(plan: Plan) -> None:
    found = {}
    for row in facts.gpu_rows(plan):
        assert row.count == len(list(iter_ids(row.gpus)))
        for gpu in iter_ids(row.gpus):
            assert (row.pool, gpu) not in found
            found[row.pool, gpu] = sorted((c.name, c.batch, c.share_pct) for c in row.cotenants)
    assert found == held(plan)


def test_rows_differ_from_each_other(plan: Plan) -> None:
    keys = [(row.pool, row.cotenants) for row in facts.gpu_rows(plan)]
    assert len(keys) == len(set(keys))


def test_rows_add_up_to_the_totals(plan: Plan, name: str) -> None:
    instance = datasets.get(name)
    services = facts.service_rows(plan, instance)
    tasks = facts.task_rows(plan, instance)
    assert sum(r.placed for r in services) == plan.totals.replicas_placed
    assert sum(r.missing for r in services) == plan.totals.replicas_missing
    assert sum(r.placed or 0 for r in tasks) == plan.totals.tasks_placed
    assert sum(r.unplaced for r in tasks) == plan.totals.tasks_unplaced


def test_slack_is_that_of_the_worst_replica(plan: Plan, name: str) -> None:
    instance = datasets.get(name)
    for row in facts.service_rows(plan, instance):
        latencies = [
            s.predicted.latency_hi_ms
            for group in plan.placements
            for s in group.services
            if s.service == row.name and s.predicted is not None
        ]
        if not latencies:
            assert row.used is None
            continue
        assert row.used == pytest.approx(max(latencies) / instance.service(row.name).slo_ms)
        assert (row.used or 0) <= 1 + 1e-9


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_slowest_replica_counts_wherever_it_stands(order: tuple[int, ...]) -> None:
    found = solve(datasets.get("single-pair")).plan
    assert found is not None
    (group,) = found.placements
    (service,) = group.services
    assert service.predicted is not None
    made = [
        group.model_copy(
            update={
                "gpus": str(i),
                "tasks": (),
                "services": (
                    service.model_copy(
                        update={
                            "batch": 10 + i,
                            "predicted": service.predicted.model_copy(
                                update={"latency_ms": 10.0 + i, "latency_hi_ms": 20.0 + i}
                            ),
                        }
                    ),
                ),
            }
        )
        for i in order
    ]
    (row,) = facts.service_rows(found.model_copy(update={"placements": tuple(made)}))
    assert (row.latency_ms, row.latency_hi_ms) == (12.0, 22.0)
    assert row.batch == facts.Range(10, 12)
    assert row.placed == 3


def test_coverage_counts_everything_by_its_weakest(plan: Plan) -> None:
    counts = facts.coverage(facts.gpu_rows(plan))
    expected: dict[str, int] = dict.fromkeys(facts.GRADES, 0)
    for group in plan.placements:
        predicted = [s.predicted for s in group.services if s.predicted]
        evidence = {p.evidence for p in predicted}
        evidence |= {t.predicted.evidence for t in group.tasks if t.predicted}
        for weakest in (Evidence.CONSTANT, Evidence.REGRESSED, Evidence.MEASURED):
            if weakest in evidence:
                expected[weakest.value] += group.count
                break
    assert counts.gpus == expected
    assert sum(counts.gpus.values()) == counts.gpus_used == plan.totals.gpus_used
    assert sum(counts.replicas.values()) == plan.totals.replicas_placed


def test_a_placement_without_prediction_is_unknown(plan: Plan) -> None:
    group = PlacementGroup(
        pool="p",
        gpus="0-1",
        tasks=(PlacedTask(task="t", workers="0-1", batch=1, share_pct=10, sms=1),),
    )
    bare = plan.model_copy(update={"placements": (group,)})
    assert facts.coverage(facts.gpu_rows(bare)).gpus["unknown"] == 2
    assert {r.name: r.grade for r in facts.task_rows(bare)}["t"] == "unknown"


def test_each_reason_is_told_once(plan: Plan) -> None:
    rows = facts.task_rows(plan)
    found = facts.reasons(rows)
    assert len({(word, sentence) for word, _, sentence in found}) == len(found)
    out = {row.name for row in rows if row.left_out}
    assert all(any(name in who for _, who, _ in found) for name in out)


@given(st.sets(st.integers(0, 300), min_size=1))
def test_merged_runs_are_the_same_numbers(ids: set[int]) -> None:
    merged = facts.merge_runs(str(i) for i in ids)
    assert list(iter_ids(merged)) == sorted(ids)
    runs = merged.split(",")
    assert len(runs) == sum(1 for i in ids if i - 1 not in ids)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.5, "50 %"),
        (0.0789, "7.9 %"),
        (1e-7, "< 0.1 %"),
        (0.99999, "> 99.9 %"),
        (2.5, "250 %"),
    ],
)
def test_percent_never_hides_a_remainder(part: float, text: str) -> None:
    assert words.percent(part) == text


@pytest.mark.parametrize(
    ("objective", "bound", "sense", "said"),
    [
        (10.0, None, "max", "No bound is known"),
        (10.0, 10.0, "max", "Proven optimal"),
        (10.0, 11.0, "max", "more than 10 % better: the bound is 11"),
        (10.0, 9.0, "min", "more than 10 % better: the bound is 9"),
        (10.0, 9.0, "max", "contradicts"),
        (10.0, 11.0, "min", "contradicts"),
        (0.0, 3.0, "max", "better than 3"),
        (0.0, 0.0, "max", "Proven optimal"),
    ],
)
def test_quality_in_words(objective: float, bound: float | None, sense: str, said: str) -> None:
    assert said in words.quality(objective, bound, sense)
