"""Figure 10: how long fitting takes, and how many rates per second `predict` tells."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from colocate.datasets.loaders import (
    load_igniter,
    load_muxserve,
    load_peace,
    load_rapp,
    load_spread,
)
from colocate.models.fitting.fit import fit_models
from colocate.models.queries import predict
from colocate.profile.fitted import FittedModels
from colocate.tables import ProfileTable

ROWS = 1_000_000


def figures(data: Path) -> list[Figure]:
    """Return the figures for the folder of public data."""
    spread = data / "spread_2080ti_train_mps"
    tables = {
        "V100 grid": load_peace(data / "peace_v100_batch2_mps"),
        "iGniter": load_igniter(data / "igniter_v100_mps"),
        "LLaMA": load_muxserve(data / "muxserve_a100_llm_mps"),
        "RaPP": load_rapp(data / "rapp_hasgpu_v100_mps"),
        "2080 Ti, SC": load_spread(spread, campaign="SC"),
        "2080 Ti, SC_bk": load_spread(spread, campaign="SC_bk"),
    }
    seconds: dict[str, float] = {}
    models: dict[str, FittedModels] = {}
    for name, table in tables.items():
        started = time.perf_counter()
        models[name] = fit_models(table)
        seconds[name] = time.perf_counter() - started
    note = ", ".join(f"{name} {s:.1f}" for name, s in seconds.items())
    total = Figure("10 fitting all tables", sum(seconds.values()), 60, "s", note=f"1 core; {note}")
    return [total, *_rates(models["V100 grid"])]


def _rates(models: FittedModels) -> Iterator[Figure]:
    names = np.array([p.workload for p in models.profiles], dtype=object)
    rng = np.random.default_rng(0)
    share = rng.integers(10, 91, ROWS)
    queries = ProfileTable.of(
        workload=names[rng.integers(0, names.size, ROWS)],
        role="inference",
        gpu="V100",
        batch=2,
        share_pct=share,
        neighbour=names[rng.integers(0, names.size, ROWS)],
        neighbour_batch="2",
        neighbour_share_pct=[str(100 - s) for s in share.tolist()],
    )
    cold = models.model_copy(update={"interference": None})
    for what, asked, target in (("tabulated pairs", models, 1e6), ("cold", cold, 1e5)):
        best = np.inf
        for _ in range(3):
            started = time.perf_counter()
            found = predict(asked, queries)
            best = min(best, time.perf_counter() - started)
        assert np.isfinite(found.rate).all()
        yield Figure(
            f"10 predict, {what}, rows per second",
            ROWS / best,
            target,
            "1/s",
            smaller_is_better=False,
            note="table in, rates and bounds out; 1 core",
        )
