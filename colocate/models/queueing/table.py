"""The table of the `queue` SLO model, read for arrays.

Time is counted in fills, b/lambda: the mean time in which b requests arrive. In these units the
p-th percentile of the latency depends on load rho, batch b, burstiness c2, percentile p and timeout
phi alone. With phi and the arrivals given, it does not fall as the batch takes longer, that is, as
rho rises; therefore everything else is looked up first, which leaves one curve over the load:

    f(b, c2, p)          the latency at load 0 where every batch is full: time to fill it
    g(b, c2, p, rho)     the latency without a timeout: a free server takes what is waiting
    r(b, c2, p, psi, rho)  a correction, for p = 99 a few per cent; psi = phi / f(b, c2, 99)

    h(rho) = max(rho, max(min(phi, f) + rho, g(rho)) + r(rho))

h is worked out at the loads of the table, made to rise by a running maximum (which levels noise),
and joined by straight lines over z(rho) = rho + KAPPA / (1 - rho), in which queues are nearly
straight. Past the last load the last line goes on; from rho = 1 on the latency is infinite.

f, g and r are interpolated by straight lines in 1/sqrt(b) (b without end is the last node), in c2,
in -log(1 - p), and r in psi/(1 + psi).
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from colocate.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["KAPPA", "QueueTable", "check_percentile", "stored_table"]

KAPPA = 0.05
REFERENCE = 99.0
"""Percentile of the time to fill that timeouts are counted in."""
CHUNK = 65_536


@cache
def stored_table() -> dict[str, Any]:
    """Return the table as it is stored."""
    file = resources.files("colocate.models.queueing").joinpath("table.json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


@cache
def _array(name: str) -> Floats:
    return np.array(stored_table()[name], dtype=np.float64)


def check_percentile(percentile: float) -> float:
    """Return the percentile that is looked up, or raise `InputError` where the table ends.

    Below the first node the first node is used, which bounds the latency from above.
    """
    known = stored_table()["percentiles"]
    if not percentile <= known[-1]:
        raise InputError(
            f"the queue model knows percentiles up to {known[-1]:g}, not {percentile:g}",
            path="$.services",
            advice="ask for a lower slo_percentile, or use the simulator.",
        )
    return max(percentile, float(known[0]))


def _between(nodes: Floats, x: Floats) -> tuple[Ints, Floats]:
    """Return the node below each x, at most the last but one, and the weight of the next."""
    at = np.clip(np.searchsorted(nodes, x, side="right") - 1, 0, nodes.size - 2)
    return at, np.clip((x - nodes[at]) / (nodes[at + 1] - nodes[at]), 0.0, 1.0)


def _tail(percentile: float) -> float:
    return -math.log1p(-percentile / 100)


class QueueTable:
    """The table at one burstiness and one percentile."""

    def __init__(self, burstiness: float, percentile: float) -> None:
        raw = stored_table()
        nodes = np.array(raw["burstiness"])
        if not nodes[0] <= burstiness <= nodes[-1]:
            raise InputError(
                f"the queue model knows burstiness {nodes[0]:g} ... {nodes[-1]:g}, "
                f"not {burstiness:g}",
                advice="use the simulator for other arrivals.",
            )
        c, u = _between(nodes, np.array(burstiness))
        tails = np.array([_tail(p) for p in raw["percentiles"]])
        p, v = _between(tails, np.array(_tail(check_percentile(percentile))))

        def sliced(name: str) -> Floats:
            full = _array(name)
            near = (1 - u) * full[:, c] + u * full[:, c + 1]
            return np.asarray((1 - v) * near[:, p] + v * near[:, p + 1])

        self._fill = sliced("fill")
        self._greedy = sliced("greedy")
        correction = sliced("correction")
        # Without a timeout there is nothing to correct.
        self._correction = np.concatenate([np.zeros_like(correction[:, :1]), correction], axis=1)
        reference = _array("fill")[:, :, raw["percentiles"].index(REFERENCE)]
        self._unit = (1 - u) * reference[:, c] + u * reference[:, c + 1]
        batches = [math.inf if b is None else b for b in raw["batches"]]
        self._batch = 1 - 1 / np.sqrt(np.array(batches))
        timeouts = [0.0, *(math.inf if t is None else t for t in raw["timeouts"])]
        self._timeout = np.array([1.0 if math.isinf(t) else t / (1 + t) for t in timeouts])
        self._load = np.array(raw["loads"])
        self._z = self._load + KAPPA / (1 - self._load)

    def curves(self, batch: Floats, timeout_fills: Floats) -> Floats:
        """Return h at the loads of the table, [pair, load], for pairs of batch and timeout."""
        b, w = _between(self._batch, 1 - 1 / np.sqrt(batch))

        def mixed(of: Floats) -> Floats:
            share = w.reshape(w.shape + (1,) * (of.ndim - 1))
            return np.asarray((1 - share) * of[b] + share * of[b + 1])

        fill, unit = mixed(self._fill), mixed(self._unit)
        with np.errstate(divide="ignore", invalid="ignore"):
            psi = np.where(unit > 0, timeout_fills / unit, 0.0)
            t, s = _between(self._timeout, np.where(np.isinf(psi), 1.0, psi / (1 + psi)))
        share = w[:, None]
        r = self._correction
        near = (1 - share) * r[b, t] + share * r[b + 1, t]
        next_ = (1 - share) * r[b, t + 1] + share * r[b + 1, t + 1]
        wait = np.minimum(timeout_fills, fill)[:, None] + self._load
        base = np.maximum(wait, mixed(self._greedy))
        found = np.maximum(base + (1 - s[:, None]) * near + s[:, None] * next_, self._load)
        return np.asarray(np.maximum.accumulate(found, axis=1))

    def latency(self, curves: Floats, row: Ints, load: Floats) -> Floats:
        """Return h in fills, each at its load on its row of `curves`."""
        known = np.isfinite(load) & (load < 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(known, load + KAPPA / (1 - load), self._z[-1])
        at = np.clip(np.searchsorted(self._z, z, side="right") - 1, 0, self._z.size - 2)
        share = (z - self._z[at]) / (self._z[at + 1] - self._z[at])
        low = curves[row, at]
        return np.where(known, low + share * (curves[row, at + 1] - low), np.inf)

    def latency_ms(
        self, batch: Floats, tau_s: Floats, rate_rps: Floats, timeout_ms: float
    ) -> Floats:
        """Return the percentile of the latency in milliseconds, for arrays that broadcast."""
        batch, tau_s, rate_rps = (np.asarray(x, dtype=np.float64) for x in (batch, tau_s, rate_rps))
        shape = np.broadcast_shapes(batch.shape, tau_s.shape, rate_rps.shape)
        b, lam = np.broadcast_arrays(batch, rate_rps)
        fill_ms = 1000.0 * b / lam
        row = np.broadcast_to(np.arange(b.size).reshape(b.shape), shape).ravel()
        load = np.broadcast_to(tau_s * (lam / b), shape).ravel()
        flat_batch, flat_fill = b.ravel(), fill_ms.ravel()
        if b.size <= CHUNK:
            curves = self.curves(flat_batch, timeout_ms / flat_fill)
            return np.asarray(self.latency(curves, row, load) * flat_fill[row]).reshape(shape)
        found = np.empty(load.size)
        for start in range(0, load.size, CHUNK):
            part = slice(start, start + CHUNK)
            mine, local = np.unique(row[part], return_inverse=True)
            curves = self.curves(flat_batch[mine], timeout_ms / flat_fill[mine])
            found[part] = self.latency(curves, local, load[part]) * flat_fill[row[part]]
        return found.reshape(shape)
