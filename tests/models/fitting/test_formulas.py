"""Single formulas: each family finds its own parameters again, and Mudi's form goes in and out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from colocate.errors import InputError
from colocate.models.curves import curve_rates
from colocate.models.fitting.formulas import FORMULAS, as_mudi, fit_formula
from colocate.models.fitting.rate_points import Points, gather_points
from colocate.profile import Curve, HyperbolaCurve, MudiCurve, PowerCurve, SoftMaximumCurve
from colocate.tables import ProfileTable

SHARES = np.array([10.0, 20, 30, 40, 50, 60, 80, 100])
ADAPTER: TypeAdapter[Curve] = TypeAdapter(Curve)

TRUTHS: dict[str, dict[str, Any]] = {
    "hyperbola": {"batches": [
        {"batch": 4, "min_share_pct": 10.0, "floor_s": 0.01, "work_s": 0.02, "flat_from_pct": 60.0},
        {"batch": 8, "min_share_pct": 10.0, "floor_s": 0.01, "work_s": 0.05},
    ]},
    "power": {"batches": [
        {"batch": 4, "min_share_pct": 10.0, "top_rate": 90.0, "exponent": 0.8,
         "flat_from_pct": 60.0},
    ]},
    "soft_maximum": {
        "floor_s": 0.03, "work_s": 0.004, "work_growth": 0.9, "sharpness": 3.0,
        "batches": [{"batch": b, "min_share_pct": 10.0} for b in (1, 4, 16)],
    },
    "mudi": {"batches": [
        {"batch": 4, "min_share_pct": 10.0, "k1": -3.0, "k2": -0.2, "cutoff_pct": 40.0,
         "l0_ms": 50.0},
    ]},
    "piecewise_linear": {"batches": [
        {"batch": 4, "min_share_pct": 10.0, "lines": [
            {"intercept": 2.0, "slope": 2.0}, {"intercept": 62.0, "slope": 0.5},
            {"intercept": 112.0, "slope": 0.0}]},
    ]},
    "monotone_table": {"batches": [
        {"batch": 4, "points": [
            {"share_pct": float(p), "rate": float(r)}
            for p, r in zip(SHARES, [1, 3, 4, 4, 6, 8, 9, 9], strict=True)]},
    ]},
}  # fmt: skip


def truth_of(family: str) -> Curve:
    return ADAPTER.validate_python({"family": family, **TRUTHS[family]})


def points_of(curve: Curve, noise: float = 0.0, seed: int = 0) -> list[Points]:
    rng = np.random.default_rng(seed)
    rows = []
    for at in curve.batches:
        rates = curve_rates(curve, at.batch, SHARES)
        assert rates is not None
        rows += [
            (at.batch, p, r * np.exp(rng.normal(0, noise)))
            for p, r in zip(SHARES.tolist(), rates.tolist(), strict=True)
        ]
    batch, share, rate = zip(*rows, strict=True)
    table = ProfileTable.of(
        workload="w", role="inference", gpu="G", batch=batch, share_pct=share, rate=rate
    )
    return gather_points(table)[0]


def largest_error(found: Curve, truth: Curve) -> float:
    worst = 0.0
    for at in truth.batches:
        said, right = curve_rates(found, at.batch, SHARES), curve_rates(truth, at.batch, SHARES)
        assert said is not None
        assert right is not None
        worst = max(worst, float(np.abs(said / right - 1).max()))
    return worst


@pytest.mark.parametrize("family", sorted(FORMULAS))
def test_a_family_finds_its_own_curves_again(family: str) -> None:
    truth = truth_of(family)
    found = fit_formula(points_of(truth), family)
    assert found.family == family
    assert [at.batch for at in found.batches] == [at.batch for at in truth.batches]
    assert largest_error(found, truth) < 0.01
    assert ADAPTER.validate_json(ADAPTER.dump_json(found)) == found


def test_parameters_mean_what_they_say() -> None:
    hyperbola = fit_formula(points_of(truth_of("hyperbola")), "hyperbola")
    assert isinstance(hyperbola, HyperbolaCurve)
    assert hyperbola.batches[0].floor_s == pytest.approx(0.01, rel=0.03)
    assert hyperbola.batches[0].work_s == pytest.approx(0.02, rel=0.03)
    assert hyperbola.batches[0].flat_from_pct == pytest.approx(60, rel=0.02)
    power = fit_formula(points_of(truth_of("power")), "power")
    assert isinstance(power, PowerCurve)
    assert power.batches[0].exponent == pytest.approx(0.8, abs=0.01)
    soft = fit_formula(points_of(truth_of("soft_maximum")), "soft_maximum")
    assert isinstance(soft, SoftMaximumCurve)
    assert soft.floor_s == pytest.approx(0.03, rel=0.03)
    assert soft.work_growth == pytest.approx(0.9, abs=0.02)
    mudi = fit_formula(points_of(truth_of("mudi")), "mudi")
    assert isinstance(mudi, MudiCurve)
    assert mudi.batches[0].cutoff_pct == 40
    assert mudi.batches[0].k1 == pytest.approx(-3, rel=0.02)
    assert mudi.batches[0].k2 == pytest.approx(-0.2, rel=0.02)


@pytest.mark.parametrize("factor", [0.2, 5.0])
@pytest.mark.parametrize("family", sorted(set(FORMULAS) - {"monotone_table"}))
def test_one_wrong_point_moves_a_formula_little(family: str, factor: float) -> None:
    """Squares would follow it; here the other points keep the curve, be it too high or too low.

    Lines with free knots have half as many parameters as there are points, so they bend most.
    """
    truth = truth_of(family)
    curves = points_of(truth, noise=0.01, seed=1)
    wrong = curves[0].log_time.copy()
    wrong[4] += np.log(factor)
    c = curves[0]
    curves[0] = Points(c.key, c.share_pct, wrong, c.noise, c.count, c.spread)
    allowed = 0.2 if family == "piecewise_linear" else 0.12
    assert largest_error(fit_formula(curves, family), truth) < allowed


def test_a_curve_goes_out_in_mudis_form_and_comes_in_again() -> None:
    own = truth_of("mudi")
    again = as_mudi(own)
    assert again.batches[0].cutoff_pct == 40
    assert largest_error(again, own) < 0.01
    other = as_mudi(truth_of("hyperbola"))
    assert all(at.k1 <= at.k2 <= 0 for at in other.batches)
    with pytest.raises(InputError, match="takes three"):
        as_mudi(own, [5.0, 20.0, 50.0])


def test_too_few_points_and_unknown_families_are_refused() -> None:
    one = [c.take(np.arange(1)) for c in points_of(truth_of("power"))]
    with pytest.raises(InputError, match="has 1 points at batch 4 on 'G'"):
        fit_formula(one, "power")
    with pytest.raises(InputError, match="no curve of family 'spline'"):
        fit_formula(one, "spline")
