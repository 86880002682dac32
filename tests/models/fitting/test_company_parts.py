"""The parts that slowdowns are learnt with: rates alone, cells, telemetry, ridge, columns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.models.fitting.company_blocks import (
    Candidate,
    KernelPlace,
    additive_model,
    columns,
    queries,
)
from colocate.models.fitting.company_cells import cells_of, crowds_of
from colocate.models.fitting.company_design import Design
from colocate.models.fitting.company_measured import measured_pairs
from colocate.models.fitting.company_regression import FEATURES, fit_additive, groups_of
from colocate.models.fitting.company_ridge import coefficients_without, fit_ridge, left_out
from colocate.models.fitting.company_solo import rising, solo_rates
from colocate.models.fitting.company_telemetry import telemetry_of
from colocate.models.regression.additive import Additive
from colocate.models.regression.features import Traits
from colocate.tables import ProfileTable
from tests.contention import GPU, draw_works, measure

VALUES = st.lists(st.integers(0, 8), min_size=1, max_size=6)


@given(VALUES)
def test_rising_rises_and_no_rising_sequence_is_closer(values: list[int]) -> None:
    y = np.array(values, dtype=float)
    found = rising(y)
    assert (np.diff(found) >= 0).all()
    # some best sequence uses measured values only
    levels = sorted(set(values))
    least = min(
        np.abs(y - np.array(r)).sum()
        for r in itertools.combinations_with_replacement(levels, y.size)
    )
    assert np.abs(y - found).sum() == pytest.approx(least)


def test_rates_alone_between_and_beyond_what_was_measured() -> None:
    table = ProfileTable.of(
        workload="a",
        role="training",
        gpu=GPU,
        batch=[2, 2, 2, 8, 8],
        share_pct=[20, 80, 20, 20, 80],
        rate=[10, 20, 12, 30, 90],
    )
    rate = solo_rates(table)
    at = rate("a", np.array([2.0, 2, 2, 2, 4, 16, 1]), np.array([20.0, 40, 100, 10, 20, 80, 80]))
    middle = np.exp(0.5 * (np.log(11) + np.log(20)))
    assert at == pytest.approx([11, middle, 20, 5.5, np.sqrt(11 * 30), 90, 20])
    assert np.isnan(rate("b", np.array([2.0]), np.array([20.0]))).all()


def test_a_cell_is_rate_alone_over_rate_in_company() -> None:
    table = ProfileTable.of(
        workload=["a", "a", "a", "b", "a", "a"],
        role="inference",
        gpu=GPU,
        batch=[1, 4, 4, 4, 4, 4],
        share_pct=[50, 50, 50, 50, 50, 30],
        neighbour=["", "", "b", "a", "b", "b+c"],
        neighbour_batch=["", "", "2", "4", "2", "2+1"],
        neighbour_share_pct=["", "", "40", "50", "40", "30"],
        rate=[10, 40, 20, 5, np.nan, 10],
        latency_ms=[np.nan] * 4 + [250, np.nan],
    )
    cells, dropped = cells_of(table, solo_rates(table))
    assert cells.names == ("a", "b", "c")
    assert dropped == {"never measured alone": 1}
    assert list(cells.row) == [2, 4]
    assert np.exp(cells.log_slowdown) == pytest.approx([2.0, 40 / 16])
    settings = (cells.victim_batch, cells.neighbour_batch, cells.neighbour_share)
    assert [list(c) for c in settings] == [[4, 4], [2, 2], [40, 40]]
    (crowd,) = crowds_of(table, solo_rates(table))
    assert crowd.neighbours == ((1, 2.0, 30.0), (2, 1.0, 30.0))
    assert np.exp(crowd.log_slowdown) == pytest.approx(40 * 0.6 / 10)


def test_rows_under_load_or_absurd_are_dropped_and_counted() -> None:
    table = ProfileTable.of(
        workload="a",
        role="inference",
        gpu=GPU,
        share_pct=50,
        neighbour=["", "b", "b", "b", "b", "b", "b+c"],
        neighbour_share_pct=["", "50", "50", "50", "", "50", "20"],
        rate=[1000, 500, 500, 1, 500, 500, 500],
        arrival_rps=[np.nan, np.nan, 100, np.nan, np.nan, np.nan, np.nan],
        processes=[np.nan, 1, np.nan, np.nan, np.nan, 2, 2],
    )
    cells, dropped = cells_of(table, solo_rates(table))
    assert list(cells.row) == [1]
    assert sorted(dropped.values()) == [1, 1, 1, 2]
    assert dropped["with several processes"] == 2
    assert crowds_of(table, solo_rates(table)) == []


def test_activity_follows_the_rate_over_the_share() -> None:
    table = ProfileTable.of(
        workload="a",
        role="training",
        gpu=GPU,
        share_pct=[25, 50, 100],
        rate=[10, 20, 40],
        dram_activity_pct=[np.nan, np.nan, 60],
    )
    (found,) = telemetry_of(table, solo_rates(table))
    assert found.dram_activity_pct == pytest.approx([15, 30, 60])
    assert found.sm_activity_pct == ()
    assert found.elasticity == pytest.approx([1, 1, 1])
    flat = table.replace(rate=[40, 40, 40])
    (found,) = telemetry_of(flat, solo_rates(flat))
    assert found.dram_activity_pct == pytest.approx([60, 60, 60])
    assert found.elasticity == pytest.approx([0, 0, 0])


def test_activity_under_an_offered_load_or_without_a_rate_alone_is_no_telemetry() -> None:
    table = ProfileTable.of(
        workload=["a", "a", "a", "b"],
        role="inference",
        gpu=GPU,
        share_pct=[25, 50, 50, 50],
        rate=[10, 20, 2, 20],
        arrival_rps=[np.nan, np.nan, 2, np.nan],
        sm_activity_pct=[30, 60, 6, 40],
    )
    solo = solo_rates(table.take([0, 1, 2]))
    (found,) = telemetry_of(table, solo)
    assert found.workload == "a"
    assert found.sm_activity_pct == pytest.approx([30, 60])
    assert telemetry_of(table.take([2]), solo) == []


@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(1, 12))
def test_left_out_errors_are_those_of_a_fit_without_the_group(
    seed: int, groups: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, groups, 20)
    x, y = rng.normal(size=(20, width)), rng.normal(size=20)
    noise = rng.uniform(0.3, 2, 20)
    rows = [np.flatnonzero(label == g) for g in np.unique(label)]
    for g, errors in zip(
        rows, left_out(fit_ridge(Design.of(x), y, noise, rounds=1), rows), strict=True
    ):
        rest = np.setdiff1d(np.arange(20), g)
        u = x[rest] / noise[rest, None]
        b = np.linalg.solve(u.T @ u + np.eye(width), u.T @ (y[rest] / noise[rest]))
        assert errors == pytest.approx(y[g] - x[g] @ b, rel=1e-6, abs=1e-8)
        without = coefficients_without(fit_ridge(Design.of(x), y, noise, rounds=1), g)
        assert without == pytest.approx(b, rel=1e-6, abs=1e-8)


def drawn_design(seed: int, rows: int, full: int, blocks: list[int]) -> tuple[Design, np.ndarray]:
    """Return a design with an entry of each row in each block, and the same with all zeros."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum([0, *blocks[:-1]])
    at = np.stack([s + rng.integers(0, b, rows) for s, b in zip(starts, blocks, strict=True)], 1)
    design = Design(rng.normal(size=(rows, full)), at, rng.normal(size=at.shape), sum(blocks))
    written = np.zeros((rows, full + sum(blocks)))
    written[:, :full] = design.full
    for k in range(len(blocks)):
        written[np.arange(rows), full + at[:, k]] = design.entries[:, k]
    return design, written


