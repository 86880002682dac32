"""Records, markers, debts, classified faults, settings and the runner."""

from __future__ import annotations

import json
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from colocate.errors import InputError
from colocate.executor.errors import HeldError
from colocate.executor.guard.actions import Owed
from colocate.executor.guard.evidence import ServiceReading, evidence_of
from colocate.executor.guard.faults import (
    HARDWARE_XIDS,
    FaultMemory,
    classify,
    ended_by,
    xid_severity,
)
from colocate.executor.guard.holds import Holds
from colocate.executor.guard.keeping import keep, recall
from colocate.executor.guard.machine import GuardState
from colocate.executor.guard.records import JsonLines
from colocate.executor.guard.run import run_until
from colocate.executor.guard.thresholds import (
    Band,
    GuardSettings,
    Patience,
    Policy,
    Thresholds,
)
from colocate.executor.ports import DaemonState, GpuReading, Limits, UnitState
from tests.executor.world import make_unit, uuid_of

GPU = uuid_of(0)
TASK = make_unit("train", role="task")
SERVICE = make_unit("web")


# -- records -----------------------------------------------------------------------------------


def test_records_are_lines_with_the_time(tmp_path):
    lines = JsonLines(tmp_path / "guard.jsonl")
    lines.write({"event": "a", "text": "x\ny"})
    lines.write({"event": "b"})
    read = [json.loads(line) for line in (tmp_path / "guard.jsonl").read_text().splitlines()]
    assert [r["event"] for r in read] == ["a", "b"]
    assert read[0]["text"] == "x\ny"
    assert read[0]["time"].endswith("+00:00")
    assert stat.S_IMODE((tmp_path / "guard.jsonl").stat().st_mode) == 0o600


