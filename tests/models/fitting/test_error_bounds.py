"""Error bounds: what was predicted, less the error, stays below what was measured as promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.models.bounds import relative_error
from colocate.models.fitting.conformal import by_cell
from colocate.models.fitting.error_bounds import (
    LARGEST,
    LEVELS,
    company_error_bounds,
    company_scores,
    owners,
    rate_error_bounds,
    rate_scores,
    slowdown_error_bounds,
    threshold,
)
from colocate.models.fitting.residuals import Residuals
from colocate.profile import ErrorBound
from colocate.profile.bounds import check_bounds

WHO = ("cell", "unit", "sure_unit")


def residuals(predicted, measured, victim=None, neighbour=None, unit=None):
    predicted, measured = np.asarray(predicted, float), np.asarray(measured, float)
    n = predicted.size
    victim = np.array([f"w{i % 12}" for i in range(n)] if victim is None else victim, dtype=object)
    beside = np.array([""] * n if neighbour is None else neighbour, dtype=object)
    unit = victim if unit is None else np.array(unit, dtype=object)
    return Residuals(predicted, measured, victim, beside, unit)


def drawn(seed, workloads=12, cells=15, spread=0.05):
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(workloads), cells)
    measured = rng.uniform(1, 1000, unit.size)
    off = spread * rng.standard_normal(workloads)[unit] + spread * rng.standard_normal(unit.size)
    return residuals(measured * np.exp(off), measured, [f"w{u}" for u in unit])


@given(seed=st.integers(0, 500), spread=st.floats(0.001, 2.0), who=st.sampled_from(WHO))
def test_bounds_hold_exactly_where_scores_are_within_the_threshold(seed, spread, who):
    """Through log, exp and rounding: no cell within the threshold may fall out of the bound."""
    found = drawn(seed, spread=spread)
    for bound in rate_error_bounds(found, (0.6, 0.9), new=who):
        t = threshold(rate_scores(found), found, bound.confidence, new=who)
        held = found.measured >= found.predicted * (1 - bound.relative)
        assert held[rate_scores(found) <= t].all()
        # Conservative by no more than the rounding.
        assert bound.relative <= max(0.0, 1 - np.exp(-t)) + 2e-6
    slower = Residuals(found.measured, found.predicted, *found[2:])
    for bound in slowdown_error_bounds(slower, (0.6, 0.9), new=who):
        t = threshold(rate_scores(found), found, bound.confidence, new=who)
        held = slower.measured <= slower.predicted * (1 + bound.relative)
        assert held[rate_scores(found) <= t].all()
        assert bound.relative <= max(0.0, np.exp(t) - 1) + 2e-6


def test_errors_count_on_the_harmful_side_only():
    measured = np.linspace(1, 9, 200)
    for factor, rate, slowdown in ((0.7, 0.0, 1 / 0.7 - 1), (1.25, 0.2, 0.0)):
        found = residuals(measured * factor, measured)
        assert relative_error(rate_error_bounds(found), 0.95) == pytest.approx(rate, abs=2e-6)
        as_slowdown = slowdown_error_bounds(found)
        assert relative_error(as_slowdown, 0.95) == pytest.approx(slowdown, abs=2e-6)


@given(seed=st.integers(0, 500), spread=st.floats(0.001, 3.0), who=st.sampled_from(WHO))
def test_bounds_are_ones_that_a_profile_takes(seed, spread, who):
    found = drawn(seed, spread=spread)
    alone = rate_error_bounds(found, (0.5, 0.7, 0.9, 0.99), new=who)
    swapped = Residuals(found.measured, found.predicted, *found[2:])
    for bounds in (
        alone,
        slowdown_error_bounds(swapped, (0.5, 0.7, 0.9, 0.99), new=who),
        company_error_bounds(found, alone, (0.5, 0.7, 0.9, 0.99), new=who),
    ):
        check_bounds(bounds, "error")
        assert all(b.relative <= LARGEST for b in bounds)


def test_levels_without_enough_residuals_are_left_out():
    found = drawn(1, workloads=12, cells=15)
    assert [b.confidence for b in rate_error_bounds(found, new="cell")] == [0.9, 0.95, 0.99]
    assert [b.confidence for b in rate_error_bounds(found, new="sure_unit")] == [0.9]
    assert rate_error_bounds(drawn(1, workloads=2, cells=500)) == ()
    assert rate_error_bounds(drawn(1, workloads=4, cells=2)) == ()
    for level in LEVELS:
        assert np.isinf(relative_error((), level))


def test_errors_too_large_to_hold_are_left_out():
    measured = np.ones(400)
    slow = residuals(np.full(400, 1 / 20), measured)
    assert slowdown_error_bounds(slow) == ()
    assert slowdown_error_bounds(residuals(np.full(400, 1 / 10.5), measured))[0].relative == (
        pytest.approx(9.5, abs=1e-5)
    )
    # A rate of zero where one was promised: nothing can be promised.
    assert rate_error_bounds(residuals(measured, np.zeros(400))) == ()


def pairs(seed, workloads=14, cells=6, alone=0.1, company=0.05):
    """Rates in company whose error has a part from the rate alone and a part from the pair."""
    rng = np.random.default_rng(seed)
    v, a = (x.ravel() for x in np.meshgrid(np.arange(workloads), np.arange(workloads)))
    v, a = np.repeat(v, cells), np.repeat(a, cells)
    measured = rng.uniform(1, 100, v.size)
    off = alone * rng.standard_normal(v.size) + company * (
        rng.standard_normal(workloads)[v] + rng.standard_normal(workloads)[a]
    )
    return residuals(measured * np.exp(off), measured, [f"w{i}" for i in v], [f"w{i}" for i in a])


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_rate_and_slowdown_together_hold_the_level(level):
    """Calibrated apart, each would take its own complement, and the two together hold too much."""
    apart: list[float] = []
    together: list[float] = []
    for seed in range(12):
        found = pairs(seed)
        held_out = np.isin(found.victim, ["w0", "w1"]) | np.isin(found.neighbour, ["w0", "w1"])
        known, new = found.take(~held_out), found.take(held_out)
        alone = (ErrorBound(confidence=level, relative=0.1),)
        composed = company_error_bounds(known, alone, (level,))
        separate = slowdown_error_bounds(
            Residuals(known.measured, known.predicted, *known[2:]), (level,)
        )
        for bounds, covered in ((composed, together), (separate, apart)):
            low = new.predicted * (1 - 0.1) / (1 + relative_error(bounds, level))
            covered.append(np.mean(new.measured >= low))
    assert np.mean(together) == pytest.approx(level, abs=0.02)
    assert np.mean(apart) > level + 0.02


@given(seed=st.integers(0, 300), level=st.sampled_from([0.6, 0.8, 0.9]))
def test_composition_holds_exactly_over_cells(seed, level):
    """Leave each cell out in turn, with bounds on the rate alone that differ by victim."""
    found = pairs(seed, workloads=4, cells=2)
    alone = {
        f"w{i}": (ErrorBound(confidence=level, relative=0.02 * (i + seed % 3)),) for i in range(4)
    }
    rows = np.arange(found.predicted.size)
    held = []
    for i in rows:
        bounds = company_error_bounds(found.take(rows != i), alone, (level,), new="cell")
        low = found.predicted[i] * (1 - relative_error(alone[found.victim[i]], level))
        held.append(found.measured[i] >= low / (1 + relative_error(bounds, level)))
    assert np.mean(held) >= level


def test_a_rate_bound_that_covers_all_leaves_nothing_over():
    found = pairs(3)
    wide = tuple(ErrorBound(confidence=c, relative=0.9) for c in LEVELS)
    assert [b.relative for b in company_error_bounds(found, wide)] == [0.0, 0.0, 0.0]


def test_errors_in_company_do_not_shrink_as_the_level_grows():
    found = pairs(3)
    steep = (ErrorBound(confidence=0.9, relative=0.0), ErrorBound(confidence=0.95, relative=0.9))
    bounds = company_error_bounds(found, steep, (0.9, 0.95))
    assert bounds[0].relative > 0
    assert bounds[1].relative == bounds[0].relative


def test_victims_without_a_rate_bound_take_no_part():
    found = pairs(3)
    alone = {f"w{i}": (ErrorBound(confidence=0.9, relative=0.1),) for i in range(1, 14)}
    scores = company_scores(found, alone, 0.9)
    assert (np.isnan(scores) == (found.victim == "w0")).all()
    rest = found.take(found.victim != "w0")
    t = by_cell(company_scores(rest, alone["w1"], 0.9), 0.9)
    bounds = company_error_bounds(found, alone, (0.9,), new="cell")
    assert bounds[0].relative == pytest.approx(np.exp(t) - 1, abs=2e-6)
    assert company_error_bounds(found, (), (0.9,)) == ()


def test_units_are_the_workloads_without_which_a_prediction_was_made():
    rows = [
        ("a", "", "a"),
        ("a", "b", "b"),
        ("a", "b+c", "c+a"),
        ("a", "b", "3 of 9"),
        ("a", "b", "ab"),
    ]
    victim, neighbour, unit = zip(*rows, strict=True)
    found = residuals(np.ones(5), np.ones(5), victim, neighbour, unit)
    assert list(owners(found)) == ["a", "b", "c+a", "a", "a"]


def test_scores_count_for_the_workload_that_was_held_out():
    """Predicted without the neighbour they are bad, without the victim good."""
    names = [f"w{i}" for i in range(10)]
    victim, neighbour = (list(x) for x in zip(*[(v, n) for v in names for n in names], strict=True))
    off = [0.5 if n == "w3" else 0.0 for n in neighbour]
    found = residuals(np.exp(off), np.ones(100), victim, neighbour, victim)
    assert relative_error(rate_error_bounds(found, (0.95,)), 0.95) == pytest.approx(
        1 - np.exp(-0.5), abs=2e-6
    )
    # One unit in ten is not covered at all by what was seen of the others.
    found = residuals(np.exp(off), np.ones(100), victim, neighbour, neighbour)
    assert rate_error_bounds(found, (0.95,)) == ()
    assert relative_error(rate_error_bounds(found, (0.85,)), 0.85) == 0.0


def test_levels_of_both_lists_have_to_agree():
    found = pairs(3)
    alone = (ErrorBound(confidence=0.92, relative=0.1),)
    with pytest.raises(InputError, match=r"confidence 0\.92"):
        company_error_bounds(found, alone, (0.9, 0.95))


def test_wrong_input_is_refused():
    found = drawn(1)
    with pytest.raises(InputError, match="negative or infinite"):
        rate_error_bounds(residuals([-1.0], [1.0]))
    with pytest.raises(InputError, match="not numbers"):
        rate_error_bounds(residuals([np.nan], [1.0]))
    with pytest.raises(InputError, match="not in 0"):
        rate_error_bounds(found, (0.3,))
    with pytest.raises(InputError, match="'row'"):
        rate_error_bounds(found, new="row")  # type: ignore[arg-type]
