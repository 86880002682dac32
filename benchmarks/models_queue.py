"""Figure 8: the `queue` SLO model against the simulator, and against replayed arrivals.

python -m benchmarks.models_queue DATA        DATA holds azure_llm_2023; about 3 minutes
"""

from __future__ import annotations

import csv
import gzip
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.figures import Figure, table
from colocate.models.slo import slo_model
from colocate.schema import Component
from colocate.simulator import (
    BatchServer,
    Estimate,
    GammaArrivals,
    RecordedArrivals,
    measure_arrivals,
    simulate,
    steady_times,
)

# None of these batches is a node of the table, and of the burstinesses only 1, 2, 3 and 4 are.
NEW_BATCHES = (5, 7, 9, 10, 14, 20, 28, 40, 56)
NODES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
BURSTINESS = (1.0, 1.3, 1.7, 2.0, 2.5, 3.0, 3.5, 4.0)
PRECISION = 0.0095
"""Relative standard error below which a simulated percentile counts."""
MOST_REQUESTS = 150_000_000
CHUNK = 3_000_000


class Setting(NamedTuple):
    load: float
    batch: int
    burstiness: float
    timeout_fills: float


def settings(count: int, seed: int) -> Iterator[Setting]:
    """Draw settings: every second one with a timeout, every second one at a new batch."""
    rng = np.random.default_rng(seed)
    strata = rng.permutation(count)
    for i in range(count):
        yield Setting(
            load=float(0.2 + 0.75 * (strata[i] + rng.random()) / count),
            batch=int(rng.choice(NEW_BATCHES if i % 2 else NODES)),
            burstiness=float(rng.choice(BURSTINESS)),
            timeout_fills=0.0 if (i // 2) % 2 else float(rng.uniform(0.1, 2.5)),
        )


def simulated(s: Setting, seed: int) -> Estimate:
    """Simulate until the standard error of the p99 is below 1 %; time in services."""
    fill = 1 / s.load
    server = BatchServer(s.batch, 1.0, s.timeout_fills * fill)
    arrivals = GammaArrivals(s.batch / fill, s.burstiness)
    requests = int(max(3e5, 4e4 * s.burstiness / (1 - s.load) ** 2))
    found: list[Estimate] = []
    done = 0
    while done < MOST_REQUESTS:
        outcome = simulate(
            server,
            arrivals,
            requests=min(requests, CHUNK),
            replications=200,
            warmup=0.15,
            seed=seed + 100_000 * len(found),
        )
        found.append(outcome.percentile_s(99))
        done += min(requests, CHUNK)
        # Chunks are of one size, so their mean is as good as pooling them.
        value = float(np.mean([e.value for e in found]))
        error = float(np.sqrt(np.sum([e.standard_error**2 for e in found]))) / len(found)
        if done >= requests and error < PRECISION * value:
            break
    return Estimate(value, error)


def p99(name: str, s: Setting, burstiness: float | None = None) -> float:
    """The same by an SLO model, in services."""
    fill = 1 / s.load
    params: dict[str, float] = {}
    if name == "queue":
        timeout_ms = 1000.0 * s.timeout_fills * fill
        params = {"burstiness": burstiness or s.burstiness, "timeout_ms": timeout_ms}
    model = slo_model(Component(name=name, params=dict(params)))
    found = model.latency_ms(
        np.array([float(s.batch)]), np.array([1.0]), np.array([s.batch / fill]), 99.0
    )
    return float(found[0]) / 1000


def against_simulation(count: int = 320, seed: int = 8) -> list[Figure]:
    drawn = list(settings(count, seed))
    truth = [simulated(s, seed + 1 + i) for i, s in enumerate(drawn)]
    true = np.array([e.value for e in truth])
    error = np.array([e.standard_error for e in truth]) / true
    queue, fill = (np.array([p99(m, s) for s in drawn]) / true - 1 for m in ("queue", "fill"))
    new = np.array([s.batch in NEW_BATCHES for s in drawn])
    calm = np.array([s.load <= 0.9 for s in drawn])
    off, off_fill = 100 * np.abs(queue), 100 * np.abs(fill)
    low = 100 * float((queue[calm] < -0.05).mean())
    low_fill = 100 * float((fill[calm] < -0.05).mean())
    note = f"{count} settings"
    rule = "fill rule"

    def line(name: str, value: float, target: float | None, base: float, note: str) -> Figure:
        return Figure(f"8 queue p99: {name}", value, target, "%", True, rule, base, note)

    worst = drawn[int(off.argmax())]
    return [
        Figure("8 simulator's own standard error, largest", 100 * float(error.max()), 1.0, "%"),
        line("median error", float(np.median(off)), 3.0, float(np.median(off_fill)), note),
        line("p90", float(np.quantile(off, 0.9)), 8.0, float(np.quantile(off_fill, 0.9)), note),
        line("low by over 5 %, load <= 0.9", low, 1.0, low_fill, f"of {int(calm.sum())} settings"),
        line(
            "batches never used, median",
            float(np.median(off[new])),
            2.0,
            float(np.median(off_fill[new])),
            f"{int(new.sum())} settings",
        ),
        line("largest error", float(off.max()), None, float(off_fill.max()), f"at {worst}"),
    ]


def azure_arrivals(data: Path) -> np.ndarray:
    """Arrival times in seconds of the recorded conversation requests."""
    file = data / "azure_llm_2023" / "AzureLLMInferenceTrace_conv.csv.gz"
    with gzip.open(file, "rt", encoding="utf-8", newline="") as rows:
        stamps = [row["TIMESTAMP"] for row in csv.DictReader(rows)]
    # 100 ns steps, one digit more than datetime reads.
    whole = [datetime.fromisoformat(s[:19] + "+00:00").timestamp() for s in stamps]
    times = np.array(whole) + np.array([float("0" + s[19:]) for s in stamps])
    return times - times[0]


def replayed(times: np.ndarray, burstiness: float, loads: tuple[float, ...]) -> np.ndarray:
    """Errors of queue and fill, [model, load, setting]."""
    arrivals = RecordedArrivals.of(times)
    rate = (times.size - 1) / float(times[-1] - times[0])
    found = np.zeros((2, len(loads), 18))
    for i, load in enumerate(loads):
        for j, (batch, timeout) in enumerate(product((1, 2, 4, 8, 16, 32), (0.0, 0.5, 1.0))):
            s = Setting(load, batch, burstiness, timeout)
            tau = load * batch / rate
            server = BatchServer(batch, tau, timeout * batch / rate)
            true = simulate(server, arrivals, warmup=0.0).percentile_s(99).value / tau
            for k, model in enumerate(("queue", "fill")):
                found[k, i, j] = p99(model, s) / true - 1
    return found


def against_recorded(data: Path) -> list[Figure]:
    times = azure_arrivals(data)
    facts = measure_arrivals(times)
    calm, busy = (0.1, 0.2, 0.3, 0.4, 0.5), (0.6, 0.7, 0.8, 0.9)
    raw = 100 * replayed(times, facts.burstiness, calm + busy)
    steady = 100 * replayed(steady_times(times), max(1.0, facts.steady_burstiness), calm + busy)
    median = np.median(np.abs(raw[:, : len(calm)]), axis=(1, 2))
    above = np.median(np.abs(raw[:, len(calm) :]), axis=(1, 2))
    level = np.median(np.abs(steady), axis=(1, 2))
    warned = "warned" if facts.warning else "NOT WARNED"
    c2 = f"c2 {facts.burstiness:.3f}"
    return [
        Figure("8 azure replayed, load <= 0.5, median", float(median[0]), 4.0, "%", True,
               "fill rule", float(median[1]), c2),
        Figure("8 azure, 60 s drift removed, load <= 0.9, median", float(level[0]), 7.0, "%", True,
               "fill rule", float(level[1]), f"c2 {facts.steady_burstiness:.3f}"),
        Figure("8 azure replayed, load 0.6 ... 0.9, median", float(above[0]), None, "%", True,
               "fill rule", float(above[1]), f"the user is {warned}: drift rules"),
    ]  # fmt: skip


def figures(data: Path) -> list[Figure]:
    """All of figure 8."""
    return against_simulation() + against_recorded(data)


if __name__ == "__main__":
    print(table(figures(Path(sys.argv[1]))))
