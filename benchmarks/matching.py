"""The flow on classes: flat in the number of GPUs, beside SciPy on the expanded matrix.

The family is `typed` of `colocate.datasets`: one GPU type, 50 kinds of service and 200 kinds of
task. *From class arrays* begins with the compiled problem, that is, with the counts and worths of
the classes, and ends with pool, ordinal, service, replica, task and task number of every GPU as
arrays, with the certificate; or, *plan*, with a plan, in which ids are runs. *verified plan* is the
whole of `solve()`. All but the first calls count, the best of several. Every case is a process of
its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from typing import TYPE_CHECKING, Any

from _measure import Row, best_of, fresh, peak_mib, show, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from colocate.problem import Problem

__all__ = ["measure"]

FAMILY, SEED = "typed", 0
GPUS = (10_000, 100_000, 1_000_000, 10_000_000)
TARGET_S = {1_000_000: 0.1}
TARGET_PLAN_S = {1_000_000: 0.5}
EXPANDED = (1_000, 2_000, 10_000)
TIMES = {10_000: 1_000}
"""How much faster than SciPy it is to be."""
DISTINCT = (100, 300, 1_000)


def measure() -> dict[str, list[Row]]:
    """Return the tables `matching`, `matching_expanded` and `matching_distinct`."""
    return {
        "matching": [fresh(__file__, {"what": "typed", "gpus": n}) for n in GPUS],
        "matching_expanded": [_within_time(n) for n in EXPANDED],
        "matching_distinct": [fresh(__file__, {"what": "distinct", "gpus": n}) for n in DISTINCT],
    }


def _within_time(gpus: int) -> Row:
    """Compare with SciPy; where it does not come back in time, without its answer."""
    try:
        return fresh(__file__, {"what": "expanded", "gpus": gpus})
    except subprocess.TimeoutExpired as slow:
        return fresh(__file__, {"what": "expanded", "gpus": gpus, "at_least_s": slow.timeout})


def _typed(gpus: int) -> Row:
    import numpy as np

    import colocate as co
    from colocate.datasets import generate
    from colocate.dealing import deal
    from colocate.expand import expand
    from colocate.prices import certificate
    from colocate.problem import compile_problem
    from colocate.solvers.base import Context
    from colocate.solvers.matching import MatchingSolver

    instance = generate(FAMILY, gpus=gpus, seed=SEED)
    problem = compile_problem(instance)
    compile_s = best_of(5, lambda: compile_problem(instance))
    solver, asked = MatchingSolver(), Context()
    raw = solver.solve(problem, asked)
    solve_s = best_of(7, lambda: solver.solve(problem, asked))
    assert raw.counts is not None
    assert raw.gangs is not None
    counts, gangs = raw.counts, raw.gangs
    certificate_s = best_of(5, lambda: certificate(problem, raw.prices))
    deal_s = best_of(5, lambda: deal(problem, counts))
    dealt = deal(problem, counts)

    def ids() -> list[np.ndarray]:
        return [*dealt.gpus(), *dealt.individuals(0), *dealt.individuals(1)]

    ids_s = best_of(3, ids)
    assert all(column.size == int(counts.sum()) for column in ids())

    def everything() -> None:
        found = solver.solve(problem, asked)
        assert found.counts is not None
        certificate(problem, found.prices)
        named = deal(problem, found.counts)
        named.gpus(), named.individuals(0), named.individuals(1)

    whole_s = best_of(5, everything)

    def plan() -> co.Plan:
        proof = certificate(problem, raw.prices)
        return expand(problem, counts, gangs, solver="matching", proof=proof)

    plan_s, found = best_of(5, plan), plan()
    verify_s = best_of(5, lambda: co.verify(instance, found))
    result = co.solve(instance, "matching")
    verified_s = best_of(5, lambda: co.solve(instance, "matching"))
    target, target_plan = TARGET_S.get(gpus), TARGET_PLAN_S.get(gpus)
    late = target is not None and whole_s > target
    late |= target_plan is not None and verified_s > target_plan
    return {
        "gpus": gpus,
        "seed": SEED,
        "columns": problem.columns.size,
        "compile_s": round(compile_s, 4),
        "solve_s": round(solve_s, 4),
        "certificate_s": round(certificate_s, 4),
        "deal_s": round(deal_s, 4),
        "ids_s": round(ids_s, 4),
        "class_arrays_to_ids_s": round(whole_s, 4),
        "target_s": target,
        "plan_s": round(plan_s, 4),
        "verify_s": round(verify_s, 4),
        "arrays_to_verified_plan_s": round(verified_s, 3),
        "target_plan_s": target_plan,
        "met": None if target is None else "NO" if late else "yes",
        "recomputed_gap": result.gap,
        "peak_mib": round(peak_mib()),
    }


def _worth(problem: Problem) -> tuple[Any, Any, Any]:
    """Return the expanded matrix: a row for each GPU, a column for each task; and its parts."""
    import numpy as np

    columns = problem.columns
    owner = columns.owner
    host = np.full(columns.size, problem.service_count.size)
    task = np.full(columns.size, -1)
    host[owner[~columns.is_task]] = columns.cls[~columns.is_task]
    task[owner[columns.is_task]] = columns.cls[columns.is_task]
    worth = np.zeros((problem.service_count.size + 1, problem.task_count.size))
    joined = task >= 0
    worth[host[joined], task[joined]] = columns.value[joined]
    empty = int(problem.gpu_count.sum() - problem.service_count.sum())
    rows = np.repeat(np.arange(len(worth)), np.append(problem.service_count, empty))
    return worth, rows, np.repeat(np.arange(worth.shape[1]), problem.task_count)


def _expanded(gpus: int, at_least_s: float | None = None) -> Row:
    import numpy as np
    import scipy.optimize

    from colocate.datasets import generate
    from colocate.problem import compile_problem
    from colocate.solvers.base import Context
    from colocate.solvers.matching import MatchingSolver

    problem = compile_problem(generate(FAMILY, gpus=gpus, seed=SEED))
    solver, asked = MatchingSolver(), Context()
    raw = solver.solve(problem, asked)
    solve_s = best_of(5, lambda: solver.solve(problem, asked))
    assert raw.counts is not None
    assert raw.gangs is not None
    value = problem.value_of(raw.counts, raw.gangs)
    expand_s, scipy_s, optimum = None, at_least_s, None
    if scipy_s is None:
        worth, rows, columns = _worth(problem)
        expand_s, matrix = timed(lambda: worth[np.ix_(rows, columns)])
        scipy_s, (row, column) = timed(
            lambda: scipy.optimize.linear_sum_assignment(matrix, maximize=True)
        )
        optimum = float(matrix[row, column].sum())
        assert abs(value - optimum) <= 1e-9 * optimum, (value, optimum)
    times, target = scipy_s / solve_s, TIMES.get(gpus)
    return {
        "gpus": gpus,
        "seed": SEED,
        "tasks": int(problem.task_count.sum()),
        "objective": value,
        "scipy_objective": optimum,
        "solve_s": round(solve_s, 4),
        "matrix_s": None if expand_s is None else round(expand_s, 3),
        "scipy_s": round(scipy_s, 3),
        "scipy_came_back": "no" if optimum is None else "yes",
        "times": round(times, 1),
        "target_times": target,
        "met": None if target is None else "yes" if times >= target else "NO",
    }


def _distinct(gpus: int) -> Row:
    import colocate as co
    from colocate.datasets import generate

    instance = generate("all_distinct", gpus=gpus, seed=SEED)
    result = co.solve(instance, "matching")
    times = result.timings
    return {
        "gpus": gpus,
        "seed": SEED,
        "method": result.history[-1].phase,
        "compile_s": round(times.compile_s, 3),
        "solve_s": round(times.solve_s, 3),
        "verify_s": round(times.verify_s, 3),
        "objective": result.objective,
        "bound": result.bound,
        "recomputed_gap": result.gap,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    case = parser.parse_args().case
    if case is None:
        for name, table in measure().items():
            show(name, table)
        return
    asked = json.loads(case)
    actions: dict[str, Callable[..., Row]] = {
        "typed": _typed,
        "expanded": _expanded,
        "distinct": _distinct,
    }
    print(json.dumps(actions[asked.pop("what")](**asked)))


if __name__ == "__main__":
    main()
