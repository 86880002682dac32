"""From measurements to a model of slowdown in company, for one GPU type.

All parts of the stack are fitted, so that a prediction can use the most specific one (see
`colocate.models.company`): tables of what was measured, a regression on telemetry, a separable
model, and the median slowdown for each pair of roles.

Sharing a GPU without a partition (shares that make more than 100 %) is another regime, with other
slowdowns. Where a table has both, only the partitioned measurements count, as plans partition.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from colocate.errors import InputError
from colocate.models.company import OVERLAP_SLACK
from colocate.models.fitting.company_cells import Cells, cells_of, crowds_of
from colocate.models.fitting.company_composition import choose_composition
from colocate.models.fitting.company_measured import measured_pairs
from colocate.models.fitting.company_regression import CANDIDATES, SEPARABLE, Fitted, fit_additive
from colocate.models.fitting.company_solo import SoloRates, solo_rates
from colocate.models.fitting.company_telemetry import telemetry_of
from colocate.models.regression.features import Traits
from colocate.profile.company import CandidateError, CompanyModel, RoleConstant, Telemetry
from colocate.tables.table import ProfileTable

__all__ = ["CompanyFit", "fit_company", "prepare", "workload_roles"]

FEWEST_PAIRS = 2
"""Unordered pairs below which nothing can be left out, so that no regression is fitted."""


class CompanyFit(NamedTuple):
    """A fitted model and what it rests on."""

    model: CompanyModel
    cells: int
    """Measurements with one neighbour that were used."""
    crowds: int
    """Measurements with several neighbours, used to choose the composition."""
    dropped: dict[str, int]
    """Rows in company that were not used, by reason."""
    told: Fitted | None = None
    """The regression on the cells with telemetry, whether or not the model uses it."""
    separable: Fitted | None = None
    """The regression on all cells, without telemetry."""


class Prepared(NamedTuple):
    """What every fit on a table starts from."""

    cells: Cells
    telemetry: list[Telemetry]
    traits: Traits
    told: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    """Cells in which both workloads have all telemetry that the regression uses."""
    dropped: dict[str, int]
    solo: SoloRates


def prepare(table: ProfileTable, gpu: str, solo: SoloRates | None = None) -> Prepared:
    """Return cells and telemetry of one GPU type.

    Parameters
    ----------
    table
        Measurements alone and in company.
    gpu
        The GPU type; other rows do not take part.
    solo
        Rates alone, such as those of fitted curves; by default the measured ones, smoothed.
    """
    table = table.take(table["gpu"] == gpu)
    rates = solo_rates(table) if solo is None else solo
    cells, dropped = cells_of(table, rates)
    whole = cells.victim_share + cells.neighbour_share <= 100 + OVERLAP_SLACK
    if whole.any() and not whole.all():
        dropped["shares beyond 100 %, where others are within"] = int((~whole).sum())
        cells = cells.take(whole)
    telemetry = _consistent(telemetry_of(table, rates))
    traits = Traits(telemetry, cells.names)
    told = traits.known(cells.victim) & traits.known(cells.neighbour)
    return Prepared(cells, telemetry, traits, told, dropped, rates)


def fit_company(
    table: ProfileTable,
    gpu: str,
    *,
    solo: SoloRates | None = None,
    ready: Prepared | None = None,
) -> CompanyFit:
    """Fit slowdown in company; parameters as in `prepare`, whose answer may be given as `ready`."""
    ready = ready or prepare(table, gpu, solo)
    cells = ready.cells
    if cells.size == 0:
        raise InputError(
            f"no row tells how workloads slow each other down on {gpu!r}",
            advice="measure workloads in company, and each of them alone as well.",
        )
    told = cells.take(ready.told)
    regression = by_telemetry = separable = None
    candidates: tuple[CandidateError, ...] = ()
    if _pairs(told) >= FEWEST_PAIRS:
        by_telemetry = fit_additive(told, ready.traits, CANDIDATES)
        if by_telemetry.model.kernel is not None:
            regression, candidates = by_telemetry.model, by_telemetry.errors
    if _pairs(cells) >= FEWEST_PAIRS:
        separable = fit_additive(cells, None, SEPARABLE)
    of_type = table.take(table["gpu"] == gpu)
    roles = workload_roles(of_type)
    overlap = float(np.max(cells.victim_share + cells.neighbour_share)) - 100
    model = CompanyModel(
        gpu_type=gpu,
        inference=tuple(n for n in cells.names if roles.get(n) != "training"),
        training=tuple(n for n in cells.names if roles.get(n) == "training"),
        measured=tuple(measured_pairs(cells)),
        telemetry=tuple(ready.telemetry),
        regression=regression,
        separable=None if separable is None else separable.model,
        constants=_constants(cells, roles),
        most_overlap_pct=min(max(overlap, 0.0), 100.0),
        candidates=candidates,
    )
    crowds = crowds_of(of_type, ready.solo)
    if crowds:
        chosen = choose_composition(model, crowds, cells.names)
        model = model.model_copy(update={"composition": chosen})
    return CompanyFit(model, cells.size, len(crowds), ready.dropped, by_telemetry, separable)


def workload_roles(table: ProfileTable) -> dict[str, str]:
    """Return the role of each workload that has rows of its own."""
    return {str(w): str(r) for w, r in zip(table["workload"], table["role"], strict=True)}


def _pairs(cells: Cells) -> int:
    low = np.minimum(cells.victim, cells.neighbour)
    high = np.maximum(cells.victim, cells.neighbour)
    return int(np.unique(low * len(cells.names) + high).size)


def _consistent(telemetry: list[Telemetry]) -> list[Telemetry]:
    """Keep each kind of activity that most workloads have, and the workloads that have all kept."""
    kept = telemetry
    for column in ("sm_activity_pct", "dram_activity_pct"):
        having = [t for t in kept if getattr(t, column)]
        if 2 * len(having) >= len(kept):
            kept = having
        else:
            kept = [t.model_copy(update={column: ()}) for t in kept]
    return kept


def _constants(cells: Cells, roles: dict[str, str]) -> tuple[RoleConstant, ...]:
    training = np.array([roles.get(name) == "training" for name in cells.names])
    y, found = cells.log_slowdown, []
    for victim in (False, True):
        for neighbour in (False, True):
            of = (training[cells.victim] == victim) & (training[cells.neighbour] == neighbour)
            if of.any():
                found.append(
                    RoleConstant(
                        victim_role="training" if victim else "inference",
                        neighbour_role="training" if neighbour else "inference",
                        slowdown=float(np.exp(np.median(y[of]))),
                        rows=int(of.sum()),
                    )
                )
    return tuple(found)
