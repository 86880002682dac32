"""From measurements to a plan, on rates that follow a formula: no processes, no GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import colocate
from colocate.executor.gpu_check import planning
from colocate.executor.gpu_check.stages import Course, NotPossibleError
from colocate.executor.gpu_check.state import State
from colocate.executor.gpu_check.transcript import Transcript
from colocate.executor.gpu_check.world import Kind, Sizes
from colocate.executor.measure.bench import GpuAbout
from colocate.executor.measure.course import run_campaign
from colocate.executor.measure.effort import Effort
from colocate.executor.measure.results import Record, Results
from colocate.executor.measure.runs import runs_of
from colocate.executor.measure.tenants import Point, Tenant, Workload
from colocate.executor.ports import GpuFacts
from colocate.io import load_instance, load_plan
from tests.executor.measure.fake_bench import FakeBench

SIZES = Sizes(
    services=(Kind("bert", "inference", (4, 16)), Kind("resnet", "inference", (8,))),
    training=(Kind("vgg", "training", (32,)), Kind("lstm", "training", (16,))),
)
PROGRAMS = {k.name: Workload(name=k.name, role=k.role, command=("/bin/true",)) for k in SIZES.kinds}
GPU = GpuFacts(
    uuid="GPU-00000001-0000-4000-8000-000000000001",
    name="Fake",
    memory_mib=40_000,
    compute_mode="default",
    mig=False,
    driver="1",
)


def measured(folder: Path, points: list[Point], name: str) -> list[Record]:
    with Results(folder / name, {}, resume=False) as results:
        run_campaign(runs_of(points, PROGRAMS), FakeBench(noise=0.005), PROGRAMS, Effort(), results)
        return results.records


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], list[Record]]:
    folder = tmp_path_factory.mktemp("records")

    def tenant(kind: Kind, batch: int, share: int) -> Tenant:
        return Tenant(workload=kind.name, batch=batch, share_pct=share)

    alone = [
        Point.of(tenant(k, b, s)) for k in SIZES.kinds for b in k.batches for s in SIZES.shares
    ]
    pairs = {
        held: [
            Point.of(tenant(a, max(a.batches), s), tenant(b, max(b.batches), t))
            for (s, t), a, b in product(SIZES.splits, SIZES.services, SIZES.training)
            if ((a.name, b.name) == ("resnet", "lstm")) is held
        ]
        for held in (False, True)
    }
    return (
        measured(folder, alone + pairs[False], "fitted"),
        measured(folder, pairs[True], "held"),
    )


@pytest.fixture
def state(tmp_path: Path, records: tuple[list[Record], list[Record]]) -> State:
    return State(
        world=None,  # type: ignore[arg-type]
        sizes=SIZES,
        course=Course(600, 0),
        out=tmp_path,
        transcript=Transcript(tmp_path / "t"),
        gpu=GPU,
        about=GpuAbout(gpu_type="Fake"),
        sm_counts={100: 132},
        records=list(records[0]),
        held_out=list(records[1]),
    )


def test_held_out_pairs_are_predicted_from_the_others(state: State):
    said = planning.fit(state)
    assert said.passed, said
    assert said.facts["note"] == ""
    held = planning.hold_out(state)
    assert held.passed, held.summary
    assert len(held.facts["rows"]) == 2 * len(SIZES.splits)
    # the neighbours slow each other down by up to a seventh: saying nothing would show
    assert held.facts["mean_error"] < 0.5 * held.facts["mean_error_of_rates_alone"]


def test_the_plan_meets_the_question_that_is_on_file(state: State):
    planning.fit(state)
    said = planning.solve(state)
    assert said.passed, said.summary
    instance = load_instance(state.out / "instance.json")
    plan = load_plan(state.out / "plan.json")
    assert instance == state.instance
    assert colocate.verify(instance, plan).violations == ()
    (pool,) = instance.gpu_pools
    assert (pool.uuids, pool.sm_count) == ((GPU.uuid,), 132)
    assert {p["role"] for p in said.facts["placements"]} == {"service", "task"}
    assert json.dumps(dict(said.facts))


def test_a_slo_that_cannot_be_met_is_relaxed_and_told(
    state: State, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(planning, "SLO_BATCHES", (0.01, 8.0))
    planning.fit(state)
    said = planning.solve(state)
    assert said.passed
    tried = said.facts["tried"]
    assert tried[0]["termination"] == "infeasible"
    assert tried[-1]["slo_batches"] == 8.0


def test_without_or_tools_another_solver_makes_the_plan(
    state: State, monkeypatch: pytest.MonkeyPatch
):
    real: Callable[..., Any] = colocate.solve

    def solve(instance: Any, solver: str) -> Any:
        if solver == "auto":
            raise ImportError("No module named 'ortools'")
        return real(instance, solver)

    monkeypatch.setattr(colocate, "solve", solve)
    planning.fit(state)
    said = planning.solve(state)
    assert said.passed
    assert "ortools" in said.facts["tried"][0]["problem"]
    assert said.facts["tried"][1]["solver"] == "milp"


def test_what_cannot_be_fitted_is_left_out_and_told(state: State, monkeypatch: pytest.MonkeyPatch):
    import numpy as np

    from colocate.models.fitting import fit as fitting

    real = fitting.fit_models

    def fragile(table: Any, **more: Any) -> Any:
        if np.isfinite(table["sm_activity_pct"]).any():
            raise ValueError("activities make no sense")
        if not table.alone.all():
            raise ValueError("pairs make no sense")
        return real(table, **more)

    monkeypatch.setattr(fitting, "fit_models", fragile)
    said = planning.fit(state)
    assert said.passed
    assert (
        "without activities and pairs, because of ValueError: activities make no sense"
        in said.summary
    )

    def broken(table: Any, **more: Any) -> Any:
        raise ValueError("nothing does")

    monkeypatch.setattr(fitting, "fit_models", broken)
    with pytest.raises(NotPossibleError, match="nothing does"):
        planning.fit(state)


def test_nothing_comes_of_nothing(state: State):
    state.records, state.held_out = [], []
    with pytest.raises(NotPossibleError):
        planning.fit(state)
    for stage in (planning.hold_out, planning.solve):
        with pytest.raises(NotPossibleError, match="no models"):
            stage(state)
