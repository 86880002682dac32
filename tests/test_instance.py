"""An instance is checked as a whole, frozen, and the same however it was made."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from colocate.errors import InstanceError
from colocate.instance import AntiAffinity, GpuPool, Instance, Rules, Service, ServiceTable, Task
from colocate.io import parse_instance
from colocate.profile import (
    BatchPoints,
    Interference,
    MemoryPoint,
    Profile,
    RatePoint,
    TabulatedCurve,
)
from colocate.schema import Component, Evidence
from tests.corpus.valid import GPU_A, GPU_B, INSTANCE, damaged, to_bytes

BASE = parse_instance(to_bytes(INSTANCE))


def data(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(INSTANCE), **fields}


# -- making ----------------------------------------------------------------------------------------


def test_objects_and_plain_data_make_the_same_instance() -> None:
    def profile(workload: str, role: Any, batch: int) -> Profile:
        points = (RatePoint(share_pct=100.0, rate=90.0),)
        return Profile(
            workload=workload,
            gpu_type="A",
            role=role,
            curve=TabulatedCurve(batches=(BatchPoints(batch=batch, points=points),)),
            memory=(MemoryPoint(batch=batch, memory_gib=1.0),),
            evidence=Evidence.CONSTANT,
        )

    made = Instance(
        name="x",
        slo_model=Component(name="fill"),
        confidence=0.5,
        objective=Component(name="throughput"),
        gpu_pools=(GpuPool(id="a", gpu_type="A", count=2, memory_gib=16.0, sm_count=10),),
        services=(Service(id="s", profile="net", rate_rps=1.0, slo_ms=10.0),),
        tasks=(Task(id="t", profile="train", batch=8),),
        profiles=(profile("train", "training", 8), profile("net", "inference", 1)),
        interference=Interference(default_slowdown=1.5),
    )
    plain = Instance.model_validate(made.model_dump(by_alias=True, mode="json"))
    assert plain == made
    assert plain.sha256 == made.sha256
    assert [p.workload for p in made.profiles] == ["net", "train"]


def test_instances_are_frozen_and_strict() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        BASE.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="valid number"):
        Service(id="s", profile="p", rate_rps="1", slo_ms=1.0)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Rules(colour="red")  # type: ignore[call-arg]


def test_replace_checks_again_and_forgets_what_was_cached() -> None:
    before = BASE.sha256
    other = BASE.replace(confidence=0.9)
    assert (other.confidence, BASE.confidence) == (0.9, 0.5)
    assert other.sha256 != before == BASE.sha256
    assert BASE.replace() == BASE
    with pytest.raises(InstanceError, match="'s0' is listed twice"):
        BASE.replace(services=(BASE.services[0], BASE.services[0]))


def test_equality_does_not_depend_on_what_was_asked_before() -> None:
    one, two = parse_instance(to_bytes(INSTANCE)), parse_instance(to_bytes(INSTANCE))
    one.service("s0")
    assert one == two
    assert hash(one) == hash(two)
    assert len({one, two}) == 1
    assert one != two.replace(name="other")
    assert one != INSTANCE


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("services", 0, "slo_ms"), 300.5),
        (("services", 1, "missing_price"), 2.0),
        (("tasks", 0, "weight"), 1.0),
        (("gpu_pools", 0, "node"), "node-2"),
        (("profiles", 0, "curve", "batches", 0, "points", 0, "rate"), 51),
        (("interference", "default_slowdown"), 1.25),
        (("rules", "tasks_per_gpu"), 2),
        (("slo_model", "params", "rho_max"), 0.91),
        (("constraints", 0, "params", "slack"), 1.0),
        (("constraints", 0, "params", "slack"), True),
        (("description",), ""),
        (("current", 0, "services", 0, "share_pct"), 49),
    ],
)
def test_every_change_changes_the_hash(where: tuple[str | int, ...], value: Any) -> None:
    assert parse_instance(damaged("instance", {where: value})).sha256 != BASE.sha256


# -- reading ---------------------------------------------------------------------------------------


def test_things_are_found_by_name() -> None:
    assert BASE.pool("b").uuids == (GPU_A, GPU_B)
    assert BASE.service("s1").missing_price == 2.5
    assert BASE.task("t0").count == 2
    assert BASE.gpu_count == 6
    found = BASE.profile("bert", "A100")
    assert found is not None
    assert found.workload == "bert"
    assert BASE.profile("bert", "V100") is None
    for look in (BASE.pool, BASE.service, BASE.task):
        with pytest.raises(KeyError):
            look("nobody")


def test_rows_of_tables_are_services_and_tasks_like_others() -> None:
    table = BASE.service_table
    assert table is not None
    row = BASE.service("row-1")
    assert row == table.row(1)
    assert (row.rate_rps, row.slo_ms, row.replicas, row.profile) == (2.0, 300.0, 2, "bert")
    assert Service.model_validate(row.model_dump(), strict=False) == row
    job = BASE.task("job-1")
    assert (job.id, job.batch, job.weight, job.tenant, job.count) == ("job-1", 32, 2.0, "cay", 1)
    assert [s.id for s in BASE.iter_services()] == ["s0", "s1", "row-0", "row-1"]
    assert [t.id for t in BASE.iter_tasks()] == ["t0", "job-0", "job-1"]
    assert [BASE.service_name(i) for i in range(4)] == ["s0", "s1", "row-0", "row-1"]
    assert [BASE.task_name(i) for i in range(3)] == ["t0", "job-0", "job-1"]


@pytest.mark.parametrize(
    "name", ["row-2", "row-01", "row--1", "row-", "row-x", "row-\u0661", "other-0"]
)
def test_names_that_are_no_rows(name: str) -> None:
    with pytest.raises(KeyError):
        BASE.service(name)


@pytest.mark.parametrize("i", [-1, 2])
def test_rows_beyond_the_table(i: int) -> None:
    assert BASE.service_table is not None
    with pytest.raises(IndexError, match="with 2 rows"):
        BASE.service_table.row(i)


def test_an_instance_without_tables() -> None:
    bare = parse_instance(
        damaged(
            "instance",
            {
                ("service_table",): None,
                ("task_table",): None,
                ("rules",): {},
                ("current",): None,
            },
        )
    )
    assert [s.id for s in bare.iter_services()] == ["s0", "s1"]
    assert [t.id for t in bare.iter_tasks()] == ["t0"]
    with pytest.raises(KeyError):
        bare.service("row-0")


# -- what is allowed, although it looks odd --------------------------------------------------------

ALLOWED: dict[str, dict[tuple[str | int, ...], Any]] = {
    "empty lists": {("constraints",): [], ("rules", "quotas"): [], ("rules", "locked"): []},
    "no GPUs at all": {
        ("gpu_pools",): [],
        ("services", 0, "pinned"): None,
        ("rules", "locked"): [],
        ("current",): [],
    },
    "minimum equal to maximum": {("rules", "quotas", 0, "minimum"): 2},
    "only a minimum": {("rules", "quotas", 0): {"tenant": "bob", "minimum": 1}},
    "a quota for a tenant of the table": {("rules", "quotas", 0, "tenant"): "cay"},
    "all multiprocessors measured": {
        ("gpu_pools", 0, "measured_sms"): [{"share_pct": 1, "sms": 100}]
    },
    "nearly all memory reserved": {("gpu_pools", 0, "reserve_gib"): 39.999},
    "a numbering that continues": {("gpu_pools", 1, "first"): 4},
    "pinned in two pools": {
        ("services", 0, "pinned"): [{"pool": "a", "gpus": "3"}, {"pool": "b", "gpus": "1"}]
    },
    "one batch of many": {("services", 0, "batches"): None},
    "kept apart from its own kind": {
        ("rules", "anti_affinity", 0): {"left": ["s0"], "right": ["s0"]}
    },
    "kept apart from a row": {
        ("rules", "anti_affinity", 0): {"left": ["row-0"], "right": ["job-1"]}
    },
    "a service that costs nothing to leave out": {("services", 1, "missing_price"): 0},
    "an unused profile": {("services", 1, "profile"): "bert"},
    "a prefix that looks like a name": {("service_table", "id_prefix"): "s-"},
    "one column value for all": {("task_table", "batch"): 32},
    "a limit of whole numbers": {("rules", "moves", "budget"): 2**53},
    "the largest GPU ordinal": {("gpu_pools", 1, "first"): 2**40},
    "no memory in the profile of a task that states its own": {("profiles", 1, "memory"): []},
    "a neighbour that is not here": {("interference", "pairs", 0, "victim"): "gpt"},
}


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(name: str) -> None:
    changes = dict(ALLOWED[name])
    if name.startswith("no memory"):
        changes["task_table", "memory_gib"] = 1
    parse_instance(damaged("instance", changes))


def test_anti_affinity_keeps_its_sides() -> None:
    rules = BASE.replace(
        rules=Rules(anti_affinity=(AntiAffinity(left=("t0", "s1"), right=("s0",)),))
    ).rules
    assert rules.anti_affinity == (AntiAffinity(left=("s1", "t0"), right=("s0",)),)


# -- arrays ----------------------------------------------------------------------------------------

REST: dict[str, Any] = {
    "slo_model": {"name": "fill"},
    "confidence": 0.5,
    "objective": {"name": "throughput"},
    "profiles": INSTANCE["profiles"],
}
GPUS: dict[str, Any] = {
    "id": ["a", "b"],
    "gpu_type": "A100",
    "count": np.array([3, 4]),
    "memory_gib": np.float64(40),
    "sm_count": 100,
}


def test_arrays_make_the_same_as_tables() -> None:
    made = Instance.from_arrays(
        name="columns",
        gpus=GPUS,
        services={"profile": "bert", "rate_rps": np.array([1.0, 2.0, 3.0]), "slo_ms": 300.0},
        tasks={"profile": ["vgg", "vgg"], "batch": 32, "count": np.array([5, 6], dtype=np.int32)},
        **REST,
    )
    table = {"rows": 3, "profile": "bert", "rate_rps": [1, 2, 3], "slo_ms": 300}
    jobs = {"rows": 2, "profile": ["vgg", "vgg"], "batch": 32, "count": [5, 6]}
    pools = [
        {"id": i, "gpu_type": "A100", "count": n, "memory_gib": 40, "sm_count": 100}
        for i, n in (("a", 3), ("b", 4))
    ]
    plain = {"name": "columns", "gpu_pools": pools, "service_table": table, "task_table": jobs}
    assert made == Instance.model_validate({**plain, **REST})
    assert made.gpu_count == 7
    assert made.service("service-2").rate_rps == 3.0
    assert made.task("task-1").count == 6


def test_scalars_make_one_row_and_nothing_makes_no_table() -> None:
    made = Instance.from_arrays(
        name="one",
        gpus={**GPUS, "id": "a", "count": 1},
        services={"profile": "bert", "rate_rps": 1.0, "slo_ms": 300.0},
        tasks={},
        **REST,
    )
    assert made.service_table is not None
    assert made.service_table.rows == 1
    assert made.task_table is None
    assert made.gpu_count == 1


def test_batches_are_allowed_batches_and_no_column() -> None:
    made = Instance.from_arrays(
        name="batches",
        gpus=GPUS,
        services={"profile": "bert", "rate_rps": [1.0, 2.0], "slo_ms": 300.0, "batches": [16]},
        tasks={},
        **REST,
    )
    assert isinstance(made.service_table, ServiceTable)
    assert made.service_table.rows == 2
    assert made.service("service-1").batches == (16,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpus": {**GPUS, "count": [1, 2, 3]}}, r"different lengths: \[2, 3\]"),
        (
            {"services": {"profile": "bert", "rate_rps": [1.0], "slo_ms": [1.0, 2.0]}},
            "'rate_rps' has 1",
        ),
        (
            {"tasks": {"profile": "vgg", "batch": [32, 32], "rows": 3}},
            "'batch' has 2 values for 3 rows",
        ),
    ],
)
def test_columns_of_different_lengths(changes: dict[str, Any], words: str) -> None:
    columns: dict[str, Any] = {"gpus": GPUS, "services": {}, "tasks": {}, **changes}
    with pytest.raises(InstanceError, match=words):
        Instance.from_arrays(name="x", **columns, **REST)


@given(st.permutations(range(4)))
def test_order_of_pools_and_tasks_changes_nothing(order: list[int]) -> None:
    tasks = [{**INSTANCE["tasks"][0], "id": f"t{i}", "batch": 32} for i in range(4)]
    one = Instance.model_validate(data(tasks=tasks))
    other = Instance.model_validate(data(tasks=[tasks[i] for i in order]))
    assert other == one
    assert other.model_dump_json() == one.model_dump_json()
