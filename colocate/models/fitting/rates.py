"""Rate curves of workloads alone on a GPU, from few, noisy and contradictory measurements.

For each GPU type, over the curves (workload, batch) that were measured on it:

1. Points that no curve through the others allows are left out (`rate_families.unexplained`).
2. Each family predicts the log time of a batch at every share: posterior averages over shapes for
   the formulas (`rate_posterior`), the joined points for the table; with the steps that all curves
   of the device share where left-out points speak for these (`device_steps`).
3. The families are averaged with weights learnt on the left-out points of other workloads
   (`rate_weights`).
4. Curves of one workload whose batches are close share their shape.
5. Batches with fewer than two points, and batches never measured, come from one surface over batch
   and share (`rate_batches`).
6. Times are made monotone in share and batch, and thinned into a curve (`rate_tables`). Above the
   largest measured share of a batch the rate stays what it is there.

Curves with very many points are fitted with fewer (`Points.thinned`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from colocate.errors import InputError
from colocate.models.fitting.device_steps import DeviceSteps, can_have_steps, estimate_steps
from colocate.models.fitting.rate_batches import Surface, fit_surface, trust_in_curves
from colocate.models.fitting.rate_families import MEMBERS, predictions, unexplained, unmoved
from colocate.models.fitting.rate_points import CurveKey, Points, gather_points
from colocate.models.fitting.rate_tables import disagreements, monotone, table_curve
from colocate.models.fitting.rate_weights import (
    MOST_CURVES,
    average_weights,
    leave_out,
    steps_help,
)
from colocate.profile import MonotoneTableCurve
from colocate.tables.table import ProfileTable

__all__ = ["DroppedPoint", "HeldOut", "RateFit", "RateFits", "RateSettings", "fit_rates"]

Floats = NDArray[np.float64]

CLOSE_BATCH: Final = 0.5
"""Batches this far apart (in log2) weigh 1/e of the curve's own shape."""
FEW_CURVES: Final = 60
MANY_ROUNDS: Final = 12
"""With few curves, more points of each are left out to tell how far off the fit is."""


class RateSettings(NamedTuple):
    """What may be chosen about fitting."""

    members: tuple[str, ...] = MEMBERS
    """Families to average; one alone is that family."""
    monotone: bool = True
    """Make times fall with the share and grow with the batch."""


class DroppedPoint(NamedTuple):
    """A measurement that no curve through the others allows."""

    key: CurveKey
    share_pct: float
    rate: float
    expected: float
    """What the other points say."""


class HeldOut(NamedTuple):
    """A measurement that was left out and predicted from the rest."""

    key: CurveKey
    share_pct: float
    log_error: float
    """Logarithm of the predicted over the measured rate."""


@dataclass(frozen=True, eq=False)
class RateFit:
    """The fitted rate of one workload on one GPU type."""

    workload: str
    gpu: str
    batches: tuple[int, ...]
    """Batches that were measured."""
    share_pct: Floats
    """Grid of shares."""
    log_time: Floats
    """[batch, grid]: logarithm of the seconds of a batch."""
    first_share: tuple[float, ...]
    """Smallest share that was measured and used, for each batch."""
    surface: Surface
    """For batches between and beyond."""
    trust: float
    """How much of what the curves differ from the surface is added to it there."""
    weights: Mapping[str, float]
    """How much each family counts."""
    points: tuple[Points, ...]
    """The points that were used, a curve for each batch; in full."""
    notes: tuple[str, ...]
    """Where the measurements disagree."""
    error: float | None
    """Mean relative error at left-out points of this workload; None without any."""
    family_errors: Mapping[str, float]
    """The same for each family by itself, at the same points; empty without any."""

    def rate_at(self, batch: ArrayLike, share_pct: ArrayLike) -> Floats:
        """Return samples per second for batches and shares that broadcast."""
        b, p = np.broadcast_arrays(
            np.asarray(batch, dtype=float), np.asarray(share_pct, dtype=float)
        )
        found: Floats = (b.ravel() * np.exp(-self._log_time(b.ravel(), p.ravel()))).reshape(b.shape)
        return found

    def _log_time(self, b: Floats, p: Floats) -> Floats:
        known = np.log(np.array(self.batches, dtype=float))
        right = np.clip(np.searchsorted(known, np.log(b)), 1, max(1, known.size - 1))
        right = np.minimum(right, known.size - 1)
        left = np.maximum(right - 1, 0)
        exact = np.searchsorted(known, np.log(b) - 1e-9)
        exact = np.minimum(exact, known.size - 1)
        hit = np.abs(known[exact] - np.log(b)) < 1e-9
        last = np.array([points.share_pct[-1] for points in self.points])
        most = np.where(hit, last[exact], np.minimum(last[left], last[right]))
        x = np.clip(p, self.share_pct[0], most)
        at_known = np.stack([_between(self.share_pct, row, x) for row in self.log_time])
        found: Floats = at_known[exact, np.arange(b.size)]
        if hit.all():
            return found
        trend = np.stack(
            [self.surface.log_time(np.full(b.size, float(k)), x) for k in self.batches]
        )
        beside = self.trust * (at_known - trend)
        width = np.where(right > left, known[right] - known[left], 1.0)
        part = np.clip((np.log(b) - known[left]) / width, 0.0, 1.0)
        rows = np.arange(b.size)
        rest = (1 - part) * beside[left, rows] + part * beside[right, rows]
        return np.where(hit, found, self.surface.log_time(b, x) + rest)

    def curve(self, batches: Sequence[int] | None = None) -> MonotoneTableCurve:
        """Return the fit as a curve for plans, at the measured batches or at others."""
        chosen = self.batches if batches is None else tuple(sorted(set(batches)))
        grids, rates = [], []
        for batch in chosen:
            first = (
                self.first_share[self.batches.index(batch)]
                if batch in self.batches
                else max(self.first_share)
            )
            grid = self.share_pct[self.share_pct >= first]
            grids.append(grid)
            rates.append(self.rate_at(batch, grid))
        return table_curve(chosen, grids, rates)


