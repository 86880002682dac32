"""How good the models are on public measurements: every figure beside a target and a plain method.

    python -m benchmarks.models DATA [--only PART ...] [--print-only]

DATA is a folder with the public data sets, one folder each, as `colocate.datasets.loaders` reads
them; see docs/models.md for what they are. Without --only it takes about ten minutes on two cores
and writes benchmarks/results/models.csv, which docs/models.md shows: the figures of data that may
be passed on.

Error is |predicted - measured| / measured. What is scored had no part in the fit or its choices.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    models_calibration,
    models_company,
    models_plan,
    models_queue,
    models_rates,
    models_speed,
)
from benchmarks.figures import Figure, table

RESULTS = Path(__file__).resolve().parent / "results" / "models.csv"
WITHOUT_LICENCE = ("V100 grid", "V100 pairs", "2080 Ti", "iGniter", "plans")
"""Figures of data that came without a licence are printed, and not kept or published."""
PARTS: dict[str, Callable[[Path], list[Figure]]] = {
    "rates": models_rates.figures,
    "company": models_company.figures,
    "calibration": models_calibration.figures,
    "queue": models_queue.figures,
    "plan": models_plan.figures,
    "speed": models_speed.figures,
}


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with the public data sets")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--print-only", action="store_true", help="write nothing")
    asked = parser.parse_args()
    if not asked.data.is_dir():
        print(f"{asked.data} is no folder; get the data sets first", file=sys.stderr)
        return 2
    found: list[Figure] = []
    for name in asked.only or PARTS:
        started = time.perf_counter()
        part = PARTS[name](asked.data)
        print(f"\n{name} ({time.perf_counter() - started:.0f} s)\n{table(part)}", flush=True)
        found += part
    short = [f.name for f in found if f.reached is False]
    print(f"\n{len(found)} figures; targets missed: {', '.join(short) or 'none'}")
    if not asked.print_only and asked.only is None:
        _write(sorted(filter(_may_be_kept, found), key=_order))
        print(f"written: {RESULTS.relative_to(Path.cwd())}")
    return 1 if short else 0


def _may_be_kept(figure: Figure) -> bool:
    return not any(name in figure.name for name in WITHOUT_LICENCE)


def _order(figure: Figure) -> int:
    number = figure.name.split()[0]
    return int(number) if number.isdigit() else 99


def _write(found: list[Figure]) -> None:
    with RESULTS.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["name", "value", "target", "unit", "baseline", "baseline_value", "note"])
        for f in found:
            sign = "<=" if f.smaller_is_better else ">="
            rows.writerow(
                [
                    f.name,
                    f"{f.value:.4g}",
                    "" if f.target is None else f"{sign} {f.target:g}",
                    f.unit,
                    f.baseline,
                    "" if f.baseline_value is None else f"{f.baseline_value:.4g}",
                    f.note,
                ]
            )


if __name__ == "__main__":
    sys.exit(main())
