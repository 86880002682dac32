"""Slowdown in company: the most specific evidence, several neighbours, tables, round trips."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from colocate.errors import InputError
from colocate.models.company import EVIDENCE_OF, SOURCES, Company, Queries
from colocate.models.company_tables import pair_slowdowns
from colocate.models.fitting.company import fit_company
from colocate.models.slowdown_table import read
from colocate.profile import ErrorBound
from colocate.profile.company import (
    LAYER_KINDS,
    CompanyModel,
    MeasuredPair,
    PairTerm,
    RoleConstant,
    StructureModel,
    Telemetry,
)
from colocate.schema import Evidence
from colocate.tables import ProfileTable
from tests.contention import GPU, Tenant, draw_works, measure, rates_of

WORKS = draw_works(6, 1)


@pytest.fixture(scope="module")
def model() -> CompanyModel:
    # w0 beside w1 was never measured
    table = measure(WORKS)
    pair = {"w0", "w1"}
    apart = [{w, n} != pair for w, n in zip(table["workload"], table["neighbour"], strict=True)]
    return fit_company(table.take(np.array(apart)), GPU).model


def ask(
    company: Company, victim: str, neighbour: str, share: float, other: float, batch: float = 4
) -> tuple[float, str]:
    v, n = company.index([victim, neighbour])
    settings = [np.array([x]) for x in (v, n, batch, batch, share, other)]
    found = company.predict(Queries(*settings))
    return float(found.slowdown[0]), SOURCES[found.source[0]]


def truth(victim: int, neighbour: int, share: float, other: float) -> float:
    one, two = WORKS[victim], WORKS[neighbour]
    together = rates_of([Tenant(one, 4, share), Tenant(two, 4, other)])[0]
    return rates_of([Tenant(one, 4, share)])[0] / together


def test_the_model_survives_json_exactly(model: CompanyModel) -> None:
    again = CompanyModel.model_validate_json(model.model_dump_json())
    assert again == model
    assert ask(Company(again), "w0", "w1", 37, 51) == ask(Company(model), "w0", "w1", 37, 51)


def test_measured_where_it_was_measured_regressed_elsewhere(model: CompanyModel) -> None:
    company = Company(model)
    table = next(m for m in model.measured if (m.victim, m.neighbour) == ("w2", "w5"))
    assert table.split
    third, fourth = table.slowdown[2:4]
    assert third is not None
    assert fourth is not None
    for share, expected in ((30, third), (35, (third + fourth) / 2)):
        slowdown, source = ask(company, "w2", "w5", share, 100 - share)
        assert slowdown == pytest.approx(expected)
        assert source == "measured"
    assert ask(company, "w2", "w5", 35, 60)[1] == "measured"
    for victim, neighbour, share, other in (("w2", "w5", 35, 40), ("w0", "w1", 35, 65)):
        slowdown, source = ask(company, victim, neighbour, share, other)
        assert source == "regression"
        real = truth(int(victim[1]), int(neighbour[1]), share, other)
        assert slowdown == pytest.approx(real, rel=0.02)
    # outside the batches that were measured
    assert ask(company, "w2", "w5", 30, 70, batch=16)[1] == "regression"


def test_gaps_of_a_table_are_not_measured(model: CompanyModel) -> None:
    holes = tuple(None if k == 2 else s for k, s in enumerate(model.measured[0].slowdown))
    pair = model.measured[0].model_copy(update={"slowdown": holes})
    company = Company(model.model_copy(update={"measured": (pair,)}))
    share = pair.victim_share_pct
    found = [
        ask(company, pair.victim, pair.neighbour, p, 100 - p)[1]
        for p in (share[1], share[2], share[3], (share[1] + share[2]) / 2)
    ]
    assert found == ["measured", "regression", "measured", "regression"]


def test_a_table_with_an_axis_for_the_neighbour() -> None:
    pair = MeasuredPair(
        victim="a",
        neighbour="b",
        victim_batch=(1, 4),
        neighbour_batch=(1,),
        victim_share_pct=(20.0, 40.0),
        neighbour_share_pct=(30.0, 60.0),
        split=False,
        slowdown=(1.0, 1.2, 1.4, 1.6, 2.0, 2.2, 2.4, 2.6),
    )
    company = Company(
        CompanyModel(gpu_type=GPU, inference=("a",), training=("b",), measured=(pair,))
    )
    v, n = company.index(["a", "b"])
    share = Queries(*(np.array([x]) for x in (v, n, 2.0, 1.0, 30.0, 45.0)))
    # batch 2 is half way between 1 and 4
    assert company.predict(share).slowdown == pytest.approx([1.8])
    for change in ({"neighbour_share": 70.0}, {"neighbour_batch": 2.0}, {"victim_share": 41.0}):
        changed = share._replace(**{name: np.array([x]) for name, x in change.items()})
        unknown = company.predict(changed)
        assert SOURCES[unknown.source[0]] == "unknown"
        assert np.isnan(unknown.slowdown[0])


def test_fallbacks_without_telemetry(model: CompanyModel) -> None:
    company = Company(model, roles={"new": "training", "newer": "inference"})
    assert ask(company, "w0", "new", 40, 60)[1] == "separable"
    slowdown, source = ask(company, "newer", "new", 40, 60)
    constant = {(c.victim_role, c.neighbour_role): c.slowdown for c in model.constants}
    assert (slowdown, source) == (constant["inference", "training"], "constant")
    bare = model.model_copy(update={"telemetry": (), "measured": ()})
    slowdown, source = ask(Company(bare), "w0", "w1", 35, 65)
    assert source == "separable"
    assert slowdown == pytest.approx(truth(0, 1, 35, 65), rel=0.05)
    assert EVIDENCE_OF[SOURCES.index("separable")] is Evidence.REGRESSED
    with pytest.raises(InputError, match="knows no workload 'who'"):
        company.index(["who"])


def of_roles(*roles: str) -> ProfileTable:
    """Return what was measured, and of the pairs only those with these two roles."""
    table = measure(WORKS)
    role = {w.name: w.role for w in WORKS}
    kept = [
        n == "" or sorted((role[w], role[n])) == sorted(roles)
        for w, n in zip(table["workload"], table["neighbour"], strict=True)
    ]
    return table.take(np.array(kept))


def test_roles_that_met_nowhere_have_a_constant_without_a_bound() -> None:
    """Six workloads, services beside tasks only: two services are told by no regression."""
    mixed = fit_company(of_roles("inference", "training"), GPU).model
    assert mixed.regression is not None
    assert mixed.separable is not None
    rows = np.array([c.rows for c in mixed.constants])
    everyone = np.exp(np.average(np.log([c.slowdown for c in mixed.constants]), weights=rows))
    bound = {e: (ErrorBound(confidence=0.9, relative=0.1),) for e in Evidence}
    for model in (mixed, mixed.model_copy(update={"regression": None, "telemetry": ()})):
        company = Company(model)
        assert ask(company, "w0", "w1", 35, 65)[1] == "measured"
        assert ask(company, "w0", "w1", 35, 60)[1] != "constant"
        for victim, neighbour in (("w0", "w2"), ("w0", "w0"), ("w1", "w3")):
            slowdown, source = ask(company, victim, neighbour, 40, 60)
            assert source == "constant"
            assert slowdown == pytest.approx(everyone)
            (pair,) = pair_slowdowns(company, [victim], [neighbour], errors=bound)
            assert (pair.evidence, pair.error) == (Evidence.CONSTANT, ())
        (pair,) = pair_slowdowns(company, ["w0"], ["w1"], errors=bound)
        assert pair.error == bound[pair.evidence]
    # A new service beside a task rests on a constant of its roles, which has a bound.
    company = Company(mixed, roles={"new": "inference", "newer": "training"})
    (pair,) = pair_slowdowns(company, ["new"], ["newer"], errors=bound)
    assert (pair.evidence, pair.error) == (Evidence.CONSTANT, bound[Evidence.CONSTANT])
    one_kind = Company(fit_company(of_roles("inference", "inference"), GPU).model)
    assert ask(one_kind, "w0", "w2", 40, 30)[1] == "regression"
    assert ask(one_kind, "w0", "w1", 40, 60)[1] == "constant"


def test_telemetry_of_a_new_workload_is_enough() -> None:
    table = measure(WORKS)
    new = [
        "w3" in (w, n) and n != ""
        for w, n in zip(table["workload"], table["neighbour"], strict=True)
    ]
    fit = fit_company(table.take(~np.array(new)), GPU)
    company, errors, ignoring = Company(fit.model), [], []
    for other in (0, 1, 2, 4, 5):
        for share in (20, 50, 80):
            for v, n in ((3, other), (other, 3)):
                slowdown, source = ask(company, f"w{v}", f"w{n}", share, 100 - share)
                assert source == "regression"
                real = truth(v, n, share, 100 - share)
                errors.append(abs(slowdown / real - 1))
                ignoring.append(abs(1 / real - 1))
    assert np.mean(errors) < 0.015
    assert np.mean(errors) < np.mean(ignoring) / 3


def test_nothing_is_said_of_more_overlap_than_was_measured(model: CompanyModel) -> None:
    company = Company(model)
    assert model.most_overlap_pct == 0
    assert ask(company, "w0", "w1", 60, 41)[1] == "regression"
    slowdown, source = ask(company, "w0", "w1", 60, 60)
    assert source == "unknown"
    assert np.isnan(slowdown)


def test_without_pairs_to_leave_out_only_what_was_measured_remains() -> None:
    fit = fit_company(measure(WORKS[:1]), GPU)
    assert fit.model.regression is None
    assert fit.model.separable is None
    assert ask(Company(fit.model), "w0", "w0", 30, 70)[1] == "measured"
    assert ask(Company(fit.model), "w0", "w0", 30, 30)[1] == "constant"
    with pytest.raises(InputError, match="no row tells"):
        fit_company(measure(WORKS[:1]).take([0, 1]), GPU)


def test_several_neighbours_multiply_or_add(model: CompanyModel) -> None:
    for rule in ("product", "excess"):
        company = Company(model.model_copy(update={"composition": rule}))
        a = ask(company, "w0", "w1", 40, 30)[0]
        b = ask(company, "w0", "w2", 40, 20)[0]
        place = company.index(["w0", "w1", "w2"])
        four = np.array([4.0])
        found = company.beside(
            place[:1],
            four,
            np.array([40.0]),
            [(place[1:2], four, np.array([30.0])), (place[2:], four, np.array([20.0]))],
        )
        assert found.slowdown == pytest.approx([a * b if rule == "product" else a + b - 1])


def test_tables_say_what_the_model_says(model: CompanyModel) -> None:
    company = Company(model)
    found = pair_slowdowns(company, ["w0", "w2"], ["w1", "w5"])
    assert [(p.victim, p.neighbour) for p in found] == [
        ("w0", "w1"),
        ("w0", "w5"),
        ("w2", "w1"),
        ("w2", "w5"),
    ]
    assert [p.evidence for p in found] == [Evidence.REGRESSED] + [Evidence.MEASURED] * 3
    cold, tied = found[0].table, found[3].table
    assert cold is not None
    assert tied is not None
    assert cold.shape == (1, 1, 9, 9)
    cube = np.reshape(cold.slowdown, cold.shape)[0, 0]
    for i, share in enumerate(cold.victim_share_pct):
        for j, other in enumerate(cold.neighbour_share_pct):
            expected = ask(company, "w0", "w1", share, min(other, 100 - share))[0]
            assert cube[i, j] == pytest.approx(expected)
    assert tied.shape == (1, 1, 9, 1)
    assert tied.slowdown == next(
        m.slowdown for m in model.measured if (m.victim, m.neighbour) == ("w2", "w5")
    )
    # between nodes the planner reads what the model says there, next to the diagonal as well
    for share, other in ((35, 65), (55, 45), (33, 41), (72, 28)):
        expected = ask(company, "w0", "w1", share, other)[0]
        assert read(cold, 4, 4, share, other) == pytest.approx(expected, rel=0.01)
        expected = ask(company, "w2", "w5", share, 100 - share)[0]
        assert read(tied, 4, 4, share, 100 - share) == pytest.approx(expected)
    (three,) = pair_slowdowns(company, ["w2"], ["w5"], tenants=3)
    assert three.evidence is Evidence.REGRESSED
    assert three.table is not None
    assert three.table.shape == (1, 1, 9, 9)


def test_tables_leave_out_what_is_unknown_and_keep_constants_short() -> None:
    constant = RoleConstant(
        victim_role="inference", neighbour_role="training", slowdown=1.25, rows=3
    )
    bare = CompanyModel(gpu_type=GPU, inference=("a",), training=("b",))
    assert pair_slowdowns(Company(bare), ["a"], ["b"]) == []
    known = Company(bare.model_copy(update={"constants": (constant,)}))
    (found,) = pair_slowdowns(known, ["a"], ["b"])
    assert (found.slowdown, found.table, found.evidence) == (1.25, None, Evidence.CONSTANT)


def test_order_of_rows_does_not_matter() -> None:
    table = measure(WORKS[:4])
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    one, two = (Company(fit_company(t, GPU).model) for t in (table, shuffled))
    for other in (20, 35):
        assert ask(one, "w0", "w1", 40, other)[0] == pytest.approx(
            ask(two, "w0", "w1", 40, other)[0], abs=2e-3
        )


def test_one_wrong_measurement_hardly_moves_other_pairs() -> None:
    table = measure(WORKS)
    rate = table["rate"].copy()
    bad = np.flatnonzero((table["workload"] == "w0") & (table["neighbour"] == "w1"))[4]
    rate[bad] /= 3
    fine = Company(fit_company(table, GPU).model)
    spoilt = Company(fit_company(table.replace(rate=rate), GPU).model)
    changes = [
        abs(ask(spoilt, f"w{v}", f"w{n}", 50, 30)[0] / ask(fine, f"w{v}", f"w{n}", 50, 30)[0] - 1)
        for v in range(6)
        for n in range(6)
        if {v, n} != {0, 1}
    ]
    assert np.median(changes) < 0.01
    assert max(changes) < 0.05


@given(st.data())
def test_tables_of_wrong_size_are_refused(data: st.DataObject) -> None:
    shares = data.draw(st.integers(1, 3))
    n = data.draw(st.integers(0, 5).filter(lambda n: n != shares))
    axis = tuple(float(p) for p in (20, 50, 80)[:shares])
    with pytest.raises(ValidationError, match="are needed"):
        Telemetry(workload="a", role="training", batch=(1,), share_pct=axis, elasticity=(0.5,) * n)


def _with(document: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    for step in path[:-1]:
        document = document[step]  # type: ignore[index]
    document[path[-1]] = value  # type: ignore[index]


def _twice(names: list[Any]) -> list[Any]:
    """Return the names with the first one in place of the last, so that no length changes."""
    return [*names[:-1], names[0]]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (("separable", "neighbours", "workloads"), "workloads must be distinct, but 'w"),
        (("separable", "victims", "workloads"), "workloads must be distinct, but 'w"),
        (("regression", "kernel", "features"), "features must be distinct"),
        (("inference",), "inference workloads must be distinct"),
        (("training",), "training workloads must be distinct"),
        (("telemetry",), "workloads of telemetry must be distinct"),
        (("measured",), "measured pairs must be distinct"),
        (("constants",), "roles of constants must be distinct"),
    ],
)
def test_names_that_are_listed_twice_are_refused(
    model: CompanyModel, path: tuple[str | int, ...], said: str
) -> None:
    document = model.model_dump(mode="json")
    document |= {"training": ["t0", "t1"]}
    found: Any = document
    for step in path:
        found = found[step]
    CompanyModel.model_validate_json(json.dumps(document))
    _with(document, path, _twice(found))
    with pytest.raises(ValidationError, match=said):
        CompanyModel.model_validate_json(json.dumps(document))


def test_relations_between_parts_of_a_model_are_checked(model: CompanyModel) -> None:
    pairs: dict[str, Any] = {"first": ("a", "a"), "second": ("b", "c"), "values": (0.1, 0.2)}
    PairTerm(**pairs)
    for second in (("b", "b"), ("a", "a")):
        with pytest.raises(ValidationError, match=r"'a' and '[ab]' is listed twice"):
            PairTerm(**pairs | {"second": second})
    with pytest.raises(ValidationError, match="'a' and 'b' is listed twice"):
        PairTerm(first=("a", "b"), second=("b", "a"), values=(0.1, 0.2))
    kinds = len(LAYER_KINDS)
    known: dict[str, Any] = {"method": "ridge", "strength": 1.0}
    two: dict[str, Any] = {"counts": (1.0,) * 2 * kinds, "targets": (1.0,) * 6}
    StructureModel(**known, **two, workloads=("a", "b"))
    with pytest.raises(ValidationError, match="'a' is listed twice"):
        StructureModel(**known, **two, workloads=("a", "a"))
    with pytest.raises(ValidationError, match="at least 1"):
        StructureModel(**known, counts=(), targets=(), workloads=())
    document = model.model_dump(mode="json")
    for change, said in (
        ({"separable": document["regression"]}, "separable must have no kernel"),
        ({"inference": [], "telemetry": []}, "was measured, but is not listed"),
    ):
        with pytest.raises(ValidationError, match=said):
            CompanyModel.model_validate_json(json.dumps(document | change))


def test_arrays_are_answered_quickly(model: CompanyModel) -> None:
    # not a benchmark: a loop over queries would take minutes
    company, n = Company(model), 200_000
    rng = np.random.default_rng(0)
    victim, neighbour = rng.integers(0, 6, (2, n))
    batch, share = np.full(n, 4.0), rng.uniform(10, 80, n)
    found = company.predict(Queries(victim, neighbour, batch, batch, share, (90 - share) / 2))
    assert (found.source == 1).all()
    first = ask(
        company,
        company.names[victim[0]],
        company.names[neighbour[0]],
        share[0],
        (90 - share[0]) / 2,
    )
    assert found.slowdown[0] == pytest.approx(first[0])


def test_other_gpu_types_do_not_take_part() -> None:
    table = measure(WORKS[:3])
    other = table.replace(gpu="model-2", rate=table["rate"] * np.where(table.alone, 1, 0.5))
    both = ProfileTable.join([table, other])
    assert fit_company(both, GPU).model == fit_company(table, GPU).model