@given(
    st.integers(0, 2**31),
    st.integers(1, 12),
    st.integers(0, 4),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
)
def test_a_design_is_what_it_stands_for(seed: int, rows: int, full: int, blocks: list[int]) -> None:
    design, x = drawn_design(seed, rows, full, blocks)
    rng = np.random.default_rng(seed)
    b, y = rng.normal(size=x.shape[1]), rng.normal(size=rows)
    assert design.shape == x.shape
    assert design @ b == pytest.approx(x @ b)
    assert design.moments(y) == pytest.approx(x.T @ y)
    assert np.tril(design.gram()) == pytest.approx(np.tril(x.T @ x))
    scaled = design.scaled(y)
    assert scaled @ b == pytest.approx(y * (x @ b))
    some = np.flatnonzero(rng.random(rows) < 0.5)
    part, used = design.dense(some)
    assert part == pytest.approx(x[np.ix_(some, used)])
    assert not np.delete(x[some], used, axis=1).any()


def test_few_entries_and_all_of_them_give_the_same_fit() -> None:
    design, x = drawn_design(4, 90, 3, [6, 6, 10])
    y = np.random.default_rng(5).normal(size=90)
    noise = np.random.default_rng(6).uniform(0.1, 2, 90)
    quick, slow = (fit_ridge(d, y, noise) for d in (design, Design.of(x)))
    assert quick.coefficients == pytest.approx(slow.coefficients, abs=1e-12)
    groups = [np.arange(k, 90, 7) for k in range(7)]
    for one, two in zip(left_out(quick, groups), left_out(slow, groups), strict=True):
        assert one == pytest.approx(two, abs=1e-10)


