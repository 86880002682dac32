"""Rate fits: truth from few points, wrong cells, steps of the device, batches, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from colocate.errors import InputError
from colocate.models.curves import curve_rates
from colocate.models.fitting.rate_families import explained, predictions
from colocate.models.fitting.rate_points import MOST_SHARES, gather_points
from colocate.models.fitting.rate_shapes import FAMILIES
from colocate.models.fitting.rates import RateFits, RateSettings, fit_rates
from colocate.tables import ProfileTable

SHARES = np.array([10.0, 20, 30, 40, 50, 60, 70, 80, 90, 100])
FEW = (10.0, 30.0, 60.0, 100.0)


def seconds(batch: Any, share: Any, floor: float, work: float, sharpness: float = 2.0) -> Any:
    parts = floor**sharpness + (work * batch * 100 / share) ** sharpness
    return parts ** (1 / sharpness)


def measured(
    shares: tuple[float, ...] = FEW,
    *,
    batches: tuple[int, ...] = (4,),
    workloads: int = 8,
    noise: float = 0.0,
    seed: int = 0,
) -> ProfileTable:
    """Workloads whose knees lie between a fifth of the GPU and beyond all of it."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"w{i}", b, p, b / seconds(b, p, 0.02, 0.002 * 1.45**i / 4) * np.exp(rng.normal(0, noise)))
        for i in range(workloads)
        for b in batches
        for p in shares
    ]
    names, b, p, rate = zip(*rows, strict=True)
    return ProfileTable.of(
        workload=names, role="inference", gpu="G", batch=b, share_pct=p, rate=rate
    )


def errors(fits: RateFits, truth: ProfileTable) -> Any:
    said = fits.predict(truth["workload"], truth["gpu"], truth["batch"], truth["share_pct"])
    return np.abs(said / truth.rates - 1)


def test_shares_that_were_not_measured_are_predicted() -> None:
    """Better than straight lines between the rates, at the shares between the measured ones."""
    every = measured(tuple(SHARES))
    truth = every.take(~np.isin(every["share_pct"], FEW))
    found = errors(fit_rates(measured()), truth)
    points = measured()
    straight = [
        abs(np.interp(p, FEW, points.rates[points["workload"] == w]) / r - 1)
        for w, p, r in zip(truth["workload"], truth["share_pct"], truth.rates, strict=True)
    ]
    assert found.mean() < 0.02
    assert found.mean() < 0.75 * np.mean(straight)


def test_noise_is_smoothed_not_followed() -> None:
    truth, noisy = measured(tuple(SHARES)), measured(tuple(SHARES), noise=0.04)
    own = np.abs(noisy.rates / truth.rates - 1).mean()
    assert errors(fit_rates(noisy), truth).mean() < 0.75 * own


def with_wrong_cell(share: float, factor: float) -> tuple[RateFits, RateFits, ProfileTable, Any]:
    table, truth = measured(), measured(tuple(SHARES))
    rate = table["rate"].copy()
    rate[(table["workload"] == "w5") & (table["share_pct"] == share)] *= factor
    own = truth["workload"] == "w5"
    return fit_rates(table), fit_rates(table.replace(rate=rate)), truth, own


DETECTABLE = [(s, f) for s in FEW for f in (0.3, 3.0) if (s, f) != (10.0, 3.0)]


@pytest.mark.parametrize(("share", "factor"), DETECTABLE)
def test_one_wrong_cell_spoils_neither_its_curve_nor_others(share: float, factor: float) -> None:
    before, after, truth, own = with_wrong_cell(share, factor)
    assert errors(after, truth)[own].mean() < 0.08
    assert [(d.key.workload, d.share_pct) for d in after.dropped] == [("w5", share)]
    assert not before.dropped
    asked = [truth[c][~own] for c in ("workload", "gpu", "batch", "share_pct")]
    np.testing.assert_allclose(after.predict(*asked), before.predict(*asked), rtol=0.02)