@dataclass(frozen=True, eq=False)
class RateFits:
    """All fitted rates of a table, and what was left out."""

    fits: Mapping[tuple[str, str], RateFit]
    """By (workload, GPU type)."""
    dropped: tuple[DroppedPoint, ...] = ()
    held_out: tuple[HeldOut, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows that are no rates alone, by reason."""
    steps: Mapping[str, DeviceSteps] = field(default_factory=dict)
    """Steps of the device, for GPU types where they help."""

    def predict(
        self, workload: ArrayLike, gpu: ArrayLike, batch: ArrayLike, share_pct: ArrayLike
    ) -> Floats:
        """Return samples per second alone; not a number where the workload was not measured."""
        names, gpus, b, p = np.broadcast_arrays(
            np.asarray(workload, dtype=object),
            np.asarray(gpu, dtype=object),
            np.asarray(batch, dtype=float),
            np.asarray(share_pct, dtype=float),
        )
        found = np.full(names.shape, np.nan)
        rows: dict[tuple[str, str], list[int]] = {}
        for i, key in enumerate(zip(names.ravel().tolist(), gpus.ravel().tolist(), strict=True)):
            rows.setdefault(key, []).append(i)
        flat = found.reshape(-1)
        for key, at in rows.items():
            if key in self.fits:
                flat[at] = self.fits[key].rate_at(b.ravel()[at], p.ravel()[at])
        return found


def _between(grid: Floats, log_time: Floats, share_pct: Floats) -> Floats:
    """Return log t between grid points, where t is straight over 1/share."""
    found: Floats = np.log(np.interp(-1 / share_pct, -1 / grid, np.exp(log_time)))
    return found


def fit_rates(table: ProfileTable, settings: RateSettings | None = None) -> RateFits:
    """Fit the rates of everything that a table measured alone.

    Raises
    ------
    InputError
        When a family is not known, or no row says how fast a workload runs alone.
    """
    chosen = settings or RateSettings()
    unknown = [m for m in chosen.members if m not in MEMBERS]
    if unknown or not chosen.members:
        raise InputError(
            f"there is no family {unknown[0]!r}" if unknown else "no family is to be fitted",
            advice=f"choose some of {', '.join(MEMBERS)}.",
        )
    curves, left_out = gather_points(table)
    if not curves:
        raise InputError(
            "no row of the table says how fast a workload runs alone",
            advice="measure each workload alone on the GPU at a few shares first.",
        )
    fits: dict[tuple[str, str], RateFit] = {}
    dropped: list[DroppedPoint] = []
    held: list[HeldOut] = []
    steps: dict[str, DeviceSteps] = {}
    for gpu in sorted({c.key.gpu for c in curves}):
        of_gpu = [c for c in curves if c.key.gpu == gpu]
        done, found, errors, shift = _fit_gpu(of_gpu, chosen)
        fits |= done
        dropped += found
        held += errors
        if shift is not None:
            steps[gpu] = shift
    return RateFits(fits, tuple(dropped), tuple(held), left_out, steps)


def _clean(curves: Sequence[Points]) -> tuple[list[Points], list[DroppedPoint]]:
    """Leave out what no curve through the other points allows."""
    bad = unexplained(curves)
    kept = [c.take(~b) for c, b in zip(curves, bad, strict=True)]
    dropped = []
    for curve, rest, out in zip(curves, kept, bad, strict=True):
        if not out.any():
            continue
        expected = predictions([rest], ["soft_maximum"], curve.share_pct[out])[0, 0]
        dropped += [
            DroppedPoint(curve.key, float(p), float(r), float(curve.key.batch * np.exp(-y)))
            for p, r, y in zip(curve.share_pct[out], curve.rate[out], expected, strict=True)
        ]
    return kept, dropped


def _fit_gpu(
    measured: Sequence[Points], settings: RateSettings
) -> tuple[dict[tuple[str, str], RateFit], list[DroppedPoint], list[HeldOut], DeviceSteps | None]:
    """Fit the curves of one GPU type."""
    used, dropped = _clean(measured)
    curves = [curve.thinned() for curve in used]
    members = settings.members
    workload = [c.key.workload for c in curves]
    some = curves[:: -(-len(curves) // MOST_CURVES)]
    owner = [c.key.workload for c in some]
    left_out = leave_out(some, members, steps=False)
    shift: DeviceSteps | None = None
    if can_have_steps(some):
        stepped = leave_out(some, members, steps=True)
        if steps_help(left_out, stepped, owner):
            left_out, shift = stepped, estimate_steps(some)
    weights = average_weights(left_out, owner, workload)
    grid = np.union1d(np.arange(1.0, 101.0), np.concatenate([c.share_pct for c in curves]))
    moved = unmoved if shift is None else shift.moved
    said = predictions(curves, members, grid, moved)
    weight = np.stack([weights[w] for w in workload])
    average = np.einsum("mcg,cm->cg", said, weight)
    if len(some) <= FEW_CURVES:
        left_out = leave_out(some, members, steps=shift is not None, rounds=MANY_ROUNDS)
    held = [
        HeldOut(some[i].key, float(p), float(-(e @ weights[owner[i]])))
        for i, p, e in zip(left_out.curve, left_out.share_pct, left_out.error, strict=True)
    ]
    fits = {}
    for name in sorted(set(workload)):
        rows = [i for i, w in enumerate(workload) if w == name]
        errors = [abs(np.expm1(h.log_error)) for h in held if h.key.workload == name]
        own = left_out.error[[owner[i] == name for i in left_out.curve.tolist()]]
        each = np.abs(np.expm1(-own)).mean(axis=0).tolist() if len(own) else []
        fits[name, curves[rows[0]].key.gpu] = _fit_workload(
            [curves[i] for i in rows],
            [used[i] for i in rows],
            [measured[i] for i in rows],
            average[rows],
            grid,
            dict(zip(members, weights[name].tolist(), strict=True)),
            float(np.mean(errors)) if errors else None,
            dict(zip(members, each, strict=False)),
            settings,
        )
    return fits, dropped, held, shift


def _fit_workload(
    curves: Sequence[Points],
    used: Sequence[Points],
    measured: Sequence[Points],
    average: Floats,
    grid: Floats,
    weights: Mapping[str, float],
    error: float | None,
    family_errors: Mapping[str, float],
    settings: RateSettings,
) -> RateFit:
    surface = fit_surface(curves)
    batch = np.array([float(c.key.batch) for c in curves])
    few = np.array([len(c) < 2 for c in curves])
    log_time = _shared_shapes(average, curves, grid)
    for i in np.flatnonzero(few).tolist():
        said = surface.log_time(np.full(grid.size, batch[i]), grid)
        at = np.searchsorted(grid, curves[i].share_pct)
        log_time[i] = said + np.mean(curves[i].log_time - said[at])
    if settings.monotone:
        first, last = (np.array([c.share_pct[at] for c in curves])[:, None] for at in (0, -1))
        log_time = monotone(log_time, (grid >= first) & (grid <= last))
    return RateFit(
        workload=curves[0].key.workload,
        gpu=curves[0].key.gpu,
        batches=tuple(c.key.batch for c in curves),
        share_pct=grid,
        log_time=log_time,
        first_share=tuple(float(c.share_pct[0]) for c in used),
        surface=surface,
        trust=trust_in_curves(surface, curves),
        weights=weights,
        points=tuple(used),
        notes=tuple(disagreements(measured)),
        error=error,
        family_errors=family_errors,
    )


def _shared_shapes(average: Floats, curves: Sequence[Points], grid: Floats) -> Floats:
    """Return curves whose shape is averaged with those at close batches; the level is their own."""
    level = np.array(
        [
            row[np.searchsorted(grid, c.share_pct)].mean()
            for row, c in zip(average, curves, strict=True)
        ]
    )
    log_batch = np.log2([c.key.batch for c in curves])
    enough = np.array([len(c) >= 2 for c in curves])
    close = np.exp(-np.abs(log_batch[:, None] - log_batch[None]) / CLOSE_BATCH) * enough[None]
    np.fill_diagonal(close, 1.0)
    close /= close.sum(axis=1, keepdims=True)
    found = np.empty_like(average)
    for i, curve in enumerate(curves):
        at = np.searchsorted(grid, curve.share_pct)
        found[i] = close[i] @ (average - average[:, at].mean(axis=1, keepdims=True)) + level[i]
    return found
