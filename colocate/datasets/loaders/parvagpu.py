"""ParvaGPU (SC'24): inference on slices of an A100-80GB, over batch and MPS processes.

A slice of g of the seven compute slices counts as a share of 100 g / 7 of GPU type `A100-80GB-MIG`.
It is its own type because a MIG slice limits memory and its bandwidth as well, which an MPS share
does not. In each row `processes` copies of the model ran together in the slice; the rate is that of
all of them (the source gives it for one), the latency that of one batch of one of them. Settings
that ran out of memory or were not run are left out.
"""

from __future__ import annotations

from os import PathLike

import numpy as np

from colocate.datasets.loaders._places import file_in
from colocate.tables.raw import read_csv
from colocate.tables.table import ProfileTable

__all__ = ["load_parvagpu"]

GPU = "A100-80GB-MIG"
SLICES = 7


def load_parvagpu(folder: str | PathLike[str]) -> ProfileTable:
    """Read `profile.csv`."""
    needed = ["model", "mig_gpcs", "batch", "n_processes", "throughput_per_process", "latency_s"]
    raw = read_csv(file_in(folder, "profile.csv"), needed)
    each, processes = raw.numbers("throughput_per_process"), raw.numbers("n_processes")
    rows = np.flatnonzero(each > 0)
    return ProfileTable.of(
        workload=raw.text("model")[rows],
        role=["inference"] * rows.size,
        gpu=GPU,
        batch=raw.numbers("batch")[rows],
        share_pct=100 * raw.numbers("mig_gpcs")[rows] / SLICES,
        rate=(each * processes)[rows],
        latency_ms=1000 * raw.numbers("latency_s")[rows],
        processes=processes[rows],
    )
