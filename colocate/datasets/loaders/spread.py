"""SPREAD: training on an RTX 2080 Ti at many shares, alone and two workers of a job on one GPU.

One row of `training_runs.csv.gz` is one run. The share is what the source calls the proportion of
computation, which is presumed to be the MPS percentage of active threads. The time of an iteration
is the mean over its steady part. Only runs of a single worker are clean curves over the share: with
several, the exchange of gradients takes part in the iteration.
"""

from __future__ import annotations

from os import PathLike

import numpy as np

from colocate.datasets.loaders._places import file_in, repeat_numbers
from colocate.tables.raw import read_csv
from colocate.tables.table import ProfileTable

__all__ = ["load_spread"]

GPU = "RTX-2080Ti"


def load_spread(
    folder: str | PathLike[str], *, campaign: str | None = None, beside_itself: bool = False
) -> ProfileTable:
    """Read the runs with a single worker.

    Parameters
    ----------
    folder
        The folder, or the file itself.
    campaign
        Keep the runs of one campaign (`SC` or `SC_bk`). They measured some curves again and differ
        by a few per cent there; together they count as repeats.
    beside_itself
        Read the runs with two workers of one job on each of two GPUs of a node instead: each row
        has the other worker as its neighbour, at the same batch and share. These workers exchange
        gradients, so compare them with each other, not with single workers. The memory is that of
        the whole GPU in the source, so it is left out here.
    """
    raw = read_csv(file_in(folder, "training_runs.csv.gz", "training_runs.csv"), ["campaign"])
    workers, together = raw.numbers("n_workers"), raw.numbers("workers_on_same_gpu")
    one_node = raw.numbers("n_nodes") == 1
    chosen = (together == 2) & one_node if beside_itself else workers == 1
    if campaign is not None:
        chosen &= raw.text("campaign") == campaign
    rows = np.flatnonzero(chosen)
    model, batch = raw.text("model")[rows], raw.numbers("batch_size")[rows]
    share, time = raw.numbers("sm_pct")[rows], raw.numbers("iter_ms_mean")[rows]
    rate = 1000 * batch / time
    beside = (
        {
            "neighbour": model,
            "neighbour_batch": [f"{b:g}" for b in batch],
            "neighbour_share_pct": [f"{s:g}" for s in share],
        }
        if beside_itself
        else {"memory_gib": raw.numbers("mem_used_mb_max")[rows] / 1024}
    )
    return ProfileTable.of(
        workload=model,
        role=["training"] * rows.size,
        gpu=GPU,
        batch=batch,
        share_pct=share,
        rate=rate,
        rate_std=rate * raw.numbers("iter_ms_std")[rows] / time,
        latency_ms=time,
        repeat=repeat_numbers(model, batch, share),
        **beside,
    )
