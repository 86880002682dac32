"""From a table to fitted models: they predict, their bounds hold, and plans can use them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import colocate as co
from colocate.errors import InputError
from colocate.io import build_instance, dumps_models, parse_models
from colocate.models.fitting import fit
from colocate.models.fitting.fit import fit_models
from colocate.models.queries import predict
from colocate.profile import MemoryPoint
from colocate.profile.fitted import FittedModels
from colocate.schema import Evidence
from colocate.tables import ProfileTable
from tests.contention import GPU, draw_works, measure

WORKS = draw_works(8, seed=3)


@cache
def table() -> ProfileTable:
    return measure(WORKS, noise=0.01, seed=3)


@cache
def fitted() -> FittedModels:
    return fit_models(table())


def errors(models: FittedModels, rows: ProfileTable) -> np.ndarray:
    return np.abs(predict(models, rows).rate / rows.rates - 1)


def test_it_says_again_what_was_measured() -> None:
    assert errors(fitted(), table().take(table().alone)).mean() < 0.02
    assert errors(fitted(), table().take(~table().alone)).mean() < 0.02


def test_what_was_not_measured_is_told_better_than_by_ignoring_company() -> None:
    one, two = WORKS[0].name, WORKS[3].name
    names, others = table()["workload"], table()["neighbour"]
    hidden = ((names == one) & (others == two)) | ((names == two) & (others == one))
    models = fit_models(table().take(~hidden))
    rows = table().take(hidden)
    ignoring = np.abs(
        predict(models, rows.replace(neighbour="", neighbour_batch="", neighbour_share_pct="")).rate
        / rows.rates
        - 1
    )
    assert errors(models, rows).mean() < 0.3 * ignoring.mean()
    assert set(predict(models, rows).evidence) == {Evidence.REGRESSED}


def test_few_measured_splits_are_told_again_and_mend_the_rest() -> None:
    works = WORKS[:5]
    one, two = works[0].name, works[3].name
    t = measure(works, noise=0.002, seed=3)
    names, others = t["workload"], t["neighbour"]
    pair = ((names == one) & (others == two)) | ((names == two) & (others == one))
    at = np.where(names == one, t["share_pct"], 100 - t["share_pct"])
    spoiled = np.where(pair, 0.8 * t.rates, t.rates)  # a pair that the regression cannot foresee
    t = t.replace(rate=spoiled)
    without = fit_models(t.take(~pair))
    for splits in ([30], [30, 70], [20, 50, 80], [20, 40]):
        known = pair & np.isin(at, splits)
        models = fit_models(t.take(~pair | known))
        assert errors(models, t.take(known)).max() < 0.01, splits
        hidden = t.take(pair & ~known)
        assert errors(models, hidden).mean() < 0.5 * errors(without, hidden).mean(), splits
        evidence = "measured" if len(splits) >= 3 else "regressed"
        assert set(predict(models, t.take(known)).evidence) == {evidence}


def test_bounds_hold_on_a_second_measurement() -> None:
    """On average over worlds; the margin is the noise of both measurements, which meets here."""
    covered = []
    for seed in (2, 4):
        works = draw_works(8, seed)
        models = fit_models(measure(works, noise=0.01, seed=seed))
        again = measure(works, noise=0.01, seed=100 + seed)
        found = predict(models, again, confidence=0.9)
        assert (found.low > 0).all()
        for rows in (again.alone, ~again.alone):
            covered.append(np.mean(again.rates[rows] >= found.low[rows]))
            covered.append(np.mean(again.rates[rows] <= found.high[rows]))
    lows, highs = np.mean(covered[0::2]), np.mean(covered[1::2])
    assert 0.88 <= lows <= 1
    assert 0.85 <= highs <= 1


def test_a_level_that_the_data_cannot_reach_has_no_bound() -> None:
    found = predict(fitted(), table(), confidence=0.999)
    assert (found.low == 0).all()
    assert np.isinf(found.high).all()


def test_the_file_is_the_models() -> None:
    text = dumps_models(fitted())
    again = parse_models(text)
    assert again.sha256 == fitted().sha256
    assert dumps_models(again) == text


def test_the_same_table_in_another_order_makes_the_same_models() -> None:
    shuffled = table().take(np.random.default_rng(0).permutation(len(table())))
    assert dumps_models(fit_models(shuffled)) == dumps_models(fitted())


def test_the_report_names_what_was_left_out() -> None:
    t = table()
    spoiled = t["rate"].copy()
    victim = int(np.flatnonzero(t.alone & (t["share_pct"] == 50))[2])
    spoiled[victim] *= 5
    served = ProfileTable.of(
        workload=WORKS[0].name, role="inference", gpu=GPU, batch=4, share_pct=50, rate=7,
        arrival_rps=7,
    )  # fmt: skip
    report = fit_models(ProfileTable.join([t.replace(rate=spoiled), served])).report
    reasons = {left.reason: left.rows for left in report.left_out}
    assert any("offered load" in reason for reason in reasons)
    assert any("no curve" in reason for reason in reasons)
    assert report.rows == len(t) + 1
    assert {c.workload for c in report.curves} == {w.name for w in WORKS}


def test_every_family_is_in_the_report_with_its_error() -> None:
    for curve in fitted().report.curves:
        assert sum(f.weight for f in curve.families) == pytest.approx(1)
        assert {f.family for f in curve.families} > {"hyperbola", "power", "monotone_table"}
        errors = [f.error_pct for f in curve.families if f.error_pct is not None]
        assert len(errors) == len(curve.families)
        assert curve.error_pct is not None
        assert curve.error_pct <= max(errors)
    row = next(c for c in parse_models(dumps_models(fitted())).report.curves)
    assert row.families == fitted().report.curves[0].families


def test_without_company_there_are_curves_only() -> None:
    models = fit_models(table().take(table().alone))
    assert models.interference is None
    assert models.company == ()
    assert len(models.profiles) == len(WORKS)


def test_without_rates_alone_there_is_nothing() -> None:
    with pytest.raises(InputError, match="alone"):
        fit_models(table().take(~table().alone))


def test_an_instance_plans_with_the_models() -> None:
    models = fitted()
    serving = next(w.name for w in WORKS if w.role == "inference")
    training = next(w.name for w in WORKS if w.role == "training")
    alone = next(
        float(r)
        for w, p, r in zip(table()["workload"], table()["share_pct"], table().rates, strict=True)
        if (w, p) == (serving, 100)
    )

    def solved(confidence: float) -> co.Result:
        pool = {"id": "p", "gpu_type": GPU, "count": 1, "memory_gib": 40, "sm_count": 100}
        instance = build_instance(
            {
                "name": "fitted",
                "gpu_pools": [pool],
                "services": [
                    {"id": "s", "profile": serving, "rate_rps": 0.4 * alone, "slo_ms": 1e5}
                ],
                "tasks": [{"id": "t", "profile": training, "batch": 4, "memory_gib": 1.0}],
                "profiles": [
                    p.model_copy(update={"memory": (MemoryPoint(batch=4, memory_gib=1.0),)})
                    if p.workload == serving
                    else p
                    for p in models.profiles
                ],
                "interference": models.interference,
                "confidence": confidence,
                "slo_model": {"name": "fill"},
                "objective": {"name": "throughput"},
            }
        )
        return co.solve(instance)

    mean, bounded = solved(0.5), solved(0.9)
    assert mean.plan is not None
    assert bounded.plan is not None
    shares = [plan.placements[0].services[0].share_pct for plan in (mean.plan, bounded.plan)]
    assert shares[0] < shares[1], "more confidence takes a larger share"


def test_a_curve_from_one_point_has_no_bound() -> None:
    t = table()
    hidden = (t["workload"] == WORKS[0].name) & t.alone & (t["share_pct"] != 100)
    models = fit_models(t.take(~hidden))
    sparse = next(p for p in models.profiles if p.workload == WORKS[0].name)
    assert (sparse.evidence, sparse.rate_error) == (Evidence.REGRESSED, ())
    report = next(c for c in models.report.curves if c.workload == WORKS[0].name)
    assert "no bound" in report.notes[0]
    assert all(p.rate_error for p in models.profiles if p is not sparse)


def test_measured_pairs_stay_where_not_every_pair_is_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fit, "EVERY_PAIR", 3)
    models = fit_models(table())
    assert models.interference is not None
    # All pairs were measured here, those of one role included.
    assert len(models.interference.pairs) == len(WORKS) ** 2
    assert any("too many to list" in note for note in models.report.notes)


def test_rows_in_company_that_cannot_be_used_are_told_and_skipped() -> None:
    t = table()
    blind = t.replace(neighbour_share_pct="")
    models = fit_models(blind)
    assert models.interference is None
    assert any("could be used" in note for note in models.report.notes)


def test_what_contradicts_itself_is_told() -> None:
    row = ProfileTable.of(
        workload=WORKS[0].name, role="inference", gpu=GPU, batch=4, share_pct=[50, 50],
        rate=[100.0, 140.0], repeat=[1, 2],
    )  # fmt: skip
    own = (table()["workload"] == WORKS[0].name) & table().alone & (table()["share_pct"] == 50)
    notes = fit_models(ProfileTable.join([table().take(~own), row])).report.notes
    assert any(f"{WORKS[0].name} on {GPU}" in note and "100 and 140" in note for note in notes)


def test_shares_that_overlap_were_never_measured() -> None:
    asked = ProfileTable.of(
        workload=WORKS[0].name, role="inference", gpu=GPU, batch=4, share_pct=[40, 80],
        neighbour=WORKS[1].name, neighbour_batch="4", neighbour_share_pct=["60", "80"],
    )  # fmt: skip
    found = predict(fitted(), asked)
    assert np.isnan(found.rate).tolist() == [False, True]
    assert "never measured" in found.note[1]
