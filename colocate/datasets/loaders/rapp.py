"""RaPP and HAS-GPU: inference latency on a V100 alone, over share, batch and share of time.

RaPP has many networks at seven shares and three batches; HAS-GPU three networks at twenty shares,
four batches and ten quotas of time. A quota below 100 % means that the process has the GPU for that
part of a time window only; a profile table has no column for it, so one quota is read at a time.
"""

from __future__ import annotations

from os import PathLike

import numpy as np

from colocate.datasets.loaders._places import file_in, repeat_numbers
from colocate.errors import InputError
from colocate.tables.raw import RawCsv, read_csv
from colocate.tables.table import ProfileTable

__all__ = ["load_hasgpu", "load_rapp"]

GPU = "V100"
_NEEDED = ("model", "batch", "sm_pct", "latency_ms")


def load_rapp(folder: str | PathLike[str]) -> ProfileTable:
    """Read RaPP's latencies."""
    raw = read_csv(file_in(folder, "rapp_latency_sm_batch.csv"), _NEEDED)
    return _table(raw, np.ones(len(raw), dtype=bool))


def load_hasgpu(folder: str | PathLike[str], *, time_quota_pct: float = 100.0) -> ProfileTable:
    """Read HAS-GPU's latencies at one quota of time: 10, 20, .., 100."""
    raw = read_csv(
        file_in(folder, "hasgpu_latency_sm_quota_batch.csv"), [*_NEEDED, "time_quota_pct"]
    )
    quotas = raw.numbers("time_quota_pct")
    if time_quota_pct not in quotas:
        known = ", ".join(f"{q:g}" for q in np.unique(quotas))
        raise InputError(
            f"there is no quota of {time_quota_pct:g} % in {raw.label!r}",
            source=raw.label,
            advice=f"ask for one of {known}.",
        )
    return _table(raw, quotas == time_quota_pct)


def _table(raw: RawCsv, chosen: np.ndarray) -> ProfileTable:
    model, batch = raw.text("model")[chosen], raw.numbers("batch")[chosen]
    share = raw.numbers("sm_pct")[chosen]
    return ProfileTable.of(
        workload=model,
        role=["inference"] * model.size,
        gpu=GPU,
        batch=batch,
        share_pct=share,
        latency_ms=raw.numbers("latency_ms")[chosen],
        repeat=repeat_numbers(model, batch, share),
    )
