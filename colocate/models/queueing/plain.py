"""The table of the `queue` SLO model once more, for one replica, in plain numbers. For the judge.

It follows the definition in `table` but shares no code with it: corner after corner, then the line
between two loads.
"""

from __future__ import annotations

import itertools
import json
import math
from bisect import bisect_right
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from colocate.errors import InputError

__all__ = ["latency_in_fills"]

KAPPA = 0.05


@cache
def _stored() -> Any:  # noqa: ANN401 - nested lists of numbers
    text = resources.files("colocate.models.queueing").joinpath("table.json").read_text("utf-8")
    return json.loads(text)


def _corners(nodes: list[float], x: float) -> list[tuple[int, float]]:
    """Return the nodes around x with their weights."""
    if x <= nodes[0]:
        return [(0, 1.0)]
    if x >= nodes[-1]:
        return [(len(nodes) - 1, 1.0)]
    right = bisect_right(nodes, x)
    weight = (x - nodes[right - 1]) / (nodes[right] - nodes[right - 1])
    return [(right - 1, 1 - weight), (right, weight)]


@lru_cache(maxsize=4096)
def _curve(batch: int, burstiness: float, percentile: float, timeout: float) -> list[float]:
    table = _stored()
    if percentile > table["percentiles"][-1]:
        raise InputError(
            f"percentile {percentile:g} is beyond the last one of the queue model, "
            f"{table['percentiles'][-1]:g}",
            path="$.services",
            advice="ask for a lower slo_percentile.",
        )
    at_batch = _corners(
        [-1.0 if b is None else -1 / math.sqrt(b) for b in table["batches"][:-1]] + [0.0],
        -1 / math.sqrt(batch),
    )
    at_burst = _corners(table["burstiness"], burstiness)
    at_tail = _corners(
        [-math.log(1 - p / 100) for p in table["percentiles"]], -math.log(1 - percentile / 100)
    )
    corners = [
        (i, j, k, wi * wj * wk)
        for (i, wi), (j, wj), (k, wk) in itertools.product(at_batch, at_burst, at_tail)
    ]
    fill = sum(w * table["fill"][i][j][k] for i, j, k, w in corners)
    p99 = table["percentiles"].index(99.0)
    unit = sum(
        wi * wj * table["fill"][i][j][p99]
        for (i, wi), (j, wj) in itertools.product(at_batch, at_burst)
    )
    # Position 0 is no timeout, which the table leaves out; the last is one without end.
    nodes = [0.0, *(t / (1 + t) for t in table["timeouts"][:-1]), 1.0]
    psi = timeout / unit if unit > 0 else 0.0
    at_timeout = _corners(nodes, psi / (1 + psi))
    found: list[float] = []
    for n, load in enumerate(table["loads"]):
        greedy = sum(w * table["greedy"][i][j][k][n] for i, j, k, w in corners)
        change = sum(
            w * wt * table["correction"][i][j][k][t - 1][n]
            for i, j, k, w in corners
            for t, wt in at_timeout
            if t > 0
        )
        value = max(max(min(timeout, fill) + load, greedy) + change, load)
        found.append(max(value, found[-1]) if found else value)
    return found


def latency_in_fills(
    load: float, batch: int, burstiness: float, percentile: float, timeout: float
) -> float:
    """Return the percentile of the latency; `timeout` and the result are in fills, b/lambda."""
    table = _stored()
    curve = _curve(batch, burstiness, max(percentile, table["percentiles"][0]), timeout)
    if not load < 1:
        return math.inf
    loads = table["loads"]
    right = min(max(bisect_right(loads, load), 1), len(loads) - 1)
    z, left, last = (x + KAPPA / (1 - x) for x in (load, loads[right - 1], loads[right]))
    low, high = curve[right - 1], curve[right]
    return float(low + (high - low) * (z - left) / (last - left))
