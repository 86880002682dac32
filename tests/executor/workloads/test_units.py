"""From a plan and a launch file to units: which there are, and when a key changes."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import Any

import pytest

from colocate.errors import InputError, UnsupportedError
from colocate.executor.unit import Unit
from colocate.executor.workloads import gpu_uuids, keyed, units_of
from colocate.launch import LaunchFile
from tests.executor.workloads.stage import launches, unit
from tests.export.launchers import made


def units(serve: Any = None, train: Any = None, **more: Any) -> tuple[Unit, ...]:
    question = made.instance(**more)
    file = made.launch_file(serve, train)
    return units_of(question, made.plan(question), file, gpu_uuids(question))


def test_one_for_each_replica_and_worker():
    found = units()
    assert [(u.workload, u.ordinal, u.gpu, u.role) for u in found] == [
        ("bert", 0, made.UUIDS[0], "service"),
        ("bert", 1, made.UUIDS[1], "service"),
        ("bert", 2, made.UUIDS[2], "service"),
        ("train-1", 0, made.UUIDS[0], "task"),
        ("train-1", 1, made.UUIDS[1], "task"),
    ]
    bert, train = found[0], found[3]
    assert (bert.share_pct, bert.batch, bert.launch) == (60, 16, "bert")
    assert (train.share_pct, train.batch, train.launch) == (40, 64, "training")
    # 4 GiB for each process: one of bert, two of a training worker
    assert (bert.memory_gib, train.memory_gib) == (4, 8)
    # a quarter more, in MiB, for each process; and a stated one
    assert (bert.memory_limit_mib, train.memory_limit_mib) == (5120, 6000)


def test_headroom_is_for_each_process_and_rounded_up():
    limit = {"memory_limit": {"kind": "headroom", "headroom_pct": 0.01}}
    train = units(train=limit)[3]
    assert train.memory_limit_mib == 4097
    assert units(serve={"memory_limit": None})[0].memory_limit_mib is None


def test_predicted_memory_counts_before_profiled():
    question = made.instance()
    plan = made.plan(question)
    data = plan.model_dump(mode="json", by_alias=True)
    data["placements"][0]["services"][0]["predicted"] = {
        "rate_rps": 1.0,
        "rate_lo_rps": 1.0,
        "latency_ms": 1.0,
        "latency_hi_ms": 1.0,
        "memory_gib": 7.5,
        "evidence": "measured",
    }
    plan = type(plan).model_validate(data)
    found = units_of(question, plan, made.launch_file(), gpu_uuids(question))
    assert found[0].memory_gib == 7.5


def test_keys_are_names_and_say_what_they_are():
    for one in units():
        start, _, digits = one.key.rpartition(".")
        assert start == f"{one.workload}.{one.ordinal}"
        assert len(digits) == 8
        assert int(digits, 16) >= 0


def test_the_key_is_the_same_on_every_machine():
    assert units()[0].key == units()[0].key == "bert.0.e2018299"


CHANGES: dict[str, tuple[dict[str, Any], bool]] = {
    "argv": ({"argv": ["/opt/other", "{port}"]}, True),
    "env": ({"env": {"MODEL": "x"}}, True),
    "pass_env": ({"pass_env": ["HOME"]}, True),
    "directory": ({"directory": "/"}, True),
    "ports": ({"ports": {"first": 8000, "last": 8001}}, True),
    "memory_limit": ({"memory_limit": None}, True),
    "batch": ({"batch": {"kind": "environment", "variable": "B"}}, True),
    # what the keeper does takes no new process
    "ready": ({"ready": {"kind": "alive"}}, False),
    "stop": ({"stop": {"grace_s": 1}}, False),
    "restart": ({"restart": {"most": 1}}, False),
    "checkpoint": ({"checkpoint": {"argv": ["/x"]}}, False),
    "switch": ({"switch": None}, False),
    "pausable": ({"pausable": True}, False),
    "image": ({"image": "x"}, False),
    "log_mib": ({"log_mib": 1}, False),
}


@pytest.mark.parametrize("field", CHANGES)
def test_what_takes_a_new_process_changes_the_key(field: str):
    change, new = CHANGES[field]
    assert (units(serve=change)[0].key != units()[0].key) is new


def test_every_field_of_a_program_was_thought_of():
    from colocate.launch import Program

    assert set(CHANGES) | {"id", "workloads"} == set(Program.model_fields)


@pytest.mark.parametrize(
    ("field", "value", "new"),
    [
        ("share_pct", 31, True),
        ("gpu", made.UUIDS[1], True),
        ("memory_limit_mib", 100, True),
        ("memory_gib", 9.0, False),
        ("batch", 5, True),
    ],
)
def test_what_changes_the_key_of_a_unit(field: str, value: Any, new: bool):
    file = launches()
    before = unit(file)
    after = keyed(replace(before, **{field: value}), file)
    assert (after.key != before.key) is new
    assert {f.name for f in fields(Unit)} >= {field}


def test_a_batch_that_is_set_live_is_not_in_the_key():
    file = launches(batch={"kind": "command", "argv": ["true", "{batch}"]})
    before = unit(file)
    assert keyed(replace(before, batch=99), file) == replace(before, batch=99)


# -- what cannot be --------------------------------------------------------------------------------


def test_another_user():
    other = os.geteuid() + 1
    services = [{**made.INSTANCE["services"][0], "user_id": other}]
    with pytest.raises(UnsupportedError, match=f"belongs to Unix user {other}, this is user"):
        units(services=services)
    mine = [{**made.INSTANCE["services"][0], "user_id": os.geteuid()}]
    assert len(units(services=mine)) == 5


def test_gpus_without_a_uuid():
    question = made.instance()
    with pytest.raises(InputError, match="GPU a/0 has no UUID"):
        units_of(question, made.plan(question), made.launch_file(), {})


def test_uuids_by_pool_and_ordinal():
    assert gpu_uuids(made.instance()) == {
        ("a", 0): made.UUIDS[0],
        ("a", 1): made.UUIDS[1],
        ("b", 5): made.UUIDS[2],
    }


def test_a_workload_that_the_instance_does_not_have():
    question = made.instance()
    other = made.instance(tasks=[{**made.INSTANCE["tasks"][0], "id": "train-2"}])
    with pytest.raises(InputError, match="places task 'train-1', which the instance does not"):
        units_of(other, made.plan(question), made.launch_file(), gpu_uuids(other))


def test_memory_that_nobody_knows():
    """A plan by hand, at a batch that was not profiled."""
    question = made.instance()
    data = made.plan(question).model_dump(mode="json", by_alias=True, exclude_none=True)
    data["placements"][0]["services"][0]["batch"] = 32
    plan = type(made.plan(question)).model_validate(data)
    with pytest.raises(InputError, match="memory of service 'bert' at batch 32 is not known"):
        units_of(question, plan, made.launch_file(), gpu_uuids(question))


# -- which entry -----------------------------------------------------------------------------------


def file_of(*programs: tuple[str, list[str]]) -> LaunchFile:
    one = {"argv": ["x"], "batch": {"kind": "fixed", "batch": 1}}
    rows = [{"id": i, **({"workloads": w} if w else {}), **one} for i, w in programs]
    return LaunchFile.model_validate({"schema": "colocate/launch/v1", "programs": rows})


def test_whole_names_before_long_starts_before_short_ones():
    file = file_of(("a", ["t*"]), ("b", ["t-1"]), ("c", ["t-*", "u"]), ("t-9", []))
    found = {n: p.id if (p := file.starting(n)) else None for n in ("t", "t-1", "t-2", "u", "t-9")}
    assert found == {"t": "a", "t-1": "b", "t-2": "c", "u": "c", "t-9": "t-9"}
    assert file.starting("v") is None
    assert file.program("b").id == "b"
    with pytest.raises(KeyError):
        file.program("v")


def test_one_name_in_two_entries():
    with pytest.raises(ValueError, match="'x' is started by 'a' and by 'b'"):
        file_of(("a", ["x"]), ("b", ["x"]))
    with pytest.raises(ValueError, match="'x' is started by 'a' and by 'x'"):
        file_of(("a", ["x"]), ("x", []))
    with pytest.raises(ValueError, match="program 'a' is listed twice"):
        file_of(("a", ["x"]), ("a", ["y"]))
