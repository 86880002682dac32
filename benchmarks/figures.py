"""A measured figure beside its target and a plain baseline from the same run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Figure", "table"]


class Figure(NamedTuple):
    """One line of a table of figures."""

    name: str
    value: float
    target: float | None = None
    """What it should reach; None where it is reported only."""
    unit: str = "%"
    smaller_is_better: bool = True
    baseline: str = ""
    """Name of a plain method on the same data."""
    baseline_value: float | None = None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        if self.smaller_is_better:
            return self.value <= self.target
        return self.value >= self.target


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as text, a line each."""
    lines = []
    for f in figures:
        sign = "<=" if f.smaller_is_better else ">="
        target = "" if f.target is None else f"{sign} {f.target:g} {f.unit}"
        verdict = {None: "", True: "ok", False: "SHORT"}[f.reached]
        baseline = f"{f.baseline} {f.baseline_value:.4g} {f.unit}" if f.baseline_value else ""
        lines.append(
            f"{f.name:62} {f.value:9.4g} {f.unit:8} {target:14} {verdict:5}  {baseline:36} {f.note}"
        )
    return "\n".join(lines)
