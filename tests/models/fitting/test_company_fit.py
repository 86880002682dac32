"""What is learnt of slowdowns in a world whose mechanism is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from colocate.errors import InputError
from colocate.models.fitting.company import fit_company, prepare
from colocate.models.fitting.company_cells import crowds_of
from colocate.models.fitting.company_composition import composition_errors
from colocate.models.fitting.company_regression import Group
from colocate.models.fitting.company_residuals import out_of_group_residuals, residuals_of
from colocate.models.fitting.company_solo import solo_rates
from colocate.models.fitting.residuals import Residuals
from colocate.profile.company import CompanyModel
from colocate.tables import ProfileTable
from tests.contention import GPU, draw_works, linear, measure, queue

WORKS = draw_works(6, 2)


@pytest.fixture(scope="module")
def world() -> ProfileTable:
    return measure(WORKS)


@pytest.mark.parametrize(("group", "most"), [("neighbour", 0.01), ("workload", 0.015)])
def test_groups_left_out_are_predicted(world: ProfileTable, group: Group, most: float) -> None:
    ready = prepare(world, GPU)
    y = ready.cells.log_slowdown
    constant = np.abs(np.expm1(y - np.median(y))).mean()
    refitted = residuals_of(ready, group, refit=True)
    assert refitted.errors.mean() < min(most, constant / 2)
    # the quick way is the same but for what it chose
    quick = residuals_of(ready, group)
    assert quick.errors.mean() == pytest.approx(refitted.errors.mean(), rel=0.15)
    assert (quick.measured == refitted.measured).all()
    assert set(quick.unit) == {w.name for w in WORKS}
    for row in range(0, quick.measured.size, 7):
        ends = (quick.victim[row], quick.neighbour[row])
        assert quick.unit[row] in (ends[1:] if group == "neighbour" else ends)


def test_telemetry_that_is_the_same_everywhere_says_nothing(world: ProfileTable) -> None:
    """Products with it differ by rounding errors, which are no feature either."""
    table = world.replace(
        **{
            name: np.where(np.isnan(world[name]), np.nan, 40.0)
            for name in ("sm_activity_pct", "dram_activity_pct")
        }
    )
    fitted = fit_company(table, GPU)
    assert fitted is not None
    assert CompanyModel.model_validate(fitted.model.model_dump()) == fitted.model


@pytest.mark.parametrize("told", ["all", "some", "none"])
def test_what_was_fitted_need_not_be_fitted_again(world: ProfileTable, told: str) -> None:
    """Errors come out the same from the fit at hand and from one that is made for them."""
    table = world
    if told != "all":
        blind = ["w0", "w1"] if told == "some" else [w.name for w in WORKS]
        hidden = np.isin(table["workload"], blind)
        table = table.replace(
            **{
                name: np.where(hidden, np.nan, table[name])
                for name in ("sm_activity_pct", "dram_activity_pct")
            }
        )
    ready = prepare(table, GPU)
    assert bool(ready.told.all()) == (told == "all")
    assert bool(ready.told.any()) == (told != "none")
    fit = fit_company(table, GPU, ready=ready)
    group: Group
    for group in ("pair", "workload"):
        for asked in (ready, ready._replace(told=np.zeros_like(ready.told))):
            quick = residuals_of(asked, group, fit=fit)
            slow = residuals_of(asked, group)
            assert quick.predicted == pytest.approx(slow.predicted, rel=1e-12)
            assert quick.unit.tolist() == slow.unit.tolist()
            assert (quick.measured == slow.measured).all()


def test_a_refit_sees_nothing_of_its_group(world: ProfileTable) -> None:
    """Absurd rates in a group leave the predictions for that group as they are."""
    absurd = world["rate"].copy()
    beside = (world["neighbour"] == "w1") | ((world["workload"] == "w1") & ~world.alone)
    absurd[beside] *= np.random.default_rng(0).uniform(0.3, 1, beside.sum())
    spoilt = world.replace(rate=absurd)
    one, two = (out_of_group_residuals(t, GPU, "workload", refit=True) for t in (world, spoilt))
    of = one.unit == "w1"
    assert one.predicted[of] == pytest.approx(two.predicted[of], rel=1e-9)
    assert not np.allclose(one.measured[of], two.measured[of])


def test_without_telemetry_the_separable_model_is_judged() -> None:
    table = measure(WORKS, telemetry=False)
    fit = fit_company(table, GPU)
    assert fit.model.regression is None
    assert fit.model.telemetry == ()
    found = out_of_group_residuals(table, GPU, "pair")
    y = prepare(table, GPU).cells.log_slowdown
    assert found.errors.mean() < np.abs(np.expm1(y - np.median(y))).mean() / 2


def test_one_group_cannot_be_left_out() -> None:
    with pytest.raises(InputError, match="leaves nothing to predict from"):
        out_of_group_residuals(measure(WORKS[:1]), GPU, "workload")


@pytest.mark.parametrize(("stretch", "rule"), [(linear, "excess"), (queue, "product")])
def test_composition_is_chosen_and_predicts_three_tenants(
    stretch: Callable[[float], float], rule: str
) -> None:
    table = measure(WORKS, triples=40, stretch=stretch)
    fit = fit_company(table, GPU)
    assert fit.crowds == 120
    assert fit.model.composition == rule
    crowds = crowds_of(table, solo_rates(table))
    names = prepare(table, GPU).cells.names
    errors = composition_errors(fit.model, crowds, names)
    ignoring = np.mean([abs(np.expm1(c.log_slowdown)) for c in crowds])
    assert max(errors.values()) < 0.02
    assert max(errors.values()) < ignoring / 4
    # pairs alone give the product, whatever the mechanism
    pairs = table.take(np.array(["+" not in n for n in table["neighbour"]]))
    assert fit_company(pairs, GPU).model.composition == "product"


def test_the_constant_is_the_median_of_the_roles(world: ProfileTable) -> None:
    model = fit_company(world, GPU).model
    cells = prepare(world, GPU).cells
    trains = np.array([name in model.training for name in cells.names])
    for c in model.constants:
        of = (trains[cells.victim] == (c.victim_role == "training")) & (
            trains[cells.neighbour] == (c.neighbour_role == "training")
        )
        assert c.rows == of.sum()
        assert c.slowdown == pytest.approx(np.exp(np.median(cells.log_slowdown[of])))
    assert len(model.constants) == 4


def test_measurements_without_a_partition_are_another_regime(world: ProfileTable) -> None:
    rows = ~world.alone & (world["share_pct"] == 50)
    loose = world.take(rows).replace(
        share_pct=100, neighbour_share_pct="100", rate=world["rate"][rows] / 2
    )
    both = fit_company(ProfileTable.join([world, loose]), GPU)
    assert both.dropped == {"shares beyond 100 %, where others are within": int(rows.sum())}
    assert both.model == fit_company(world, GPU).model
    # alone among themselves they count
    only = fit_company(ProfileTable.join([world.take(world.alone), loose]), GPU)
    assert only.model.most_overlap_pct == 100
    assert only.model.constants[0].slowdown > 1.5


def test_given_rates_alone_are_used(world: ProfileTable) -> None:
    measured = solo_rates(world)
    doubled = prepare(world, GPU, lambda w, b, p: 2 * measured(w, b, p)).cells
    plain = prepare(world, GPU).cells
    assert doubled.log_slowdown == pytest.approx(plain.log_slowdown + np.log(2))


def kernel_features(model: CompanyModel) -> tuple[str, ...]:
    assert model.regression is not None
    assert model.regression.kernel is not None
    return model.regression.kernel.features


def test_an_activity_that_few_workloads_have_is_not_used(world: ProfileTable) -> None:
    activity = world["sm_activity_pct"].copy()
    activity[~np.isin(world["workload"], ["w0", "w1"])] = np.nan
    fit = fit_company(world.replace(sm_activity_pct=activity), GPU)
    assert len(fit.model.telemetry) == len(WORKS)
    assert not any("sm" in name.split("_") for name in kernel_features(fit.model))
    activity = world["dram_activity_pct"].copy()
    activity[world["workload"] == "w0"] = np.nan
    fit = fit_company(world.replace(dram_activity_pct=activity), GPU)
    assert [t.workload for t in fit.model.telemetry] == [w.name for w in WORKS[1:]]
    assert "victim_dram" in kernel_features(fit.model)


@pytest.mark.parametrize("share", ["", "50"])
def test_a_type_without_usable_rows_has_no_cells(share: str) -> None:
    rows = ProfileTable.of(
        workload="a",
        role="inference",
        gpu=GPU,
        share_pct=50,
        neighbour=["b", "b+c"],
        neighbour_share_pct=share,
        rate=10.0,
        sm_activity_pct=20,
    )
    assert prepare(rows, GPU).cells.size == 0  # nobody ran alone
    alone = rows.take([0]).replace(neighbour="", neighbour_share_pct="")
    ready = prepare(ProfileTable.join([rows.take([0]), alone]), GPU)
    assert ready.cells.size == (1 if share else 0)


def test_residuals_are_taken_and_joined_by_row() -> None:
    names = np.array(["a", "b"], dtype=object)
    one = Residuals(np.array([2.0, 3]), np.array([4.0, 2]), names, names, names)
    assert one.errors == pytest.approx([0.5, 0.5])
    both = Residuals.join([one, one.take(np.array([1]))])
    assert list(both.predicted) == [2, 3, 3]
    assert list(both.unit) == ["a", "b", "b"]
    assert Residuals.join([]).errors.size == 0
