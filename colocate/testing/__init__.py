"""Test kit: strategies that draw instances, the oracle, and the conformance suite for solvers.

Needs the extra `testing` (hypothesis and pytest). Nothing else of this package imports it.
"""

from __future__ import annotations

from colocate.testing.conformance import SolverConformance
from colocate.testing.oracle import Assignment, OracleAnswer, solve_by_enumeration
from colocate.testing.strategies import (
    InstanceKind,
    any_instance,
    boundary_instances,
    contended_instances,
    degenerate_instances,
    draw_from,
    feasible_instances,
    free_instances,
    infeasible_instances,
    instances,
)

__all__ = [
    "Assignment",
    "InstanceKind",
    "OracleAnswer",
    "SolverConformance",
    "any_instance",
    "boundary_instances",
    "contended_instances",
    "degenerate_instances",
    "draw_from",
    "feasible_instances",
    "free_instances",
    "infeasible_instances",
    "instances",
    "solve_by_enumeration",
]