def test_a_wrong_end_within_physics_stays_but_harms_no_other_curve() -> None:
    """Thrice the rate at 10 % is about that at 30 %: a flat start, which some curves have."""
    before, after, truth, own = with_wrong_cell(10.0, 3.0)
    assert not after.dropped
    right = truth["share_pct"] >= 60
    assert errors(after, truth)[own & right].mean() < 0.06
    asked = [truth[c][~own] for c in ("workload", "gpu", "batch", "share_pct")]
    np.testing.assert_allclose(after.predict(*asked), before.predict(*asked), rtol=0.02)


def test_a_lone_point_far_from_the_others_is_not_taken_for_wrong() -> None:
    """At 5 % the rate is a tenth; the three points on the flat part must not outvote it."""
    table = measured((5.0, 70.0, 85.0, 100.0), workloads=4)
    fits = fit_rates(table)
    assert not fits.dropped
    low = fits.predict("w1", "G", 4, 5.0) / fits.predict("w1", "G", 4, 100.0)
    truth = seconds(4, 100, 0.02, 0.002 * 1.45 / 4) / seconds(4, 5, 0.02, 0.002 * 1.45 / 4)
    assert low == pytest.approx(truth, rel=0.05)


def test_steps_of_the_device_are_learnt_from_other_workloads() -> None:
    """From 35 % on everything gets 15 % more; no curve has points beside the step itself."""
    rng = np.random.default_rng(1)
    every = np.arange(5.0, 101.0, 5.0)
    rows: list[tuple[str, float, float, bool]] = []
    for i in range(14):
        chosen_shares = {5.0, 100.0, *rng.choice(every[1:-1], 4, replace=False)}
        for p in every:
            used = p * (1.15 if p >= 35 else 1.0)
            time = max(0.02, 0.02 * (30 + 7 * i) / used)
            rows.append((f"w{i:02}", p, 8 / time, p in chosen_shares))
    names, shares, rates, known = zip(*rows, strict=True)
    table = ProfileTable.of(
        workload=names, role="training", gpu="G", batch=8, share_pct=shares, rate=rates
    )
    chosen = np.array(known)
    fits = fit_rates(table.take(chosen))
    assert "G" in fits.steps
    shift = fits.steps["G"].at(np.array([25.0, 45.0]))
    assert 0.08 < shift[1] - shift[0] < 0.2  # log 1.15 = 0.14
    assert errors(fits, table.take(~chosen)).mean() < 0.04


def test_batches_between_and_beyond_are_predicted() -> None:
    table = measured((10.0, 30.0, 100.0), batches=(1, 8))
    truth = measured((20.0, 60.0), batches=(2, 4, 16))
    found = errors(fit_rates(table), truth)
    assert found[truth["batch"] < 8].mean() < 0.05
    assert found[truth["batch"] > 8].mean() < 0.08


def test_a_batch_with_one_point_borrows_its_shape() -> None:
    full = measured(batches=(2, 4, 8, 16))
    lonely = (full["batch"] == 8) & (full["share_pct"] != 100)
    fits = fit_rates(full.take(~lonely))
    truth = measured((30.0, 60.0, 100.0), batches=(8,))
    assert errors(fits, truth).mean() < 0.05


def test_times_fall_with_the_share_and_grow_with_the_batch() -> None:
    table = measured(tuple(SHARES), batches=(1, 2, 3, 4), workloads=4, noise=0.2, seed=3)
    fits = fit_rates(table).fits.values()
    for fit in fits:
        assert (np.diff(fit.log_time, axis=1) <= 1e-9).all()
        assert (np.diff(fit.log_time, axis=0) >= -1e-9).all()
    notes = [n for f in fits for n in f.notes]
    assert any("the rate falls" in n for n in notes)
    assert any("takes less time than batch" in n for n in notes)


