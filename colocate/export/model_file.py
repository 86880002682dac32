"""The master problem as an LP or MPS file, with a comment for every variable and row.

    x12  column 12        z3  gangs at level 3        y0  switch 0 of `distinct`
    gpu_0, service_1, task_2, gang_3, gangs_2, quota_0, distinct_4   rows, by kind and number

Names are a word and a number, since user's names may hold what these formats forbid. LP files
maximise the value; MPS files minimise minus the value, because readers disagree on how an MPS file
says that it maximises. The objective of the instance is  constant + sign * value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from colocate.errors import clean_text
from colocate.export.model_words import Words
from colocate.problem import Problem
from colocate.solvers.backends.model import IntegerModel, integer_model

__all__ = ["ModelFormat", "model_text"]

ModelFormat = Literal["lp", "mps"]
WIDTH = 5
"""Terms on a line of an LP file; some readers allow 255 characters."""


def model_text(problem: Problem, form: ModelFormat) -> str:
    """Return the integer program of a problem as the text of an LP or MPS file."""
    file = _File(problem)
    lines = file.lp() if form == "lp" else file.mps()
    return "\n".join(lines) + "\n"


class _File:
    """The model, its names and its comments."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.model: IntegerModel = integer_model(problem)
        self.words = Words(problem)
        n, k = self.model.n_columns, self.model.n_levels
        switches = self.model.n_variables - n - k
        self.variables = [f"x{i}" for i in range(n)] + [f"z{i}" for i in range(k)]
        self.variables += [f"y{i}" for i in range(switches)]
        rows = problem.rows
        self.rows = [f"{label.kind}_{label.index}" for label in rows.labels]
        self.rows += [f"distinct_{i}" for i in range(self.model.n_rows - rows.size)]

    # -- comments ------------------------------------------------------------------------------

    def _head(self, mark: str, form: str) -> Iterator[str]:
        problem, model = self.problem, self.model
        instance = problem.source.instance
        direction = "maximises the value" if form == "lp" else "minimises minus the value"
        name = clean_text(instance.name.encode("ascii", "replace").decode(), 100)
        yield f"{mark} colocate: the master problem of instance {name} (sha256 {instance.sha256})"
        columns = f"{model.n_columns} columns x, {model.n_levels} gang levels z"
        switches = f"{model.switch_level.size} switches y"
        yield f"{mark} {columns}, {switches}, {model.n_rows} rows"
        sign = "+" if problem.sign > 0 else "-"
        objective = f"the objective {instance.objective.name} is {problem.offset!r} {sign} value"
        yield f"{mark} This file {direction}; {objective}."
        yield mark
        for name, words in zip(self.variables, self._of_variables(), strict=True):
            yield f"{mark} {name}: {words}"
        yield mark

    def _of_variables(self) -> Iterator[str]:
        yield from map(self.words.column, range(self.model.n_columns))
        yield from map(self.words.level, range(self.model.n_levels))
        for level, gangs in zip(self.model.switch_level, self.model.switch_gangs, strict=True):
            yield self.words.switch(int(level), int(gangs))

    def _of_row(self, r: int) -> str:
        n = self.problem.rows.size
        if r >= n:
            first = r - n < self.model.switch_level.size
            return (
                "(C3) the switch needs the gangs" if first else "(C3) the column needs the switch"
            )
        words = self.words.row(r)
        unit = self._unit(r)
        return words if unit == 1 else f"{words} (in units of 1/{unit:.6g})"

    def _unit(self, r: int) -> float:
        """Return by what the row was multiplied."""
        mine = slice(int(self.model.start[r]), int(self.model.start[r + 1]))
        if mine.start == mine.stop:
            return 1.0
        there = self.problem.rows.row == r
        before = np.abs(self.problem.rows.coefficient[there]).sum()
        after = np.abs(self.model.coefficient[mine]).sum()
        return float(after / before) if before else 1.0

    # -- LP ------------------------------------------------------------------------------------

    def lp(self) -> Iterator[str]:
        """Yield the lines of an LP file."""
        model = self.model
        yield from self._head("\\", "lp")
        yield "Maximize"
        worth = [(c, v) for v, c in zip(self.variables, model.worth.tolist(), strict=True) if c]
        yield from _terms(" value:", worth or [(0.0, v) for v in self.variables[:1]], "")
        yield "Subject To"
        for r, name in enumerate(self.rows):
            entries = self._entries(r)
            if not entries:
                continue
            yield f"\\ {self._of_row(r)}"
            low, high = float(model.lower[r]), float(model.upper[r])
            if low == high:
                yield from _terms(f" {name}:", entries, f"= {_number(low)}")
                continue
            if np.isfinite(high):
                yield from _terms(f" {name}:", entries, f"<= {_number(high)}")
            if np.isfinite(low):
                yield from _terms(f" {name}_least:", entries, f">= {_number(low)}")
        yield from self._impossible_lp()
        yield "Bounds"
        for name, most in zip(self.variables, model.most.tolist(), strict=True):
            yield f" 0 <= {name} <= {most}"
        if self.variables:
            yield "Generals"
            yield from (f" {name}" for name in self.variables)
        yield "End"

    def _impossible_lp(self) -> Iterator[str]:
        """Yield a row that cannot hold where an empty row cannot; the formats have none."""
        if self._impossible() and self.variables:
            yield "\\ something that is required fits nowhere"
            yield f" impossible: {self.variables[0]} <= -1"

    def _impossible(self) -> bool:
        empty = np.diff(self.model.start) == 0
        return bool((empty & ((self.model.lower > 0) | (self.model.upper < 0))).any())

    def _entries(self, r: int) -> list[tuple[float, str]]:
        model = self.model
        mine = slice(int(model.start[r]), int(model.start[r + 1]))
        return [
            (c, self.variables[v])
            for c, v in zip(
                model.coefficient[mine].tolist(), model.variable[mine].tolist(), strict=True
            )
        ]

    # -- MPS -----------------------------------------------------------------------------------

    def mps(self) -> Iterator[str]:
        """Yield the lines of a free MPS file."""
        model = self.model
        kept = [r for r in range(model.n_rows) if model.start[r] < model.start[r + 1]]
        kept = [r for r in kept if np.isfinite([model.lower[r], model.upper[r]]).any()]
        yield from self._head("*", "mps")
        for r in kept:
            yield f"* {self.rows[r]}: {self._of_row(r)}"
        # The word tells CBC that fields are words, not columns of text.
        yield "NAME colocate FREE"
        yield "ROWS"
        yield " N minus_value"
        for r in kept:
            yield f" {_kind(model.lower[r], model.upper[r])} {self.rows[r]}"
        if self._impossible():
            yield " L impossible"
        yield "COLUMNS"
        yield " MARK0 'MARKER' 'INTORG'"
        order = np.argsort(model.variable, kind="stable")
        start = np.searchsorted(model.variable[order], np.arange(model.n_variables + 1))
        there = set(kept)
        for v, name in enumerate(self.variables):
            yield f" {name} minus_value {_number(-float(model.worth[v]))}"
            for e in order[start[v] : start[v + 1]].tolist():
                r = int(model.row[e])
                if r in there:
                    yield f" {name} {self.rows[r]} {_number(float(model.coefficient[e]))}"
            if v == 0 and self._impossible():
                yield f" {name} impossible 1"
        yield " MARK1 'MARKER' 'INTEND'"
        yield "RHS"
        for r in kept:
            side = model.upper[r] if np.isfinite(model.upper[r]) else model.lower[r]
            yield f" RHS {self.rows[r]} {_number(float(side))}"
        if self._impossible():
            yield " RHS impossible -1"
        both = [r for r in kept if np.isfinite([model.lower[r], model.upper[r]]).all()]
        ranges = [r for r in both if model.lower[r] != model.upper[r]]
        if ranges:
            yield "RANGES"
        for r in ranges:
            yield f" RNG {self.rows[r]} {_number(float(model.upper[r] - model.lower[r]))}"
        yield "BOUNDS"
        for name, most in zip(self.variables, model.most.tolist(), strict=True):
            yield f" UP BND {name} {most}"
        yield "ENDATA"


def _kind(low: float, high: float) -> str:
    if low == high:
        return "E"
    return "L" if np.isfinite(high) else "G"


def _terms(head: str, entries: list[tuple[float, str]], tail: str) -> Iterator[str]:
    """Yield a sum over several lines."""
    if not entries:
        yield f"{head} 0 {tail}".rstrip()
        return
    parts = [f"{'-' if c < 0 else '+'} {_number(abs(c))} {name}" for c, name in entries]
    lines = [" ".join(parts[i : i + WIDTH]) for i in range(0, len(parts), WIDTH)]
    lines[0] = f"{head} {lines[0]}"
    lines[-1] = f"{lines[-1]} {tail}".rstrip()
    yield lines[0]
    yield from (f"   {line}" for line in lines[1:])


def _number(value: float) -> str:
    """Return the shortest text that reads as this number."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
