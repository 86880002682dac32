"""Slowdowns of workloads of which only the layers are known, and maybe the rates alone.

Their telemetry is guessed from that of networks with like layers (`structure`), and the regression
answers for it. What that is worth is found out on workloads that were measured: each one w that has
layers is left out in turn,

    telemetry of w    guessed by a structure model without w
    regression        without the cells of w, in whatever role (`company_ridge`)

and the slowdowns so told are held against the measured ones. Guesses are used only where they come
closer than what would be used otherwise: victim and aggressor, or the constant of the roles.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.errors import InputError
from colocate.models.fitting.calibration import by_constant
from colocate.models.fitting.company import CompanyFit, Prepared
from colocate.models.fitting.company_blocks import additive_model, queries
from colocate.models.fitting.company_regression import Fitted, groups_of
from colocate.models.fitting.company_residuals import residuals_of
from colocate.models.fitting.company_ridge import coefficients_without
from colocate.models.fitting.residuals import Residuals
from colocate.models.fitting.structure import FEWEST, fit_structure
from colocate.models.regression.additive import Additive
from colocate.models.regression.features import Traits
from colocate.models.regression.structure import telemetry_from_structure
from colocate.profile.company import (
    LAYER_KINDS,
    CandidateError,
    CompanyModel,
    StructureModel,
    Telemetry,
)
from colocate.tables.layers import Layers
from colocate.tables.table import ProfileTable

__all__ = ["ColdStart", "check_layers", "start_cold"]

Floats = NDArray[np.float64]
Role = Literal["inference", "training"]
MOST_NAMES = 12
"""Workloads that are named in a remark."""
MOST_BATCHES = 32


class ColdStart(NamedTuple):
    """What came of the layers on one GPU type."""

    model: CompanyModel
    """With the structure model and the guesses."""
    held: Residuals | None
    """What guesses say of workloads that were measured; None where none is used."""
    notes: tuple[str, ...]
    """Why guesses are not used, or how good they are."""


def check_layers(layers: Layers, roles: Mapping[str, str]) -> None:
    """Refuse roles that contradict the measured ones."""
    wrong = [w for w, role in layers.roles.items() if roles.get(w, role) != role]
    if wrong:
        raise InputError(
            f"{wrong[0]!r} is a workload of {layers.roles[wrong[0]]} by its layers, and of "
            f"{roles[wrong[0]]} by its measurements",
            source=layers.source,
            advice="correct the role, or leave it out of the file of layers.",
        )


def start_cold(
    ready: Prepared,
    fit: CompanyFit,
    table: ProfileTable,
    layers: Layers,
    roles: Mapping[str, str],
) -> ColdStart:
    """Guess telemetry for the workloads that have layers and neither telemetry nor company.

    Parameters
    ----------
    ready, fit
        Cells of one GPU type, and what was fitted to them.
    table
        All measurements.
    layers
        How many layers networks have.
    roles
        Roles of the workloads that were measured on any type.
    """
    model = fit.model
    own = {t.workload for t in model.telemetry}
    met = {ready.cells.names[w] for w in np.union1d(ready.cells.victim, ready.cells.neighbour)}
    of_type = table.take(table["gpu"] == model.gpu_type)
    alone = {
        name: _measured_alone(ready, of_type, name)
        for name in sorted(layers.counts.keys() - own - met)
    }
    known = [
        t
        for t in model.telemetry
        if t.workload in layers.counts and t.sm_activity_pct and t.dram_activity_pct
    ]
    if len(known) < FEWEST:
        return _unused(
            model,
            f"{len(known)} workloads have layers and both activities; at least {FEWEST} are needed",
        )
    structure = fit_structure(known, layers.counts)
    if fit.told is None or model.regression is None:
        return _unused(model, "there is no regression on telemetry to give a guess to", structure)
    with_rates = {found is not None for found in alone.values()} or {True}
    in_company = [t for t in known if t.workload in met]
    held = _rehearsed(ready, fit.told, structure, layers, in_company, with_rates)
    if not held.predicted.size:
        return _unused(model, "no workload with layers was measured in company", structure)
    errors, useful = _compared(ready, fit, held)
    structure = structure.model_copy(update={"slowdown_errors": errors})
    told = ", ".join(f"{e.name} {e.error_pct:.3g} %" for e in errors)
    if not useful:
        return _unused(
            model, f"guesses come no closer than what is known without them ({told})", structure
        )
    notes = []
    guesses = []
    for name, found in alone.items():
        role = roles.get(name) or layers.roles.get(name)
        if role is None:
            notes.append(f"{name}: its layers are known, but not its role; left out")
            continue
        batches, shares, rates = found or ([_usual_batch(known)], None, None)
        guesses.append(
            telemetry_from_structure(
                structure,
                name,
                "training" if role == "training" else "inference",
                layers.counts[name],
                batches=batches,
                share_pct=shares,
                rate=rates,
            )
        )
    if guesses:
        names = [g.workload for g in guesses]
        shown = ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
        notes.append(
            f"telemetry guessed from layers: {shown}; slowdowns of left-out workloads were off "
            f"by {told}"
        )
    guessed = model.model_copy(
        update={"structure": structure, "telemetry": (*model.telemetry, *guesses)}
    )
    return ColdStart(guessed, held if guesses else None, tuple(notes))


def _unused(model: CompanyModel, why: str, structure: StructureModel | None = None) -> ColdStart:
    kept = model if structure is None else model.model_copy(update={"structure": structure})
    return ColdStart(kept, None, (f"layers are not used: {why}",))


def _measured_alone(
    ready: Prepared, table: ProfileTable, name: str
) -> tuple[list[int], list[float], Floats] | None:
    """Return batches, shares and rates of a workload that was measured alone."""
    rows = table.alone & (table["workload"] == name) & (table.rates > 0)
    if not rows.any():
        return None
    batches = np.unique(np.nan_to_num(table["batch"][rows], nan=1.0))
    batches = batches[:: -(-batches.size // MOST_BATCHES)]
    first = float(table["share_pct"][rows].min())
    shares = np.unique([first, *(p for p in np.arange(10.0, 101.0, 10.0) if p > first), 100.0])
    rates = ready.solo(name, *np.meshgrid(batches, shares, indexing="ij"))
    if not (rates > 0).all():
        return None
    return [round(float(b)) for b in batches], shares.tolist(), rates


def _usual_batch(known: Sequence[Telemetry]) -> int:
    """Return a batch in the middle of the known ones, for a workload that has none."""
    return round(float(np.exp(np.mean([np.log(b) for t in known for b in t.batch]))))


# -- what guesses are worth --------------------------------------------------------------------


def _rehearsed(
    ready: Prepared,
    fitted: Fitted,
    structure: StructureModel,
    layers: Layers,
    known: Sequence[Telemetry],
    with_rates: Collection[bool],
) -> Residuals:
    """Return what would have been said of each known workload, had only its layers been known.

    With its rates, without them, or both: bounds are to hold for whatever has to be guessed.
    """
    cells = ready.cells.take(ready.told)
    groups = groups_of(cells, "workload")
    telemetry = {t.workload: t for t in ready.telemetry}
    parts = []
    for t in known:
        rows = groups.get(t.workload)
        if rows is None:
            continue
        part = cells.take(rows)
        b = coefficients_without(fitted.ridge, rows)
        model = Additive(additive_model(cells.names, fitted.columns, b), cells.names)
        beside = {cells.names[w] for w in np.union1d(part.victim, part.neighbour)} - {t.workload}
        rates = ready.solo(
            t.workload, *np.meshgrid(np.array(t.batch, float), t.share_pct, indexing="ij")
        )
        for having in sorted(with_rates):
            shares, rate = (t.share_pct, rates) if having else (None, None)
            guess = telemetry_from_structure(
                _without(structure, t.workload),
                t.workload,
                t.role,
                layers.counts[t.workload],
                batches=t.batch,
                share_pct=shares,
                rate=rate,
            )
            traits = Traits([guess, *(telemetry[name] for name in sorted(beside))], cells.names)
            log = model.log_slowdown(queries(part), traits)
            names = np.array(cells.names, dtype=object)
            parts.append(
                Residuals(
                    predicted=part.alone / np.exp(log),
                    measured=part.rate,
                    victim=names[part.victim],
                    neighbour=names[part.neighbour],
                    unit=np.full(rows.size, t.workload, dtype=object),
                )
            )
    return Residuals.join(parts)


def _without(structure: StructureModel, name: str) -> StructureModel:
    """Return the model without one of the workloads that it knows."""
    kept = np.array([w != name for w in structure.workloads])
    n = kept.size
    counts = np.reshape(structure.counts, (n, len(LAYER_KINDS)))[kept]
    targets = np.reshape(structure.targets, (n, -1))[kept]
    return structure.model_copy(
        update={
            "workloads": tuple(w for w in structure.workloads if w != name),
            "counts": tuple(counts.ravel().tolist()),
            "targets": tuple(targets.ravel().tolist()),
        }
    )


def _compared(
    ready: Prepared, fit: CompanyFit, held: Residuals
) -> tuple[tuple[CandidateError, ...], bool]:
    """Return the errors of each way to tell a stranger's slowdown, and whether guesses win."""
    units = set(held.unit.tolist())

    def error(found: Residuals | None) -> float | None:
        if found is None:
            return None
        of = np.array([unit in units for unit in found.unit], dtype=bool)
        return 100 * float(found.errors[of].mean()) if of.any() else None

    untold = ready._replace(told=np.zeros_like(ready.told))
    by_roles = None if fit.separable is None else residuals_of(untold, "workload", fit=fit)
    errors = {
        "structure": error(held),
        "victim and aggressor": error(by_roles),
        "constant": error(by_constant(ready.cells, fit.model)),
        "own telemetry": error(residuals_of(ready, "workload", fit=fit)),
    }
    otherwise = errors["victim and aggressor"] or errors["constant"]
    structure = errors["structure"]
    useful = structure is not None and (otherwise is None or structure < otherwise)
    return (
        tuple(
            CandidateError(name=name, error_pct=found, chosen=name == "structure" and useful)
            for name, found in errors.items()
            if found is not None
        ),
        useful,
    )
