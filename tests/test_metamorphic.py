"""What must not matter does not, and what can only help never hurts."""

from __future__ import annotations

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import colocate as co
from colocate.errors import TooLargeError
from colocate.instance import Instance
from colocate.problem import compile_problem
from colocate.testing import any_instance, feasible_instances
from tests.renaming import (
    Spec,
    merged,
    renamed,
    scaled,
    shuffled,
    spec_of,
    with_settings_of,
)

SOLVERS = ["greedy", "brute_force", "auto"]
MOST_COLUMNS = 800
"""Larger instances take enumeration longer than a normal run has."""

half = settings(max_examples=settings().max_examples // 2)
"""Each example is solved twice, most of them by three solvers."""


def value(instance: Instance, solver: str) -> float | None:
    """Objective of the solver's plan, or None without a plan; what is too large is not drawn."""
    try:
        return co.solve(instance, solver).objective
    except TooLargeError:
        reject()


def read(spec: Spec) -> Instance:
    """An instance from plain data."""
    return Instance.model_validate(spec)


def same(a: float | None, b: float | None) -> bool:
    """Equal up to rounding; None equals None only."""
    if a is None or b is None:
        return a is b
    return a == pytest.approx(b, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
@half
@given(any_instance(), st.sampled_from(["~", "x-"]))
def test_names_do_not_matter(solver: str, drawn: Instance, prefix: str) -> None:
    """Renaming everything, even against the alphabet, leaves the value as it was."""
    other = read(renamed(spec_of(drawn), prefix))
    assert other.sha256 != drawn.sha256
    assert same(value(drawn, solver), value(other, solver))


@pytest.mark.parametrize("solver", SOLVERS)
@half
@given(any_instance(), st.integers(0, 1000))
def test_order_does_not_matter(solver: str, drawn: Instance, seed: int) -> None:
    """Shuffled input lists are the same question: same hash, same plan, to the byte."""
    other = read(shuffled(spec_of(drawn), seed))
    assert other.sha256 == drawn.sha256
    try:
        plans = [co.solve(i, solver).plan for i in (drawn, other)]
    except TooLargeError:
        return
    texts = [None if p is None else p.model_dump_json() for p in plans]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("solver", SOLVERS)
@half
@given(any_instance(), st.sampled_from([0.25, 2.0, 1024.0]))
def test_scaling_weights_scales_the_value_and_nothing_else(
    solver: str, drawn: Instance, factor: float
) -> None:
    """The same placements are best whatever the unit of the weights."""
    if drawn.objective.name == "active_gpus":
        return  # it weighs tasks against GPUs, whose price has no weight
    try:
        before, after = (co.solve(i, solver) for i in (drawn, read(scaled(spec_of(drawn), factor))))
    except TooLargeError:
        return
    assert (before.plan is None) == (after.plan is None)
    if before.plan is not None and after.plan is not None:
        assert same(before.plan.objective.value * factor, after.plan.objective.value)
        assert before.plan.placements == after.plan.placements


def better(drawn: Instance, spec: Spec) -> None:
    """The changed question has at least as good an answer."""
    changed = read(spec)
    if compile_problem(changed).columns.size > MOST_COLUMNS:
        return
    try:
        before, after = (co.solve(i, "brute_force") for i in (drawn, changed))
    except TooLargeError:
        return
    if before.plan is None:
        return
    assert after.plan is not None
    sign = 1 if before.plan.objective.sense == "max" else -1
    gained = sign * (after.plan.objective.value - before.plan.objective.value)
    assert gained >= -1e-9 * max(1, abs(before.plan.objective.value))


@half
@given(any_instance(), st.data())
def test_another_gpu_never_hurts(drawn: Instance, data: st.DataObject) -> None:
    """One more GPU in any pool: the optimum is at least as good."""
    spec = spec_of(drawn)
    pools = [p for p in spec["gpu_pools"] if "count" in p]
    if pools:
        data.draw(st.sampled_from(pools))["count"] += 1
        better(drawn, spec)


@half
@given(any_instance(), st.floats(1.0, 4.0))
def test_a_looser_slo_never_hurts(drawn: Instance, factor: float) -> None:
    """All SLOs longer: the optimum is at least as good."""
    spec = spec_of(drawn)
    for s in spec["services"]:
        s["slo_ms"] *= factor
    better(drawn, spec)


@half
@given(any_instance(), st.floats(0.0, 8.0))
def test_more_memory_never_hurts(drawn: Instance, more: float) -> None:
    """All GPUs larger: the optimum is at least as good."""
    spec = spec_of(drawn)
    for p in spec["gpu_pools"]:
        p["memory_gib"] += more
    better(drawn, spec)


@half
@given(feasible_instances(), feasible_instances())
def test_independent_parts_add_up(left: Instance, right: Instance) -> None:
    """Two clusters that share nothing, solved together, are worth the sum of both."""
    a = renamed(spec_of(left), "a-")
    b = with_settings_of(renamed(spec_of(right), "b-"), a)
    try:
        parts = [co.solve(read(s), "brute_force") for s in (a, b)]
        both = co.solve(read(merged(a, b)), "brute_force")
    except TooLargeError:
        return
    if any(p.plan is None for p in parts):
        assert both.plan is None
        return
    values = [p.objective for p in (*parts, both)]
    assert values[2] == pytest.approx((values[0] or 0) + (values[1] or 0), rel=1e-9, abs=1e-9)
