"""The families of rate curves: three evaluations that agree, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from colocate.models.curves import batches_of, curve_rates, rate_alone, rates_alone
from colocate.profile import BatchPoints, Curve, Profile
from colocate.schema import TOLERANCE
from colocate.testing import _plain_model as plain

SHARES = st.floats(0.01, 100.0)
SECONDS = st.floats(1e-9, 1e6)
ADAPTER: TypeAdapter[Curve] = TypeAdapter(Curve)


def profile_of(curve: dict[str, Any]) -> Profile:
    return Profile(
        workload="w", gpu_type="A", role="training", curve=ADAPTER.validate_python(curve)
    )


@st.composite
def at_batches(draw: st.DrawFn) -> list[dict[str, Any]]:
    batches = sorted(draw(st.sets(st.integers(1, 64), min_size=1, max_size=2)))
    return [{"batch": b, "min_share_pct": draw(SHARES)} for b in batches]


@st.composite
def hyperbolas(draw: st.DrawFn) -> dict[str, Any]:
    for_each = [
        {
            **at,
            "floor_s": draw(st.one_of(st.just(0.0), SECONDS)),
            "work_s": draw(SECONDS),
            "flat_from_pct": draw(SHARES),
        }
        for at in draw(at_batches())
    ]
    return {"family": "hyperbola", "batches": for_each}


@st.composite
def powers(draw: st.DrawFn) -> dict[str, Any]:
    for_each = [
        {
            **at,
            "top_rate": draw(st.floats(1e-6, 1e9)),
            "exponent": draw(st.floats(0, 2)),
            "flat_from_pct": draw(SHARES),
        }
        for at in draw(at_batches())
    ]
    return {"family": "power", "batches": for_each}


@st.composite
def soft_maxima(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "family": "soft_maximum",
        "floor_s": draw(st.one_of(st.just(0.0), SECONDS)),
        "floor_growth": draw(st.floats(0, 2)),
        "work_s": draw(SECONDS),
        "work_growth": draw(st.floats(0, 2)),
        "share_exponent": draw(st.floats(0, 2)),
        "sharpness": draw(st.floats(1, 100)),
        "batches": draw(at_batches()),
    }


@st.composite
def mudis(draw: st.DrawFn) -> dict[str, Any]:
    for_each = []
    for at in draw(at_batches()):
        cutoff, level = draw(SHARES), draw(st.floats(1e-3, 1e6))
        gentle = -draw(st.floats(0, 0.99)) * level / max(1.0, 100 - cutoff)
        steep = gentle - draw(st.floats(0, 1e3))
        for_each.append({**at, "k1": steep, "k2": gentle, "cutoff_pct": cutoff, "l0_ms": level})
    return {"family": "mudi", "batches": for_each}


@st.composite
def monotone_tables(draw: st.DrawFn) -> dict[str, Any]:
    rows = []
    for at in draw(at_batches()):
        shares = sorted(draw(st.sets(SHARES, min_size=1, max_size=6)))
        rates = sorted(
            draw(st.lists(st.floats(1e-3, 1e6), min_size=len(shares), max_size=len(shares)))
        )
        points = [{"share_pct": s, "rate": r} for s, r in zip(shares, rates, strict=True)]
        rows.append({"batch": at["batch"], "points": points})
    return {"family": "monotone_table", "batches": rows}


CURVES = st.one_of(hyperbolas(), powers(), soft_maxima(), mudis(), monotone_tables())


def interesting_shares(profile: Profile) -> list[float]:
    found = []
    for at in profile.curve.batches:
        marks = [p.share_pct for p in getattr(at, "points", ())]
        marks += [getattr(at, name, 50.0) for name in ("min_share_pct", "flat_from_pct")]
        marks.append(getattr(at, "cutoff_pct", 50.0))
        for s in marks:
            found += [s, math.nextafter(s, 0), math.nextafter(s, 200)]
            found += [s * (1 - TOLERANCE / 2), s * (1 - 3 * TOLERANCE)]
    return [s for s in found if 0 < s <= 100]


@given(CURVES, st.lists(SHARES, max_size=4))
def test_three_ways_to_evaluate_a_curve_agree(curve: dict[str, Any], shares: list[float]) -> None:
    profile = profile_of(curve)
    at = np.array([*interesting_shares(profile), *shares, 100.0])
    for batch in batches_of(profile):
        many = rates_alone(profile, batch, at)
        assert many is not None
        for share, found in zip(at.tolist(), many.tolist(), strict=True):
            assert found == pytest.approx(rate_alone(profile, batch, share), rel=1e-9, abs=1e-12)
            said = plain.rate_alone(profile, batch, share)
            assert found == pytest.approx(said, rel=1e-9, abs=1e-12)


@given(CURVES)
def test_rates_are_finite_never_fall_and_are_positive_where_offered(curve: dict[str, Any]) -> None:
    profile = profile_of(curve)
    for at in profile.curve.batches:
        first = at.points[0].share_pct if isinstance(at, BatchPoints) else at.min_share_pct
        shares = np.linspace(first, 100.0, 60)
        rates = rates_alone(profile, at.batch, shares)
        assert rates is not None
        assert np.isfinite(rates).all()
        assert (rates > 0).all()
        assert (np.diff(rates) >= -1e-9 * rates[1:]).all()
        below = rates_alone(profile, at.batch, np.array([first * 0.99]))
        assert below is not None
        assert below[0] == 0


@given(CURVES)
def test_a_curve_survives_json(curve: dict[str, Any]) -> None:
    parsed = ADAPTER.validate_python(curve)
    assert ADAPTER.validate_json(ADAPTER.dump_json(parsed)) == parsed
    assert curve_rates(parsed, 65, np.array([50.0])) is None


def test_values_by_hand() -> None:
    hyperbola = profile_of(
        {
            "family": "hyperbola",
            "batches": [
                {"batch": 8, "min_share_pct": 5.0, "floor_s": 0.1, "work_s": 0.2,
                 "flat_from_pct": 50.0}
            ],
        }
    )  # fmt: skip
    assert rate_alone(hyperbola, 8, 25.0) == pytest.approx(8 / 0.9)
    assert rate_alone(hyperbola, 8, 80.0) == pytest.approx(8 / 0.5)
    power = profile_of(
        {
            "family": "power",
            "batches": [
                {"batch": 1, "min_share_pct": 1.0, "top_rate": 90.0, "exponent": 0.5,
                 "flat_from_pct": 64.0}
            ],
        }
    )  # fmt: skip
    assert rate_alone(power, 1, 16.0) == pytest.approx(45.0)
    assert rate_alone(power, 1, 70.0) == 90.0
    soft = {
        "family": "soft_maximum", "floor_s": 0.3, "work_s": 0.1, "work_growth": 2.0,
        "sharpness": 2.0, "batches": [{"batch": 2, "min_share_pct": 1.0}],
    }  # fmt: skip
    assert rate_alone(profile_of(soft), 2, 100.0) == pytest.approx(2 / 0.5)
    mudi = {
        "family": "mudi",
        "batches": [
            {"batch": 4, "min_share_pct": 10.0, "k1": -2.0, "k2": -0.5, "cutoff_pct": 40.0,
             "l0_ms": 80.0}
        ],
    }  # fmt: skip
    assert rate_alone(profile_of(mudi), 4, 30.0) == pytest.approx(4 / 0.1)
    assert rate_alone(profile_of(mudi), 4, 60.0) == pytest.approx(4 / 0.07)
    points = [{"share_pct": 20.0, "rate": 1.0}, {"share_pct": 40.0, "rate": 2.0}]
    joined = {"family": "monotone_table", "batches": [{"batch": 1, "points": points}]}
    # proportional at both ends, so proportional between them
    assert rate_alone(profile_of(joined), 1, 25.0) == pytest.approx(1.25)


REFUSED = [
    ("a rate of zero time", {"family": "hyperbola", "batches": [
        {"batch": 1, "min_share_pct": 1.0, "floor_s": 0.0, "work_s": 0.0}]}, "at least 1e-09 s"),
    ("a floor below zero", {"family": "hyperbola", "batches": [
        {"batch": 1, "min_share_pct": 1.0, "floor_s": -1.0, "work_s": 2.0}]}, "greater than"),
    ("not a number", {"family": "power", "batches": [
        {"batch": 1, "min_share_pct": 1.0, "top_rate": math.nan, "exponent": 1.0}]}, "finite"),
    ("falling with the share", {"family": "power", "batches": [
        {"batch": 1, "min_share_pct": 1.0, "top_rate": 1.0, "exponent": -0.1}]}, "greater than"),
    ("batches out of order", {"family": "soft_maximum", "floor_s": 1.0, "work_s": 1.0,
        "sharpness": 1.0, "batches": [{"batch": 2, "min_share_pct": 1.0},
                                      {"batch": 1, "min_share_pct": 1.0}]}, "must ascend"),
    ("the steep line is the gentle one", {"family": "mudi", "batches": [
        {"batch": 1, "min_share_pct": 1.0, "k1": -1.0, "k2": -2.0, "cutoff_pct": 50.0,
         "l0_ms": 500.0}]}, "k1 must be as steep as k2"),
    ("a latency below zero", {"family": "mudi", "batches": [
        {"batch": 1, "min_share_pct": 1.0, "k1": -2.0, "k2": -2.0, "cutoff_pct": 50.0,
         "l0_ms": 99.0}]}, "would be -1 ms"),
    ("a table that falls", {"family": "monotone_table", "batches": [{"batch": 1, "points": [
        {"share_pct": 10.0, "rate": 2.0}, {"share_pct": 20.0, "rate": 1.0}]}]}, "must not fall"),
    ("a table from zero", {"family": "monotone_table", "batches": [{"batch": 1, "points": [
        {"share_pct": 10.0, "rate": 0.0}, {"share_pct": 20.0, "rate": 1.0}]}]}, "positive"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "curve", "words"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_makes_no_sense_is_refused(what: str, curve: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ADAPTER.validate_python(curve)