def test_records_that_cannot_be_written_are_counted_and_do_not_stop_anybody(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    lines = JsonLines(folder / "guard.jsonl")
    (folder / "guard.jsonl").unlink()
    (folder / "guard.jsonl").mkdir()
    lines.write({"event": "a"})
    lines.write({"event": "b"})
    assert lines.lost == 2
    (folder / "guard.jsonl").rmdir()
    lines.write({"event": "c"})
    assert json.loads((folder / "guard.jsonl").read_text())["records_lost"] == 2
    assert lines.lost == 0


def test_records_do_not_follow_links_or_fill_the_disk(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError):
        JsonLines(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError):
        JsonLines(tmp_path / "pipe")
    lines = JsonLines(tmp_path / "small", max_bytes=2000)
    for i in range(100):
        lines.write({"event": "x", "i": i})
    assert (tmp_path / "small").stat().st_size <= 2000
    assert (tmp_path / "small.1").stat().st_size <= 2000
    lines.write({"event": "huge", "text": "x" * 100_000})
    last = json.loads((tmp_path / "small").read_text().splitlines()[-1])
    assert last["event"] == "huge"
    assert last["too_long"] > 100_000


# -- markers -----------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "files"])
def holds(request, tmp_path: Path) -> Holds:
    return Holds(None if request.param == "memory" else tmp_path / "holds")


def test_a_unit_is_held_as_long_as_anybody_wants_it(holds):
    assert holds.holders(TASK.key) == frozenset()
    holds.put("guard", TASK.key)
    holds.put("guard", TASK.key)
    holds.put("tuner", TASK.key)
    assert holds.holders(TASK.key) == {"guard", "tuner"}
    assert holds.of("guard") == (TASK.key,)
    holds.drop("guard", TASK.key)
    holds.drop("guard", TASK.key)
    assert holds.holders(TASK.key) == {"tuner"}
    with holds.alone():
        holds.drop("tuner", TASK.key)
    assert holds.holders(TASK.key) == frozenset()
    assert holds.of("nobody") == ()


@given(st.text(max_size=40))
def test_only_names_of_units_become_files(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "markers"
    holds = Holds(folder)
    try:
        holds.put("guard", text)
    except InputError:
        return
    assert (folder / "guard" / text).parent == folder / "guard"
    assert (folder / "guard" / text).is_file()
    holds.drop("guard", text)


def test_two_do_not_change_markers_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("colocate.executor.guard.holds.WAIT_S", 0.05)
    first, second = Holds(tmp_path / "holds"), Holds(tmp_path / "holds")
    with first.alone(), pytest.raises(HeldError), second.alone():
        pass
    with second.alone():
        pass


# -- debts -------------------------------------------------------------------------------------


def test_what_is_owed_outlives_the_guard(tmp_path):
    owed = Owed(
        evicted={TASK.key: replace(TASK, share_pct=30)},
        services={SERVICE.key: SERVICE},
        batches={"a.0.x": 32},
    )
    state = GuardState(phase="calm_down", offences=3, held_from=1.0)
    text = keep(tmp_path / "guard", GPU, state, owed)
    found, back = recall(tmp_path / "guard", GPU, 50.0)
    assert (back.evicted, back.services, back.batches) == (
        owed.evicted,
        owed.services,
        owed.batches,
    )
    assert (found.phase, found.offences, found.since) == ("init", 3, 50.0)
    before = (tmp_path / "guard" / f"{GPU}.json").stat().st_ino
    assert keep(tmp_path / "guard", GPU, state, owed, text) == text
    assert (tmp_path / "guard" / f"{GPU}.json").stat().st_ino == before


def test_a_disabled_gpu_stays_disabled_and_a_new_one_owes_nothing(tmp_path):
    keep(tmp_path, GPU, GuardState(phase="disabled", held_from=1.0), Owed())
    assert recall(tmp_path, GPU, 5.0)[0].phase == "disabled"
    state, owed = recall(tmp_path, uuid_of(1), 5.0)
    assert state.phase == "init"
    assert not owed.evicted


@pytest.mark.parametrize("text", ["", "{}", '{"gpu": 1}', '{"schema": "colocate/guard-state/v2"}'])
def test_a_broken_file_is_told_and_not_ignored(tmp_path, text):
    (tmp_path / f"{GPU}.json").write_text(text)
    with pytest.raises(InputError, match="not as it was written"):
        recall(tmp_path, GPU, 0.0)
    with pytest.raises(InputError, match="UUID"):
        recall(tmp_path, "../../etc/passwd", 0.0)


# -- faults ------------------------------------------------------------------------------------


def unit_state(unit=TASK, phase="ready", detail="", restarts=0) -> UnitState:
    pids = () if phase in ("failed", "backing_off", "lost") else (10,)
    return UnitState(unit=unit, phase=phase, pids=pids, detail=detail, restarts=restarts)


def daemon(server="active", alive=True) -> DaemonState:
    return DaemonState(
        gpu=GPU, alive=alive, ours=True, dialect="v2", server=server, limits=Limits()
    )


def faults_of(memory, now, *states, **more):
    arguments = {
        "daemon": daemon(),
        "units": states,
        "reading": GpuReading(seconds=now),
        "policy": Policy(),
        **more,
    }
    return classify(memory, GPU, now, **arguments)


@pytest.mark.parametrize(
    ("detail", "phase", "kind"),
    [
        ("was ended by SIGKILL", "backing_off", ("signal", 9)),
        ("killed by signal 11", "failed", ("signal", 11)),
        ("ended with code 1", "failed", ("exit", None)),
        ("RuntimeError: CUDA out of memory", "failed", ("oom", None)),
        ("was ended by SIGNOTHING", "failed", ("exit", None)),
        ("", "lost", ("lost", None)),
    ],
)
def test_how_a_unit_ended(detail, phase, kind):
    assert ended_by(unit_state(phase=phase, detail=detail)) == kind


@pytest.mark.parametrize(
    ("unit", "detail", "severity"),
    [
        (TASK, "ended with code 1", "note"),
        (TASK, "was ended by SIGTERM", "note"),
        (TASK, "was ended by SIGKILL", "contain"),
        (TASK, "was ended by SIGSEGV", "contain"),
        (TASK, "out of memory", "contain"),
        (SERVICE, "ended with code 1", "contain"),
    ],
)
def test_how_far_an_end_reaches(unit, detail, severity):
    memory = FaultMemory()
    assert faults_of(memory, 0.0, unit_state(unit)) == ()
    (found,) = faults_of(memory, 1.0, unit_state(unit, "backing_off", detail))
    assert found.severity == severity
    assert found.unit == unit.key
    # it is told once, until it happens again
    assert faults_of(memory, 2.0, unit_state(unit, "backing_off", detail)) == ()
    assert faults_of(memory, 3.0, unit_state(unit, "ready", restarts=0)) == ()


def test_an_end_between_two_looks_is_seen_by_the_restarts():
    memory = FaultMemory()
    faults_of(memory, 0.0, unit_state(restarts=2))
    assert len(faults_of(memory, 1.0, unit_state(restarts=3))) == 1


def test_ending_again_and_again_is_a_loop_even_when_each_end_is_harmless():
    memory = FaultMemory()
    faults_of(memory, 0.0, unit_state())
    found = [
        faults_of(memory, float(i), unit_state(restarts=i, detail="ended with code 1"))[0].severity
        for i in (1, 2, 3)
    ]
    assert found == ["note", "note", "contain"]


def test_a_server_in_fault_is_reset_once_and_again_when_it_stays_so():
    memory = FaultMemory()
    told = [
        bool(faults_of(memory, float(i), unit_state(), daemon=daemon("fault"))) for i in range(62)
    ]
    assert [i for i, t in enumerate(told) if t] == [0, 30, 60]
    (found,) = faults_of(FaultMemory(), 0.0, daemon=daemon("fault"))
    assert found.severity == "reset"
    policy = Policy(reset_server=False)
    (found,) = faults_of(FaultMemory(), 0.0, daemon=daemon("fault"), policy=policy)
    assert found.severity == "contain"


def test_a_daemon_that_was_never_started_is_no_fault():
    assert faults_of(FaultMemory(), 0.0, daemon=daemon(alive=False)) == ()


@given(st.integers(1, 300))
def test_each_xid_has_a_severity(xid):
    assert xid_severity(xid) in ("note", "contain", "disable")
    assert (xid_severity(xid) == "disable") == (xid in HARDWARE_XIDS)


def test_xids_are_reported_with_their_severity():
    reading = GpuReading(seconds=0.0, xids=(31, 79, 31))
    found = faults_of(FaultMemory(), 0.0, reading=reading)
    assert [(f.detail, f.severity) for f in found] == [("XID 31", "contain"), ("XID 79", "disable")]


def test_a_silent_service_hangs_and_an_idle_one_does_not():
    memory, idle = FaultMemory(), FaultMemory()
    silent = [ServiceReading(service="web", slo_ms=100.0, p99_ms=None)]
    nobody = [ServiceReading(service="web", slo_ms=100.0, p99_ms=None, rate_rps=0.0)]
    told = []
    for i in range(100):
        told += faults_of(memory, float(i), unit_state(SERVICE), services=silent)
        assert faults_of(idle, float(i), unit_state(SERVICE), services=nobody) == ()
    assert [f.kind for f in told] == ["hang"]


# -- evidence and settings ---------------------------------------------------------------------


def test_evidence_is_what_is_known():
    reading = GpuReading(
        seconds=0.0,
        gpu_util_pct=99.0,
        memory_used_mib=900.0,
        memory_total_mib=1000.0,
        sm_clock_mhz=600.0,
        max_sm_clock_mhz=1200.0,
        temperature_c=float("nan"),
    )
    services = [
        ServiceReading(service="a", slo_ms=100.0, p99_ms=50.0),
        ServiceReading(service="b", slo_ms=10.0, p99_ms=float("inf")),
        ServiceReading(service="c", slo_ms=10.0, p99_ms=None),
    ]
    found = evidence_of(1.0, reading, services, Thresholds())
    assert dict(found.values) == {
        "gpu_util_pct": 99.0,
        "memory_used_pct": 90.0,
        "clock_pct": 50.0,
        "latency_pct": 1e9,
    }
    json.dumps(found.record(), allow_nan=False)


def test_the_clock_of_an_idle_gpu_says_nothing():
    reading = GpuReading(seconds=0.0, gpu_util_pct=3.0, sm_clock_mhz=200.0, max_sm_clock_mhz=2000.0)
    assert evidence_of(0.0, reading, [], Thresholds()).value("clock_pct") is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Band(unhealthy=90.0, overlimit=80.0, margin=1.0),
        lambda: Band(unhealthy=50.0, overlimit=60.0, margin=1.0, falling=True),
        lambda: Band(unhealthy=50.0, margin=0.0),
        lambda: Patience(calm_first_s=100.0, calm_most_s=50.0),
        lambda: Patience(calm_factor=0.5),
        lambda: Policy(shrink_share=0.0),
        lambda: GuardSettings(interval_s=0.0),
    ],
)
def test_settings_that_make_no_sense_are_refused(make):
    with pytest.raises(ValidationError):
        make()


@given(st.integers(0, 2000))
def test_calm_downs_grow_to_their_limit_and_no_further(offences):
    patience = Patience(calm_first_s=10.0, calm_factor=2.0, calm_most_s=120.0)
    assert 10.0 <= patience.calm_s(offences) <= 120.0
    assert patience.calm_s(offences + 1) >= patience.calm_s(offences)


# -- the runner --------------------------------------------------------------------------------


def test_one_gpu_that_waits_or_fails_does_not_keep_the_others_from_being_looked_at():
    stop, waiting = threading.Event(), threading.Event()
    looks = [0]
    told: list[tuple[int, str]] = []

    def waits(_now: float) -> None:
        waiting.set()
        stop.wait(60)

    def fails(_now: float) -> None:
        raise RuntimeError("a bad look")

    def looks_on(_now: float) -> None:
        looks[0] += 1
        if looks[0] >= 5 and waiting.is_set() and told:
            stop.set()

    run_until(
        [waits, fails, looks_on],
        stop,
        interval_s=0.001,
        failed=lambda i, error: told.append((i, str(error))),
    )
    assert looks[0] >= 5
    assert (1, "a bad look") in told
