"""Thresholds: exact promises checked exactly, by leaving each cell or unit out in turn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from colocate.errors import InputError
from colocate.models.fitting.conformal import (
    MIN_UNITS,
    by_cell,
    by_new_unit,
    by_new_unit_surely,
    fewest_units,
)

levels = st.sampled_from([0.5, 0.6, 0.75, 0.8, 0.9, 0.95])
score_lists = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40)
grouped = st.lists(st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=8), max_size=25)


def flat(units):
    scores = np.array([s for unit in units for s in unit], dtype=float)
    names = np.array([f"u{i}" for i, unit in enumerate(units) for _ in unit], dtype=object)
    return scores, names


def share_within(scores, t):
    return float(np.mean(np.asarray(scores) <= t))


@given(scores=score_lists, level=levels)
def test_one_more_cell_is_covered_as_promised(scores, level):
    """Of n + 1 exchangeable scores each may be the new one: the average over them is exact."""
    scores = np.array(scores)
    covered = [
        scores[i] <= by_cell(np.delete(scores, i), level) if scores.size > 1 else True
        for i in range(scores.size)
    ]
    assert np.mean(covered) >= level - 1e-12


@given(n=st.integers(2, 60), level=levels, seed=st.integers(0, 9))
def test_a_cell_threshold_is_no_wider_than_needed(n, level, seed):
    scores = np.random.default_rng(seed).permutation(float(n) + np.arange(n))
    covered = [scores[i] <= by_cell(np.delete(scores, i), level) for i in range(n)]
    if n - 1 >= level / (1 - level):
        assert np.mean(covered) <= level + 1 / n + 1e-12


@pytest.mark.parametrize(("level", "least"), [(0.9, 9), (0.95, 19), (0.99, 99)])
def test_too_few_cells_have_no_threshold(level, least):
    assert math.isinf(by_cell(np.zeros(least - 1), level))
    assert by_cell(np.zeros(least), level) == 0.0


@given(units=grouped, level=levels)
def test_a_new_unit_is_surely_covered_as_promised(units, level):
    """The same for units: each of K + 1 may be the new one, and a cell of it is drawn."""
    if len(units) < 2:
        return
    covered = []
    for i, unit in enumerate(units):
        scores, names = flat(units[:i] + units[i + 1 :])
        t = by_new_unit_surely(scores, names, level)
        covered.append(share_within(unit, t))
    assert np.mean(covered) >= level - 1e-9


@pytest.mark.parametrize(("level", "least"), [(0.9, 9), (0.95, 19), (0.99, 99)])
def test_a_sure_bound_needs_many_units_however_many_cells(level, least):
    for n, t in ((least - 1, math.inf), (least, 0.0)):
        scores, names = flat([[0.0] * 40] * n)
        assert by_new_unit_surely(scores, names, level) == t


def rehearsal_by_hand(scores, owners, involved, level):
    """Return t by the words of the definition; both hold a set of units for each score."""

    def of(rows):
        known = sorted({u for i in rows for u in owners[i]})
        return [[scores[i] for i in rows if u in owners[i]] for u in known]

    def pooled(rows, beta):
        units = of(rows)
        for t in sorted(scores[i] for i in rows):
            if np.mean([share_within(unit, t) for unit in units]) >= beta - 1e-9:
                return t
        raise AssertionError

    everything = range(len(scores))
    left_out = [
        (
            [i for i in everything if u in owners[i]],
            [i for i in everything if u not in owners[i] | involved[i]],
        )
        for u in sorted(set().union(*owners))
    ]
    # Between two of these values of beta nothing changes.
    steps = {level, 1.0}
    for rows in [everything, *(rest for _, rest in left_out)]:
        for t in {scores[i] for i in rows}:
            steps.add(np.mean([share_within(unit, t) for unit in of(rows)]))
    for beta in sorted(b for b in steps if level <= b <= 1):
        # A unit without which nothing is left counts as not covered.
        covered = [
            share_within([scores[i] for i in own], pooled(rest, beta)) if rest else 0.0
            for own, rest in left_out
        ]
        if np.mean(covered) >= level - 1e-9:
            above = min([b for b in steps if b > beta + 1e-6], default=1.0)
            return pooled(everything, beta), pooled(everything, above)
    return math.inf, math.inf


@given(
    cells=st.lists(
        st.tuples(st.integers(-9, 9), st.integers(0, 5), st.integers(0, 5)), min_size=6, max_size=25
    ),
    level=st.sampled_from([0.5, 0.6, 0.75, 0.8]),
    rule=st.sampled_from(["alone", "victims", "pairs"]),
)
def test_the_rehearsal_is_the_definition(cells, level, rule):
    scores = np.array([float(s) for s, _, _ in cells])
    victim = np.array([f"w{v}" for _, v, _ in cells], dtype=object)
    beside = np.array([f"w{n}" for _, _, n in cells], dtype=object)
    units = np.array([f"{v}+{n}" for v, n in zip(victim, beside, strict=True)], dtype=object)
    units = units if rule == "pairs" else victim
    owners = [set(u.split("+")) for u in units]
    involved = [{n} if rule == "victims" else set() for n in beside]
    labels = [beside] if rule == "victims" else []
    found = by_new_unit(scores, units, level, involved=labels)
    if len(set().union(*owners)) < MIN_UNITS:
        assert math.isinf(found)
        return
    low, high = rehearsal_by_hand(scores, owners, involved, level)
    # The search tries 64**3 values of beta, and may land just above a step of the definition.
    assert low <= found <= high


def hierarchical(rng, k, n, spread, scale):
    centre = spread * rng.standard_normal(k)
    width = np.exp(scale * rng.standard_normal(k))
    scores = centre[:, None] + width[:, None] * rng.standard_normal((k, n))
    return scores.ravel(), np.repeat([f"w{i}" for i in range(k)], n).astype(object)


def coverage(level, k, spread, scale, runs, n=40, seed=0):
    """Return the mean share of a new unit's cells below the threshold, over simulated tables."""
    rng = np.random.default_rng(seed)
    covered, finite = [], 0
    for _ in range(runs):
        scores, units = hierarchical(rng, k, n, spread, scale)
        t = by_new_unit(scores, units, level)
        finite += math.isfinite(t)
        centre = spread * rng.standard_normal(400)
        width = np.exp(scale * rng.standard_normal(400))
        covered.append(norm.cdf((t - centre) / width).mean())
    return float(np.mean(covered)), finite / runs


