"""Solvers side by side: rows, the tightest bound, refusals."""

from __future__ import annotations

import pytest

import colocate as co
from colocate.compare import Row, compare, supporting
from colocate.errors import PluginError
from colocate.result import Limits
from tests.helpers import instance

POOL = {"id": "a", "gpu_type": "A", "memory_gib": 16.0, "sm_count": 4}
# Two workers of a gang on three GPUs: the relaxation promises half a gang more than fits.
GANGS = {
    "gpu_pools": [{**POOL, "count": 3}],
    "services": [],
    "tasks": [{"id": "job", "profile": "train", "batch": 8, "count": 2, "gang_size": 2}],
}


def rows(**changes: object) -> dict[str, Row]:
    found = compare([instance(**changes)], ["greedy", "brute_force", "matching"])
    return {row.solver: row for row in found}


def test_all_are_held_against_the_tightest_bound() -> None:
    found = rows()
    assert {row.best_bound for row in found.values()} == {found["matching"].bound}
    assert found["brute_force"].objective == pytest.approx(found["matching"].objective)
    assert found["brute_force"].gap == 0.0
    assert found["brute_force"].fraction == pytest.approx(1.0)


def test_a_gap_that_no_solver_closes_is_shown() -> None:
    found = rows(**GANGS)["brute_force"]
    assert found.outcome == "optimal"
    assert found.fraction == pytest.approx(2 / 3)
    assert found.gap == pytest.approx(1 / 3)


def test_less_is_better_where_the_objective_minimises() -> None:
    goal = {"name": "iteration_time", "params": {"unplaced_s": 5.0}}
    found = rows(**GANGS, objective=goal)["brute_force"]
    assert found.objective is not None
    assert found.best_bound is not None
    assert found.best_bound < found.objective
    assert found.fraction == pytest.approx(found.best_bound / found.objective)


def test_a_refusal_is_a_row_that_says_why() -> None:
    row = rows(**GANGS)["matching"]
    assert row.outcome == "refused"
    assert "gangs" in row.note
    assert row.objective is row.gap is row.fraction is row.total_s is None


def test_by_default_all_that_support_the_instance_take_part() -> None:
    assert {"auto", "greedy", "brute_force", "matching"} <= set(supporting(instance()))
    assert "matching" not in supporting(instance(**GANGS))


def test_a_wrong_name_is_told_before_any_work() -> None:
    with pytest.raises(PluginError, match="no solver named 'gready'"):
        next(compare([instance()], ["greedy", "gready"]))


def test_stopping_ends_the_comparison() -> None:
    asked = []

    def stop() -> bool:
        asked.append(True)
        return True

    assert list(compare([instance()], ["greedy", "brute_force"], stop=stop)) == []
    assert asked


def test_no_plan_has_no_fraction() -> None:
    tight = instance(services=[{"id": "net", "profile": "net", "rate_rps": 10.0, "slo_ms": 1.0}])
    (row,) = compare([tight], ["greedy"], limits=Limits(time_s=5.0))
    assert row.outcome == "infeasible"
    assert row.fraction is None


def test_rows_come_instance_by_instance() -> None:
    both = [instance(), co.Instance.model_validate({**_plain(), "name": "other"})]
    names = [(r.instance, r.solver) for r in compare(both, ["greedy", "brute_force"])]
    first = both[0].name
    assert names == [(n, s) for n in (first, "other") for s in ("greedy", "brute_force")]


def _plain() -> dict[str, object]:
    return instance().model_dump(mode="json", by_alias=False, exclude={"schema_"})
