"""The integer program in CP-SAT, on whole numbers.

Worths become whole numbers: W_j = round(S c_j). A solution uses at most N units of x and z, so that
its worth is moved by at most  N / (2 S).  S is as large as 64-bit sums allow, and makes the largest
worth at most `FINEST`. Rows in whole numbers stay as they are; others are rounded likewise, finely
enough to stay within half the tolerance of their sides.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from colocate.solvers.backends.ask import Ask, Found, Stop, Tell
from colocate.solvers.backends.model import TOLERANCE, IntegerModel

__all__ = ["solve"]

Ints = NDArray[np.int64]

FINEST = 1e9
LARGEST_SUM = 2.0**60
ASK_EVERY_S = 0.05
ENDLESS = 2**61


def solve(ask: Ask, tell: Tell, stop: Stop) -> Found:
    """Solve with one worker, so that the same question has the same answer."""
    started = time.perf_counter()
    from ortools.sat.python import cp_model

    model = ask.model
    sides = _whole_rows(model)
    if sides is None:
        return Found("failed", detail="a row has numbers too far apart to be made whole")
    units, lower, upper = sides
    scale, error = _scale(model)
    cp = cp_model.CpModel()
    variables = [cp.new_int_var(0, most, "") for most in model.most.tolist()]
    start, index = model.start.tolist(), model.variable.tolist()
    coefficient = units.tolist()
    for r, (low, high) in enumerate(zip(lower, upper, strict=True)):
        entries = slice(start[r], start[r + 1])
        left = cp_model.LinearExpr.weighted_sum(
            [variables[i] for i in index[entries]], coefficient[entries]
        )
        cp.add_linear_constraint(left, low, high)
    worth = np.rint(model.worth * scale).astype(np.int64)
    used = np.flatnonzero(worth)
    total = cp_model.LinearExpr.weighted_sum(
        [variables[i] for i in used.tolist()], worth[used].tolist()
    )
    constant = round(model.constant * scale) if ask.gap > 0 else 0
    cp.maximize(total + constant)
    if ask.hint is not None:
        for variable, value in zip(variables, ask.hint.tolist(), strict=True):
            cp.add_hint(variable, value)
    build_s = time.perf_counter() - started

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = ask.seed % 2**31
    solver.parameters.relative_gap_limit = ask.gap
    solver.parameters.absolute_gap_limit = 0.0
    # It would swallow the KeyboardInterrupt of whoever called.
    solver.parameters.catch_sigint_signal = False
    if ask.time_s is not None:
        solver.parameters.max_time_in_seconds = max(0.01, ask.time_s - build_s)

    class News(cp_model.CpSolverSolutionCallback):
        """Tells about each better solution."""

        def on_solution_callback(self) -> None:
            """Read it."""
            solution = np.array([self.value(v) for v in variables], dtype=np.int64)
            bound = (self.best_objective_bound - constant) / scale + error
            tell(Found("progress", solution, bound=bound, error=error))

    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(stop, ended, solver.stop_search), daemon=True)
    watch.start()
    try:
        status = solver.solve(cp, News())
    finally:
        ended.set()
        watch.join()
    if status == cp_model.INFEASIBLE:
        return Found("infeasible", build_s=build_s)
    if status == cp_model.MODEL_INVALID:
        return Found("failed", detail=f"called invalid: {cp.validate()}", build_s=build_s)
    bound = (solver.best_objective_bound - constant) / scale + error
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Found("nothing", bound=bound, build_s=build_s)
    solution = np.array([solver.value(v) for v in variables], dtype=np.int64)
    outcome = "optimal" if status == cp_model.OPTIMAL else "feasible"
    return Found(outcome, solution, bound=bound, error=error, build_s=build_s)  # type: ignore[arg-type]


def _watch(stop: Stop, ended: threading.Event, end: Callable[[], None]) -> None:
    """Ask again and again whether to stop."""
    while not ended.wait(ASK_EVERY_S):
        if stop():
            end()
            return


def _scale(model: IntegerModel) -> tuple[float, float]:
    """Return S, and by how much rounding can move the worth of a solution."""
    most = model.most.astype(np.float64)
    largest = float(np.abs(model.worth) @ most) + abs(model.constant)
    scale = min(FINEST / model.scale, LARGEST_SUM / max(largest, 1e-300))
    off = np.abs(model.worth - np.rint(model.worth * scale) / scale)
    return scale, float(off.max(initial=0.0)) * model.units


def _whole_rows(model: IntegerModel) -> tuple[Ints, list[int], list[int]] | None:
    """Return coefficients and sides in whole numbers, or None where a row cannot be."""
    coefficient = model.coefficient.copy()
    lower, upper = model.lower.copy(), model.upper.copy()
    for r in np.flatnonzero(~model.whole).tolist():
        mine = slice(int(model.start[r]), int(model.start[r + 1]))
        reach = float(model.most[model.variable[mine]].sum())
        sides = [abs(s) for s in (lower[r], upper[r]) if np.isfinite(s)]
        slack = TOLERANCE * max(1.0, min(sides, default=1.0)) / 2
        unit = max(1.0, reach / (2 * slack))
        largest = float(np.abs(coefficient[mine]) @ model.most[model.variable[mine]])
        if unit * max(largest, *sides, 1.0) > LARGEST_SUM:
            return None
        coefficient[mine] = np.rint(coefficient[mine] * unit)
        lower[r] = np.ceil((lower[r] - slack) * unit)
        upper[r] = np.floor((upper[r] + slack) * unit)
    return (
        np.rint(coefficient).astype(np.int64),
        [int(s) if np.isfinite(s) else -ENDLESS for s in lower.tolist()],
        [int(s) if np.isfinite(s) else ENDLESS for s in upper.tolist()],
    )
