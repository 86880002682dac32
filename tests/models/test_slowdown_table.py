"""Slowdown tables: three faces and the oracle's reading agree, and mean what the page says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.models.interference import Knobs, pair_table, slowdown
from colocate.models.slowdown_table import read, read_many, tabulate
from colocate.profile import Interference, SlowdownTable
from colocate.testing._company import table_at

BATCHES = st.integers(1, 300)
SHARES = st.one_of(st.integers(1, 100), st.floats(0.01, 100.0))
AXIS_OF_BATCHES = st.sets(BATCHES, min_size=1, max_size=4).map(lambda axis: tuple(sorted(axis)))
AXIS_OF_SHARES = st.sets(SHARES, min_size=1, max_size=4).map(
    lambda axis: tuple(float(share) for share in sorted(axis))
)


@st.composite
def tables(draw: st.DrawFn) -> SlowdownTable:
    batches = draw(AXIS_OF_BATCHES), draw(AXIS_OF_BATCHES)
    shares = draw(AXIS_OF_SHARES), draw(AXIS_OF_SHARES)
    n = len(batches[0]) * len(batches[1]) * len(shares[0]) * len(shares[1])
    values = draw(st.lists(st.floats(0.5, 100.0), min_size=n, max_size=n))
    return SlowdownTable(
        victim_batch=batches[0],
        neighbour_batch=batches[1],
        victim_share_pct=shares[0],
        neighbour_share_pct=shares[1],
        slowdown=tuple(values),
    )


def nodes_of(table: SlowdownTable) -> list[tuple[float, ...]]:
    return list(
        itertools.product(
            table.victim_batch,
            table.neighbour_batch,
            table.victim_share_pct,
            table.neighbour_share_pct,
        )
    )


@given(
    tables(), st.lists(BATCHES, min_size=1, max_size=3), st.lists(SHARES, min_size=1, max_size=3)
)
def test_all_faces_agree(table: SlowdownTable, batches: list[int], shares: list[float]) -> None:
    """One reading, a grid of readings, many readings, and the oracle's own way."""
    axes: tuple[list[float], ...] = (
        [*batches, *table.victim_batch],
        [*table.neighbour_batch, *batches],
        [*shares, *table.victim_share_pct],
        [*table.neighbour_share_pct, *shares],
    )
    grid = tabulate(table, *axes)
    many = read_many(table, *np.meshgrid(*axes, indexing="ij"))
    assert grid.shape == many.shape == tuple(len(axis) for axis in axes)
    np.testing.assert_allclose(grid, many, rtol=1e-9)
    for at in itertools.product(*(range(len(axis)) for axis in axes)):
        knobs = [axis[i] for axis, i in zip(axes, at, strict=True)]
        one = read(table, *knobs)
        assert one == pytest.approx(grid[at], rel=1e-9)
        other = table_at(table, int(knobs[0]), int(knobs[1]), *knobs[2:])
        assert one == pytest.approx(other, rel=1e-9)


@given(tables())
def test_a_node_has_its_own_value(table: SlowdownTable) -> None:
    """The last axis runs fastest."""
    for value, knobs in zip(table.slowdown, nodes_of(table), strict=True):
        assert read(table, *knobs) == pytest.approx(value, rel=1e-12)


@given(tables(), BATCHES, BATCHES, SHARES, SHARES)
def test_nothing_lies_beyond_the_values(
    table: SlowdownTable, victim: int, neighbour: int, mine: float, other: float
) -> None:
    """Beyond the ends the nearest end counts, so no reading is outside what was measured."""
    found = read(table, victim, neighbour, mine, other)
    assert min(table.slowdown) * (1 - 1e-12) <= found <= max(table.slowdown) * (1 + 1e-12)
    ends = (
        min(max(victim, table.victim_batch[0]), table.victim_batch[-1]),
        min(max(neighbour, table.neighbour_batch[0]), table.neighbour_batch[-1]),
        min(max(mine, table.victim_share_pct[0]), table.victim_share_pct[-1]),
        min(max(other, table.neighbour_share_pct[0]), table.neighbour_share_pct[-1]),
    )
    assert found == read(table, *ends)


def table_over(axis: str, at: list[float], values: list[float]) -> SlowdownTable:
    axes: dict[str, list[float]] = {
        "victim_batch": [1],
        "neighbour_batch": [1],
        "victim_share_pct": [100.0],
        "neighbour_share_pct": [100.0],
        axis: at,
    }
    return SlowdownTable.model_validate({**axes, "slowdown": values})


def test_batches_count_by_their_logarithm_and_shares_as_they_are() -> None:
    """Batch 4 lies midway between 1 and 16; share 4 does not."""
    for i, axis in enumerate(("victim_batch", "neighbour_batch")):
        knobs: list[float] = [3, 7, 20.0, 30.0]
        knobs[i] = 4
        assert read(table_over(axis, [1, 16], [1.0, 3.0]), *knobs) == pytest.approx(2.0)
    for i, axis in enumerate(("victim_share_pct", "neighbour_share_pct"), 2):
        knobs = [3, 7, 90.0, 80.0]
        knobs[i] = 4.0
        assert read(table_over(axis, [1.0, 16.0], [1.0, 3.0]), *knobs) == pytest.approx(1.4)


def test_a_table_of_a_pair() -> None:
    """The victim is read at what is sure, the neighbour at the most; the error widens the bound."""
    table = {
        "victim_batch": [1, 4],
        "neighbour_batch": [8],
        "victim_share_pct": [20.0, 40.0],
        "neighbour_share_pct": [50.0, 100.0],
        "slowdown": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    }
    pair = {"gpu_type": "A", "victim": "v", "neighbour": "n", "table": table}
    model = Interference.model_validate(
        {
            "pairs": [{**pair, "error": [{"confidence": 0.9, "relative": 0.5}]}],
            "default_slowdown": 2.0,
        }
    )
    at, beside = Knobs(2, 20.0, 35.0), Knobs(8, 10.0, 75.0)
    found = slowdown(model, "A", "v", ["n"], 0.9, at=at, beside=[beside])
    assert found is not None
    # Midway between the batches, and midway between the shares of the neighbour.
    assert found.mean == pytest.approx(3.5)
    assert found.high == pytest.approx(3.5 * 1.5)
    twice = slowdown(model, "A", "v", ["n", "n"], 0.5, at=at, beside=[beside, Knobs(8, 1.0, 50.0)])
    assert twice is not None
    assert twice.mean == twice.high == pytest.approx(3.5 * 3.0)
    with pytest.raises(ValueError, match="'v' beside 'n' depends on knobs"):
        slowdown(model, "A", "v", ["n"], 0.5)
    arrays = pair_table(model, "A", ["v", "n"], 0.9)
    assert list(arrays.tables) == [(0, 1)]
    assert arrays.tables[0, 1].wider == pytest.approx(1.5)
    assert (arrays.mean[0, 1], arrays.high[0, 1]) == (1.0, 1.5)


def test_a_table_of_one_value_is_a_number() -> None:
    """It takes the quick way."""
    table = table_over("victim_batch", [8], [1.5])
    pair = {"gpu_type": "A", "victim": "v", "neighbour": "n", "table": table}
    model = Interference.model_validate({"pairs": [pair]})
    arrays = pair_table(model, "A", ["v", "n"], 0.5)
    assert not arrays.tables
    assert arrays.mean[0, 1] == 1.5
