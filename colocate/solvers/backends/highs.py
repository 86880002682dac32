"""HiGHS through SciPy, on sparse arrays: the relaxation with its prices, the integer program."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from colocate.solvers.backends.ask import Ask, Found, Stop, Tell

__all__ = ["relax", "solve"]

UNIT = 1e3
"""What the largest worth becomes: HiGHS stops at an absolute gap of 1e-6."""
TIME_OR_ITERATIONS, INFEASIBLE = 1, 2


def solve(ask: Ask, tell: Tell, stop: Stop) -> Found:
    """Solve the integer program."""
    del tell, stop  # it can neither say anything on the way nor be stopped
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    started = time.perf_counter()
    model = ask.model
    worth, most, n = model.worth * (UNIT / model.scale), model.most.astype(float), model.n_variables
    least = np.zeros(n)
    if ask.gap > 0:
        # A variable that is always 1 carries the constant, so that gaps are those of the objective.
        worth = np.append(worth, model.constant * (UNIT / model.scale))
        most, least = np.append(most, 1.0), np.append(least, 1.0)
    shape = (model.n_rows, worth.size)
    matrix = csr_array((model.coefficient, model.variable, model.start), shape=shape)
    rows: Any = LinearConstraint(matrix, model.lower, model.upper)  # type: ignore[arg-type]
    options: dict[str, Any] = {"mip_rel_gap": ask.gap}
    build_s = time.perf_counter() - started
    if ask.time_s is not None:
        options["time_limit"] = max(1e-3, ask.time_s - build_s)
    if ask.nodes is not None:
        options["node_limit"] = ask.nodes
    found: Any = milp(
        -worth,
        integrality=np.ones(worth.size, dtype=np.int64),
        bounds=Bounds(least, most),
        constraints=rows,
        options=options,  # type: ignore[arg-type]
    )
    if found.status == INFEASIBLE:
        # Numbers were checked before, so this is not the status of a model in error.
        return Found("infeasible", build_s=build_s)
    if found.status not in (0, TIME_OR_ITERATIONS):
        return Found("failed", detail=str(found.message), build_s=build_s)
    bound = found.get("mip_dual_bound")
    back = model.scale / UNIT
    claimed = None
    if bound is not None and math.isfinite(bound):
        claimed = -float(bound) * back - (model.constant if ask.gap > 0 else 0.0)
    if found.x is None:
        return Found("nothing", bound=claimed, build_s=build_s)
    return Found(
        "optimal" if found.status == 0 else "feasible",
        np.rint(found.x[:n]).astype(np.int64),
        bound=claimed,
        build_s=build_s,
    )


def relax(ask: Ask, tell: Tell, stop: Stop) -> Found:
    """Solve the relaxation without the bounds of variables; its prices are those of the rows."""
    del tell, stop
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, vstack

    model = ask.model
    shape = (model.n_rows, model.n_variables)
    matrix = csr_array((model.coefficient, model.variable, model.start), shape=shape)
    equal = model.lower == model.upper
    above = ~equal & np.isfinite(model.upper)
    below = ~equal & np.isfinite(model.lower)
    one_sided = bool((above | below).any())
    found: Any = linprog(
        -model.worth / model.scale,
        A_ub=vstack([matrix[above], -matrix[below]]) if one_sided else None,
        b_ub=np.concatenate([model.upper[above], -model.lower[below]]) if one_sided else None,
        A_eq=matrix[equal] if equal.any() else None,
        b_eq=model.upper[equal] if equal.any() else None,
        method="highs",
        options={} if ask.time_s is None else {"time_limit": max(1e-3, ask.time_s)},
    )
    if found.status == INFEASIBLE:
        return Found("infeasible")
    if found.status != 0:
        return Found("nothing", detail=str(found.message))
    prices = np.zeros(model.n_rows)
    if equal.any():
        prices[equal] = -found.eqlin.marginals
    if one_sided:
        marginals = -found.ineqlin.marginals
        prices[above] += marginals[: int(above.sum())]
        prices[below] -= marginals[int(above.sum()) :]
    prices *= model.scale
    if not np.isfinite(prices).all():
        return Found("nothing", detail="prices that are not numbers")
    return Found(
        "optimal",
        prices=prices,
        point=np.asarray(found.x, dtype=np.float64),
        bound=-float(found.fun) * model.scale,
    )
