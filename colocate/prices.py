"""Dual prices: from the linear relaxation, to a certificate in the instance's own words.

The relaxation of the master problem is

    max v x + V z   s.t.  lower <= A (x, z) <= upper,   x, z >= 0

Its dual prices bound every plan, whatever numbers stand in them; see the formulation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from colocate.plan import Certificate, LevelPrice, Price, QuotaPrice
from colocate.problem import Problem, RowLabel

__all__ = ["certificate", "legal_prices", "linear_prices", "value_bound"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_VARIABLES = 30_000
"""Beyond this the linear relaxation takes longer than the plans of the fast solvers are worth."""


def linear_prices(problem: Problem) -> Floats | None:
    """Return the optimal dual prices of the linear relaxation, one for each row.

    None when the relaxation is infeasible, too large, or the backend finds no answer.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    n = problem.n_variables
    if n == 0 or n > MAX_VARIABLES:
        return None
    rows = problem.rows
    matrix = csr_array((rows.coefficient, (rows.row, rows.variable)), shape=(rows.size, n))
    # Worth is solved for in units of the largest, so that the unit of the weights changes nothing.
    worth = np.concatenate([problem.columns.value, problem.levels.value]) / problem.scale
    equal = rows.lower == rows.upper
    above = ~equal & np.isfinite(rows.upper)
    below = ~equal & np.isfinite(rows.lower)
    from scipy.sparse import vstack

    found = linprog(
        -worth,
        A_ub=vstack([matrix[above], -matrix[below]]) if (above | below).any() else None,
        b_ub=np.concatenate([rows.upper[above], -rows.lower[below]])
        if (above | below).any()
        else None,
        A_eq=matrix[equal] if equal.any() else None,
        b_eq=rows.upper[equal] if equal.any() else None,
        method="highs",
    )
    if found.status != 0:
        return None
    prices = np.zeros(rows.size)
    if equal.any():
        prices[equal] = -found.eqlin.marginals
    if (above | below).any():
        marginals = -found.ineqlin.marginals
        prices[above] += marginals[: int(above.sum())]
        prices[below] -= marginals[int(above.sum()) :]
    prices *= problem.scale
    return prices if np.isfinite(prices).all() else None


def legal_prices(problem: Problem, prices: Floats) -> Floats:
    """Give every price its legal sign: >= 0 on an upper side, <= 0 on a lower one."""
    rows = problem.rows
    legal = prices.copy()
    legal[~np.isfinite(rows.lower)] = np.maximum(legal[~np.isfinite(rows.lower)], 0.0)
    legal[~np.isfinite(rows.upper)] = np.minimum(legal[~np.isfinite(rows.upper)], 0.0)
    return legal


def value_bound(problem: Problem, prices: Floats) -> float:
    """Return the bound on the maximised value that these prices prove.

    The prices of GPUs and of gangs are not taken from the vector: given the others, the best ones
    follow.
    """
    rows, n = problem.rows, problem.columns.size
    legal = legal_prices(problem, prices)
    derived = np.array([label.kind in ("gpu", "gangs") for label in rows.labels], dtype=bool)
    legal[derived] = 0.0
    worth = np.concatenate([problem.columns.value, problem.levels.value])
    reduced = worth - np.bincount(
        rows.variable,
        weights=rows.coefficient * legal[rows.row],
        minlength=problem.n_variables,
    )
    side = np.where(legal > 0, rows.upper, np.where(legal < 0, rows.lower, 0.0))
    side[legal == 0] = 0.0
    total = float(legal @ side)
    best = np.zeros(problem.gpu_count.size)
    np.maximum.at(best, problem.columns.gpu, reduced[:n])
    total += float(best @ problem.gpu_count)
    gang = np.zeros(problem.task_count.size)
    np.maximum.at(gang, problem.levels.task, reduced[n:])
    return total + float(gang @ problem.task_count)


def certificate(problem: Problem, prices: Floats | None) -> Certificate | None:
    """Say the prices in terms of services, tasks and quotas, with the bound they prove.

    None where the bound would not be finite, or where constraints of plug-ins shape the columns:
    the judge prices the columns of the instance by itself and does not know those.
    """
    if problem.source.instance.constraints:
        return None
    if prices is None:
        prices = np.zeros(problem.rows.size)
    legal = legal_prices(problem, prices)
    # Rows that a certificate has no words for have no price in it.
    unsaid = [r for r, label in enumerate(problem.rows.labels) if _is_unsaid(problem, label)]
    legal[unsaid] = 0.0
    prices = legal
    bound = problem.objective_of(value_bound(problem, prices))
    if not np.isfinite(bound):
        return None
    by_class: dict[str, dict[int, float]] = {"service": {}, "task": {}, "gang": {}}
    quotas = []
    for label, price in zip(problem.rows.labels, legal.tolist(), strict=True):
        # Every level of a gang is listed: the price of the gang follows from all of them.
        if price == 0.0 and label.kind != "gang":
            continue
        if label.kind in by_class:
            by_class[label.kind][label.index] = price
        elif label.kind == "quota":
            quota = problem.source.quota_rows[label.index].quota
            assert quota is not None
            quotas.append(
                QuotaPrice(
                    tenant=quota.tenant,
                    unit=quota.unit,
                    side="maximum" if price > 0 else "minimum",
                    price=abs(price),
                )
            )
    classes, instance = problem.source.classes, problem.source.instance
    levels: dict[int, list[tuple[int, float, float]]] = {}
    for level, price in by_class["gang"].items():
        task = int(problem.levels.task[level])
        # The row says workers - k gangs = 0: a gang pays its workers what the row charges it.
        batch, rate = int(problem.levels.batch[level]), float(problem.levels.rate[level])
        levels.setdefault(task, []).append((batch, rate, -price))
    return Certificate(
        bound=bound,
        services=tuple(
            Price(id=name, price=by_class["service"][c])
            for name, c in _named(
                instance.service_name, classes.services.entry_class, by_class["service"]
            )
        ),
        tasks=tuple(
            Price(id=name, price=by_class["task"][c])
            for name, c in _named(instance.task_name, classes.tasks.entry_class, by_class["task"])
        ),
        levels=tuple(
            LevelPrice(task=name, batch=batch, rate=rate, price=price)
            for name, c in _named(instance.task_name, classes.tasks.entry_class, levels)
            for batch, rate, price in levels[c]
        ),
        quotas=tuple(quotas),
    )


def _is_unsaid(problem: Problem, label: RowLabel) -> bool:
    return label.kind == "quota" and problem.source.quota_rows[label.index].quota is None


def _named(
    name: Callable[[int], str], entry_class: Ints, wanted: Collection[int]
) -> Iterator[tuple[str, int]]:
    """Yield (id, class) of the entries of the wanted classes."""
    for e in np.flatnonzero(np.isin(entry_class, list(wanted))).tolist():
        yield name(e), int(entry_class[e])