def test_the_curve_says_what_the_fit_says() -> None:
    fits = fit_rates(measured(batches=(2, 8)))
    for (workload, gpu), fit in fits.fits.items():
        curve = fit.curve()
        for batch in (2, 8):
            shares = np.linspace(10, 100, 77)
            from_curve = curve_rates(curve, batch, shares)
            assert from_curve is not None
            said = fits.predict(workload, gpu, batch, shares)
            np.testing.assert_allclose(from_curve, said, rtol=0.003)
            below = curve_rates(curve, batch, np.array([9.0]))
            assert below is not None
            assert below[0] == 0  # smaller shares were not measured
        assert all(len(at.points) < 40 for at in curve.batches)
        assert [at.batch for at in fit.curve((2, 4, 8)).batches] == [2, 4, 8]


def test_the_order_of_rows_does_not_matter() -> None:
    table = measured(noise=0.02)
    mixed = table.take(np.random.default_rng(0).permutation(len(table)))
    asked = (table["workload"], table["gpu"], table["batch"], 45.0)
    np.testing.assert_array_equal(
        fit_rates(table).predict(*asked), fit_rates(mixed).predict(*asked)
    )


def test_held_out_errors_are_those_of_points_that_had_no_part() -> None:
    fits = fit_rates(measured(noise=0.02, seed=5))
    assert len(fits.held_out) == 8 * 2  # the two inner shares of eight curves
    assert {h.share_pct for h in fits.held_out} == {30.0, 60.0}
    mean = np.mean([abs(np.expm1(h.log_error)) for h in fits.held_out])
    assert 0.005 < mean < 0.15
    for fit in fits.fits.values():
        assert fit.error is not None
        assert sum(fit.weights.values()) == pytest.approx(1)


def test_each_family_has_the_error_that_it_makes_alone() -> None:
    table = measured(noise=0.02, seed=5)
    fits = fit_rates(table).fits
    for family in ("hyperbola", "power", "soft_maximum", "monotone_table"):
        alone = fit_rates(table, RateSettings(members=(family,))).fits
        for key, fit in fits.items():
            assert fit.family_errors[family] == pytest.approx(alone[key].error)
            assert fit.family_errors.keys() == fit.weights.keys()
    few = fit_rates(table.take(np.isin(table["share_pct"], [10, 100])))
    assert all(f.error is None and not f.family_errors for f in few.fits.values())


def test_rows_that_say_nothing_about_rates_alone_are_counted() -> None:
    table = measured(workloads=3)
    n = len(table)
    odd = table.take([0, 1, 2, 3, 4])
    odd = odd.replace(
        arrival_rps=[5, np.nan, np.nan, np.nan, np.nan],
        processes=[np.nan, 2, np.nan, np.nan, np.nan],
        rate=[9, 9, 0, 9, 9],
        batch=[4, 4, 4, 1.5, 4],
        neighbour=["", "", "", "", "x"],
    )
    fits = fit_rates(ProfileTable.join([table, odd]))
    assert sorted(fits.left_out.values()) == [1, 1, 1, 1]
    alone = fit_rates(table)
    asked = (table["workload"], table["gpu"], table["batch"], table["share_pct"])
    np.testing.assert_array_equal(fits.predict(*asked), alone.predict(*asked))
    assert len(table) == n


def test_what_was_never_measured_is_unknown() -> None:
    fits = fit_rates(measured(workloads=2))
    assert np.isnan(fits.predict(["nobody", "w0"], ["G", "other"], 4, 50.0)).all()


def test_one_family_alone_and_nonsense() -> None:
    table = measured()
    fits = fit_rates(table, RateSettings(members=("hyperbola",)))
    assert {tuple(f.weights) for f in fits.fits.values()} == {("hyperbola",)}
    with pytest.raises(InputError, match="no family 'spline'"):
        fit_rates(table, RateSettings(members=("spline",)))
    with pytest.raises(InputError, match="no row of the table"):
        fit_rates(table.replace(neighbour="x"))


