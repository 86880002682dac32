"""Every solver that ships runs the suite that third parties run on theirs."""

from __future__ import annotations

import pytest
from hypothesis import settings

import colocate as co
from colocate.testing import SolverConformance, solve_by_enumeration
from tests.helpers import instance

EXAMPLES = max(10, settings.default.max_examples // 4) if settings.default else 10
"""Ten in a normal run, five hundred with `--deep`."""


class TestGreedy(SolverConformance):
    solver = "greedy"
    examples = EXAMPLES


class TestBruteForce(SolverConformance):
    solver = "brute_force"
    examples = EXAMPLES


class TestMilp(SolverConformance):
    solver = "milp"
    examples = EXAMPLES


class TestIlp(SolverConformance):
    solver = "ilp"
    examples = EXAMPLES


class TestCpSat(SolverConformance):
    solver = "cp-sat"
    examples = EXAMPLES


class TestAuto(SolverConformance):
    solver = "auto"
    examples = EXAMPLES


def test_a_smaller_percentage_may_have_been_measured_to_take_more() -> None:
    """30 % gives one multiprocessor, 25 % two: where shares count, neither beats the other."""
    measured = [{"share_pct": 30, "sms": 1}, {"share_pct": 25, "sms": 2}]
    pool = {"id": "a", "gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 5}
    asked = instance(
        gpu_pools=[pool | {"measured_sms": measured}],
        services=[],
        tasks=[{"id": "job", "profile": "train", "batch": 8, "gang_size": 2}],
        profiles=[
            {
                "workload": "train",
                "gpu_type": "A",
                "role": "training",
                "curve": {
                    "family": "tabulated",
                    "batches": [{"batch": 8, "points": [{"share_pct": 20.0, "rate": 20.0}]}],
                },
                "memory": [{"batch": 8, "memory_gib": 5.0}],
            }
        ],
        rules={"quotas": [{"tenant": "default", "unit": "gpu_share", "maximum": 0.5}]},
    )
    assert solve_by_enumeration(asked).objective == pytest.approx(2.0)
    found = co.solve(asked, "brute_force")
    assert found.violations == ()
    assert found.objective == pytest.approx(2.0)
