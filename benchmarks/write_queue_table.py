"""Make the table of the `queue` SLO model: colocate/models/queueing/table.json.

Percentiles of the latency in fills (b/lambda) at the nodes of the table, found by simulation with
gamma renewal arrivals. The same arrivals are served once more by a server whose batches are always
full, for which the answer is known exactly: what the simulation misses there, it is likely to miss
by here (a control variate), which matters at high load.

    python -m benchmarks.write_queue_table [FILE]        about 4 minutes of one core
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path

import numpy as np

from colocate.models.queueing.full_batches import full_batch_latency
from colocate.simulator import BatchServer, GammaArrivals, serve

LOADS = (
    *(0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5),
    *(0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
)
BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256)
BURSTINESS = (1.0, 2.0, 3.0, 4.0)
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
TIMEOUTS = (0.25, 0.5, 0.75, 1.0, 1.5, math.inf)
"""In units of the 99th percentile of the time to fill a batch; 0 is always there."""
GROUPS = 20


def requests_of(load: float, burstiness: float, batch: int) -> int:
    return int(max(4e5, 2500 * batch, min(3e6, 1.2e4 * burstiness / (1 - load) ** 2)))


def percentiles(latency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of all requests, and of each group of rows."""
    q = np.array(PERCENTILES) / 100
    groups = [np.quantile(g, q) for g in np.array_split(latency, GROUPS)]
    return np.quantile(latency, q), np.array(groups)


def latency(batch: int, load: float, timeout: float, times: np.ndarray, warmup: int) -> np.ndarray:
    served = serve(BatchServer(batch, load, timeout), times)
    return served.latency_s[:, warmup : times.shape[1] - batch]


def nodes(batch: int, burstiness: float, seed: int) -> np.ndarray:
    """Latency in fills, [timeout, load, percentile], timeout 0 first."""
    exact = np.array([full_batch_latency(r, batch, burstiness, PERCENTILES) for r in LOADS])
    fill = full_batch_latency(0.0, batch, burstiness, [99.0])[0]
    found = np.repeat(exact[None], 1 + len(TIMEOUTS), axis=0)
    if batch == 1:
        return found  # nothing to fill
    rng = np.random.default_rng([seed, batch, round(100 * burstiness)])
    # Enough batches in each row, for the server starts empty.
    rows = min(240, requests_of(0.0, burstiness, batch) // (60 * batch)) // GROUPS * GROUPS
    rows = max(rows, 2 * GROUPS)
    most = max(requests_of(r, burstiness, batch) for r in LOADS) // rows
    times = GammaArrivals(float(batch), burstiness).times_s(rows, most + batch, rng)
    for j, load in enumerate(LOADS):
        n = requests_of(load, burstiness, batch) // rows
        warmup = 0 if load == 0 else n // 6

        mine = times[:, : n + batch]
        full, full_groups = percentiles(latency(batch, load, math.inf, mine, warmup))
        spread = full_groups - full_groups.mean(axis=0)
        for i, timeout in enumerate((0.0, *TIMEOUTS[:-1])):
            value, groups = percentiles(latency(batch, load, timeout * fill, mine, warmup))
            both = (spread * (groups - groups.mean(axis=0))).sum(axis=0)
            slope = np.clip(both / np.maximum((spread**2).sum(axis=0), 1e-30), 0, 1.2)
            found[i, j] = value - slope * (full - exact[j])
    return found


def without_noise(percentile: float, timeout: float, load: float) -> float:
    """Latency in fills of batches without end: arrivals like water."""
    p = percentile / 100
    return load + p * max(load, min(timeout, 1.0))


def base(fill: np.ndarray, greedy: np.ndarray, timeout: float) -> np.ndarray:
    """[load, percentile]: the larger of waiting for the batch and of waiting for the server."""
    return np.maximum(np.minimum(timeout, fill)[None, :] + np.array(LOADS)[:, None], greedy)


def main() -> None:
    here = Path(__file__).resolve().parent.parent
    default = here / "colocate" / "models" / "queueing" / "table.json"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    fill, greedy, correction = [], [], []
    for batch in (*BATCHES, None):
        for burstiness in BURSTINESS:
            if batch is None:
                at = [
                    [[without_noise(p, t, r) for p in PERCENTILES] for r in LOADS]
                    for t in (0.0, *(x * 0.99 for x in TIMEOUTS))
                ]
                h = np.array(at)
            else:
                h = nodes(batch, burstiness, seed=1)
            # Waiting does not shorten with load; what noise says against it is levelled.
            h = np.maximum.accumulate(h, axis=1)
            fill.append(h[-1, 0].round(4))
            greedy.append(h[0].round(4))
            unit = h[-1, 0, PERCENTILES.index(99.0)]
            for i, timeout in enumerate(TIMEOUTS, 1):
                b = base(h[-1, 0], h[0], timeout * unit)
                correction.append((h[i] - b).round(3))
            print(batch, burstiness, h[0, :, 3].round(3).tolist(), flush=True)
    sizes = (len(BATCHES) + 1, len(BURSTINESS))
    table = {
        "schema": "colocate/queue-table/v1",
        "batches": [*BATCHES, None],
        "burstiness": BURSTINESS,
        "percentiles": PERCENTILES,
        "loads": LOADS,
        "timeouts": [*TIMEOUTS[:-1], None],
        # [batch, burstiness, percentile], [.., load], [.., timeout, load]
        "fill": np.array(fill).reshape(*sizes, -1).tolist(),
        "greedy": np.array(greedy).reshape(*sizes, len(LOADS), -1).swapaxes(2, 3).tolist(),
        "correction": np.array(correction)
        .reshape(*sizes, len(TIMEOUTS), len(LOADS), -1)
        .transpose(0, 1, 4, 2, 3)
        .tolist(),
    }
    text = json.dumps(table, separators=(",", ":"))
    # Half of the numbers are zeros.
    text = re.sub(r"(?<=[\[,])-?0\.0(?=[,\]])", "0", text)
    file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