def test_above_the_largest_measured_share_the_rate_stays() -> None:
    full = measured(tuple(SHARES), batches=(2, 8), noise=0.01)
    cut = (full["workload"] == "w7") & (full["share_pct"] > 30)
    one = cut & (full["batch"] == 8)
    for left_out, batches in ((cut, (2, 4, 8)), (one, (8,))):
        fits = fit_rates(full.take(~left_out))
        curve = fits.fits["w7", "G"].curve(batches)
        for batch in batches:
            said = fits.predict("w7", "G", batch, np.array([20.0, 30.0, 31.0, 60.0, 100.0]))
            assert said[0] < said[1]
            np.testing.assert_allclose(said[2:], said[1], rtol=1e-12)
            at_ends = curve_rates(curve, batch, np.array([30.0, 100.0]))
            assert at_ends is not None
            np.testing.assert_allclose(at_ends, said[1], rtol=1e-9)
    # the other batch goes on, as does the other workload
    on = fits.predict(["w7", "w6"], "G", [2, 8], 100.0)
    assert (on > 2 * fits.predict(["w7", "w6"], "G", [2, 8], 30.0)).all()


def test_a_point_that_is_left_out_opens_no_share() -> None:
    table = measured(tuple(SHARES))
    wrong = (table["workload"] == "w7") & (table["share_pct"] == 10)
    fits = fit_rates(table.replace(rate=np.where(wrong, 8.0, 1.0) * table.rates))
    assert [(d.key.workload, d.share_pct) for d in fits.dropped] == [("w7", 10.0)]
    firsts = [fits.fits[w, "G"].curve().batches[0].points[0].share_pct for w in ("w6", "w7")]
    assert firsts == [10.0, 20.0]


def test_curves_fitted_together_are_fitted_as_each_alone() -> None:
    table = measured(tuple(SHARES), noise=0.02)
    chosen = np.random.default_rng(0).random(len(table)) < 0.6  # other shares for each
    curves, _ = gather_points(table.take(chosen))
    assert len({len(c) for c in curves}) < len({c.share_pct.tobytes() for c in curves})
    together = predictions(curves, FAMILIES, SHARES)
    said, elastic = explained(curves)
    for i, curve in enumerate(curves):
        np.testing.assert_allclose(together[:, [i]], predictions([curve], FAMILIES, SHARES))
        (said_alone,), (elastic_alone,) = explained([curve])
        np.testing.assert_allclose(said[i], said_alone)
        np.testing.assert_allclose(elastic[i], elastic_alone, atol=1e-9)


def test_many_shares_are_merged_for_the_fit_only() -> None:
    rng = np.random.default_rng(0)
    shares = tuple(np.sort(rng.uniform(5, 100, 300)).tolist())
    table = measured(shares, workloads=3, noise=0.02)
    curves, _ = gather_points(table)
    for curve in curves:
        thin = curve.thinned()
        assert len(thin) == MOST_SHARES
        assert (np.diff(thin.share_pct) > 0).all()
        assert list(thin.share_pct[[0, -1]]) == [shares[0], shares[-1]]
        assert thin.count.sum() == curve.count.sum() == 300
        assert thin.noise.max() == thin.noise[0] == 1.0
        few = curve.take(np.arange(MOST_SHARES))
        assert few.thinned() is few
    fits = fit_rates(table)
    assert [len(p) for fit in fits.fits.values() for p in fit.points] == [300] * 3
    assert fits.fits["w0", "G"].share_pct.size < 100 + 3 * MOST_SHARES
    assert errors(fits, measured(shares, workloads=3)).mean() < 0.01


def test_one_point_gives_a_rising_guess_that_passes_through_it() -> None:
    fits = fit_rates(measured((50.0,), workloads=1))
    said = fits.predict("w0", "G", 4, np.array([25.0, 50.0, 100.0]))
    assert np.isfinite(said).all()
    assert (np.diff(said) >= 0).all()
    assert said[1] == pytest.approx(4 / seconds(4, 50, 0.02, 0.0005), rel=1e-6)
