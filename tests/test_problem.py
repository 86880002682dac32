"""The compiled master problem: rows, levels, distinctness, offset, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from colocate import columns as columns_module
from colocate.columns import MAX_SETS
from colocate.errors import InstanceError, TooLargeError
from colocate.instance import Instance
from colocate.problem import Problem, compile_problem
from colocate.testing import any_instance
from tests.helpers import instance, profile

TASK = {"profile": "train", "batch": 8}


def row_of(problem: Problem, kind: str, index: int) -> tuple[dict[int, float], float, float]:
    """Coefficients by variable, and both sides, of one row."""
    (row,) = (i for i, x in enumerate(problem.rows.labels) if (x.kind, x.index) == (kind, index))
    mine = problem.rows.row == row
    found: dict[int, float] = {}
    for v, a in zip(problem.rows.variable[mine], problem.rows.coefficient[mine], strict=True):
        found[int(v)] = found.get(int(v), 0.0) + float(a)
    return found, float(problem.rows.lower[row]), float(problem.rows.upper[row])


def contents(problem: Problem) -> list[tuple[tuple[str, int], ...]]:
    """What each column holds, in words."""
    c = problem.columns
    return [
        tuple(
            ("task" if c.is_task[w] else "service", int(c.cls[w]))
            for w in range(c.start[i], c.start[i + 1])
        )
        for i in range(c.size)
    ]


def test_the_smallest_problem() -> None:
    """One service and one kind of task on one kind of GPU make three columns and four rows."""
    problem = compile_problem(instance())
    held = contents(problem)
    assert sorted(held) == [(("service", 0),), (("service", 0), ("task", 0)), (("task", 0),)]
    value = dict(zip(held, problem.columns.value.tolist(), strict=True))
    assert value[(("service", 0),)] == 0
    assert value[(("task", 0),)] == pytest.approx(1)
    assert value[(("service", 0), ("task", 0))] == pytest.approx(0.5)
    assert row_of(problem, "gpu", 0) == ({0: 1, 1: 1, 2: 1}, -np.inf, 2)
    with_service = {i: 1.0 for i, h in enumerate(held) if ("service", 0) in h}
    assert row_of(problem, "service", 0) == (with_service, 1, 1)
    with_task = {i: 1.0 for i, h in enumerate(held) if ("task", 0) in h}
    assert row_of(problem, "task", 0) == (with_task, -np.inf, 3)
    assert (problem.sign, problem.offset) == (1, 0)


def test_a_service_that_may_be_left_out_has_no_lower_side() -> None:
    """Its price is in the columns that hold it, and in the offset with the other sign."""
    optional = {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0, "replicas": 3}
    problem = compile_problem(
        instance(services=[{**optional, "required": False, "missing_price": 2.0}])
    )
    _, lower, upper = row_of(problem, "service", 0)
    assert (lower, upper, problem.offset) == (-np.inf, 3, -6)
    alone = contents(problem).index((("service", 0),))
    assert problem.columns.value[alone] == 2


def test_minimising_turns_the_sign_once() -> None:
    """Iteration time counts unplaced tasks in the offset and seconds saved in the columns."""
    goal = {"name": "iteration_time", "params": {"unplaced_s": 5.0}}
    problem = compile_problem(
        instance(objective=goal, tasks=[{"id": "job", **TASK, "count": 3, "weight": 2.0}])
    )
    assert (problem.sign, problem.offset) == (-1, 3 * 2 * 5.0)
    alone = contents(problem).index((("task", 0),))
    assert problem.columns.value[alone] == pytest.approx(2 * (5 - 8 / 40))
    assert problem.objective_of(problem.columns.value[alone]) == pytest.approx(20 + 2 * 8 / 40)


def test_a_pinned_service_is_held_once_and_on_its_gpus_only() -> None:
    """A free service with as many replicas may be twice on a GPU, and anywhere."""
    light = {"profile": "net", "rate_rps": 5.0, "slo_ms": 900.0, "replicas": 2}
    pinned = [{"pool": "a", "gpus": "0,2"}]
    problem = compile_problem(
        instance(
            gpu_pools=[{"id": "a", "gpu_type": "A", "count": 3, "memory_gib": 16.0, "sm_count": 4}],
            services=[{"id": "free", **light}, {"id": "pin", **light, "pinned": pinned}],
            tasks=[],
            rules={"services_per_gpu": 2},
        )
    )
    free, pin = problem.source.classes.services.entry_class.tolist()
    gpus = [g.pinned for g in problem.source.classes.gpus]
    held = {
        (gpus[int(g)], tuple(sorted(s for _, s in content)))
        for g, content in zip(problem.columns.gpu, contents(problem), strict=True)
    }
    assert held == {
        ((), (free,)),
        ((), (free, free)),
        ((pin,), (free,)),
        ((pin,), (pin,)),
        ((pin,), (free, free)),
        ((pin,), tuple(sorted((free, pin)))),
    }


def gangs(size: int, count: int, **rules: object) -> Problem:
    """Gangs on two GPU types, one twice as fast."""
    pools = [
        {"id": "a", "gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 4},
        {"id": "b", "gpu_type": "B", "count": 2, "memory_gib": 16.0, "sm_count": 4},
    ]
    profiles = [
        profile("train", "A", "training", {8: [10.0, 20.0, 30.0, 40.0]}, {8: 4.0}),
        profile("train", "B", "training", {8: [20.0, 40.0, 60.0, 80.0]}, {8: 4.0}),
    ]
    return compile_problem(
        instance(
            gpu_pools=pools,
            profiles=profiles,
            services=[],
            tasks=[{"id": "gang", **TASK, "gang_size": size, "count": count}],
            rules={"services_per_gpu": 0, **rules},
        )
    )


def test_levels_of_a_gang() -> None:
    """A worker has a column for every level it reaches; the worth is in the levels."""
    problem = gangs(2, 3)
    assert problem.levels.rate.tolist() == [40, 80]
    assert problem.levels.value.tolist() == pytest.approx([2 * 0.5, 2 * 1.0])
    columns = problem.columns
    held = {(int(g), int(level)) for g, level in zip(columns.gpu, columns.level, strict=True)}
    assert held == {(0, 0), (1, 0), (1, 1)}
    assert columns.value.tolist() == [0, 0, 0]
    n = columns.size
    for level in (0, 1):
        row, lower, upper = row_of(problem, "gang", level)
        assert (lower, upper) == (0, 0)
        workers = {i: 1.0 for i in range(n) if columns.level[i] == level}
        assert row == {**workers, n + level: -2}
    assert row_of(problem, "gangs", 0) == ({n: 1, n + 1: 1}, -np.inf, 3)
    assert problem.distinct.column.size == 0


def test_two_workers_of_a_class_on_one_gpu_need_two_gangs() -> None:
    """Where a column holds a level twice, two gangs must run at it."""
    problem = gangs(2, 3, tasks_per_gpu=2)
    columns = problem.columns
    for column, level, often in zip(
        problem.distinct.column, problem.distinct.level, problem.distinct.gangs, strict=True
    ):
        span = slice(int(columns.start[column]), int(columns.start[column + 1]))
        assert (columns.level[span] == level).sum() == often == 2
    assert problem.distinct.column.size > 0


def test_quotas_count_gangs_once_and_shares_by_worker() -> None:
    """Tasks are counted by level for gangs, shares by worker for everyone."""
    quotas = [
        {"tenant": "default", "unit": "tasks", "maximum": 1.0},
        {"tenant": "default", "unit": "gpu_share", "minimum": 0.5},
    ]
    problem = gangs(2, 3, quotas=quotas)
    n = problem.columns.size
    share, lower, _ = row_of(problem, "quota", 0)
    assert lower == 0.5
    assert set(share) == set(range(n))
    assert all(a == problem.columns.share_pct[i] / 100 for i, a in share.items())
    tasks, _, upper = row_of(problem, "quota", 1)
    assert upper == 1
    assert tasks == {n + i: 1.0 for i in range(problem.levels.size)}


@given(any_instance())
def test_every_row_means_what_its_label_says(drawn: Instance) -> None:
    """The activity of every row equals a count over the workloads of a random solution."""
    problem = compile_problem(drawn)
    columns, levels = problem.columns, problem.levels
    rng = np.random.default_rng(7)
    counts = rng.integers(0, 3, columns.size)
    formed = rng.integers(0, 3, levels.size)
    held = counts[columns.owner] if columns.size else np.zeros(0, dtype=np.int64)
    activity = problem.activity(counts, formed)
    classes = problem.source.classes
    for row, label in enumerate(problem.rows.labels):
        k = label.index
        if label.kind == "gpu":
            expected = counts[columns.gpu == k].sum()
        elif label.kind == "service":
            expected = held[~columns.is_task & (columns.cls == k)].sum()
        elif label.kind == "task":
            expected = held[columns.is_task & (columns.cls == k) & (columns.level < 0)].sum()
        elif label.kind == "gang":
            size = problem.gang_size[levels.task[k]]
            expected = held[columns.level == k].sum() - size * formed[k]
        elif label.kind == "gangs":
            expected = formed[levels.task == k].sum()
        else:
            quota = drawn.rules.quotas[k]
            tenant = classes.tasks.tenant == classes.tenants.index(quota.tenant)
            mine = (
                columns.is_task & tenant[np.where(columns.is_task, columns.cls, 0)]
                if tenant.size
                else columns.is_task
            )
            if quota.unit == "gpu_share":
                expected = (held * columns.share_pct / 100)[mine].sum()
            else:
                expected = (
                    held[mine & (columns.level < 0)].sum() + formed[tenant[levels.task]].sum()
                )
        assert activity[row] == pytest.approx(expected, abs=1e-9), label


def test_too_many_sets_are_refused() -> None:
    """The refusal states the counts."""
    tasks = [{"id": f"t{i}", **TASK, "weight": 1.0 + i} for i in range(300)]
    rules = {"services_per_gpu": 0, "tasks_per_gpu": 3}
    assert MAX_SETS < 300**3 / 6
    with pytest.raises(TooLargeError, match="300 task") as caught:
        compile_problem(instance(services=[], tasks=tasks, rules=rules))
    assert caught.value.exit_code == 2


def test_too_many_levels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns repeated for gang levels are counted before they are made."""
    monkeypatch.setattr(columns_module, "MAX_COLUMNS", 1)
    with pytest.raises(TooLargeError, match="gang levels"):
        gangs(2, 3)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"objective": {"name": "throughput", "params": {"x": 1}}}, "$.objective.params.x"),
        ({"objective": {"name": "iteration_time"}}, "$.objective.params.unplaced_s"),
        ({"slo_model": {"name": "fill", "params": {"rho_max": 2.0}}}, "$.slo_model.params.rho_max"),
    ],
)
def test_wrong_parameters_are_input_errors(changes: dict[str, object], path: str) -> None:
    """A component's parameters are checked, with the path of the wrong one."""
    with pytest.raises(InstanceError) as caught:
        compile_problem(instance(**changes))
    assert caught.value.path == path