@pytest.mark.parametrize(
    ("level", "k", "spread", "scale"),
    [(0.9, 5, 1.0, 0.5), (0.9, 10, 2.0, 0.5), (0.95, 10, 0.5, 0.2), (0.95, 8, 1.0, 0.5)],
)
def test_new_units_are_covered_on_average(level, k, spread, scale):
    """Without the rehearsal these are 2 to 3 points low; with ranks over cells alone far more."""
    covered, finite = coverage(level, k, spread, scale, runs=80)
    assert covered == pytest.approx(level, abs=0.015)
    assert finite >= 0.8


@pytest.mark.deep
@pytest.mark.parametrize("k", [3, 4, 5, 7, 10, 15, 30])
@pytest.mark.parametrize(("spread", "scale"), [(0.0, 0.0), (0.5, 0.2), (1.0, 0.5)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_new_units_are_covered_in_many_settings(level, k, spread, scale):
    covered, finite = coverage(level, k, spread, scale, runs=200, n=60, seed=1)
    if k < fewest_units(level):
        assert finite == 0
    else:
        assert covered == pytest.approx(level, abs=0.015)


@given(
    seed=st.integers(0, 200),
    k=st.integers(1, 7),
    n=st.integers(1, 12),
    pair=st.lists(st.floats(0.5, 0.98), min_size=2, max_size=2),
)
def test_thresholds_rise_with_the_level(seed, k, n, pair):
    scores, units = hierarchical(np.random.default_rng(seed), k, n, 1.0, 0.3)
    low, high = sorted(pair)
    assert by_cell(scores, low) <= by_cell(scores, high)
    assert by_new_unit(scores, units, low) <= by_new_unit(scores, units, high)
    assert by_new_unit_surely(scores, units, low) <= by_new_unit_surely(scores, units, high)


@given(seed=st.integers(0, 200), level=levels)
def test_order_and_names_do_not_matter(seed, level):
    rng = np.random.default_rng(seed)
    scores, units = hierarchical(rng, 6, 10, 1.0, 0.3)
    beside = rng.permutation(units)
    shuffled = rng.permutation(scores.size)
    renamed = {name: f"z{9 - i}" for i, name in enumerate(np.unique(units))}
    new = [np.array([renamed[u] for u in role], dtype=object) for role in (units, beside)]
    expected = by_new_unit(scores, units, level, involved=[beside])
    own, other = (role[shuffled] for role in new)
    got = by_new_unit(scores[shuffled], own, level, involved=[other])
    assert got == expected
    # Where a rank decides, any rising change of scale moves the threshold with it.
    assert by_new_unit(np.exp(scores), units, level, involved=[beside]) == np.exp(expected)


def test_units_count_alike_however_many_cells_they_have():
    scores, units = hierarchical(np.random.default_rng(4), 8, 30, 1.5, 0.5)
    often = np.concatenate([np.arange(scores.size), np.tile(np.flatnonzero(units == "w0"), 50)])
    for level in (0.8, 0.9):
        expected = by_new_unit(scores, units, level)
        assert by_new_unit(scores[often], units[often], level) == expected
        # Many cells of an easy unit say little about a new one: ranks over cells would shrink.
        easy = np.concatenate([scores, np.full(5000, scores.min())])
        assert by_cell(easy, level) < by_cell(scores, level)


def test_a_label_may_hold_several_units():
    scores, units = hierarchical(np.random.default_rng(5), 6, 12, 1.0, 0.3)
    beside, third = np.roll(units, 7), np.roll(units, 19)
    joined = np.array([f"{b}+{t}" for b, t in zip(beside, third, strict=True)], dtype=object)
    expected = by_new_unit(scores, units, 0.8, involved=[beside, third])
    assert by_new_unit(scores, units, 0.8, involved=[joined]) == expected
    nobody = np.full(units.shape, "", dtype=object)
    strangers = np.full(units.shape, "x", dtype=object)
    assert by_new_unit(scores, units, 0.8, involved=[joined, nobody, strangers]) == expected


@pytest.mark.parametrize(("level", "least"), [(0.9, 3), (0.97, 3), (0.98, 4), (0.99, 8)])
def test_too_few_units_have_no_threshold(level, least):
    assert fewest_units(level) == least
    for k in range(1, 10):
        units = np.repeat([f"w{i}" for i in range(k)], 200).astype(object)
        scores = np.tile(np.arange(200.0), k)
        assert math.isfinite(by_new_unit(scores, units, level)) == (k >= least)


def test_a_level_out_of_reach_is_never_extrapolated():
    """One unit in four lies above all others: nothing seen covers more than three in four."""
    units = [[float(i + 100 * (u == 3)) for i in range(40)] for u in range(4)]
    scores, names = flat(units)
    assert math.isinf(by_new_unit(scores, names, 0.9))
    assert by_new_unit(scores, names, 0.7) < 100.0


def test_one_workload_in_every_cell_cannot_be_rehearsed():
    scores, units = hierarchical(np.random.default_rng(1), 4, 50, 0.0, 0.0)
    always = np.array([f"{unit}+train" for unit in units], dtype=object)
    assert math.isfinite(by_new_unit(scores, units, 0.9))
    assert math.isinf(by_new_unit(scores, always, 0.9))


def test_infinite_scores_count_as_never_covered():
    scores = np.concatenate([np.zeros(89), np.full(11, np.inf)])
    assert math.isinf(by_cell(scores, 0.9))
    assert by_cell(scores, 0.8) == 0.0
    units = np.array([f"w{i % 5}" for i in range(100)], dtype=object)
    assert math.isinf(by_new_unit(scores, units, 0.9))


def test_wrong_input_is_refused():
    ok, units = np.zeros(3), np.array(["a", "b", "c"], dtype=object)
    with pytest.raises(InputError, match="not numbers"):
        by_cell(np.array([0.0, np.nan]), 0.9)
    with pytest.raises(InputError, match="not between"):
        by_cell(ok, 1.0)
    with pytest.raises(InputError, match="2 labels for 3 scores"):
        by_new_unit(ok, units[:2], 0.9)
    with pytest.raises(InputError, match="belong to no unit"):
        by_new_unit(ok, np.array(["a", "", "b"], dtype=object), 0.9)
