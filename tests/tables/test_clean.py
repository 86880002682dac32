"""Repeats become one row, and what cannot all be true is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.tables import ProfileTable
from colocate.tables.clean import clean
from tests.tables.strategies import same, tables


def table(rates, **columns) -> ProfileTable:
    base = {"workload": "net", "role": "inference", "gpu": "A", "batch": 4.0, "share_pct": 50.0}
    return ProfileTable.of(**{**base, "rate": np.asarray(rates, dtype=float), **columns})


def test_repeats_become_their_mean_with_the_spread_between_them():
    found = clean(table([10.0, 10.2, 10.4], repeat=[0, 1, 2]))
    assert len(found.table) == 1
    assert found.repeats.tolist() == [3]
    assert found.table["rate"][0] == pytest.approx(10.2)
    assert found.table["rate_std"][0] == pytest.approx(0.2)
    assert np.isnan(found.table["repeat"][0])
    assert found.doubts == ()


def test_repeats_that_state_their_noise_are_weighted_by_it():
    found = clean(table([10.0, 11.0], rate_std=[0.1, 0.3]))
    assert found.table["rate"][0] == pytest.approx((10 * 9 + 11 * 1) / 10)
    within, between = (0.1**2 + 0.3**2) / 2, 0.5
    assert found.table["rate_std"][0] == pytest.approx(np.sqrt(within + between))


def test_a_single_row_keeps_its_values_to_the_last_bit():
    one = table([1 / 3], rate_std=[0.1], repeat=[7], latency_ms=[12000.0], driver="550.1")
    assert same(clean(one).table, one)


@pytest.mark.parametrize("wrong", [0.3, 3.0])
def test_an_outlier_among_three_or_more_is_left_out_and_named(wrong: float):
    found = clean(table([10.0, 10.1, 10.0 * wrong, 9.9]))
    [doubt] = found.doubts
    assert (doubt.kind, doubt.rows, doubt.dropped) == ("outlier", (2,), 1)
    assert found.table["rate"][0] == pytest.approx(10.0)
    assert found.repeats.tolist() == [3]


def test_two_repeats_that_disagree_are_both_kept_and_named():
    found = clean(table([10.0, 15.0]))
    [doubt] = found.doubts
    assert (doubt.kind, doubt.rows, doubt.dropped) == ("contradiction", (0, 1), 0)
    assert "between 10 and 15" in doubt.message
    assert found.table["rate"][0] == 12.5


def test_a_difference_within_the_tolerance_or_the_stated_noise_is_no_contradiction():
    assert clean(table([10.0, 10.9])).doubts == ()
    assert clean(table([10.0, 15.0], rate_std=[2.0, 2.0])).doubts == ()
    assert clean(table([10.0, 10.9]), tolerance=0.05).doubts[0].kind == "contradiction"


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("workload", ["a", "b"]),
        ("gpu", ["A", "B"]),
        ("batch", [1, 2]),
        ("batch", [1, np.nan]),
        ("share_pct", [10, 20]),
        ("neighbour", ["x", ""]),
        ("arrival_rps", [np.nan, 5]),
        ("processes", [1, 2]),
        ("driver", ["1", "2"]),
    ],
)
def test_rows_of_different_settings_stay_apart(column, values):
    assert len(clean(table([10.0, 10.0], **{column: values})).table) == 2


def test_the_order_of_neighbours_and_the_writing_of_their_numbers_do_not_matter():
    rows = table(
        [10.0, 10.4],
        neighbour=["b+a", "a+b"],
        neighbour_batch=["8+4", "4.0+8"],
        neighbour_share_pct=["20+20.0", "20"],
        processes=[1, np.nan],
    )
    found = clean(rows).table
    assert len(found) == 1
    assert found["neighbour"][0] == "a+b"
    assert found["neighbour_batch"][0] == "4+8"
    assert found["neighbour_share_pct"][0] == "20+20"


def test_a_workload_with_two_roles_keeps_the_more_frequent_one():
    rows = table([1.0, 2.0, 3.0], role=["training", "inference", "training"], batch=[1, 2, 3])
    found = clean(rows)
    assert found.table["role"].tolist() == ["training", "training"]
    [doubt] = found.doubts
    assert (doubt.kind, doubt.rows, doubt.dropped) == ("role", (1,), 1)
    roles, gpus = ["training", "training", "inference"], ["A", "A", "B"]
    found = clean(table([1.0, 2.0, 3.0], role=roles, gpu=gpus, batch=[1, 2, 3]))
    assert found.table["gpu"].tolist() == ["A", "A"]
    assert (found.doubts[0].gpu, found.doubts[0].rows) == ("B", (2,))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_between_two_roles_in_as_many_rows_the_order_of_rows_does_not_decide(order):
    rows = table([1.0, 2.0], role=["training", "inference"]).take(order)
    assert clean(rows).table["role"].tolist() == ["inference"]


def test_merged_repeats_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(0)
    rows = table(
        rng.lognormal(2, 0.4, 12),
        share_pct=np.tile([20.0, 60.0], 6),
        rate_std=rng.uniform(0.1, 0.2, 12),
        latency_ms=rng.uniform(300, 500, 12),
        latency_p99_ms=rng.uniform(200, 600, 12),
    )

    def cleaned(order):
        found = clean(rows.take(order))
        by_share = found.table.take(np.argsort(found.table["share_pct"]))
        return [c.tolist() for c in by_share.columns.values()], [
            (d.kind, d.gpu, d.message, d.dropped) for d in found.doubts
        ]

    first = cleaned(np.arange(12))
    assert {kind for kind, *_ in first[1]} >= {"percentile", "latency", "contradiction"}
    for _ in range(20):
        assert repr(cleaned(rng.permutation(12))) == repr(first)


def test_a_rate_that_is_far_from_batch_over_latency_is_named():
    rows = table([100.0, 100.0, 100.0], batch=[1, 2, 4], latency_ms=[10.0, 0.02, 50.0])
    found = clean(rows)
    [doubt] = found.doubts
    assert (doubt.kind, doubt.rows) == ("latency", (1,))
    assert len(found.table) == 3
    together = table([400.0], batch=[4], latency_ms=[20.0], processes=[2])
    assert clean(together).doubts == ()
    loaded = table([1.0], latency_ms=[20.0], arrival_rps=[1.0])
    assert clean(loaded).doubts == ()


def test_a_percentile_below_the_mean_is_named():
    rows = table([200.0] * 2, batch=[4, 8], latency_ms=[20, 40], latency_p99_ms=[19, 41])
    [doubt] = clean(rows).doubts
    assert (doubt.kind, doubt.rows) == ("percentile", (0,))


def test_latencies_take_the_median_and_memory_the_maximum():
    rows = table(
        [np.nan] * 3,
        latency_ms=[10.0, 10.1, 10.5],
        memory_gib=[2.0, np.nan, 2.5],
        sm_activity_pct=[np.nan] * 3,
    )
    found = clean(rows).table
    assert np.isnan(found["rate"][0])
    assert found["latency_ms"][0] == 10.1
    assert found["memory_gib"][0] == 2.5
    assert np.isnan(found["sm_activity_pct"][0])
    assert found["rate_std"][0] == pytest.approx(np.std(4000 / rows["latency_ms"], ddof=1))


def test_outliers_known_by_their_latency_are_left_out_too():
    found = clean(table([np.nan] * 3, latency_ms=[10.0, 30.0, 10.2]))
    assert found.doubts[0].rows == (1,)
    assert found.table["latency_ms"][0] == pytest.approx(10.1)


def test_tables_without_rows_stay_so():
    found = clean(ProfileTable.of())
    assert (len(found.table), found.doubts) == (0, ())


@given(tables(max_rows=3), st.integers(2, 4), st.randoms(use_true_random=False))
def test_cleaning_is_done_once_and_for_all(rows: ProfileTable, n: int, random):
    single = clean(rows)
    again = clean(single.table)
    assert same(again.table, single.table)
    assert (again.repeats == 1).all()
    # exact repeats are one measurement
    many = clean(ProfileTable.join([rows] * n))
    assert len(many.table) == len(single.table)
    assert many.repeats.sum() == n * single.repeats.sum()
    np.testing.assert_allclose(many.table["rate"], single.table["rate"], rtol=1e-12)
    # the order of rows does not matter
    order = list(range(len(single.table)))
    random.shuffle(order)
    assert same(clean(single.table.take(order)).table, single.table.take(order))


def test_the_input_is_not_changed():
    rows = table([10.0, 11.0], neighbour=["b+a", "a+b"], neighbour_batch=["1+2", "2+1"])
    before = {name: column.copy() for name, column in rows.columns.items()}
    clean(rows)
    assert all((rows[n].astype(str) == c.astype(str)).all() for n, c in before.items())
