"""Keepers that are killed: nothing is lost, and start and stop converge."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from colocate.executor.errors import UnitError
from colocate.executor.workloads.keeper import procs
from colocate.executor.workloads.keeper.files import read_json, write_json
from colocate.executor.workloads.keeper.status import STATUS, WANTED
from tests.executor.workloads.stage import Stage, eventually, state

GO_ON = {"kind": "alive", "settle_s": 0.0}
QUICK = {"first_wait_s": 0.05, "longest_wait_s": 0.2, "most": 2}


def running(pid: int) -> bool:
    found = procs.find(pid)
    return found is not None and found.alive


# -- keepers that are killed -----------------------------------------------------------------------


def test_a_killed_keeper_leaves_its_process_and_the_next_one_takes_over(stage: Stage):
    processes, one = stage.set("child=session", "orphan=1", "say=up")
    processes.start(one, {})
    eventually(lambda: "up" in processes.log(one.key), "the start")
    before = eventually(lambda: (p := state(processes, one).pids) and len(p) == 3 and p, "three")

    def known():
        return {pid for pid, _ in (read_json(stage.folder(one) / STATUS) or {})["known"]}

    eventually(lambda: known() == set(before), "the look")
    stage.kill_keeper(one)
    lost = state(processes, one)
    assert (lost.phase, lost.pids) == ("lost", before)
    assert lost.detail == "its keeper is gone; its processes run on"
    with pytest.raises(UnitError, match="is lost"):
        processes.wait_ready(one.key)
    processes.start(one, {})
    processes.wait_ready(one.key)
    again = state(processes, one)
    assert (again.phase, again.pids) == ("ready", before)
    # and it is watched again
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: state(processes, one).restarts == 1, "the restart")
    processes.stop(one.key)
    stage.none_left()


def test_stop_after_the_keeper_was_killed(stage: Stage, tmp_path: Path):
    checkpoint = {"argv": ["touch", f"{tmp_path}/saved"]}
    processes, one = stage.set("child=session", "say=up", checkpoint=checkpoint)
    processes.start(one, {})
    processes.wait_ready(one.key)
    stage.kill_keeper(one)
    assert state(processes, one).phase == "lost"
    processes.stop(one.key)
    assert (tmp_path / "saved").exists()
    assert processes.observe() == ()
    stage.none_left()


def test_keeper_and_process_killed(stage: Stage):
    processes, one = stage.set()
    processes.start(one, {})
    processes.wait_ready(one.key)
    (pid,) = state(processes, one).pids
    stage.kill_keeper(one)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not running(pid))
    lost = state(processes, one)
    assert (lost.phase, lost.pids) == ("lost", ())
    processes.start(one, {})
    processes.wait_ready(one.key)
    assert state(processes, one).pids != (pid,)
    stage.kill_keeper(one)
    os.kill(state(processes, one).pids[0], signal.SIGKILL)
    eventually(lambda: not state(processes, one).pids)
    processes.stop(one.key)
    assert processes.observe() == ()


def test_a_paused_unit_whose_keeper_was_killed(stage: Stage):
    processes, one = stage.set(pausable=True)
    processes.start(one, {})
    processes.wait_ready(one.key)
    processes.pause(one.key)
    stage.kill_keeper(one)
    (pid,) = state(processes, one).pids
    # nobody let it go on, so a new keeper does not either
    processes.start(one, {})
    processes.wait_ready(one.key)
    assert state(processes, one).phase == "paused"
    found = procs.find(pid)
    assert found is not None
    assert found.state == "T"
    processes.resume(one.key)
    processes.wait_ready(one.key)
    processes.pause(one.key)
    stage.kill_keeper(one)
    processes.stop(one.key)
    assert not running(pid)
    stage.none_left()


def test_killed_while_it_stops(stage: Stage):
    processes, one = stage.set(stop={"drain_s": 0.5})
    processes.start(one, {})
    processes.wait_ready(one.key)
    write_json(stage.folder(one) / WANTED, {"serial": 9, "state": "stopped", "batch": 4})
    eventually(lambda: (read_json(stage.folder(one) / STATUS) or {})["phase"] == "draining")
    stage.kill_keeper(one)
    processes.stop(one.key)
    assert processes.observe() == ()
    stage.none_left()


@pytest.mark.parametrize("data", [None, b"", b"garbage"])
@pytest.mark.parametrize("stop", [True, False])
def test_nothing_is_written_down(stage: Stage, data: bytes | None, stop: bool):
    """As if the keeper had been killed between the start of a process and its first status."""
    processes, one = stage.set("child=session", "say=up")
    processes.start(one, {})
    processes.wait_ready(one.key)
    pids = eventually(lambda: (p := state(processes, one).pids) and len(p) == 2 and p, "both")
    stage.kill_keeper(one)
    path = stage.folder(one) / STATUS
    path.unlink() if data is None else path.write_bytes(data)
    lost = state(processes, one)
    assert (lost.phase, lost.pids) == ("lost", pids)
    if stop:
        processes.stop(one.key)
        assert processes.observe() == ()
        stage.none_left()
        return
    processes.start(one, {})
    processes.wait_ready(one.key)
    assert state(processes, one).pids == pids
    # and the right one is watched
    os.kill(pids[0], signal.SIGKILL)
    eventually(lambda: state(processes, one).restarts == 1, "the restart")


@pytest.mark.deep
def test_killed_at_any_moment(stage: Stage):
    """Whatever the keeper was doing when it was killed, start and stop converge."""
    for i in range(60):
        processes, one = stage.set("child=session", restart=QUICK, stop={"drain_s": 0.05})
        processes.start(one, {})
        time.sleep(i * 0.005)
        if i % 2:
            folder = stage.folder(one)
            write_json(folder / WANTED, {"serial": 99, "state": "stopped", "batch": 4})
            time.sleep(i * 0.002)
        with contextlib.suppress(AssertionError, ProcessLookupError):
            stage.kill_keeper(one)  # unless it has ended by itself
        if i % 3:
            processes.start(one, {})
            processes.wait_ready(one.key)
            assert state(processes, one).phase == "ready"
        processes.stop(one.key)
        assert processes.observe() == ()
        stage.none_left()


def test_numbers_that_were_used_again_are_left_alone(stage: Stage):
    processes, one = stage.set()
    processes.start(one, {})
    processes.wait_ready(one.key)
    (pid,) = state(processes, one).pids
    stage.kill_keeper(one)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not running(pid))
    with subprocess.Popen(["sleep", "100"], start_new_session=True) as stranger:
        try:
            path = stage.folder(one) / STATUS
            status = read_json(path)
            assert status is not None
            # as if the stranger had been given the number of the process that died
            start = status["main"][1]
            status["main"] = [stranger.pid, start]
            status["known"] = [[stranger.pid, start]]
            write_json(path, status)
            assert state(processes, one).pids == ()
            processes.stop(one.key)
            assert processes.observe() == ()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_after_the_machine_was_started_anew(stage: Stage):
    processes, one = stage.set()
    processes.start(one, {})
    processes.wait_ready(one.key)
    (pid,) = state(processes, one).pids
    stage.kill_keeper(one)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not running(pid))
    with subprocess.Popen(["sleep", "100"]) as stranger:
        try:
            found = procs.identity(stranger.pid)
            assert found is not None
            status = read_json(stage.folder(one) / STATUS)
            assert status is not None
            # number and start time may both come round again, but not in one life of the machine
            write_json(
                stage.folder(one) / STATUS,
                {**status, "main": found.as_list(), "known": [found.as_list()], "boot": "another"},
            )
            lost = state(processes, one)
            assert (lost.phase, lost.pids) == ("lost", ())
            assert lost.detail == "the machine has been started anew"
            processes.stop(one.key)
            assert stranger.poll() is None
        finally:
            stranger.kill()
