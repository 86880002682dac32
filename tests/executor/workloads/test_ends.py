"""Processes that die are started again; processes that will not end are not killed lightly."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

import pytest

from colocate.executor.errors import UnitError
from colocate.executor.workloads.keeper import procs
from tests.executor.workloads.stage import Stage, eventually, state

GO_ON = {"kind": "alive", "settle_s": 0.0}
QUICK = {"first_wait_s": 0.05, "longest_wait_s": 0.2, "most": 2}


def running(pid: int) -> bool:
    found = procs.find(pid)
    return found is not None and found.alive


# -- restarts --------------------------------------------------------------------------------------


def test_what_dies_is_started_again_and_then_given_up(stage: Stage, tmp_path: Path):
    processes, one = stage.set(
        f"count={tmp_path}/n", "for=0.1", "code=5", ready=GO_ON, restart=QUICK
    )
    processes.start(one, {})
    seen = set()

    def failed():
        now = state(processes, one)
        seen.add(now.phase)
        return now.phase == "failed"

    eventually(failed, "giving up")
    assert seen <= {"starting", "ready", "backing_off", "failed"}
    now = state(processes, one)
    assert (now.restarts, now.pids) == (2, ())
    assert now.detail == "ended with code 5; started again 2 times"
    assert (tmp_path / "n").read_text() == "3"
    stage.none_left()


def test_a_service_that_ends_with_0_is_started_again(stage: Stage, tmp_path: Path):
    processes, one = stage.set(f"count={tmp_path}/n", "for=0.1", ready=GO_ON, restart=QUICK)
    processes.start(one, {})
    eventually(lambda: state(processes, one).restarts == 2, "two restarts")
    eventually(lambda: state(processes, one).phase == "failed", "giving up")
    assert (tmp_path / "n").read_text() == "3"


def test_waits_grow(stage: Stage):
    processes, one = stage.set(
        "for=0.05",
        "code=1",
        ready=GO_ON,
        restart={"first_wait_s": 0.1, "longest_wait_s": 0.3, "most": 9},
    )
    processes.start(one, {})
    waits = []

    def enough():
        detail = state(processes, one).detail
        if "after" in detail and (wait := detail.split()[-2]) not in waits:
            waits.append(wait)
        return len(waits) == 3

    eventually(enough, "three waits")
    assert waits == ["0.1", "0.2", "0.3"]
    processes.stop(one.key)
    stage.none_left()


def test_never_means_never(stage: Stage):
    processes, one = stage.set("for=0.2", "code=1", ready=GO_ON, restart={"when": "never"})
    processes.start(one, {})
    eventually(lambda: state(processes, one).phase == "failed", "the end")
    assert state(processes, one).restarts == 0


def test_stop_while_it_backs_off(stage: Stage):
    restart = {"first_wait_s": 1000, "longest_wait_s": 1000}
    processes, one = stage.set("for=0.05", "code=1", ready=GO_ON, restart=restart)
    processes.start(one, {})
    eventually(lambda: state(processes, one).phase == "backing_off", "the wait")
    processes.start(one, {})
    assert state(processes, one).phase == "backing_off"
    with pytest.raises(UnitError, match="is backing off: ended with code 1"):
        processes.wait_ready(one.key)
    processes.stop(one.key)
    stage.none_left()


def test_a_failed_unit_is_started_anew(stage: Stage, tmp_path: Path):
    mark = tmp_path / "mark"
    probe = {"kind": "file", "path": str(mark), "deadline_s": 0.2, "interval_s": 0.02}
    processes, one = stage.set(ready=probe)
    processes.start(one, {})
    with pytest.raises(UnitError, match="not ready within"):
        processes.wait_ready(one.key)
    processes.start(one, {})
    future = time.time() + 1000
    mark.touch()
    os.utime(mark, (future, future))
    processes.wait_ready(one.key)
    assert state(processes, one).phase == "ready"


# -- ends ------------------------------------------------------------------------------------------


def test_what_ignores_sigterm_is_not_killed_unless_that_is_allowed(stage: Stage, tmp_path: Path):
    words = ("ignore=SIGTERM", "say=up", f"until={tmp_path}/go", "exit=0")
    processes, one = stage.set(*words, stop={"grace_s": 0.2})
    processes.start(one, {})
    eventually(lambda: "up" in processes.log(one.key), "the start")
    (pid,) = state(processes, one).pids
    began = time.monotonic()
    with pytest.raises(UnitError, match=rf"processes {pid} did not end within 0.2 s of SIGTERM"):
        processes.stop(one.key)
    assert time.monotonic() - began < 30
    now = state(processes, one)
    assert (now.phase, now.pids) == ("draining", (pid,))
    assert running(pid)
    with pytest.raises(UnitError, match="did not end within"):
        processes.stop(one.key)
    (tmp_path / "go").touch()
    eventually(lambda: not running(pid), "its own end")
    processes.stop(one.key)
    assert processes.observe() == ()
    stage.none_left()


def test_killed_where_allowed(stage: Stage, caplog: pytest.LogCaptureFixture):
    stop = {"grace_s": 0.2, "hard_kill": True}
    processes, one = stage.set("ignore=SIGTERM", "child=stubborn", "say=up", stop=stop)
    processes.start(one, {})
    eventually(lambda: "up" in processes.log(one.key), "the start")
    eventually(lambda: len(state(processes, one).pids) == 2, "the child")
    with caplog.at_level(logging.WARNING, "colocate"):
        processes.stop(one.key)
    assert f"unit {one.key}: killed: it did not end within 0.2 s" in caplog.text
    stage.none_left()


@pytest.mark.parametrize("signals", ["SIGINT", "SIGUSR1"])
def test_another_signal(stage: Stage, signals: str):
    processes, one = stage.set("ignore=SIGTERM", "say=up", stop={"signal": signals})
    processes.start(one, {})
    eventually(lambda: "up" in processes.log(one.key), "the start")
    processes.stop(one.key)
    stage.none_left()


def test_a_stop_that_went_well_is_not_worth_a_word(stage: Stage, caplog: pytest.LogCaptureFixture):
    processes, one = stage.set("child=session")
    processes.start(one, {})
    processes.wait_ready(one.key)
    with caplog.at_level(logging.DEBUG, "colocate"):
        processes.stop(one.key)
    assert caplog.text == ""


def test_children_end_too(stage: Stage):
    processes, one = stage.set("child=plain", "child=session", "orphan=1", "say=up")
    processes.start(one, {})
    eventually(lambda: "up" in processes.log(one.key), "the start")
    eventually(lambda: len(state(processes, one).pids) == 4, "four processes")
    assert set(stage.left()) == {*state(processes, one).pids, stage.keeper(one)}
    processes.stop(one.key)
    stage.none_left()


def test_what_a_process_leaves_behind_is_ended_before_it_starts_again(stage: Stage, tmp_path: Path):
    processes, one = stage.set(
        "child=session", f"until={tmp_path}/go", "exit=1", ready=GO_ON, restart=QUICK
    )
    processes.start(one, {})
    first = eventually(lambda: (p := state(processes, one).pids) and len(p) == 2 and p, "both")
    (tmp_path / "go").touch()
    eventually(lambda: state(processes, one).restarts > 0, "the restart")
    assert not any(running(pid) for pid in first)


def test_stubborn_children_keep_it_from_starting_again(stage: Stage, tmp_path: Path):
    processes, one = stage.set(
        *("child=stubborn", f"until={tmp_path}/go", "exit=1"),
        ready=GO_ON,
        restart=QUICK,
        stop={"grace_s": 0.1},
    )
    processes.start(one, {})
    both = eventually(lambda: (p := state(processes, one).pids) and len(p) == 2 and p, "both")
    time.sleep(0.3)  # the child is to ignore the signal by then
    (tmp_path / "go").touch()
    eventually(lambda: "processes that it started run on" in state(processes, one).detail, "that")
    (child,) = state(processes, one).pids
    assert child in both
    os.kill(child, signal.SIGKILL)
    eventually(lambda: state(processes, one).restarts > 0, "the restart")


def test_work_is_saved_before_the_end(stage: Stage, tmp_path: Path):
    saved = tmp_path / "saved"
    script = tmp_path / "save"
    script.write_text(f"#!/bin/sh\nkill -0 $1 && echo $2 > {saved}\n")
    script.chmod(0o700)
    pid_file = tmp_path / "pid"
    processes, one = stage.set(
        checkpoint={"argv": ["sh", "-c", f"{script} $(cat {pid_file}) {{key}}"]}
    )
    processes.start(one, {})
    processes.wait_ready(one.key)
    pid_file.write_text(str(state(processes, one).pids[0]))
    processes.stop(one.key)
    assert saved.read_text().strip() == one.key  # and the process still ran then


def test_work_that_cannot_be_saved_is_told(stage: Stage, caplog: pytest.LogCaptureFixture):
    for argv, deadline, words in (
        (["sleep", "100"], 0.2, "sleep took longer than 0.2 s"),
        (["sh", "-c", "echo disk full; exit 4"], 50, "sh ended with 4: disk full"),
    ):
        processes, one = stage.set(checkpoint={"argv": argv, "deadline_s": deadline})
        processes.start(one, {})
        processes.wait_ready(one.key)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "colocate"):
            processes.stop(one.key)
        assert "its work was not saved: " in caplog.text
        assert words in caplog.text
        stage.none_left()


def test_requests_under_way_are_waited_for(stage: Stage):
    processes, one = stage.set(stop={"drain_s": 0.4})
    processes.start(one, {})
    processes.wait_ready(one.key)
    (pid,) = state(processes, one).pids
    began = time.monotonic()
    processes.stop(one.key)
    assert time.monotonic() - began >= 0.4
    assert not running(pid)


def test_sigterm_to_the_keeper_is_a_stop(stage: Stage):
    processes, one = stage.set("child=plain")
    processes.start(one, {})
    processes.wait_ready(one.key)
    os.kill(stage.keeper(one) or 0, signal.SIGTERM)
    eventually(lambda: stage.keeper(one) is None, "the stop")
    assert state(processes, one).phase == "stopped"
    stage.none_left()
    processes.start(one, {})
    processes.wait_ready(one.key)
