"""The columns of a profile table: their names, what they hold and which values make sense."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["COLUMNS", "MEASURED", "REQUIRED", "Column", "needed_columns"]


class Column(NamedTuple):
    """One column."""

    name: str
    kind: Literal["text", "number"]
    low: float = 0.0
    """Smallest value that makes sense, for numbers."""
    high: float = 1e15
    unit: str = ""
    meaning: str = ""


COLUMNS: Final[tuple[Column, ...]] = (
    Column("workload", "text", meaning="name of the workload"),
    Column("role", "text", meaning="inference or training"),
    Column("gpu", "text", meaning="GPU type"),
    Column("batch", "number", 1, 1e6, "samples", "batch size; empty where there is only one"),
    Column("share_pct", "number", 1e-6, 100, "%", "SM share that it was given"),
    Column("neighbour", "text", meaning="who ran beside it, joined by '+'; empty: nobody"),
    Column("neighbour_batch", "text", unit="samples", meaning="their batch sizes, joined by '+'"),
    Column("neighbour_share_pct", "text", unit="%", meaning="their SM shares, joined by '+'"),
    Column("rate", "number", 0, 1e15, "samples/s", "throughput"),
    Column("rate_std", "number", 0, 1e15, "samples/s", "standard deviation of the rate"),
    Column("latency_ms", "number", 0, 1e12, "ms", "mean time of one batch"),
    Column("latency_p99_ms", "number", 0, 1e12, "ms", "99th percentile of the latency"),
    Column("arrival_rps", "number", 0, 1e15, "samples/s", "offered load; empty: closed loop"),
    Column("memory_gib", "number", 0, 1e6, "GiB", "device memory of one process"),
    Column("sm_activity_pct", "number", 0, 100, "%", "time that multiprocessors were active"),
    Column("dram_activity_pct", "number", 0, 100, "%", "time that the memory was active"),
    Column("processes", "number", 1, 1e6, "", "processes that worked together; empty: 1"),
    Column("driver", "text", meaning="driver version"),
    Column("repeat", "number", 0, 1e9, "", "number of the repetition"),
)
"""In the order in which they are written."""

REQUIRED: Final = ("workload", "role", "gpu", "share_pct")
"""Columns without which a row says nothing; besides these, a rate or a latency is needed."""


MEASURED: Final = (
    "rate",
    "rate_std",
    "latency_ms",
    "latency_p99_ms",
    "memory_gib",
    "sm_activity_pct",
    "dram_activity_pct",
)
"""Columns that hold what was measured; a query for a prediction has none of them."""


def needed_columns(*, queries: bool) -> tuple[str, ...]:
    """Return the columns that every row needs; whoever asks for a rate need not know the role."""
    return tuple(name for name in REQUIRED if not (queries and name == "role"))
