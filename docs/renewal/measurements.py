"""The measurements of the worked example: made up, from formulas and dice, and the same each time.

    t(b, p) = (F^n + W^n)^(1/n),   F = floor,   W = work * b^g * 100 / p     seconds of a batch
    s(v, n) = 1 + a_v * d_n * part of the GPU that n has                     slowdown of v beside n

with noise of two per cent. A few runs went wrong on purpose, as some always do.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from colocate.tables import COLUMNS, ProfileTable
from colocate.tables.read import read_table
from colocate.tables.write import dumps_csv

__all__ = ["FILE", "NOT_RUN", "WRONG", "measured", "written"]

FILE = "examples/measured.csv"
GPU = "A100-40GB"
SHARES = (10, 25, 40, 60, 100)
SPLITS = ((10, 90), (30, 70), (50, 50), (70, 30), (90, 10))
WRONG = ("gpt2", 16, 60)
"""Workload, batch and share of a run that another process disturbed."""
NOT_RUN = (("bert", "ncf"), ("gpt2", "lstm"), ("resnet50", "vgg16"))
"""Pairs that nobody had time for."""


class _Kind(NamedTuple):
    """One workload, as the dice know it."""

    role: str
    batches: tuple[int, ...]
    floor_s: float
    work_s: float
    """Seconds of work for a batch of 1 on the whole GPU."""
    growth: float
    memory_gib: tuple[float, float]
    """For the model, and for each sample."""
    sensitivity: float
    pressure: float
    """Memory traffic on the whole GPU, 0 to 1: what neighbours feel."""


KINDS = {
    "bert": _Kind("inference", (4, 16), 0.0062, 0.00135, 0.93, (1.6, 0.07), 0.5, 0.45),
    "gpt2": _Kind("inference", (4, 16), 0.0130, 0.00210, 0.90, (3.1, 0.12), 0.6, 0.60),
    "resnet50": _Kind("inference", (8, 32), 0.0040, 0.00052, 0.96, (1.2, 0.05), 0.35, 0.35),
    "vgg16": _Kind("training", (64,), 0.0100, 0.00160, 1.0, (2.4, 0.13), 0.3, 0.55),
    "ncf": _Kind("training", (1024,), 0.0210, 0.00002, 1.0, (1.8, 0.004), 0.50, 0.65),
    "lstm": _Kind("training", (32,), 0.0330, 0.00090, 1.0, (1.5, 0.06), 0.25, 0.25),
}
SHARPNESS = 3.0
NOISE = 0.02


def _seconds(kind: _Kind, batch: int, share_pct: float) -> float:
    work = kind.work_s * batch**kind.growth * 100 / share_pct
    return float((kind.floor_s**SHARPNESS + work**SHARPNESS) ** (1 / SHARPNESS))


def _busy(kind: _Kind, batch: int, share_pct: float) -> float:
    """Return how busy the multiprocessors of the whole GPU are, 0 to 1."""
    work = kind.work_s * batch**kind.growth * 100 / share_pct
    return min(1.0, work / _seconds(kind, batch, share_pct)) * share_pct / 100


def _rows() -> Iterator[dict[str, object]]:
    dice = random.Random(20)  # noqa: S311 - nothing secret depends on it

    def rate(kind: _Kind, batch: int, share: int, slowdown: float = 1.0) -> float:
        alone = batch / _seconds(kind, batch, share)
        return float(f"{alone / slowdown * (1 + dice.gauss(0, NOISE)):.4g}")

    def row(name: str, batch: int, share: int, measured: float) -> dict[str, object]:
        found = {"workload": name, "role": KINDS[name].role, "gpu": GPU, "batch": batch}
        return {**found, "share_pct": share, "rate": measured}

    for name, kind in KINDS.items():
        for batch in kind.batches:
            for share in SHARES:
                busy = _busy(kind, batch, share)
                for repeat in range(3):
                    yield row(name, batch, share, rate(kind, batch, share)) | {
                        "memory_gib": round(kind.memory_gib[0] + kind.memory_gib[1] * batch, 2),
                        "sm_activity_pct": round(99 * busy + dice.uniform(-0.5, 0.5), 1),
                        "dram_activity_pct": round(100 * busy * kind.pressure, 1),
                        "repeat": repeat,
                    }
    for a in KINDS:
        for b in KINDS:
            if KINDS[a].role != "inference" or KINDS[b].role != "training" or (a, b) in NOT_RUN:
                continue
            for split in SPLITS:
                sides = ((a, b, *split), (b, a, *reversed(split)))
                for victim, neighbour, own, other in sides:
                    v, n = KINDS[victim], KINDS[neighbour]
                    batch, beside = v.batches[0], n.batches[0]
                    slowdown = 1 + v.sensitivity * n.pressure * other / 100
                    yield row(victim, batch, own, rate(v, batch, own, slowdown)) | {
                        "neighbour": neighbour,
                        "neighbour_batch": str(beside),
                        "neighbour_share_pct": str(other),
                    }


def _gone_wrong(text: str) -> str:
    """Return the table with what goes wrong in a day of measuring."""
    lines = text.splitlines()
    head = lines[0].split(",")
    share, rate = head.index("share_pct"), head.index("rate")

    def cell(workload: str, batch: int, share_pct: int, column: int, change: float) -> None:
        mine = f"{workload},{KINDS[workload].role},{GPU},{batch},{share_pct},"
        at = next(i for i, line in enumerate(lines) if line.startswith(mine))
        cells = lines[at].split(",")
        cells[column] = f"{float(cells[column]) * change:g}"
        lines[at] = ",".join(cells)

    cell(*WRONG, rate, 0.62)  # another process was on the GPU
    cell("bert", 4, 40, share, 10.0)  # a slip of the keyboard: 400 per cent
    return "\n".join(lines) + "\n"


def written() -> str:
    """Return the table as the text of its file."""
    rows = list(_rows())
    names = list(dict.fromkeys(name for row in rows for name in row))
    empty = {c.name: "" if c.kind == "text" else math.nan for c in COLUMNS}
    columns = {name: [row.get(name, empty[name]) for row in rows] for name in names}
    return _gone_wrong(dumps_csv(ProfileTable.of(**columns)))


def measured(root: Path) -> ProfileTable:
    """Return the table as it is read from the file."""
    return read_table(root / FILE).table
