"""The exact solvers side by side on a coupled instance of 200 GPUs (tasks in pairs, quotas, gangs).

    python benchmarks/exact.py [--gpus 200] [--seeds 20] [--time-limit 60]

Two tables: what it takes to state the model as sparse arrays (`milp`) and as PuLP objects (`ilp`);
and, over the seeds, the seconds to a gap of 1 % and the objective at the end of each solver.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from typing import TYPE_CHECKING

from _measure import Row, best_of, show, timed

if TYPE_CHECKING:
    from colocate.instance import Instance
    from colocate.problem import Problem
    from colocate.result import Result

SOLVERS = ("milp", "ilp", "cp-sat", "auto")
GAP = 0.01
TEAMS = ("a", "b", "c", "d", "e")
BUILD_RATIO = 5.0
AUTO_RATIO = 1.2


def coupled(gpus: int, seed: int) -> Instance:
    """Return `two_tasks` of the generator, with gangs and with tenants who have quotas."""
    from colocate import datasets
    from colocate.instance import Instance

    base = datasets.generate("two_tasks", gpus=gpus, seed=seed, services=6, tasks=8, sm_count=8)
    spec = json.loads(base.model_dump_json(by_alias=True, exclude_none=True))
    rng = random.Random(seed)
    workers = dict.fromkeys(TEAMS, 0)
    for i, task in enumerate(spec["tasks"]):
        size = 2 if i % 4 == 2 and task["count"] > 1 else 1
        workers[TEAMS[i % len(TEAMS)]] += task["count"] // size
        task.update(gang_size=size, count=task["count"] // size, tenant=TEAMS[i % len(TEAMS)])
    spec["rules"]["quotas"] = [
        {"tenant": team, "minimum": float(n // 10), "maximum": float(rng.randint(n // 2, n))}
        for team, n in workers.items()
        if n
    ]
    return Instance.model_validate(spec)


def build_times(problem: Problem) -> list[Row]:
    """Return how long it takes to hand the model over."""
    import numpy as np
    import pulp
    from scipy.optimize import Bounds, LinearConstraint
    from scipy.sparse import csr_array

    from colocate.solvers.backends.model import integer_model
    from colocate.solvers.backends.pulp_engines import build

    def arrays() -> None:
        model = integer_model(problem)
        shape = (model.n_rows, model.n_variables)
        matrix = csr_array((model.coefficient, model.variable, model.start), shape=shape)
        LinearConstraint(matrix, model.lower, model.upper)
        Bounds(np.zeros(model.n_variables), model.most.astype(float))

    def objects() -> None:
        build(pulp, integer_model(problem))

    rows: list[Row] = []
    for what, action in (("milp: sparse arrays", arrays), ("ilp: PuLP objects", objects)):
        rows.append({"what": what, "seconds": best_of(5, action)})
    ratio = rows[1]["seconds"] / rows[0]["seconds"]
    met = "yes" if ratio >= BUILD_RATIO else "NO"
    rows = [{**row, "ratio": None, "met": None} for row in rows]
    return [*rows, {"what": f"target {BUILD_RATIO:g}", "seconds": None, "ratio": ratio, "met": met}]


def to_one_percent(gpus: int, seeds: int, limit_s: float) -> list[Row]:
    """Return the time to a gap of 1 % of each solver, by seed, and the median."""
    import colocate as co
    from colocate.result import Limits

    limits = Limits(time_s=limit_s, gap=GAP)
    warm = coupled(12, 0)
    for name in SOLVERS:
        co.solve(warm, name, limits=limits)
    rows: list[Row] = []
    for seed in range(seeds):
        asked = coupled(gpus, seed)
        row: Row = {"seed": seed}
        for name in SOLVERS:
            _, result = timed(lambda name=name, asked=asked: co.solve(asked, name, limits=limits))
            row[f"{name} s"] = result.timings.solve_s if _within(result) else None
            row[f"{name} gap %"] = None if (g := _gap(result)) is None else 100 * g
        rows.append(row)
    median: Row = {"seed": "median"}
    for name in SOLVERS:
        for key in (f"{name} s", f"{name} gap %"):
            values = [float("inf") if row[key] is None else row[key] for row in rows]
            median[key] = statistics.median(values)
    return [*rows, median]


def closed(gpus: int, seeds: int, limit_s: float) -> list[Row]:
    """Return the objectives of those that close an instance, which must be one."""
    import colocate as co
    from colocate.result import Limits, Reason

    rows: list[Row] = []
    for seed in range(seeds):
        asked = coupled(gpus, seed)
        found = {name: co.solve(asked, name, limits=Limits(time_s=limit_s)) for name in SOLVERS[:3]}
        done = [r.objective for r in found.values() if r.termination.reason is Reason.OPTIMAL]
        values = [value for value in done if value is not None]
        row: Row = {"seed": seed, "closed by": len(values)}
        row |= {f"{name} s": r.timings.solve_s for name, r in found.items()}
        spread = (max(values) - min(values)) / max(map(abs, values)) if values else 0.0
        rows.append({**row, "spread": spread, "met": "yes" if spread <= 1e-8 else "NO"})
    return rows


def _gap(result: Result) -> float | None:
    """Return the gap to the better of the two bounds: the proven one and the solver's word."""
    from colocate.result import relative_gap

    bounds = [b for b in (result.bound, result.bound_claimed) if b is not None]
    if result.objective is None or not bounds:
        return None
    return min(relative_gap(result.objective, bound) for bound in bounds)


def _within(result: Result) -> bool:
    gap = _gap(result)
    return gap is not None and gap <= GAP * (1 + 1e-6)


def measure(gpus: int = 200, seeds: int = 20, limit_s: float = 60.0) -> dict[str, list[Row]]:
    """Return the tables of the benchmark page."""
    from colocate.problem import compile_problem

    problem = compile_problem(coupled(gpus, 0))
    size = {"columns": problem.columns.size, "levels": problem.levels.size}
    built = [{**row, **size, "gpus": gpus} for row in build_times(problem)]
    rows = to_one_percent(gpus, seeds, limit_s)
    best = min(rows[-1][f"{name} s"] for name in SOLVERS[:3])
    met = "yes" if rows[-1]["auto s"] <= AUTO_RATIO * best + 0.02 else "NO"
    rows = [*rows[:-1], {**rows[-1], "auto within 1.2x": met}]
    return {
        "exact_build": built,
        "exact_one_percent": [{**dict.fromkeys(rows[-1]), **row} for row in rows],
        "exact_closed": closed(gpus, min(3, seeds), limit_s),
    }


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gpus", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--time-limit", type=float, default=60.0)
    asked = parser.parse_args()
    for title, rows in measure(asked.gpus, asked.seeds, asked.time_limit).items():
        show(title, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
