"""Workloads that are known by their layers: told from those built alike, and never surer."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from colocate.errors import InputError
from colocate.io import dumps_models, parse_models
from colocate.models.bounds import relative_error
from colocate.models.fitting.fit import fit_models
from colocate.models.queries import predict
from colocate.profile.fitted import FittedModels
from colocate.schema import Evidence
from colocate.tables import ProfileTable
from colocate.tables.layers import Layers
from tests.contention import Work, measure, queue

RNG = np.random.default_rng(3)
WORKS = [
    Work(
        f"w{k}",
        "training" if k % 2 else "inference",
        float(RNG.uniform(0.5, 3)) * 1e-3,
        float(RNG.uniform(1, 6)) * 1e-3,
        float(RNG.uniform(0.2, 9)) * 1e-3,
        float(RNG.uniform(0.4, 1)),
    )
    for k in range(10)
]
COLD = "w4"
"""A service; it is measured alone and has no telemetry."""


def layers_of(works: list[Work], **more: str) -> Layers:
    """Return counts that tell how much a workload computes, moves and waits."""
    counts = {
        w.name: {
            "conv": round(1e5 * w.compute),
            "fc": round(1e5 * w.memory),
            "other": round(1e5 * w.host),
        }
        for w in works
    }
    return Layers(counts, more)


@cache
def world() -> ProfileTable:
    return measure(WORKS, noise=0.005, seed=3, stretch=queue)


def hidden(*names: str) -> np.ndarray:
    t = world()
    return (np.isin(t["workload"], names) | np.isin(t["neighbour"], names)) & ~t.alone


@cache
def table() -> ProfileTable:
    """Return the world as it is known: nobody met w4, whose activity was not recorded either."""
    t = world().take(~hidden(COLD))
    own = t["workload"] == COLD
    blind = {k: np.where(own, np.nan, t[k]) for k in ("sm_activity_pct", "dram_activity_pct")}
    return t.replace(**blind)


@cache
def fitted(with_layers: bool = True) -> FittedModels:
    return fit_models(table(), layers=layers_of(WORKS) if with_layers else None)


def test_a_stranger_is_told_better_than_without_its_layers() -> None:
    rows = world().take(hidden(COLD))
    ignoring = rows.replace(neighbour="", neighbour_batch="", neighbour_share_pct="")

    def error(models: FittedModels, asked: ProfileTable) -> float:
        return float(np.abs(predict(models, asked).rate / rows.rates - 1).mean())

    cold = error(fitted(), rows)
    assert cold < 0.5 * error(fitted(with_layers=False), rows)
    assert cold < 0.15 * error(fitted(), ignoring)


def test_a_guess_says_so_and_promises_less_than_a_regression() -> None:
    models = fitted()
    (company,) = models.company
    assert [t.workload for t in company.telemetry if t.guessed] == [COLD]
    rows = world().take(hidden(COLD))
    for confidence in (0.8, 0.9):
        found = predict(models, rows, confidence=confidence)
        assert set(found.evidence) == {Evidence.CONSTANT}
        by = {c.evidence: c for c in models.calibration if c.what == "company"}
        guess, regressed = by[Evidence.CONSTANT], by[Evidence.REGRESSED]
        for side in ("low", "high"):
            own, other = (relative_error(getattr(c, side), confidence) for c in (guess, regressed))
            assert own >= other > 0
        assert np.mean(rows.rates >= found.low) > confidence
        assert np.mean(rows.rates <= found.high) > confidence
    # what was measured promises as much as before
    before = {c.evidence: c for c in fitted(with_layers=False).calibration if c.what == "company"}
    assert by[Evidence.REGRESSED] == before[Evidence.REGRESSED]
    assert by[Evidence.MEASURED] == before[Evidence.MEASURED]


def test_all_others_are_told_as_before() -> None:
    rows = world().take(~hidden(COLD))
    one, two = (predict(fitted(layers), rows) for layers in (True, False))
    assert (one.rate == two.rate).all()
    assert (one.evidence == two.evidence).all()


def test_the_file_keeps_what_was_learnt() -> None:
    again = parse_models(dumps_models(fitted()))
    assert again == fitted()
    (company,) = again.company
    assert company.structure is not None
    assert company.structure.workloads == tuple(sorted(w.name for w in WORKS if w.name != COLD))
    errors = {e.name: e for e in company.structure.slowdown_errors}
    assert errors["structure"].chosen
    assert errors["own telemetry"].error_pct < errors["structure"].error_pct
    assert errors["structure"].error_pct < errors["constant"].error_pct
    assert "1 workload by layers" in again.report.company
    assert any(COLD in note and "layers" in note for note in again.report.notes)
    found = predict(again, world())
    assert (found.rate == predict(fitted(), world()).rate).all()


def test_a_network_that_never_ran_is_known_as_a_neighbour_only() -> None:
    t = world()
    gone = (t["workload"] == COLD) | hidden(COLD)
    models = fit_models(t.take(~gone), layers=layers_of(WORKS, w4="inference"))
    assert COLD not in {p.workload for p in models.profiles}
    beside = t.take(hidden(COLD) & (t["workload"] != COLD))
    found = predict(models, beside, confidence=0.8)
    assert np.abs(found.rate / beside.rates - 1).mean() < 0.05
    assert set(found.evidence) == {Evidence.CONSTANT}
    own = predict(models, t.take(t["workload"] == COLD))
    assert np.isnan(own.rate).all()
    without_role = fit_models(t.take(~gone), layers=layers_of(WORKS))
    assert any("not its role" in note for note in without_role.report.notes)
    assert not any(t.guessed for t in without_role.company[0].telemetry)


def test_layers_that_say_nothing_are_not_used() -> None:
    rng = np.random.default_rng(2)
    drawn = Layers({w.name: {"conv": int(rng.integers(1, 300))} for w in WORKS})
    models = fit_models(table(), layers=drawn)
    (company,) = models.company
    assert company.structure is not None
    chosen = [e.chosen for e in company.structure.slowdown_errors if e.name == "structure"]
    guessed = [t.workload for t in company.telemetry if t.guessed]
    assert guessed == ([COLD] if chosen == [True] else [])
    if not chosen[0]:
        assert any("not used" in note for note in models.report.notes)
        rows = world().take(hidden(COLD))
        plain = predict(fitted(with_layers=False), rows)
        assert (predict(models, rows).rate == plain.rate).all()


@pytest.mark.parametrize("known", [2, 10])
def test_what_is_lacking_is_told(known: int) -> None:
    t = table()
    if known == 10:  # enough layers, and no telemetry
        t = t.replace(sm_activity_pct=np.nan, dram_activity_pct=np.nan)
    models = fit_models(t, layers=layers_of(WORKS[:known]))
    assert any("layers are not used" in note for note in models.report.notes)
    assert models.company[0].structure is None
    alone = fit_models(t.take(t.alone), layers=layers_of(WORKS))
    assert any("nothing was measured in company" in note for note in alone.report.notes)


def test_a_role_that_contradicts_the_measured_one_is_an_error() -> None:
    with pytest.raises(InputError, match="'w4' is a workload of training by its layers"):
        fit_models(table(), layers=layers_of(WORKS, w4="training"))
