"""The tuner that Mudi and IADeep share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.solvers.policies.gp_lcb import (
    Beta,
    gp_lcb,
    posterior,
    published_beta,
    standard_beta,
)

BATCHES = np.log2([16, 32, 64, 128, 256, 512])


def test_beta_as_printed() -> None:
    """2 log(6 / n^2): 3.58, 0.81, and nothing from the third measurement on."""
    assert published_beta(6, 1) == pytest.approx(2 * math.log(6))
    assert published_beta(6, 2) == pytest.approx(2 * math.log(1.5))
    assert [published_beta(6, n) for n in (3, 4, 6)] == [0.0, 0.0, 0.0]


def test_beta_of_the_theorem() -> None:
    """2 log(6 pi^2 / 0.6) = 9.184, and growing."""
    assert standard_beta(6, 1) == pytest.approx(9.184, abs=1e-3)
    assert standard_beta(6, 3) == pytest.approx(9.184 + 4 * math.log(3), abs=1e-3)


def test_posterior() -> None:
    """It goes through what was measured, and far away knows no more than the prior."""
    x, y = np.array([0.0, 0.1]), np.array([3.0, 5.0])
    mean, deviation = posterior(x, y, np.array([0.0, 0.1, 100.0]))
    assert mean == pytest.approx([3.0, 5.0, 4.0], abs=1e-3)
    assert deviation[:2] == pytest.approx([0.0, 0.0], abs=5e-3)
    assert deviation[2] == pytest.approx(y.std())


def test_posterior_between_two() -> None:
    """By hand, one measurement at 0 seen from L away: weight exp(-1/2), the rest is the mean."""
    weight = math.exp(-0.5)
    mean, deviation = posterior(np.array([0.0]), np.array([2.0]), np.array([0.3]))
    assert mean[0] == pytest.approx(2.0)
    assert deviation[0] == pytest.approx(math.sqrt(1 - weight**2), abs=1e-5)


@pytest.mark.parametrize("best", range(6))
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_valleys_are_found(best: int, unit: float) -> None:
    """Wherever the smallest of six is, and in whatever unit it is measured."""
    values = [unit * (1 + abs(i - best) ** 1.5) for i in range(6)]
    found = gp_lcb(BATCHES, values.__getitem__, standard_beta)
    assert found is not None
    assert (found.best, found.value) == (best, values[best])
    assert len(set(found.measured)) == len(found.measured)


def test_as_printed_it_stops_exploring() -> None:
    """Two valleys: with the printed beta the deeper one is never looked at."""
    values = [0.0, 9.0, 5.0, 6.0, 5.8, 5.9]
    printed = gp_lcb(BATCHES, values.__getitem__, published_beta)
    standard = gp_lcb(BATCHES, values.__getitem__, standard_beta)
    assert printed is not None
    assert standard is not None
    assert 0 not in printed.measured
    assert standard.best == 0


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=9),
    st.sampled_from([published_beta, standard_beta]),
)
def test_the_answer_is_a_measurement(values: list[float | None], beta: Beta) -> None:
    """What cannot be measured is never the answer, and nothing measured is better than it."""
    asked: list[int] = []

    def measure(i: int) -> float | None:
        asked.append(i)
        return values[i]

    found = gp_lcb(np.arange(len(values), dtype=float), measure, beta)
    assert len(set(asked)) == len(asked), "nothing is measured twice"
    if all(v is None for v in values):
        assert found is None
        return
    assert found is not None
    known = [values[i] for i in found.measured]
    assert found.value == values[found.best] == min(v for v in known if v is not None)
    assert None not in known


def test_rounds_are_limited() -> None:
    """No more measurements than asked for."""
    found = gp_lcb(BATCHES, lambda i: float(-i), standard_beta, most=2)
    assert found is not None
    assert len(found.measured) == 2