def test_an_outlier_moves_the_robust_fit_little() -> None:
    rng = np.random.default_rng(3)
    x = np.stack([np.ones(60), rng.normal(size=60)], axis=1) * 10
    y = x @ np.array([0.1, 0.2]) + 0.01 * rng.normal(size=60)
    bad = y.copy()
    bad[7] += 5
    noise = np.full(60, 0.02)
    robust = fit_ridge(Design.of(x), bad, noise).coefficients
    plain = fit_ridge(Design.of(x), bad, noise, rounds=1).coefficients
    assert np.abs(robust - [0.1, 0.2]).max() < 0.003
    assert np.abs(plain - [0.1, 0.2]).max() > 0.006


@pytest.fixture(scope="module")
def world() -> ProfileTable:
    return measure(draw_works(4, 5))


def test_the_fitted_data_say_what_the_columns_say(world: ProfileTable) -> None:
    solo = solo_rates(world)
    cells, _ = cells_of(world, solo)
    traits = Traits(telemetry_of(world, solo), cells.names)
    features = traits.features(queries(cells))
    names = tuple(n for n in FEATURES if np.ptp(features[n]))
    place = KernelPlace.of(names, np.stack([features[n] for n in names], axis=1), 1.5)
    made = columns(cells, Candidate(2.0, 1.5, 0.3, 0.2, 0.5), place, 0.1)
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=(made.x.shape[1],))
    model = additive_model(cells.names, made, coefficients)
    said = Additive(model, cells.names).log_slowdown(queries(cells), traits)
    assert said == pytest.approx(made.x @ coefficients, rel=1e-5, abs=1e-6)
    # the order of the workloads does not matter, nor do workloads that the model has not seen
    other = ("new", *reversed(cells.names))
    place_of = np.array([other.index(name) for name in cells.names])
    q = queries(cells)
    moved = q._replace(victim=place_of[q.victim], neighbour=place_of[q.neighbour])
    again = Additive(model, other).log_slowdown(moved, Traits(telemetry_of(world, solo), other))
    assert again == pytest.approx(said, abs=1e-12)


def test_what_the_model_has_not_seen_adds_nothing(world: ProfileTable) -> None:
    cells, _ = cells_of(world, solo_rates(world))
    fitted = fit_additive(cells, None, [Candidate(0, 1, 0.5, 0.5, 0.5)]).model
    names = (*cells.names, "new", "newer")
    said = Additive(fitted, names)
    q = queries(cells.take(np.arange(1)))
    new = q._replace(victim=np.array([4]), neighbour=np.array([5]))
    assert fitted.neighbours is not None
    assert said.log_slowdown(new, None) == pytest.approx(fitted.intercept)
    assert list(said.knows(new)) == [False]
    assert list(said.knows(new._replace(neighbour=np.array([0])))) == [True]
    effect = said.log_slowdown(new._replace(neighbour=np.array([0])), None) - fitted.intercept
    assert effect == pytest.approx(
        np.interp(q.neighbour_share, fitted.neighbours.share_pct, fitted.neighbours.values[:9])
    )


def test_groups_hold_exactly_what_is_left_out_together(world: ProfileTable) -> None:
    cells, _ = cells_of(world, solo_rates(world))
    pairs = groups_of(cells, "pair")
    assert len(pairs) == 10
    assert sum(rows.size for rows in pairs.values()) == cells.size
    assert {cells.names[w] for w in cells.victim[pairs["w0+w2"]]} == {"w0", "w2"}
    beside = groups_of(cells, "neighbour")["w1"]
    assert set(beside) == set(np.flatnonzero(cells.neighbour == 1))
    either = groups_of(cells, "workload")["w1"]
    assert set(either) == set(np.flatnonzero((cells.neighbour == 1) | (cells.victim == 1)))


def test_tables_of_pairs_hold_the_median_of_repeats_and_gaps() -> None:
    table = ProfileTable.of(
        workload="a",
        role="inference",
        gpu=GPU,
        share_pct=[20, 60, 20, 20, 20, 60],
        neighbour=["", "", "b", "b", "b", "b"],
        neighbour_share_pct=["", "", "30", "30", "40", "40"],
        rate=[10, 30, 8, 5, 4, 20],
    )
    cells, _ = cells_of(table, solo_rates(table))
    (full,) = measured_pairs(cells)
    assert not full.split
    assert full.slowdown[1:] == pytest.approx([2.5, None, 1.5])
    assert full.slowdown[0] == pytest.approx((10 / 8 + 2) / 2)
    (tied,) = measured_pairs(cells.take(np.array([1, 3])))
    assert tied.split
    assert (tied.victim_share_pct, tied.neighbour_share_pct) == ((20, 60), (30, 40))
    assert tied.slowdown == pytest.approx([2, 1.5])
