"""Solvers that return columns of their own: kept where the judge agrees, refused where not."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

import colocate as co
from colocate import registry
from colocate.columns import Columns
from colocate.problem import Problem, compile_problem, with_further_columns
from colocate.result import Reason
from colocate.solvers.base import Availability, Capability, Context, RawSolution
from tests.helpers import instance


class Own:
    """Puts the service at a share of its own beside one task, on one GPU."""

    name: ClassVar[str] = "own-columns"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.FREE_SERVICES})
    share_pct: ClassVar[tuple[int, int]] = (75, 25)
    value: ClassVar[float] = 0.25

    @classmethod
    def availability(cls) -> Availability:
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        del context
        counts = np.zeros(problem.columns.size + 1, dtype=np.int64)
        counts[-1] = 1
        return RawSolution(
            Reason.FEASIBLE,
            counts=counts,
            gangs=np.zeros(problem.levels.size, dtype=np.int64),
            further=column(problem, self.share_pct, self.value),
        )


def column(problem: Problem, share_pct: tuple[int, int], value: float) -> Columns:
    """Return the column of service and task at these shares."""
    grid = problem.source.classes.gpus[0].grid.share_pct.tolist()
    return Columns(
        gpu=np.array([0]),
        value=np.array([value]),
        start=np.array([0, 2]),
        is_task=np.array([False, True]),
        cls=np.array([0, 0]),
        level=np.array([-1, -1]),
        batch=np.array([1, 8]),
        grid=np.array([grid.index(q) for q in share_pct]),
        share_pct=np.array(share_pct),
    )


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The solver is there for these tests, and for no others."""
    monkeypatch.setitem(registry._ADDED["solver"], Own.name, Own)


def asked() -> co.Instance:
    """The service needs 50 % at 10 / s: no column of the problem gives it more beside a task."""
    return instance()


def test_a_dominated_share_is_returned_as_it_is() -> None:
    """75 % where 50 % would do."""
    found = co.solve(asked(), Own.name)
    assert found.plan is not None, found.termination.detail
    (placement,) = found.plan.placements
    assert (placement.services[0].share_pct, placement.tasks[0].share_pct) == (75, 25)
    assert found.objective == pytest.approx(0.25)
    assert co.verify(asked(), found.plan).ok


@pytest.mark.parametrize(
    ("share_pct", "value", "kind"),
    [((25, 75), 0.75, "slo"), ((75, 50), 0.5, "share"), ((75, 25), 0.3, "objective")],
)
def test_what_is_not_allowed_is_no_plan(
    monkeypatch: pytest.MonkeyPatch, share_pct: tuple[int, int], value: float, kind: str
) -> None:
    """Too small a share, too much together, or worth less than it says."""
    monkeypatch.setattr(Own, "share_pct", share_pct)
    monkeypatch.setattr(Own, "value", value)
    found = co.solve(asked(), Own.name)
    assert found.plan is None
    assert found.termination.reason is Reason.ERROR
    assert kind in {v.kind for v in found.violations}


def test_too_many_of_them_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows hold for further columns too: there is one replica, and it is on both GPUs."""
    once = Own.solve

    def twice(self: Own, problem: Problem, context: Context) -> RawSolution:
        raw = once(self, problem, context)
        assert raw.counts is not None
        return replace(raw, counts=2 * raw.counts)

    monkeypatch.setattr(Own, "solve", twice)
    found = co.solve(asked(), Own.name)
    assert found.plan is None
    assert "service" in found.termination.detail


def test_the_rows_of_the_problem_stay_as_they_are() -> None:
    """Further columns come after the others, and every old variable keeps its coefficients."""
    problem = compile_problem(asked())
    longer = with_further_columns(problem, column(problem, (75, 25), 0.25))
    n = problem.columns.size
    assert longer.columns.size == n + 1
    assert longer.rows.labels == problem.rows.labels
    counts = np.arange(n)
    gangs = np.zeros(0, dtype=np.int64)
    np.testing.assert_array_equal(
        longer.activity(np.append(counts, 0), gangs), problem.activity(counts, gangs)
    )
    used = longer.activity(np.append(np.zeros(n, dtype=np.int64), 1), gangs)
    kinds = {label.kind for label, a in zip(longer.rows.labels, used, strict=True) if a}
    assert kinds == {"gpu", "service", "task"}
    np.testing.assert_array_equal(longer.columns.share_pct[:-2], problem.columns.share_pct)
