"""Profile tables that make sense, at random, and how two tables are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from colocate.tables import COLUMNS, ProfileTable
from colocate.tables.check import LEAST

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
DRIVERS = st.text(
    st.characters(categories=["L", "N", "P", "S", "Zs"], codec="utf-8"), max_size=20
).map(str.strip)
NAN = st.just(float("nan"))


def numbers(low: float, high: float):
    return st.floats(low or LEAST, high, allow_nan=False) | NAN


def zero_or(high: float):
    return st.just(0.0) | st.just(-0.0) | numbers(0, high)


def wholes(low: int, high: int):
    return st.integers(low, high).map(float) | NAN


@st.composite
def rows(draw: st.DrawFn) -> dict[str, object]:
    n = draw(st.integers(0, 3))
    some = st.integers(1, 512).map(str) | st.just("")
    shares = st.floats(1e-6, 100).map(repr)
    measured = draw(st.sampled_from(["rate", "latency_ms", "latency_p99_ms"]))
    row: dict[str, object] = {
        "workload": draw(NAMES),
        "role": draw(st.sampled_from(["inference", "training"])),
        "gpu": draw(NAMES),
        "batch": draw(wholes(1, 10**6)),
        "share_pct": draw(st.floats(1e-6, 100)),
        "neighbour": "+".join(draw(NAMES) for _ in range(n)),
        "neighbour_batch": "+".join(draw(some) for _ in range(n)),
        "neighbour_share_pct": draw(shares) if n and draw(st.booleans()) else "",
        "rate": draw(numbers(0, 1e15)),
        "rate_std": draw(zero_or(1e15)),
        "latency_ms": draw(numbers(0, 1e12)),
        "latency_p99_ms": draw(numbers(0, 1e12)),
        "arrival_rps": draw(numbers(0, 1e15)),
        "memory_gib": draw(numbers(0, 1e6)),
        "sm_activity_pct": draw(zero_or(100)),
        "dram_activity_pct": draw(zero_or(100)),
        "processes": draw(wholes(1, 10**6)),
        "driver": draw(DRIVERS),
        "repeat": draw(wholes(0, 10**9)),
    }
    row[measured] = draw(st.floats(LEAST, 1e12))
    return row


def tables(max_rows: int = 4):
    return st.lists(rows(), max_size=max_rows).map(_table)


def _table(many: list[dict[str, object]]) -> ProfileTable:
    columns: dict[str, Any] = {c.name: [row[c.name] for row in many] for c in COLUMNS}
    return ProfileTable.of(**columns)


def same(one: ProfileTable, two: ProfileTable) -> bool:
    """Whether two tables are equal to the last bit."""
    for column in COLUMNS:
        a, b = one[column.name], two[column.name]
        if column.kind == "number":
            if np.isnan(a).tolist() != np.isnan(b).tolist():
                return False
            a, b = np.nan_to_num(a).view(np.int64), np.nan_to_num(b).view(np.int64)
        if a.tolist() != b.tolist():
            return False
    return True
