"""Every policy runs the suite that all solvers run, and none ever returns an invalid plan."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import colocate as co
from colocate import registry
from colocate.capability import Capability
from colocate.errors import TooLargeError
from colocate.instance import Instance
from colocate.result import Reason
from colocate.solvers.policies._online import Policy
from colocate.testing import SolverConformance, instances
from colocate.testing.strategies import InstanceKind
from tests.counting import count

MAX = settings.default.max_examples if settings.default else 40
POLICIES = (
    "even",
    "exclusive",
    "gslice",
    "iadeep",
    "iadeep-fixed",
    "mudi",
    "mudi-fixed",
    "muxflow",
    "muxflow-fixed",
    "uncapped",
)


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> str:
    """Let the suite run once for each policy."""
    name: str = request.param
    TestPolicies.solver = name
    return name


@pytest.mark.usefixtures("policy")
class TestPolicies(SolverConformance):
    solver = POLICIES[0]
    examples = max(2, MAX // 20)


def _drawn(kind: InstanceKind) -> st.SearchStrategy[Instance]:
    return instances(kind, supported=Policy.capabilities)


@settings(
    max_examples=max(120, 10 * MAX if MAX > 100 else 0),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(st.sampled_from(get_args(InstanceKind)).flatmap(_drawn), st.integers(0, 3))
def test_no_policy_ever_returns_an_invalid_plan(drawn: Instance, seed: int) -> None:
    """A hundred instances of all kinds, ten policies, several orders of arrival."""
    for name in POLICIES:
        try:
            found = count(co.solve(drawn, name, seed=seed))
        except TooLargeError:
            continue
        assert found.violations == (), name
        assert found.termination.reason is not Reason.ERROR, (name, found.termination.detail)


def test_what_policies_declare() -> None:
    """None claims to be exact or to prove a bound, and none takes gangs, quotas or moves."""
    for name in POLICIES:
        declared = registry.get("solver", name).capabilities
        assert not declared & {Capability.EXACT, Capability.BOUND}
        assert not declared & {Capability.GANGS, Capability.QUOTAS, Capability.MOVES}
