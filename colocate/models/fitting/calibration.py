"""Error bounds for everything that was fitted to one table.

What a prediction rests on decides how far off it may be, so each kind of evidence has residuals of
its own, all of predictions that had no part of the measurement:

    alone       points of a curve left out in turn
    measured    an inner share of a measured pair left out, and read off between its neighbours
    regressed   every cell of a workload, in whatever role, left out of the fit
    constant    the same, with the median slowdown of the others for each pair of roles; with what
                guessed telemetry says (`cold_start`), where there is any: the wider bound counts

Bounds hold for the cells of a workload that is new (`conformal.by_new_unit`). Those in company
come on top of the bound alone, so that the two together hold the level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.models.fitting.company import CompanyFit, Prepared
from colocate.models.fitting.company_cells import Cells
from colocate.models.fitting.company_regression import groups_of
from colocate.models.fitting.company_residuals import residuals_of
from colocate.models.fitting.error_bounds import (
    company_error_bounds,
    rate_error_bounds,
    slowdown_error_bounds,
)
from colocate.models.fitting.rates import RateFits
from colocate.models.fitting.residuals import Residuals
from colocate.profile.bounds import Bounds, ErrorBound
from colocate.profile.company import CompanyModel
from colocate.profile.fitted import Calibration
from colocate.schema import Evidence

__all__ = ["LEVELS", "CompanyBounds", "by_constant", "calibrate_alone", "calibrate_company"]

LEVELS = (0.8, 0.9, 0.95, 0.99)
"""Confidences that instances may ask for."""
MOST_TOTAL_PCT = 101.0
"""Beyond this, two shares overlap; rounding aside."""


class CompanyBounds(NamedTuple):
    """Bounds of slowdowns by what they rest on, and what was found on the way."""

    errors: Mapping[Evidence, Bounds]
    calibration: tuple[Calibration, ...]


def calibrate_alone(fits: RateFits) -> Calibration:
    """Return how far rates alone are from points that were left out."""
    label = np.array([h.key.workload for h in fits.held_out], dtype=object)
    ratio = np.exp(np.array([h.log_error for h in fits.held_out], dtype=float))
    nobody = np.full(ratio.size, "", dtype=object)
    held = Residuals(ratio, np.ones(ratio.size), label, nobody, label)
    return _calibration(held, rate_error_bounds(held, LEVELS), Evidence.MEASURED, None)


def calibrate_company(
    ready: Prepared, fit: CompanyFit, alone: Bounds, *, guesses: Residuals | None = None
) -> CompanyBounds:
    """Return how far slowdowns are from measurements, beyond what the bound alone covers.

    Parameters
    ----------
    ready
        Cells and telemetry of one GPU type, with the fitted rates alone.
    fit
        What was fitted to these very cells.
    alone
        Bounds of the rates alone.
    guesses
        What guessed telemetry says of workloads that were measured, where it is used.
    """
    model = fit.model
    errors: dict[Evidence, Bounds] = {}
    found: list[Calibration] = []
    regressed = model.regression is not None or model.separable is not None
    for evidence, held in (
        (Evidence.CONSTANT, by_constant(ready.cells, model)),
        (Evidence.REGRESSED, residuals_of(ready, "workload", fit=fit) if regressed else None),
        (Evidence.MEASURED, _between_shares(ready.cells)),
    ):
        if held is None or not held.predicted.size:
            continue
        bounds = company_error_bounds(held, alone, LEVELS)
        if evidence is Evidence.REGRESSED and not ready.told.all() and ready.told.any():
            # Pairs without telemetry are told by victim and aggressor; one label is for both.
            untold = ready._replace(told=np.zeros_like(ready.told))
            without = residuals_of(untold, "workload", fit=fit)
            bounds = _wider(bounds, company_error_bounds(without, alone, LEVELS))
        errors[evidence] = bounds
        found.append(_calibration(held, bounds, evidence, model.gpu_type))
    if guesses is not None and Evidence.CONSTANT in errors:
        of = [c.evidence for c in found].index(Evidence.CONSTANT)
        found[of] = _also_for_guesses(found[of], guesses, alone, found)
        errors[Evidence.CONSTANT] = found[of].low
    if Evidence.REGRESSED in errors:
        # One share for each pair leaves nothing to leave out. A measurement is no worse than a
        # guess, so what is known of guesses holds for it.
        measured = errors.get(Evidence.MEASURED, ())
        errors[Evidence.MEASURED] = _with_levels_of(measured, errors[Evidence.REGRESSED])
    return CompanyBounds(errors, tuple(found))


def _also_for_guesses(
    constant: Calibration, guesses: Residuals, alone: Bounds, known: Sequence[Calibration]
) -> Calibration:
    """Return bounds that hold for constants and for guesses, one label being for both.

    A guess is never bound tighter than what rests on telemetry of its own.
    """
    low = _wider(constant.low, company_error_bounds(guesses, alone, LEVELS))
    high = _wider(constant.high, slowdown_error_bounds(guesses, LEVELS))
    for c in known:
        if c.evidence is Evidence.REGRESSED:
            low, high = _wider(low, c.low), _wider(high, c.high)
    return constant.model_copy(update={"low": low, "high": high})


def _wider(bounds: Bounds, others: Bounds) -> Bounds:
    """Return the wider bound at each level that both reach."""
    beside = {b.confidence: b.relative for b in others}
    return tuple(
        ErrorBound(confidence=b.confidence, relative=max(b.relative, beside[b.confidence]))
        for b in bounds
        if b.confidence in beside
    )


def _with_levels_of(bounds: Bounds, others: Bounds) -> Bounds:
    """Return bounds with the levels that only the others reach."""
    known = {b.confidence for b in bounds}
    found: list[ErrorBound] = []
    for b in sorted((*bounds, *(o for o in others if o.confidence not in known)), key=_level):
        relative = max(b.relative, found[-1].relative if found else 0.0)
        found.append(ErrorBound(confidence=b.confidence, relative=relative))
    return tuple(found)


def _level(bound: ErrorBound) -> float:
    return bound.confidence


def _calibration(held: Residuals, low: Bounds, evidence: Evidence, gpu: str | None) -> Calibration:
    mean = float(held.errors.mean()) if held.predicted.size else 0.0
    return Calibration(
        what="alone" if gpu is None else "company",
        gpu_type=gpu,
        evidence=evidence,
        low=low,
        high=slowdown_error_bounds(held, LEVELS) if held.predicted.size else (),
        residuals=held.predicted.size,
        units=len(set(held.unit.tolist())),
        mean_error_pct=100 * mean,
    )


def by_constant(cells: Cells, model: CompanyModel) -> Residuals | None:
    """Return residuals of the median slowdown of each pair of roles, without the workload."""
    training = np.isin(np.array(cells.names, dtype=object), list(model.training))
    kind = 2 * training[cells.victim] + training[cells.neighbour]
    names = np.array(cells.names, dtype=object)
    parts = []
    for unit, rows in groups_of(cells, "workload").items():
        others = np.setdiff1d(np.arange(cells.size), rows)
        log = np.full(rows.size, np.nan)
        for k in np.unique(kind[rows]):
            known = others[kind[others] == k]
            if known.size:
                log[kind[rows] == k] = np.median(cells.log_slowdown[known])
        rows, log = rows[~np.isnan(log)], log[~np.isnan(log)]
        parts.append(_residuals(cells, rows, log, names, np.full(rows.size, unit, dtype=object)))
    return Residuals.join(parts) if parts else None


def _between_shares(cells: Cells) -> Residuals:
    """Return residuals of inner shares, read off between those beside them."""
    setting = np.stack(
        [cells.victim, cells.neighbour, cells.victim_batch, cells.neighbour_batch], axis=1
    )
    _, group = np.unique(setting, axis=0, return_inverse=True)
    order = np.lexsort((cells.victim_share, group.reshape(-1)))
    row, before, after = order[1:-1], order[:-2], order[2:]
    group = group.reshape(-1)
    inner = (group[before] == group[row]) & (group[row] == group[after])
    inner &= (cells.victim_share[before] < cells.victim_share[row]) & (
        cells.victim_share[row] < cells.victim_share[after]
    )
    # Unpartitioned cells are no end of a partitioned row.
    inner &= cells.victim_share[after] + cells.neighbour_share[after] <= MOST_TOTAL_PCT
    row, before, after = row[inner], before[inner], after[inner]
    width = cells.victim_share[after] - cells.victim_share[before]
    part = (cells.victim_share[row] - cells.victim_share[before]) / width
    s = np.exp(cells.log_slowdown)
    log = np.log((1 - part) * s[before] + part * s[after])
    names = np.array(cells.names, dtype=object)
    return _residuals(cells, row, log, names, names[cells.victim[row]])


def _residuals(
    cells: Cells,
    rows: NDArray[np.int64],
    log_slowdown: NDArray[np.float64],
    names: NDArray[np.object_],
    unit: NDArray[np.object_],
) -> Residuals:
    return Residuals(
        predicted=cells.alone[rows] / np.exp(log_slowdown),
        measured=cells.rate[rows],
        victim=names[cells.victim[rows]],
        neighbour=names[cells.neighbour[rows]],
        unit=unit,
    )
