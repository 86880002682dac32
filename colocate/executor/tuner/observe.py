"""What is seen of a running GPU as rows of a profile table: measurements that cost nothing.

A row is written for a stretch without a change: same knobs, same company, load steady. It states
the offered load (`arrival_rps`), so that a fit keeps it apart from rows measured in a closed loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from colocate.errors import InputError
from colocate.executor.tuner.company import OneGpu, Tenant
from colocate.executor.tuner.sources import Signal
from colocate.tables import ProfileTable
from colocate.tables.read import read_table
from colocate.tables.write import write_table

__all__ = ["Observer", "append_rows", "rows_table"]

STEADY = 0.25
"""Rates of a row vary by less than this part of their mean."""
LEAST = 5
"""Looks that a row rests on."""
MOST_ROWS = 20_000


@dataclass(slots=True)
class Observer:
    """Collects looks of one GPU into rows."""

    model: OneGpu
    row_s: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Rows that nobody has taken yet."""
    _tenants: tuple[Tenant, ...] = ()
    _begin: float | None = None
    _seen: dict[str, list[Signal]] = field(default_factory=dict)

    def look(self, now: float, tenants: Sequence[Tenant], seen: Mapping[str, Signal]) -> None:
        """Take in one look; a change of anything starts a new stretch."""
        if tuple(tenants) != self._tenants or self._begin is None:
            self._tenants, self._begin, self._seen = tuple(tenants), now, {}
        for name, signal in seen.items():
            if signal.rate_rps is not None and signal.p99_ms is not None:
                self._seen.setdefault(name, []).append(signal)
        if now - self._begin >= self.row_s:
            self._close()
            self._begin, self._seen = now, {}

    def take(self) -> list[dict[str, Any]]:
        """Return the rows so far, and forget them."""
        rows, self.rows = self.rows, []
        return rows

    def _close(self) -> None:
        for tenant in self._tenants:
            signals = self._seen.get(tenant.entry, [])
            rates = [s.rate_rps for s in signals if s.rate_rps]
            tails = [s.p99_ms for s in signals if s.p99_ms is not None]
            if len(rates) < LEAST or not all(map(math.isfinite, tails)):
                continue
            mean = fmean(rates)
            if pstdev(rates) > STEADY * mean:
                continue
            others = [t for t in self._tenants if t is not tenant]
            self.rows.append(
                {
                    "workload": self.model.profile_of(tenant),
                    "role": "inference" if tenant.role == "service" else "training",
                    "gpu": self.model.pool.gpu_type,
                    "batch": float(tenant.batch),
                    "share_pct": float(tenant.share_pct),
                    "neighbour": "+".join(self.model.profile_of(t) for t in others),
                    "neighbour_batch": "+".join(str(t.batch) for t in others),
                    "neighbour_share_pct": "+".join(str(t.share_pct) for t in others),
                    "rate": mean,
                    "rate_std": pstdev(rates),
                    "latency_p99_ms": fmean(tails),
                    "arrival_rps": mean,
                }
            )


def rows_table(rows: Sequence[Mapping[str, Any]]) -> ProfileTable:
    """Return rows as a profile table."""
    names = rows[0].keys() if rows else ()
    return ProfileTable.of(**{n: [row[n] for row in rows] for n in names})


def append_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a profile table in a file, atomically; the oldest go when there are too many.

    Raises
    ------
    InputError
        When the file is no profile table, or cannot be written.
    """
    if not rows:
        return
    parts = [rows_table(rows)]
    if path.exists():
        before = read_table(path)
        if before.n_dropped:
            raise InputError(
                f"{str(path)!r} has {before.n_dropped} rows that make no sense",
                advice="name a file of its own for what is observed.",
            )
        parts.insert(0, before.table)
    table = ProfileTable.join(parts)
    if len(table) > MOST_ROWS:
        table = table.take(list(range(len(table) - MOST_ROWS, len(table))))
    write_table(table, path, force=True)
