"""Recipes of the bundled instances. `benchmarks/write_datasets.py` turns them into files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundled import adversarial, infeasible, quickstart, small

if TYPE_CHECKING:
    from colocate.instance import Instance


def recipes() -> list[Instance]:
    """Return every bundled instance."""
    makers = (quickstart.build, *small.ALL, *infeasible.ALL, *adversarial.ALL)
    return [make() for make in makers]
