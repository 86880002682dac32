"""The integer program as a PuLP model, for CBC and every other engine that PuLP knows.

Names are a letter and a number: x0, x1 ... columns, z0 ... gangs, y0 ... switches, r0 ... rows.
PuLP turns characters that it does not like into underscores, so that two names could become one.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from colocate.solvers.backends.ask import Ask, Found, Stop, Tell
from colocate.solvers.backends.model import IntegerModel

__all__ = ["build", "solve"]

UNIT = 1e4
"""What the largest worth becomes: CBC wants a better solution to be better by 1e-5."""
WHOLE = 1e-5
_BOUND = re.compile(r"^Lower bound:\s+(\S+)", re.MULTILINE)


def solve(ask: Ask, tell: Tell, stop: Stop) -> Found:
    """Solve the integer program with the engine that `ask.option` names, CBC when it names none."""
    del tell, stop
    started = time.perf_counter()
    with _pulp(ask.option) as pulp, tempfile.TemporaryDirectory(prefix="colocate-") as folder:
        lp, variables = build(pulp, ask.model, with_constant=ask.gap > 0)
        build_s = time.perf_counter() - started
        log = Path(folder) / "log"
        left = None if ask.time_s is None else max(0.01, ask.time_s - build_s)
        engine = _engine(pulp, ask, left, log)
        if engine is None:
            known = ", ".join(pulp.listSolvers(onlyAvailable=True)) or "none"
            what = ask.option or "CBC"
            return Found("failed", detail=f"{what} is not available to PuLP here (there: {known})")
        # Engines that are programs of their own leave files where they are told to.
        engine.tmpDir = folder
        try:
            lp.solve(engine)
        except pulp.PulpError as error:
            return Found("failed", detail=f"{engine.name}: {error}", build_s=build_s)
        text = log.read_text(errors="replace") if log.exists() else ""
        return _found(pulp, lp, variables, ask, text, build_s)


def build(
    pulp: ModuleType, model: IntegerModel, *, with_constant: bool = False
) -> tuple[Any, list[Any]]:
    """Return the PuLP problem, which minimises minus the worth, and its variables in order."""
    unit = UNIT / model.scale
    n, k = model.n_columns, model.n_levels
    names = [f"x{i}" for i in range(n)] + [f"z{i}" for i in range(k)]
    names += [f"y{i}" for i in range(model.n_variables - n - k)]
    variables = [
        pulp.LpVariable(name, 0, most, cat=pulp.LpInteger)
        for name, most in zip(names, model.most.tolist(), strict=True)
    ]
    lp = pulp.LpProblem("colocate", pulp.LpMinimize)
    terms = list(zip(variables, (-unit * model.worth).tolist(), strict=True))
    if with_constant:
        # A variable that is always 1, so that relative gaps are those of the objective.
        one = pulp.LpVariable("one", 1, 1, cat=pulp.LpInteger)
        terms.append((one, -unit * model.constant))
    lp.setObjective(pulp.LpAffineExpression(terms))
    start, index = model.start.tolist(), model.variable.tolist()
    coefficient = model.coefficient.tolist()
    for r, (low, high) in enumerate(zip(model.lower.tolist(), model.upper.tolist(), strict=True)):
        entries = range(start[r], start[r + 1])
        left = pulp.LpAffineExpression([(variables[index[e]], coefficient[e]) for e in entries])
        if not entries:
            # PuLP drops empty rows; one that cannot hold must not get lost.
            if low > 0 or high < 0:
                lp.addConstraint(variables[0] <= -1, f"r{r}")
        elif low == high:
            lp.addConstraint(left == low, f"r{r}")
        else:
            if high < np.inf:
                lp.addConstraint(left <= high, f"r{r}")
            if low > -np.inf:
                lp.addConstraint(left >= low, f"r{r}l")
    return lp, variables


@contextmanager
def _pulp(option: str) -> Iterator[ModuleType]:
    """Import PuLP without highspy, which it would load and which cannot live beside OR-Tools."""
    hidden = "highspy" not in sys.modules and option != "HiGHS"
    if hidden:
        sys.modules["highspy"] = None  # type: ignore[assignment] # imports fail, quickly
    try:
        with warnings.catch_warnings():
            # the bundled CBC is announced to become a package of its own
            warnings.simplefilter("ignore")
            import pulp

            yield pulp
    finally:
        if hidden:
            del sys.modules["highspy"]


def _engine(pulp: ModuleType, ask: Ask, left: float | None, log: Path) -> Any:  # noqa: ANN401 - PuLP's
    """Return an engine that is there, told about limits, or None."""
    common: dict[str, Any] = {"msg": False}
    if left is not None:
        common["timeLimit"] = left
    if ask.option not in ("", "PULP_CBC_CMD", "COIN_CMD"):
        if ask.gap > 0:
            common["gapRel"] = ask.gap
        try:
            engine = pulp.getSolver(ask.option, **common)
        except (pulp.PulpSolverError, TypeError):
            return None
        return engine if engine.available() else None
    seed = ask.seed % 2**31 or 1
    # Without its preprocessing, which cuts optima off when integers go beyond 1 (coin-or/Cbc#293):
    # it called 4.57 the optimum of an instance on three GPUs where 10 is.
    options = [f"randomCbcSeed {seed}", f"randomSeed {seed}", "increment 0", "preprocess off"]
    for name in [ask.option] if ask.option else ["PULP_CBC_CMD", "COIN_CMD"]:
        make = getattr(pulp, name, None)
        engine = make and make(
            gapRel=ask.gap, gapAbs=0.0, options=options, logPath=str(log), **common
        )
        if engine and engine.available():
            return engine
    return None


def _found(
    pulp: ModuleType,
    lp: Any,  # noqa: ANN401 - PuLP's
    variables: list[Any],
    ask: Ask,
    log: str,
    build_s: float,
) -> Found:
    """Read PuLP's two statuses: what the engine says, and what its solution is."""
    model = ask.model
    if lp.status == pulp.LpStatusInfeasible:
        return Found("infeasible", build_s=build_s)
    if lp.status == pulp.LpStatusUnbounded:
        return Found("failed", detail="called unbounded, which it is not", build_s=build_s)
    values = [v.varValue for v in variables]
    stated = _BOUND.findall(log)
    bound = None
    if stated:
        bound = -float(stated[-1]) * model.scale / UNIT
        bound -= model.constant if ask.gap > 0 else 0.0
    solved = lp.sol_status in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible)
    if not solved or any(value is None for value in values):
        return Found("nothing", bound=bound, detail=lp_status(pulp, lp), build_s=build_s)
    found = np.array(values, dtype=np.float64)
    solution = np.rint(found).astype(np.int64)
    if (np.abs(found - solution) > WHOLE * np.maximum(1.0, np.abs(found))).any():
        return Found("nothing", bound=bound, detail="only fractions were found", build_s=build_s)
    done = lp.sol_status == pulp.LpSolutionOptimal
    if done and bound is None and ask.gap == 0:
        bound = model.value(solution)
    return Found("optimal" if done else "feasible", solution, bound=bound, build_s=build_s)


def lp_status(pulp: ModuleType, lp: Any) -> str:  # noqa: ANN401 - PuLP's
    """Return PuLP's word for how it ended."""
    return str(pulp.LpStatus.get(lp.status, lp.status))
