"""Telemetry from layers."""

from __future__ import annotations

import numpy as np
import pytest

from colocate.errors import InputError
from colocate.models.company import EVIDENCE_OF, SOURCES, Company, Queries
from colocate.models.fitting.company import fit_company
from colocate.models.fitting.structure import fit_structure
from colocate.models.regression.structure import telemetry_from_structure
from colocate.profile.company import StructureModel, Telemetry
from colocate.schema import Evidence
from tests.contention import GPU, draw_works, measure


def known(n: int, seed: int, *, related: bool) -> tuple[list[Telemetry], dict[str, dict[str, int]]]:
    rng = np.random.default_rng(seed)
    telemetry, layers = [], {}
    for k in range(n):
        conv, linear = int(rng.integers(1, 200)), int(rng.integers(1, 100))
        dram = 3 * np.sqrt(linear) if related else rng.uniform(1, 40)
        sm = 5 * np.sqrt(conv) if related else rng.uniform(1, 90)
        telemetry.append(
            Telemetry(
                workload=f"k{k:02}",
                role="training",
                batch=(8,),
                share_pct=(50.0, 100.0),
                sm_activity_pct=(float(sm) / 2, float(sm)),
                dram_activity_pct=(float(dram) / 2, float(dram)),
                elasticity=(1.0, 1.0),
            )
        )
        layers[f"k{k:02}"] = {"conv": conv, "linear": linear, "flatten": 1}
    return telemetry, layers


def test_what_depends_on_the_layers_is_found() -> None:
    telemetry, layers = known(20, 0, related=True)
    model = fit_structure(telemetry, layers)
    errors = {e.name: e.error_pct for e in model.errors}
    assert min(errors.values()) < errors["mean"] / 4
    assert StructureModel.model_validate_json(model.model_dump_json()) == model
    found = telemetry_from_structure(
        model, "new", "training", {"conv": 100, "linear": 49, "flatten": 1}
    )
    assert found.sm_activity_pct[-1] == pytest.approx(50, rel=0.15)
    assert found.dram_activity_pct[-1] == pytest.approx(21, rel=0.15)


def test_what_does_not_depend_on_the_layers_becomes_the_mean() -> None:
    chosen = []
    for seed in range(8):
        telemetry, layers = known(12, seed, related=False)
        model = fit_structure(telemetry, layers)
        chosen += [e.name for e in model.errors if e.chosen]
        best = min(model.errors, key=lambda e: e.error_pct)
        assert best.chosen
    assert chosen.count("mean") >= 3


def test_activity_follows_the_rates_that_are_given() -> None:
    telemetry, layers = known(5, 1, related=True)
    model = fit_structure(telemetry, layers)
    found = telemetry_from_structure(
        model, "new", "inference", {"conv": 9}, share_pct=[20, 60, 100], rate=[10, 30, 30]
    )
    sm = found.sm_activity_pct
    assert sm[0] == pytest.approx(sm[2] / 3)
    assert sm[1] == pytest.approx(sm[2])
    assert found.elasticity[0] == pytest.approx(1)
    assert found.elasticity[-1] == 0


@pytest.mark.parametrize(
    ("layers", "message"),
    [({"convolution": 3}, "no kind of layer"), ({}, "not all 0"), ({"conv": -1}, "from 0 up")],
)
def test_wrong_layers_are_refused(layers: dict[str, int], message: str) -> None:
    model = fit_structure(*known(4, 0, related=True))
    with pytest.raises(InputError, match=message):
        telemetry_from_structure(model, "new", "training", layers)


def test_too_few_known_workloads_are_refused() -> None:
    with pytest.raises(InputError, match="at least 3"):
        fit_structure(*known(2, 0, related=True))


def test_a_workload_known_by_its_layers_is_predicted_by_the_regression() -> None:
    works = draw_works(5, 4)
    model = fit_company(measure(works), GPU).model
    layers = {w.name: {"conv": round(1e4 * w.compute), "fc": round(1e4 * w.memory)} for w in works}
    structure = fit_structure(model.telemetry, layers)
    new = telemetry_from_structure(structure, "new", "training", layers["w1"], batches=[4])
    company = Company(model, [new])
    v, n = company.index(["w0", "new"])
    q = Queries(*(np.array([x]) for x in (v, n, 4.0, 4.0, 50.0, 50.0)))
    found = company.predict(q)
    assert SOURCES[found.source[0]] == "structure"
    assert EVIDENCE_OF[found.source[0]] is Evidence.CONSTANT
    assert 1 < found.slowdown[0] < 1.5
