"""What published rules are worth, in parts of the certified bound.

    python benchmarks/policies.py [--write]

Families of `colocate.datasets` at 200 GPUs, several seeds each, with the drawn weights of their
tasks and with all weights 1. The bound is that of the plan of
`matching`, recomputed by the judge. An instance's seed also draws the order in which tasks arrive.
Values do not depend on the machine.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from statistics import mean

from _measure import Row, root, show

__all__ = ["FILE", "measure"]

FILE = root / "benchmarks" / "results" / "policies.csv"
GPUS = 200
CASES = (
    ("tight_slo", "drawn", 10),
    ("tight_slo", "equal", 10),
    ("loose_slo", "drawn", 5),
    ("loose_slo", "equal", 5),
)
"""Family, weights of its tasks, and how many instances."""
SOLVERS = (
    "exclusive",
    "even",
    "uncapped",
    "iadeep",
    "iadeep-fixed",
    "mudi",
    "mudi-fixed",
    "gslice",
    "muxflow",
    "muxflow-fixed",
    "greedy",
    "matching",
)


def measure() -> dict[str, list[Row]]:
    """Return the table `policies`."""
    return {"policies": [row for case in CASES for row in _case(*case)]}


def _case(family: str, weights: str, instances: int) -> list[Row]:
    import colocate as co
    from colocate.datasets import generate

    parts: dict[str, list[float]] = {name: [] for name in SOLVERS}
    placed: dict[str, list[float]] = {name: [] for name in SOLVERS}
    for seed in range(instances):
        instance = generate(family, gpus=GPUS, seed=seed)
        if weights == "equal":
            tasks = (task.model_copy(update={"weight": 1.0}) for task in instance.tasks)
            instance = instance.replace(tasks=tuple(tasks))
        bound = co.solve(instance, "matching").bound
        assert bound is not None
        for name in SOLVERS:
            found = co.solve(instance, name, seed=seed)
            assert found.plan is not None, (name, found.termination.detail)
            assert found.objective is not None
            assert found.objective <= bound * (1 + 1e-9), name
            parts[name].append(found.objective / bound)
            placed[name].append(found.plan.totals.tasks_placed / GPUS)
    return [
        {
            "family": family,
            "weights": weights,
            "gpus": GPUS,
            "instances": instances,
            "solver": name,
            "mean": round(mean(parts[name]), 4),
            "least": round(min(parts[name]), 4),
            "most": round(max(parts[name]), 4),
            "tasks_per_gpu": round(mean(placed[name]), 3),
        }
        for name in SOLVERS
    ]


def _write(file: Path, rows: list[Row]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        table = csv.DictWriter(opened, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def main() -> None:
    """Measure, show, and write if asked to."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name}")
    wanted = parser.parse_args()
    rows = measure()["policies"]
    show("policies", rows)
    if wanted.write:
        _write(FILE, rows)


if __name__ == "__main__":
    main()
