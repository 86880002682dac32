"""Errors of the slowdown model on groups that had no part in it.

Two ways. `refit` fits and chooses anew for each group, so that nothing of the group is used. The
quick way fits once and uses the closed form of `company_ridge`: candidate, noise and landmarks are
then those of all data, the coefficients are exactly those without the group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from colocate.errors import InputError
from colocate.models.fitting.company import CompanyFit, Prepared, prepare
from colocate.models.fitting.company_blocks import Candidate, queries
from colocate.models.fitting.company_cells import Cells
from colocate.models.fitting.company_regression import (
    CANDIDATES,
    SEPARABLE,
    Group,
    fit_additive,
    groups_of,
)
from colocate.models.fitting.company_ridge import left_out
from colocate.models.fitting.company_solo import SoloRates
from colocate.models.fitting.residuals import Residuals
from colocate.models.regression.additive import Additive
from colocate.models.regression.features import Traits
from colocate.tables.table import ProfileTable

__all__ = ["out_of_group_residuals", "residuals_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def out_of_group_residuals(
    table: ProfileTable,
    gpu: str,
    group: Group,
    *,
    solo: SoloRates | None = None,
    refit: bool = False,
) -> Residuals:
    """Return rates in company as predicted without their group, beside the measured ones.

    Parameters
    ----------
    table, gpu, solo
        As for `fit_company`.
    group
        What is left out together: an unordered pair, all cells of a victim, all cells beside a
        neighbour, or all cells in which a workload has any role (such cells come up twice).
    refit
        Whether to choose and fit anew for each group.
    """
    return residuals_of(prepare(table, gpu, solo), group, refit=refit)


def residuals_of(
    ready: Prepared, group: Group, *, refit: bool = False, fit: CompanyFit | None = None
) -> Residuals:
    """Do the same with cells that are prepared already.

    Parameters
    ----------
    ready
        The cells.
    group, refit
        As for `out_of_group_residuals`.
    fit
        What `fit_company` made of these very cells, which the quick way need not do again.
    """
    told = ready.cells.take(ready.told)
    traits: Traits | None = ready.traits
    # without telemetry the separable model is what predictions rest on
    if told.size == 0:
        told, traits = ready.cells, None
    known = None if fit is None else fit.separable if traits is None else fit.told
    named = groups_of(told, group)
    groups = list(named.values())
    if len(groups) < 2:
        raise InputError(
            f"{len(groups)} {group} leaves nothing to predict from when it is left out",
            advice="measure more workloads in company.",
        )
    every = np.concatenate(groups)
    if refit:
        errors = [_refitted(told, traits, rows) for rows in groups]
    else:
        known = known or fit_additive(told, traits, _candidates(traits))
        errors = left_out(known.ridge, groups)
    log = told.log_slowdown[every] - np.concatenate(errors)
    names = np.array(told.names, dtype=object)
    return Residuals(
        predicted=told.alone[every] / np.exp(log),
        measured=told.rate[every],
        victim=names[told.victim[every]],
        neighbour=names[told.neighbour[every]],
        unit=np.repeat(np.array(list(named), dtype=object), [g.size for g in groups]),
    )


def _candidates(traits: Traits | None) -> Sequence[Candidate]:
    return SEPARABLE if traits is None else CANDIDATES


def _refitted(cells: Cells, traits: Traits | None, rows: Ints) -> Floats:
    """Return y - predicted at some rows, by a model that has seen the other rows only."""
    others = np.ones(cells.size, dtype=bool)
    others[rows] = False
    fitted = fit_additive(cells.take(others), traits, _candidates(traits))
    part = cells.take(rows)
    found = Additive(fitted.model, cells.names).log_slowdown(queries(part), traits)
    error: Floats = part.log_slowdown - found
    return error
