"""The exact latency of a server whose batches are always full, under gamma renewal arrivals.

Time is counted in fills: b/lambda, the mean time in which b requests arrive. The service of a batch
takes rho, and the gap between the last requests of two batches is G ~ Gamma(m, 1/m), m = b/c2.

The wait of the n-th complete batch obeys W' = max(0, W + rho - G). Its tail decays as exp(-x t),
with E exp(x (rho - G)) = 1, that is x = m y / rho with exp(y) = 1 + y/rho. The law of W comes from
Spitzer's identity on a lattice of step h: with U(z) the generating function of rho - G,

    log E z^W = [-log(1 - U(z))] at positive powers + constant

taken on the circle |z| = exp(x h/2), where U < 1, by two Fourier transforms.

The j-th request of a batch waits for the fill F_j, the b - j gaps after it, and for the server:

    L_j = rho + max(F_j, W + rho - S_j),  S_j the j gaps up to it,  F_j, S_j and W independent,

so P(L <= l) is the mean over j of P(F_j <= l - rho) P(W - S_j <= l - 2 rho).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["full_batch_latency", "tail_decay"]

LATTICE = 2**15
POINTS = 1000
"""Masses that the law of W is gathered into."""
POSITIONS = 12
"""Positions in a batch that are looked at; larger batches are integrated by Gauss's rule."""


def tail_decay(load: float, batch: int, burstiness: float) -> float:
    """Return x: the wait for the server exceeds t fills with a probability of order exp(-x t)."""
    y = brentq(lambda y: math.log1p(y / load) - y, 1e-12, 50.0 + 2 * abs(math.log(load)))
    return float(y) / load * batch / burstiness


def full_batch_latency(
    load: float, batch: int, burstiness: float, percentiles: Sequence[float]
) -> Floats:
    """Return percentiles of the latency, in fills, at 0 <= load < 1."""
    if load > 0:
        wait, mass = _gathered(*_law_of_the_wait(load, batch, burstiness))
    else:
        wait, mass = np.zeros(1), np.ones(1)
    if batch <= POSITIONS:
        position, weight = np.arange(1, batch + 1) + 0.0, np.full(batch, 1 / batch)
    else:
        node, weight = np.polynomial.legendre.leggauss(POSITIONS)
        position, weight = 0.5 + batch * (node + 1) / 2, weight / 2
    # A shape of 0 is a sum of no gaps; the tiny one stands for it.
    before = position[:, None] / burstiness
    after = np.maximum((batch - position) / burstiness, 1e-12)
    scale = burstiness / batch

    def cdf(t: float) -> float:
        filled = gammainc(after, max(t, 0.0) / scale)
        late = np.maximum(wait[None, :] + load - t, 0.0)
        served = np.where(late > 0, gammaincc(before, late / scale), 1.0) @ mass
        return float((weight * filled * served).sum())

    highest = 8.0 + 60 * burstiness / batch
    highest += 60 / tail_decay(load, batch, burstiness) if load > 0 else 0.0
    found = []
    for percentile in percentiles:
        p = percentile / 100
        start = 0.0 if cdf(0.0) >= p else brentq(lambda t, p=p: cdf(t) - p, 0, highest, xtol=1e-7)
        found.append(load + start)
    return np.array(found)


def _law_of_the_wait(load: float, batch: int, burstiness: float) -> tuple[Floats, Floats]:
    shape = batch / burstiness
    decay = tail_decay(load, batch, burstiness)
    span = max(120 / decay, 4 * (1 + 12 / math.sqrt(shape) + 40 / shape))
    h = span / LATTICE
    k = np.arange(LATTICE) - LATTICE // 2
    # Each value is split between the lattice points beside it so that its mean is kept: near full
    # load the wait hangs on the mean of rho - G. The split is a second difference of E (x - X)+,
    # with (x - X)+ = (x - rho + G)+ = x - rho + 1 + (rho - x - G)+ in the mean.
    gap = np.maximum(load - (k[0] - 1 + np.arange(LATTICE + 2)) * h, 0.0)
    short = gap * gammainc(shape, gap * shape) - gammainc(shape + 1, gap * shape)
    u = np.maximum(np.diff(short, 2) / h, 0.0)
    u /= u.sum()
    tilt = decay * h / 2
    damped = np.fft.fft(np.fft.ifftshift(u * np.exp(np.minimum(tilt * k, 700.0))))
    powers = np.fft.ifft(-np.log(1 - damped)).real
    powers[0] = 0.0
    powers[LATTICE // 2 :] = 0.0
    mass = np.fft.ifft(np.exp(np.fft.fft(powers))).real[: LATTICE // 2]
    lattice = np.arange(LATTICE // 2)
    mass = np.maximum(mass, 0.0) * np.exp(-tilt * lattice)
    return np.asarray(lattice * h), np.asarray(mass / mass.sum())


def _gathered(wait: Floats, mass: Floats) -> tuple[Floats, Floats]:
    """Return the law with fewer masses: 0 by itself, then neighbours together at their mean."""
    size = int((np.cumsum(mass) < 1 - 1e-9).sum()) + 1
    wait, mass = wait[:size], mass[:size]
    together = -(-size // POINTS)
    pad = (0, -(size - 1) % together)
    masses = np.pad(mass[1:], pad).reshape(-1, together)
    moments = np.pad((wait * mass)[1:], pad).reshape(-1, together).sum(axis=1)
    total = masses.sum(axis=1)
    kept = total > 0
    means = np.concatenate([wait[:1], moments[kept] / total[kept]])
    return means, np.concatenate([mass[:1], total[kept]])
