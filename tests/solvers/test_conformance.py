"""Every solver that ships runs the suite that third parties run on theirs."""

from __future__ import annotations

from colocate.testing import SolverConformance


class TestGreedy(SolverConformance):
    solver = "greedy"


class TestBruteForce(SolverConformance):
    solver = "brute_force"


class TestAuto(SolverConformance):
    solver = "auto"
