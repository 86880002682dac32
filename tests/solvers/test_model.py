"""The integer model: bounds, whole units, `distinct`, and what the backends make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from colocate.errors import TooLargeError
from colocate.instance import Instance
from colocate.problem import Problem, RowLabel, Rows, compile_problem
from colocate.result import Reason
from colocate.solvers.backends.model import IntegerModel, integer_model, relaxation
from colocate.solvers.backends.wire import Message, Unpacker, pack
from colocate.solvers.base import Context
from colocate.solvers.brute_force import BruteForceSolver
from colocate.solvers.cp_sat import CpSatSolver
from colocate.solvers.ilp import IlpSolver
from colocate.solvers.milp import MilpSolver
from colocate.testing import any_instance
from tests.helpers import instance, profile

TASK = {"profile": "train", "batch": 8}
POOL = {"id": "a", "gpu_type": "A", "memory_gib": 16.0, "sm_count": 4}


def dense(model: IntegerModel) -> np.ndarray:
    matrix = np.zeros((model.n_rows, model.n_variables))
    np.add.at(matrix, (model.row, model.variable), model.coefficient)
    return matrix


@given(any_instance())
def test_a_solution_of_the_problem_is_one_of_the_model(drawn: Instance) -> None:
    """The best solution keeps every row and bound, and leaves a set of rows when spoiled."""
    problem = compile_problem(drawn)
    try:
        best = BruteForceSolver(max_nodes=20_000).solve(problem, Context())
    except TooLargeError:
        return
    model = integer_model(problem)
    if best.counts is None or best.gangs is None:
        return
    solution = model.with_switches(best.counts, best.gangs)
    assert model.broken(solution) == 0
    assert model.value(solution) == pytest.approx(problem.value_of(best.counts, best.gangs))
    assert np.allclose(dense(model) @ solution, model.activity(solution))
    assert solution[: problem.n_variables].sum() <= model.units
    too_many = solution.copy()
    too_many[: model.n_columns] += int(problem.gpu_count.max(initial=0)) + 1
    if model.n_columns:
        assert model.broken(too_many) > 0


@given(any_instance())
def test_rows_of_shares_are_whole(drawn: Instance) -> None:
    """All built-in rows have whole numbers, and only possible sums between their sides."""
    model = integer_model(compile_problem(drawn))
    assert model.whole.all()
    assert (model.coefficient == np.rint(model.coefficient)).all()
    for side in (model.lower, model.upper):
        finite = side[np.isfinite(side)]
        assert (finite == np.rint(finite)).all()


def two_gangs(gpus: int = 2) -> Problem:
    """Two gangs of two that may stand beside each other."""
    return compile_problem(
        instance(
            gpu_pools=[{**POOL, "count": gpus}],
            services=[],
            tasks=[{"id": "gang", **TASK, "gang_size": 2, "count": 2}],
            profiles=[profile("train", "A", "training", {8: [20.0, 34.0, 38.0, 40.0]}, {8: 4.0})],
            rules={"tasks_per_gpu": 2},
        )
    )


def test_two_workers_on_one_gpu_need_two_gangs() -> None:
    """With z = 1 no column with two workers may be used; with z = 2 it may."""
    problem = two_gangs()
    model = integer_model(problem)
    double, level = int(problem.distinct.column[0]), int(problem.distinct.level[0])
    counts = np.zeros(model.n_columns, dtype=np.int64)
    gangs = np.zeros(model.n_levels, dtype=np.int64)
    counts[double], gangs[level] = 1, 1
    assert model.broken(model.with_switches(counts, gangs)) > 0
    counts[double], gangs[level] = 2, 2
    assert model.broken(model.with_switches(counts, gangs)) == 0


@pytest.mark.parametrize("solver", [MilpSolver, IlpSolver, CpSatSolver])
def test_no_backend_puts_a_gang_on_one_gpu(solver: type) -> None:
    """On one GPU there is room for two workers, and for no gang."""
    context = Context(isolation="none")
    for gpus, expected in ((1, 0), (2, 2)):
        found = solver(plain=True).solve(two_gangs(gpus), context)
        assert found.reason is Reason.OPTIMAL
        assert found.gangs.sum() == expected


def test_where_there_is_one_gang_no_gpu_holds_two_of_its_workers() -> None:
    """The bound of such a column is 0, and no switch is needed."""
    gang = [{"id": "gang", **TASK, "gang_size": 2}, {"id": "job", **TASK}]
    problem = compile_problem(instance(services=[], tasks=gang, rules={"tasks_per_gpu": 2}))
    model = integer_model(problem)
    twice = problem.distinct.column
    assert (model.most[twice] == 0).all()
    assert model.switch_level.size == 0


def test_bounds_follow_from_all_counts() -> None:
    """GPUs, replicas and tasks each bound how often a column can be used."""
    pool = {**POOL, "count": 5}
    services = [{"id": "web", "profile": "net", "rate_rps": 5.0, "slo_ms": 900.0, "replicas": 3}]
    tasks = [{"id": "job", **TASK, "count": 4}]
    rules = {"tasks_per_gpu": 2}
    problem = compile_problem(
        instance(gpu_pools=[pool], services=services, tasks=tasks, rules=rules)
    )
    model = integer_model(problem)
    columns = problem.columns
    for c in range(columns.size):
        held = columns.is_task[columns.start[c] : columns.start[c + 1]]
        n_tasks, n_services = int(held.sum()), int((~held).sum())
        expected = min(5, 3 if n_services else 5, 4 // n_tasks if n_tasks else 5)
        assert model.most[c] == expected


def with_row(problem: Problem, coefficients: list[float], upper: float) -> Problem:
    """One more row over the columns."""
    rows, n = problem.rows, len(coefficients)
    return replace(
        problem,
        rows=Rows(
            row=np.append(rows.row, np.full(n, rows.size)),
            variable=np.append(rows.variable, np.arange(n)),
            coefficient=np.append(rows.coefficient, coefficients),
            lower=np.append(rows.lower, -np.inf),
            upper=np.append(rows.upper, upper),
            labels=(*rows.labels, RowLabel("quota", 0, "extra")),
        ),
    )


def tasks_alone(n: int) -> Problem:
    tasks = [{"id": f"t{i}", **TASK, "weight": 1.0 + i / 7} for i in range(n)]
    return compile_problem(instance(gpu_pools=[{**POOL, "count": n}], services=[], tasks=tasks))


@pytest.mark.parametrize("solver", [MilpSolver, IlpSolver, CpSatSolver])
@pytest.mark.parametrize("over", [0.0, 3e-8])
def test_a_row_that_is_not_whole_is_kept_to_the_tolerance(solver: type, over: float) -> None:
    """An exact fit is a fit; what is over by less than a backend notices is not returned."""
    n = 6
    problem = tasks_alone(n)
    third = [np.pi / 3] * n
    stated = with_row(problem, third, np.pi * (1 - over))
    found = solver(plain=True).solve(stated, Context(isolation="none"))
    assert found.counts is not None
    assert found.counts.sum() == (3 if over == 0.0 else 2)
    assert (
        integer_model(stated).broken(integer_model(stated).with_switches(found.counts, found.gangs))
        == 0
    )
    # Where the backend's own answer had to be thrown away, the next is not called the best.
    if "breaks" in found.detail:
        assert found.reason is Reason.FEASIBLE


def test_sides_between_two_sums_are_moved_to_the_sums() -> None:
    """2.5 tasks are 2; 1.234 GPUs of whole percentages are 1.23."""
    problem = tasks_alone(3)
    model = integer_model(with_row(problem, [1.0] * 3, 2.5))
    assert model.upper[problem.rows.size] == 2
    model = integer_model(with_row(problem, [0.25, 0.5, 0.07], 1.234))
    assert model.upper[problem.rows.size] == 123
    assert sorted(model.coefficient[model.row == problem.rows.size]) == [7, 25, 50]


def test_leaving_columns_out_keeps_the_rest_in_place() -> None:
    """Rows, levels and switches stay; the columns left keep their numbers in order."""
    model = integer_model(two_gangs())
    gone = np.zeros(model.n_columns, dtype=bool)
    gone[::2] = True
    smaller, kept = model.without(gone)
    assert smaller.n_columns == int((~gone).sum())
    assert smaller.n_levels == model.n_levels
    assert np.array_equal(dense(smaller), dense(model)[:, kept])
    assert np.array_equal(smaller.most, model.most[kept])


def test_the_relaxation_has_the_rows_of_the_problem() -> None:
    """Its prices belong to them one by one: no rounding of sides, no rows of `distinct`."""
    problem = two_gangs()
    relaxed = relaxation(problem)
    assert relaxed.n_rows == problem.rows.size
    assert np.array_equal(relaxed.upper, problem.rows.upper)
    counts = np.arange(problem.n_variables)
    split = counts[: problem.columns.size], counts[problem.columns.size :]
    assert np.allclose(relaxed.activity(counts), problem.activity(*split))


def test_messages_arrive_whole_in_whatever_pieces() -> None:
    """Three messages, cut anywhere, are three messages; arrays keep type and bits."""
    sent = [
        Message("one", {"a": 1.5, "b": None}, {"x": np.array([1, -2, 3])}),
        Message("two", {}, {"y": np.array([np.pi, np.inf]), "z": np.array([True, False])}),
        Message("three", {"text": "ü"}),
    ]
    data = b"".join(map(pack, sent))
    for size in (1, 7, 64, len(data)):
        unpacker = Unpacker()
        got = [m for i in range(0, len(data), size) for m in unpacker.feed(data[i : i + size])]
        assert [(m.kind, m.fields) for m in got] == [(m.kind, m.fields) for m in sent]
        for a, b in zip(got, sent, strict=True):
            assert {k: (v.dtype, v.tolist()) for k, v in a.arrays.items()} == {
                k: (v.dtype, v.tolist()) for k, v in b.arrays.items()
            }
