"""Telemetry of a workload that is known only by its layers.

    x = (log(1 + counts) - mean) / std,  over the known workloads;  T = their targets

    ridge    t(x) = mean t + x B,   B = (X'X + n lambda I)^-1 X' (T - mean t)
    nearest  t(x) = sum_k w_k t_k / sum_k w_k,   w_k = exp(-|x - x_k|^2 / (2 d l^2)),   d kinds

Targets are log(1 + SM activity), log(1 + DRAM activity), both in per cent, and the elasticity of
the rate to the share, on the whole GPU at the largest batch. Elsewhere the activity follows the
rate: activity(b, p) = activity(100) r(b, p) / r(100), where r(100) is the rate at the largest batch
and share, and r(p) = p^elasticity unless its rates are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from colocate.errors import InputError
from colocate.profile.company import LAYER_KINDS, StructureModel, Telemetry

__all__ = ["layer_vector", "structure_targets", "telemetry_from_structure"]

Floats = NDArray[np.float64]
SHARES = np.arange(10.0, 101.0, 10.0)
MOST_ELASTICITY = 1.5


def layer_vector(layers: Mapping[str, float]) -> Floats:
    """Return the counts in the order of `LAYER_KINDS`; kinds that are left out count 0."""
    unknown = sorted(set(layers) - set(LAYER_KINDS))
    if unknown:
        raise InputError(
            f"{unknown[0]!r} is no kind of layer",
            advice=f"use {', '.join(LAYER_KINDS)}; count others as 'other'.",
        )
    counts = np.array([float(layers.get(kind, 0)) for kind in LAYER_KINDS])
    if not (np.isfinite(counts) & (counts >= 0)).all() or counts.sum() == 0:
        raise InputError(
            "the counts of layers must be numbers from 0 up, and not all 0",
            advice="count the layers of the network by kind.",
        )
    return counts


def structure_targets(
    method: Literal["ridge", "nearest"],
    strength: float,
    known: Floats,
    targets: Floats,
    counts: Floats,
) -> Floats:
    """Return the targets at some counts [n, kind] from known counts and targets."""
    logs = np.log1p(known)
    spread = logs.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    x_known = (logs - logs.mean(axis=0)) / spread
    x = (np.log1p(counts) - logs.mean(axis=0)) / spread
    if method == "ridge":
        gram = x_known.T @ x_known + len(known) * strength * np.eye(known.shape[1])
        slopes = np.linalg.solve(gram, x_known.T @ (targets - targets.mean(axis=0)))
        linear: Floats = targets.mean(axis=0) + x @ slopes
        return linear
    distance = ((x[:, None] - x_known) ** 2).sum(axis=2) / (2 * known.shape[1] * strength**2)
    # relative to the nearest, so that the weights of a far stranger do not all vanish
    weight = np.exp(distance.min(axis=1, keepdims=True) - distance)
    mean: Floats = weight @ targets / weight.sum(axis=1, keepdims=True)
    return mean


def telemetry_from_structure(
    model: StructureModel,
    workload: str,
    role: Literal["inference", "training"],
    layers: Mapping[str, float],
    *,
    batches: Sequence[int] = (1,),
    share_pct: Sequence[float] | None = None,
    rate: ArrayLike | None = None,
) -> Telemetry:
    """Return a guess at the telemetry of a workload from its layers.

    Parameters
    ----------
    model
        What was learnt from known workloads.
    workload, role
        Name and role of the new one.
    layers
        How many layers it has of each kind.
    batches
        Its batch sizes, ascending.
    share_pct, rate
        Its rates alone for each batch and share, both ascending, where they were measured.
    """
    n = len(model.workloads)
    log_sm, log_dram, elasticity = structure_targets(
        model.method,
        model.strength,
        np.reshape(model.counts, (n, -1)),
        np.reshape(model.targets, (n, -1)),
        layer_vector(layers)[None],
    )[0]
    if (share_pct is None) != (rate is None):
        raise InputError(
            "shares and rates belong together", advice="give both `share_pct` and `rate`."
        )
    shares = SHARES if share_pct is None else np.asarray(share_pct, dtype=float)
    shape = (len(batches), shares.size)
    if rate is None or shares.size < 2:
        slope = np.full(shape, np.clip(elasticity, 0, MOST_ELASTICITY))
        relative = (shares / 100) ** slope
    else:
        rates = np.reshape(np.asarray(rate, dtype=float), shape)
        slope = np.clip(np.gradient(np.log(rates), np.log(shares), axis=1), 0, MOST_ELASTICITY)
        relative = rates / rates[-1, -1]
    return Telemetry(
        workload=workload,
        role=role,
        batch=tuple(batches),
        share_pct=tuple(float(p) for p in shares),
        sm_activity_pct=_activity(log_sm, relative),
        dram_activity_pct=_activity(log_dram, relative),
        elasticity=tuple(float(e) for e in slope.ravel()),
        guessed=True,
    )


def _activity(log: float, relative: Floats) -> tuple[float, ...]:
    whole = float(np.clip(np.expm1(log), 0, 100))
    return tuple(float(a) for a in np.clip(whole * relative, 0, 100).ravel())
