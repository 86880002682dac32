"""PEACE (SoCC'26): training beside inference on a V100 under MPS, at batch 2.

`solo.csv` holds the rate alone at 10, 20, .., 100 % and the telemetry at 100 %; `pairs.csv` holds
one row for each pair and cells `rate of w1|rate of w2`: in column sX w1 has X % and w2 has 100 - X,
in s100 both have 100 % (no partition). A workload's role is the end of its name.
"""

from __future__ import annotations

from os import PathLike

import numpy as np

from colocate.datasets.loaders._places import file_in, repeat_numbers
from colocate.tables.raw import RawCsv, number, read_csv
from colocate.tables.table import ProfileTable

__all__ = ["load_peace", "load_peace_pairs", "load_peace_solo"]

GPU = "V100"
BATCH = 2.0
SHARES = tuple(range(10, 101, 10))


def load_peace(folder: str | PathLike[str]) -> ProfileTable:
    """Read the whole grid: 11 workloads alone and in 66 pairs, at 10 shares or splits."""
    solo = load_peace_solo(file_in(folder, "solo.csv"))
    return ProfileTable.join([solo, load_peace_pairs(file_in(folder, "pairs.csv"))])


def load_peace_solo(path: str | PathLike[str]) -> ProfileTable:
    """Read the rates alone; memory and activity stand in the rows at 100 %."""
    raw = read_csv(path, ["workload", *(f"p{s}" for s in SHARES), "smact100", "drama100"])
    names = raw.text("workload")
    whole = {
        "sm_activity_pct": raw.numbers("smact100"),
        "dram_activity_pct": raw.numbers("drama100"),
        "memory_gib": raw.numbers("mem_gib") if "mem_gib" in raw.columns else np.nan,
    }
    parts = [
        ProfileTable.of(
            workload=names,
            role=[_role(name) for name in names],
            gpu=GPU,
            batch=BATCH,
            share_pct=float(share),
            rate=raw.numbers(f"p{share}"),
            **(whole if share == 100 else {}),
        )
        for share in SHARES
    ]
    table = ProfileTable.join(parts)
    return table.take(np.isfinite(table["rate"]))


def load_peace_pairs(path: str | PathLike[str]) -> ProfileTable:
    """Read the rates in pairs: two rows for each cell, one for each of the two workloads."""
    raw = read_csv(path, ["w1", "w2", *(f"s{s}" for s in SHARES)])
    firsts, seconds = raw.text("w1"), raw.text("w2")
    rows: list[tuple[str, str, float, str, float]] = []
    for share in SHARES:
        column = f"s{share}"
        one, two = float(share), float(100 - share or 100)
        for i in range(len(raw)):
            cell = raw.columns[column][i].strip()
            if not cell:
                continue
            first, second = _two_rates(raw, i, column)
            rows.append((firsts[i], seconds[i], one, f"{two:g}", first))
            rows.append((seconds[i], firsts[i], two, f"{one:g}", second))
    names, others, shares, other_shares, rates = zip(*rows, strict=True) if rows else [()] * 5
    return ProfileTable.of(
        workload=names,
        role=[_role(name) for name in names],
        gpu=GPU,
        batch=np.full(len(rows), BATCH),
        share_pct=shares,
        neighbour=others,
        neighbour_batch=[f"{BATCH:g}"] * len(rows),
        neighbour_share_pct=other_shares,
        rate=rates,
        repeat=repeat_numbers(names, others, shares, other_shares),
    )


def _role(name: str) -> str:
    return "training" if name.endswith("-train") else "inference"


def _two_rates(raw: RawCsv, row: int, column: str) -> tuple[float, float]:
    found = [number(part.strip()) for part in raw.columns[column][row].split("|")]
    if len(found) != 2 or found[0] is None or found[1] is None:
        raw.refuse(row, column, "must hold two rates with '|' between them")
    return found[0], found[1]
