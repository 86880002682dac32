"""CSV reports of perf_analyzer (`-f FILE`), with or without `--verbose-csv`.

Layout of perf_analyzer 2.x (its `report_writer.cc` and `docs/measurements_metrics.md`): the first
column is `Concurrency` or `Request Rate`, then `Inferences/Second`, the parts of a request's time
(`Client Send`, `Network+Server Send/Recv`, `Server Queue`, `Server Compute Input`, `.. Infer`,
`.. Output`, `Client Recv`), percentiles such as `p99 latency`, and where verbose `Avg latency`.
Times are in microseconds, rates count inferences (a request of batch b is b of them).

What it means here. With a concurrency the server is in a closed loop; what it reaches when it never
lacks work is its rate, so of the rows that differ in concurrency only, the fastest is kept. The
latency is the server's time for one batch (input + infer + output); a client's latency includes
waiting, so it stands for the batch, and its p99 is taken, at concurrency 1 only. With a request
rate the load is open: the row has `arrival_rps`, and its p99 is the client's. The file names
neither model, batch, GPU nor share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from colocate.errors import InputError
from colocate.io.files import Source
from colocate.tables.foreign._made import made, name_from
from colocate.tables.raw import RawCsv, read_csv
from colocate.tables.read import TableFile

__all__ = ["read", "slower_ones"]

COMPUTE = ("Server Compute Input", "Server Compute Infer", "Server Compute Output")


def read(
    path: Source,
    *,
    workload: str | None = None,
    gpu: str | None = None,
    share_pct: float = 100.0,
    role: str = "inference",
    batch: float = 1,
    every_concurrency: bool = False,
) -> TableFile:
    """Read a report.

    Parameters
    ----------
    path
        The file.
    workload, gpu, share_pct, role
        What was measured where; `workload` and `gpu` must be given.
    batch
        The batch size of each request (`-b`).
    every_concurrency
        Keep all rows of a closed loop, not only the fastest.
    """
    raw = read_csv(path, ["Inferences/Second"])
    closed = "Concurrency" in raw.columns
    if not closed and "Request Rate" not in raw.columns:
        raise InputError(
            f"{raw.label!r} has neither a column 'Concurrency' nor 'Request Rate'",
            source=raw.label,
            advice="check that it is a report of perf_analyzer (-f).",
        )
    load = raw.numbers("Concurrency" if closed else "Request Rate")
    rate = raw.numbers("Inferences/Second")
    slower = {} if every_concurrency or not closed else slower_ones(rate, [0] * len(raw))
    alone = np.where(load == 1, 1.0, np.nan) if closed else np.ones(len(raw))
    compute = _sum(raw, COMPUTE)
    latency = compute if compute is not None else _client(raw) * np.where(closed, alone, np.nan)
    p99 = raw.numbers("p99 latency") if "p99 latency" in raw.columns else np.full(len(raw), np.nan)
    return made(
        raw.label,
        len(raw),
        gpu=gpu,
        role=role,
        share_pct=share_pct,
        lines=raw.lines,
        left_out=slower,
        workload=name_from(raw.label, workload, None),
        batch=float(batch),
        rate=rate,
        latency_ms=latency / 1000,
        latency_p99_ms=p99 * alone / 1000,
        arrival_rps=np.nan if closed else load * batch,
    )


def slower_ones(rate: NDArray[np.float64], settings: Sequence[object]) -> dict[int, str]:
    """Return the rows that are not the fastest of their setting, and why they are left out."""
    best: dict[object, int] = {}
    for i, setting in enumerate(settings):
        if setting not in best or rate[i] > rate[best[setting]]:
            best[setting] = i
    kept = set(best.values())
    reason = "is slower than another row that differs in concurrency or configuration only"
    return {i: reason for i in range(len(settings)) if i not in kept}


def _client(raw: RawCsv) -> NDArray[np.float64]:
    """Return the mean latency that clients saw, in microseconds; verbose reports have it."""
    if "Avg latency" in raw.columns:
        return raw.numbers("Avg latency")
    return np.full(len(raw), np.nan)


def _sum(raw: RawCsv, names: tuple[str, ...]) -> NDArray[np.float64] | None:
    if not all(name in raw.columns for name in names):
        return None
    total = np.sum([raw.numbers(name) for name in names], axis=0)
    return np.where(total > 0, total, np.nan)
