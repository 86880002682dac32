"""Gaps of the prices of all plans, by family, and what boxes leave of them.

    python benchmarks/gaps.py [--seeds 20] [--tasks 40] [--gpus 12] [--solver milp] [--write]

For each family and seed an instance with so many tasks on so many GPUs is solved to optimality. Its
root gap is what the judge finds when the certificate has the prices of the linear relaxation only;
the gap with boxes is that of the certificate as it is. `--write` keeps the table in
benchmarks/results/gaps.csv.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from _measure import Row, root, show
from exact import coupled

if TYPE_CHECKING:
    from colocate.instance import Instance

TARGET = 1e-4
NOTHING = 1e-9
TIME_LIMIT_S = 120.0
FAMILIES = (
    *("few_types", "all_distinct", "tight_slo", "loose_slo", "heterogeneous", "binding_memory"),
    *("two_tasks", "gangs", "tenants", "coupled"),
)
"""Those of the generator, and that of `exact.py`: pairs of tasks, gangs and quotas at once."""


def asked(family: str, seed: int, gpus: int, tasks: int) -> Instance:
    """Return an instance of a family with about so many tasks; a gang counts as its workers."""
    from colocate import datasets
    from colocate.instance import Instance

    made = (
        coupled(gpus, seed)
        if family == "coupled"
        else datasets.generate(family, gpus=gpus, seed=seed)
    )
    spec = json.loads(made.model_dump_json(by_alias=True, exclude_none=True))
    table = spec.get("task_table")
    rows: list[dict[str, Any]] = [*spec.get("tasks", []), *([table] if table else [])]
    there = sum(_count(row) * row.get("gang_size", 1) for row in rows)
    for row in rows:
        counts = row.get("count", 1)
        if isinstance(counts, list):
            row["count"] = [max(1, round(n * tasks / there)) for n in counts]
        else:
            row["count"] = max(1, round(counts * tasks / there))
    return Instance.model_validate(spec)


def _count(row: dict[str, Any]) -> int:
    counts = row.get("count", 1)
    return sum(counts) if isinstance(counts, list) else counts * row.get("rows", 1)


def one(family: str, seed: int, gpus: int, tasks: int, solver: str) -> Row:
    """Return the gaps of one instance."""
    import colocate as co
    from colocate.result import Limits, relative_gap
    from colocate.verify import verify

    question = asked(family, seed, gpus, tasks)
    found = co.solve(question, solver, limits=Limits(time_s=TIME_LIMIT_S))
    if found.plan is None or found.plan.certificate is None or found.gap is None:
        sys.exit(f"{family} {seed}: {found.termination}")
    alone = found.plan.certificate.model_copy(update={"kind": "prices", "tree": ()})
    alone = alone.model_copy(
        update={"bound": 1e15 if found.plan.objective.sense == "max" else -1e15}
    )
    verdict = verify(question, found.plan.model_copy(update={"certificate": alone}))
    if verdict.bound is None or verdict.objective is None or not verdict.ok:
        sys.exit(f"{family} {seed}: {verdict}")
    leaves = sum(node.kind == "leaf" for node in found.plan.certificate.tree)
    before = max((line.elapsed_s for line in found.history if line.phase != "boxes"), default=0.0)
    return {
        "optimal": found.termination.reason.value == "optimal",
        "root": relative_gap(verdict.objective, verdict.bound),
        "gap": found.gap,
        "leaves": leaves,
        "boxes s": found.timings.solve_s - before if leaves else 0.0,
        "verify s": found.timings.verify_s,
    }


def family_row(family: str, seeds: int, gpus: int, tasks: int, solver: str) -> Row:
    """Return the distribution over the seeds."""
    found = [one(family, seed, gpus, tasks, solver) for seed in range(seeds)]
    roots = sorted(row["root"] for row in found)
    open_ = [row for row in found if row["root"] > TARGET]
    closed = sum(row["gap"] <= TARGET for row in open_)
    return {
        "family": family,
        "instances": seeds,
        "optimal": sum(row["optimal"] for row in found),
        "root gap 0": sum(gap <= NOTHING for gap in roots),
        "median": statistics.median(roots),
        "90 %": roots[min(seeds - 1, round(0.9 * (seeds - 1)))],
        "largest": roots[-1],
        "above 1e-4": len(open_),
        "closed to 1e-4": closed,
        "largest left": max(row["gap"] for row in found),
        "leaves, median": statistics.median([r["leaves"] for r in open_]) if open_ else None,
        "leaves, most": max((r["leaves"] for r in open_), default=None),
        "boxes s, most": max((r["boxes s"] for r in open_), default=None),
        "verify s, most": max((r["verify s"] for r in open_), default=None),
        "met": "yes" if closed == len(open_) else "NO",
    }


def measure(
    seeds: int = 20, gpus: int = 12, tasks: int = 40, solver: str = "milp"
) -> dict[str, list[Row]]:
    """Return the table."""
    rows = []
    for family in FAMILIES:
        rows.append(family_row(family, seeds, gpus, tasks, solver))
        show(f"{tasks} tasks, {gpus} GPUs, {solver}", rows[-1:])
    return {"gaps": rows}


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--gpus", type=int, default=12)
    parser.add_argument("--solver", default="milp")
    parser.add_argument("--write", action="store_true", help="keep the table")
    given = parser.parse_args()
    (rows,) = measure(given.seeds, given.gpus, given.tasks, given.solver).values()
    show("all families", rows)
    if given.write:
        _write(rows)
    return 1 if any(row["met"] == "NO" for row in rows) else 0


def _write(rows: list[Row]) -> None:
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    file = root / "benchmarks" / "results" / "gaps.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        table = csv.DictWriter(opened, ["date", *rows[0]], lineterminator="\n")
        table.writeheader()
        table.writerows({**row, "date": date} for row in rows)


if __name__ == "__main__":
    sys.exit(main())
