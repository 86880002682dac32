"""A rule that makes small instances hard: many knapsacks over all columns, with mixed numbers.

Loaded as a plug-in by the tests of interrupts: no backend closes these within a minute.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from colocate.constraints.base import PlainConstraint, RowSpec
from colocate.plan import Plan
from colocate.violation import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colocate.constraints.base import ColumnView
    from colocate.instance import Instance

ROWS = 30


class Knapsacks(PlainConstraint):
    """Half of a random weight of everything, thirty times."""

    kind: ClassVar[str] = "constraint"
    name: ClassVar[str] = "knapsacks"

    def rows(self, instance: Instance, columns: ColumnView) -> list[RowSpec]:
        """Weigh every column, thirty times."""
        sys.stderr.write("compiling\n")
        sys.stderr.flush()
        rng = np.random.default_rng(1)
        none = np.zeros(columns.level_tenant.size)
        found = []
        for i in range(ROWS):
            weight = rng.integers(1, 1000, columns.n_columns).astype(float)
            found.append(RowSpec(f"knapsack {i}", weight, none, -np.inf, float(weight.sum() // 2)))
        return found

    def violations(self, instance: Instance, plan: Plan) -> Iterator[Violation]:
        """Find nothing: plans do not say which column they come from."""
        yield from ()
