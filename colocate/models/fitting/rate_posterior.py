"""Posterior over a bank of shapes: how well each fits the points of a curve, at its best level.

    y_i = a + g_k(p_i) + noise_i,      noise_i ~ sigma * rho_i * Student-t(NU)

The heavy tails of the Student distribution let a point that is far off count for little. For each
shape k and noise sigma the level a is the most likely one; shapes and noises are equally likely
beforehand, so their weights are proportional to the likelihood.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NU", "Posterior", "posterior"]

Floats = NDArray[np.float64]

NU: Final = 3.0
SIGMAS: Final = (0.01, 0.02, 0.04)
"""Relative noise of a measurement; below 1 % no shape is that true."""
_STEPS: Final = 3
_CHUNK: Final = 4_000_000


class Posterior(NamedTuple):
    """Weights of the shapes of a bank, for several curves that have the same number of points."""

    weights: Floats
    """[curve, shape], summing to 1."""
    level: Floats
    """[curve]: the mean level."""
    evidence: Floats
    """[curve]: logarithm of the mean likelihood."""


def posterior(log_time: Floats, noise: Floats, shapes: Floats) -> Posterior:
    """Return the posterior of curves.

    Parameters
    ----------
    log_time, noise
        [curve, point]: y and rho.
    shapes
        [shape, point], the same for all curves; or [curve, shape, point].
    """
    curves, points = log_time.shape
    per_curve = shapes.ndim == 3
    many = shapes.shape[-2]
    step = max(1, _CHUNK // max(1, many * points))
    parts = [
        _posterior(
            log_time[i : i + step],
            noise[i : i + step],
            shapes[i : i + step] if per_curve else shapes[None],
        )
        for i in range(0, curves, step)
    ]
    return Posterior(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _posterior(y: Floats, noise: Floats, shapes: Floats) -> Posterior:
    # points come first: there are few, and each step is then one operation on [curve, shape]
    residual = np.moveaxis(y[:, None, :] - shapes, 2, 0).copy()
    rho = noise.T[:, :, None]
    start = _start(residual, SIGMAS[len(SIGMAS) // 2] * rho)
    likelihoods, levels = [], []
    for sigma in SIGMAS:
        scale = sigma * rho
        level = start
        for _ in range(_STEPS):
            level = _step(residual, level, scale)
        likelihoods.append(_likelihood(residual, level, scale))
        levels.append(level)
    log_likelihood, level = np.stack(likelihoods), np.stack(levels)  # [sigma, curve, shape]
    top = log_likelihood.max(axis=(0, 2))
    weights = np.exp(log_likelihood - top[None, :, None])
    total = weights.sum(axis=(0, 2))
    weights /= total[None, :, None]
    return Posterior(
        weights.sum(axis=0),
        (weights * level).sum(axis=(0, 2)),
        top + np.log(total / weights[:, 0].size),
    )


def _step(residual: Floats, level: Floats, scale: Floats) -> Floats:
    """Return the mean of the residuals, each weighed by how near it is to the level."""
    total, weights = np.zeros_like(level), np.zeros_like(level)
    for r, s in zip(residual, scale, strict=True):
        weight = 1 / (NU * s**2 + (r - level) ** 2)
        total += weight * r
        weights += weight
    return total / weights


def _likelihood(residual: Floats, level: Floats, scale: Floats) -> Floats:
    """Return the logarithm of the Student density over all points, up to a constant."""
    logs, product = np.zeros_like(level), np.ones_like(level)
    for i, (r, s) in enumerate(zip(residual, scale, strict=True)):
        product *= 1 + (r - level) ** 2 / (NU * s**2)
        if i % 20 == 19:  # one logarithm for many points; a product of 20 cannot overflow
            logs += np.log(product)
            product = np.ones_like(level)
    found: Floats = -0.5 * (NU + 1) * (logs + np.log(product)) - np.log(scale).sum(axis=0)
    return found


def _start(residual: Floats, scale: Floats) -> Floats:
    """Return a level to start from, for each curve and shape.

    With few points the likelihood has several peaks, so each point is tried.
    """
    best: Floats = np.median(residual, axis=0)
    points = residual.shape[0]
    if 1 < points <= 4:
        top = _likelihood(residual, best, scale)
        for r in residual:
            found = _likelihood(residual, r, scale)
            best = np.where(found > top, r, best)
            top = np.maximum(found, top)
    return best
