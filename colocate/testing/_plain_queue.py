"""The `queue` SLO model for the oracle, from `docs/formulation.md` and the numbers of its table.

It shares no code with `models`: one blend at a time, outermost axis first.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from importlib import resources
from typing import Any

__all__ = ["queue_latency_ms"]


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    place = resources.files("colocate").joinpath("models", "queueing", "table.json")
    found: dict[str, Any] = json.loads(place.read_bytes())
    return found


def _blend(values: Any, axes: list[list[float]], at: list[float]) -> Any:  # noqa: ANN401
    """Interpolate nested lists along their first axes; what is left may be lists of numbers."""
    if not axes:
        return values
    nodes, x = axes[0], min(max(at[0], axes[0][0]), axes[0][-1])
    right = next(i for i, node in enumerate(nodes) if node >= x)
    upper = _blend(values[right], axes[1:], at[1:])
    if nodes[right] == x:
        return upper
    lower = _blend(values[right - 1], axes[1:], at[1:])
    part = (x - nodes[right - 1]) / (nodes[right] - nodes[right - 1])
    return _mix(lower, upper, part)


def _mix(a: Any, b: Any, part: float) -> Any:  # noqa: ANN401 - nested lists of numbers
    if isinstance(a, list):
        return [_mix(x, y, part) for x, y in zip(a, b, strict=True)]
    return a + part * (b - a)


def _saturating(value: float | None) -> float:
    return 1.0 if value is None or math.isinf(value) else value / (1.0 + value)


def queue_latency_ms(
    batch: int,
    tau_s: float,
    rate_rps: float,
    percentile: float,
    burstiness: float = 1.0,
    timeout_ms: float = 0.0,
) -> float:
    """Return the percentile of the latency of one replica."""
    load = rate_rps * tau_s / batch
    fill_ms = 1000 * batch / rate_rps
    return fill_ms * _in_fills(load, batch, percentile, burstiness, timeout_ms / fill_ms)


def _in_fills(
    load: float, batch: int, percentile: float, burstiness: float, timeout: float
) -> float:
    if load >= 1:
        return math.inf
    stretched = [rho + 0.05 / (1 - rho) for rho in (*_table()["loads"], load)]
    z = stretched.pop()
    cell = max(1, min(sum(node <= z for node in stretched), len(stretched) - 1))
    run = (z - stretched[cell - 1]) / (stretched[cell] - stretched[cell - 1])
    curve = _curve(batch, percentile, burstiness, timeout)
    return float(curve[cell - 1] * (1 - run) + curve[cell] * run)


@lru_cache(maxsize=4096)
def _curve(batch: int, percentile: float, burstiness: float, timeout: float) -> list[float]:
    """Return the latency in fills at the loads of the table."""
    table = _table()
    # Descending in b: 1/sqrt(b) rises.
    small_last = [0.0 if b is None else b**-0.5 for b in reversed(table["batches"])]
    tails = [math.log(100 / (100 - p)) for p in table["percentiles"]]
    axes = [small_last, table["burstiness"], tails]
    at = [batch**-0.5, burstiness, math.log(100 / (100 - percentile))]
    fill = _blend(table["fill"][::-1], axes, at)
    fill_99 = _blend(table["fill"][::-1], axes, [*at[:2], math.log(100)])
    greedy = _blend(table["greedy"][::-1], axes, at)
    by_timeout = _blend(table["correction"][::-1], axes, at)
    psi = _saturating(timeout / fill_99) if fill_99 > 0 else 0.0
    # Without a timeout there is no correction.
    nodes = [0.0, *(_saturating(t) for t in table["timeouts"])]
    none = [0.0] * len(table["loads"])
    correction = _blend([none, *by_timeout], [nodes], [psi])
    curve: list[float] = []
    for rho, own, change in zip(table["loads"], greedy, correction, strict=True):
        value = max(max(rho + min(timeout, fill), own) + change, rho)
        curve.append(max([value, *curve[-1:]]))
    return curve
