"""From a profile table to fitted models: everything in its order, and a report of how it went.

    table -> repeats merged -> rates alone -> memory -> slowdowns in company
          -> guesses for workloads known by their layers -> error bounds

Slowdowns are fitted against the fitted rates alone, so that rate alone over slowdown gives back the
rate in company that was measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from colocate.models.company import Company
from colocate.models.company_tables import pair_slowdowns
from colocate.models.fitting.calibration import CompanyBounds, calibrate_alone, calibrate_company
from colocate.models.fitting.cold_start import check_layers, start_cold
from colocate.models.fitting.company import fit_company, prepare, workload_roles
from colocate.models.fitting.company_solo import SoloRates
from colocate.models.fitting.memory import fit_memory
from colocate.models.fitting.rates import RateFit, RateFits, fit_rates
from colocate.profile import Interference, PairSlowdown, Profile
from colocate.profile.bounds import Bounds
from colocate.profile.company import CompanyModel
from colocate.profile.fitted import (
    CurveReport,
    FamilyError,
    FitReport,
    FittedModels,
    RowsLeftOut,
    SharePoint,
)
from colocate.schema import Evidence
from colocate.tables.clean import Cleaned, clean
from colocate.tables.layers import Layers
from colocate.tables.table import ProfileTable

__all__ = ["EVERY_PAIR", "fit_models", "fitted_rates_alone"]

Floats = NDArray[np.float64]

FAMILIES = {
    "formulas": "formulas, each as far as the points speak for it",
    "monotone_table": "joined points",
    "soft_maximum": "soft maximum",
}
"""What is averaged, in words."""
MOST_NOTES = 5000
LEAST_WEIGHT = 0.01
"""Families that count for less are not named."""
REASONS = {
    "outlier": "far from its repeats",
    "role": "the workload has the other role in most rows",
}
"""Why rows are left out before anything is fitted, in words."""
ENOUGH_SHARES = 3
"""A curve with fewer measured shares at some batch rests on other curves."""
EVERY_PAIR = 40
"""Up to so many workloads on a GPU type every ordered pair gets a table; beyond it, a service
beside a task and a task beside a service."""


def fit_models(
    table: ProfileTable,
    *,
    layers: Layers | None = None,
    tenants: int = 2,
    progress: Callable[[str], None] | None = None,
) -> FittedModels:
    """Fit everything that a plan needs.

    Parameters
    ----------
    table
        Measurements, alone and, where there are any, in company.
    layers
        How many layers of each kind networks have: with them, slowdowns of workloads without
        telemetry are told from workloads that are built alike.
    tenants
        How many workloads may share a GPU in the plans to come.
    progress
        Is told what is being done.

    Raises
    ------
    InputError
        When no row says how fast some workload runs alone, or the layers contradict the table.
    """
    say = progress or _nobody
    say("merging repeats")
    cleaned = clean(_in_fixed_order(table))
    measured = cleaned.table
    roles = workload_roles(measured)
    if layers is not None:
        check_layers(layers, roles)
    say("rates alone")
    fits = fit_rates(measured)
    alone = calibrate_alone(fits)
    profiles = [
        _profile(measured, fit, roles[fit.workload], alone.low) for fit in fits.fits.values()
    ]
    companies: list[CompanyModel] = []
    pairs: list[PairSlowdown] = []
    calibration = [alone]
    notes: list[str] = []
    for gpu in sorted(set(measured["gpu"][~measured.alone])):
        say(f"slowdowns in company on {gpu}")
        solo = fitted_rates_alone(fits, gpu)
        ready = prepare(measured, gpu, solo)
        notes += [f"{gpu}: {n} rows in company not used: {why}" for why, n in ready.dropped.items()]
        if ready.cells.size == 0:
            notes.append(f"{gpu}: no row in company could be used")
            continue
        fit = fit_company(measured, gpu, ready=ready)
        model, guesses = fit.model, None
        if layers is not None:
            say(f"telemetry from layers on {gpu}")
            cold = start_cold(ready, fit, measured, layers, roles)
            model, guesses = cold.model, cold.held
            notes += [f"{gpu}: {note}" for note in cold.notes]
        say(f"error bounds in company on {gpu}")
        bounds = calibrate_company(ready, fit, alone.low, guesses=guesses)
        companies.append(model)
        calibration += bounds.calibration
        pairs += _pairs(model, measured, tenants, bounds, notes)
        if model.composition != "product":
            notes.append(f"{gpu}: beside several neighbours excesses added up; plans multiply")
    if layers is not None and not companies:
        notes.append("layers are not used: nothing was measured in company")
    notes += [
        f"{doubt.workload} on {doubt.gpu}: {doubt.message}"
        for doubt in cleaned.doubts
        if not doubt.dropped
    ]
    report = FitReport(
        rows=len(table),
        left_out=tuple(_left_out(cleaned, fits)),
        curves=tuple(_curve_report(fit) for fit in fits.fits.values()),
        company="; ".join(_told(model) for model in companies),
        notes=tuple(note[:1000] for note in notes[:MOST_NOTES]),
    )
    return FittedModels(
        profiles=tuple(sorted(profiles, key=lambda p: (p.gpu_type, p.workload))),
        interference=Interference(pairs=tuple(pairs)) if pairs else None,
        company=tuple(companies),
        calibration=tuple(calibration),
        report=report,
    )


def _in_fixed_order(table: ProfileTable) -> ProfileTable:
    """Return the rows in an order of their own, so that the order in a file changes nothing."""
    keys = [
        table[name].astype(str) if table[name].dtype == object else table[name]
        for name in reversed(list(table.columns))
    ]
    return table.take(np.lexsort(keys))


def _nobody(what: str) -> None:
    del what


def fitted_rates_alone(fits: RateFits, gpu: str) -> SoloRates:
    """Return the fitted rates alone, as the fit in company asks for them."""

    def rate(name: str, batches: Floats, shares: Floats) -> Floats:
        fit = fits.fits.get((name, gpu))
        if fit is None:
            return np.full(np.broadcast(batches, shares).shape, np.nan)
        return fit.rate_at(batches, shares)

    return rate


def _profile(table: ProfileTable, fit: RateFit, role: str, rate_error: Bounds) -> Profile:
    return Profile(
        workload=fit.workload,
        gpu_type=fit.gpu,
        role="training" if role == "training" else "inference",
        curve=fit.curve(),
        # The error was learnt on curves with enough shares, and says nothing of others.
        rate_error=rate_error if _evidence(fit) is Evidence.MEASURED else (),
        memory=fit_memory(table, fit.workload, fit.gpu, fit.batches),
        evidence=_evidence(fit),
    )


def _evidence(fit: RateFit) -> Evidence:
    """Return whether every batch was measured at enough shares to speak of a measured curve."""
    enough = all(len(points) >= ENOUGH_SHARES for points in fit.points)
    return Evidence.MEASURED if enough else Evidence.REGRESSED


def _pairs(
    model: CompanyModel,
    table: ProfileTable,
    tenants: int,
    bounds: CompanyBounds,
    notes: list[str],
) -> list[PairSlowdown]:
    """Return a slowdown for each ordered pair that may meet, or for the most useful ones."""
    roles = workload_roles(table.take(table["gpu"] == model.gpu_type))
    company = Company(model, roles=roles)
    names = company.names
    if len(names) <= EVERY_PAIR:
        return pair_slowdowns(company, names, names, tenants=tenants, errors=bounds.errors)
    serving = [n for n, trains in zip(names, company.training, strict=True) if not trains]
    training = [n for n, trains in zip(names, company.training, strict=True) if trains]
    blocks = [(serving, training), (training, serving)]
    alike: dict[str, list[str]] = {}
    for m in model.measured:
        if (m.victim in serving) == (m.neighbour in serving):
            alike.setdefault(m.victim, []).append(m.neighbour)
    blocks += [([victim], neighbours) for victim, neighbours in alike.items()]
    notes.append(
        f"{model.gpu_type}: {len(names)} workloads are too many to list every pair; listed are "
        "services beside tasks and all measured pairs"
    )
    return [
        pair
        for victims, neighbours in blocks
        for pair in pair_slowdowns(
            company, victims, neighbours, tenants=tenants, errors=bounds.errors
        )
    ]


# -- the report --------------------------------------------------------------------------------


def _left_out(cleaned: Cleaned, fits: RateFits) -> Iterable[RowsLeftOut]:
    kinds: Counter[str] = Counter()
    example: dict[str, str] = {}
    for doubt in cleaned.doubts:
        if doubt.dropped:
            kinds[doubt.kind] += doubt.dropped
            example.setdefault(doubt.kind, doubt.message)
    for kind, rows in kinds.items():
        yield RowsLeftOut(reason=REASONS.get(kind, kind), rows=rows, example=example[kind][:1000])
    for reason, rows in fits.left_out.items():
        if rows and reason != "in company":
            yield RowsLeftOut(reason=reason, rows=rows)
    if fits.dropped:
        d = fits.dropped[0]
        yield RowsLeftOut(
            reason="no curve through the other points allows it",
            rows=len(fits.dropped),
            example=f"{d.key.workload}, batch {d.key.batch}, share {d.share_pct:g} %: measured "
            f"{d.rate:.4g} samples/s where the others say {d.expected:.4g}",
        )


def _curve_report(fit: RateFit) -> CurveReport:
    points = [
        SharePoint(batch=p.key.batch, share_pct=share, rate=rate, fitted=fitted)
        for p in fit.points
        for share, rate, fitted in zip(
            p.share_pct.tolist(),
            p.rate.tolist(),
            fit.rate_at(p.key.batch, p.share_pct).tolist(),
            strict=True,
        )
    ]
    return CurveReport(
        workload=fit.workload,
        gpu_type=fit.gpu,
        method=_method(fit),
        error_pct=None if fit.error is None else 100 * fit.error,
        families=tuple(_families(fit)),
        points=tuple(points),
        notes=tuple(islice((*_too_few(fit), *fit.notes), 1000)),
    )


def _too_few(fit: RateFit) -> Iterable[str]:
    few = [str(p.key.batch) for p in fit.points if len(p) < ENOUGH_SHARES]
    if few:
        yield (
            f"batch {', '.join(few)}: measured at fewer than {ENOUGH_SHARES} shares, so that "
            "nothing is known of the error; the curve has no bound"
        )


def _families(fit: RateFit) -> Iterable[FamilyError]:
    for name, weight in fit.weights.items():
        error = fit.family_errors.get(name)
        yield FamilyError(
            family=name,
            weight=min(1.0, weight),
            error_pct=None if error is None else 100 * error,
        )


def _method(fit: RateFit) -> str:
    """Return which families make the curve, the heaviest first."""
    heaviest = sorted(fit.weights.items(), key=lambda item: (-item[1], item[0]))
    named = [(FAMILIES.get(name, name), w) for name, w in heaviest if w >= LEAST_WEIGHT]
    if len(named) == 1:
        return named[0][0]
    return "average of " + ", ".join(f"{name} {w:.2f}" for name, w in named)


def _told(model: CompanyModel) -> str:
    parts = [f"{len(model.measured)} pairs measured"]
    if model.regression is not None:
        parts.append("others by a regression on telemetry")
    elif model.separable is not None:
        parts.append("others by victim and aggressor")
    by_layers = sum(t.guessed for t in model.telemetry)
    if by_layers:
        parts.append(f"{by_layers} workload{'s' * (by_layers > 1)} by layers")
    return f"{model.gpu_type}: {', '.join(parts)}, then one constant for each pair of roles"
