"""How the slowdowns by several neighbours make one, tested where such company was measured.

    product   s = prod_j s_j          excess   s = 1 + sum_j (s_j - 1)

Without measurements beside several neighbours the product is taken: it is never smaller than the
excess rule where all s_j >= 1, so it errs on the side that breaks no promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from colocate.models.company import Company
from colocate.models.fitting.company_cells import Crowd
from colocate.profile.company import CompanyModel

__all__ = ["choose_composition", "composition_errors"]

Floats = NDArray[np.float64]
Rule = Literal["product", "excess"]
RULES: tuple[Rule, ...] = ("product", "excess")
FEWEST = 10
"""Measurements beside several neighbours below which the rule is not chosen from them."""


def composition_errors(
    model: CompanyModel, crowds: Sequence[Crowd], names: Sequence[str]
) -> dict[Rule, float]:
    """Return each rule's mean |predicted - measured| / measured of the rates."""
    errors: dict[Rule, float] = {}
    for rule in RULES:
        company = Company(model.model_copy(update={"composition": rule}))
        found = [
            _errors(company, [c for c in crowds if len(c.neighbours) == n], names)
            for n in sorted({len(c.neighbours) for c in crowds})
        ]
        errors[rule] = float(np.nanmean(np.concatenate(found)))
    return errors


def _errors(company: Company, crowds: Sequence[Crowd], names: Sequence[str]) -> Floats:
    """Return the errors of measurements beside equally many neighbours."""
    place = company.index(names)
    beside = []
    for j in range(len(crowds[0].neighbours)):
        who = place[[c.neighbours[j][0] for c in crowds]]
        batch, share = np.array([c.neighbours[j][1:] for c in crowds]).T
        beside.append((who, batch, share))
    predicted = company.beside(
        place[[c.victim for c in crowds]],
        np.array([c.victim_batch for c in crowds]),
        np.array([c.victim_share for c in crowds]),
        beside,
    )
    slowdown = np.exp([c.log_slowdown for c in crowds])
    error: Floats = np.abs(slowdown / predicted.slowdown - 1)
    return error


def choose_composition(model: CompanyModel, crowds: Sequence[Crowd], names: Sequence[str]) -> Rule:
    """Return the rule with the smaller error; the product where too little was measured."""
    if len(crowds) < FEWEST:
        return "product"
    errors = composition_errors(model, crowds, names)
    return min(RULES, key=lambda rule: errors[rule])
