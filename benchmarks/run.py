"""Run the benchmarks; write benchmarks/results/*.csv and docs/benchmarks.md.

    python benchmarks/run.py [--print-only]

Takes about ten minutes on two cores, most of them in SciPy. Figures are of one machine at one
time: the page says which.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import matching
import peers
import policies
import scale
import startup
import value_matrix
from _measure import Row, machine, root, show
from _page import page

RESULTS = Path(__file__).resolve().parent / "results"
SCRIPTS = {
    "startup": startup.measure,
    "scale": scale.measure,
    "peers": peers.measure,
    "matching": matching.measure,
    "value_matrix": value_matrix.measure,
    "policies": policies.measure,
}


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--print-only", action="store_true", help="write nothing")
    print_only = parser.parse_args().print_only
    started = time.perf_counter()
    where = machine()
    tables: dict[str, list[Row]] = {}
    for name, measure in SCRIPTS.items():
        print(f"\n{name} ...", flush=True)
        for title, rows in measure().items():
            tables[title] = rows
            show(title, rows)
    seconds = time.perf_counter() - started
    missed = [
        row.get("what") or f"{row.get('form')}, {row.get('gpus')} GPUs"
        for rows in tables.values()
        for row in rows
        if row.get("met") == "NO"
    ]
    print(f"\n{seconds:.0f} s; targets missed: {', '.join(missed) or 'none'}")
    if not print_only:
        RESULTS.mkdir(exist_ok=True)
        for title, rows in {"machine": [where], **tables}.items():
            _write_csv(RESULTS / f"{title}.csv", rows, str(where["date"]))
        target = root / "docs" / "benchmarks.md"
        target.write_text(page(where, tables), encoding="utf-8")
        print(f"written: {target.relative_to(root)}, {RESULTS.relative_to(root)}/*.csv")
    return 1 if missed else 0


def _write_csv(file: Path, rows: Sequence[Row], date: str) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        table = csv.DictWriter(opened, ["date", *rows[0]], lineterminator="\n")
        table.writeheader()
        table.writerows({**row, "date": date} for row in rows)


if __name__ == "__main__":
    sys.exit(main())
