"""Broken files, links and full disks."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from colocate.executor.errors import UnitError
from colocate.executor.workloads import folders
from colocate.executor.workloads.keeper import keeping, procs
from colocate.executor.workloads.keeper.files import read_json, write_json
from colocate.executor.workloads.keeper.status import STATUS, UNIT, WANTED
from tests.executor.workloads.stage import Stage, eventually, launches, state, unit

GO_ON = {"kind": "alive", "settle_s": 0.0}
QUICK = {"first_wait_s": 0.05, "longest_wait_s": 0.2, "most": 2}


def running(pid: int) -> bool:
    found = procs.find(pid)
    return found is not None and found.alive


# -- files -----------------------------------------------------------------------------------------

GARBAGE: list[bytes] = [b"", b"{", b"[]", b"\xff\xfe", b"[" * 5000, b'{"phase": 3}', b"null"]


@pytest.mark.parametrize("name", [STATUS, WANTED])
def test_garbled_files_are_survived(stage: Stage, name: str):
    processes, one = stage.set(pausable=True)
    processes.start(one, {})
    processes.wait_ready(one.key)
    for data in GARBAGE:
        (stage.folder(one) / name).write_bytes(data)
        assert len(state(processes, one).pids) == 1
    # numbers of wishes go on where the other file left them
    processes.pause(one.key)
    assert state(processes, one).phase == "paused"
    processes.resume(one.key)
    processes.stop(one.key)
    stage.none_left()


def test_a_garbled_unit_is_told(stage: Stage):
    processes, one = stage.set()
    processes.start(one, {})
    for data in [*GARBAGE, json.dumps({"format": 99}).encode(), b'{"format": 1, "unit": {}}']:
        (stage.folder(one) / UNIT).write_bytes(data)
        with pytest.raises(UnitError) as failed:
            processes.observe()
        assert failed.value.advice


def test_links_and_pipes_are_not_followed(stage: Stage, tmp_path: Path):
    processes, one = stage.set()
    processes.start(one, {})
    processes.wait_ready(one.key)
    processes.stop(one.key)
    processes.start(one, {})
    path = stage.folder(one) / UNIT
    kept = path.read_bytes()
    (tmp_path / "elsewhere").write_bytes(kept)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnitError, match=r"unit.json: "):
        processes.observe()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UnitError, match="is no regular file of this user"):
        processes.observe()
    path.unlink()
    path.write_bytes(kept)
    processes.stop(one.key)


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_folder_that_cannot_be_written_to(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, number: int
):
    def refused(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    processes, one = stage.set()
    monkeypatch.setattr(folders, "write_json", refused)
    with pytest.raises(UnitError, match=f"cannot write below .*: {os.strerror(number)}"):
        processes.start(one, {})
    assert processes.observe() == ()
    stage.none_left()


def test_a_full_disk_at_the_start(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    processes, one = stage.set()
    monkeypatch.setattr(folders, "write_json", full)
    with pytest.raises(UnitError, match=r"cannot write below .*: No space left on device"):
        processes.start(one, {})
    assert processes.observe() == ()
    monkeypatch.undo()
    processes.start(one, {})
    processes.wait_ready(one.key)
    monkeypatch.setattr(folders, "write_json", full)
    processes.stop(one.key)
    stage.none_left()


def test_a_keeper_that_cannot_write_says_so(stage: Stage):
    processes, one = stage.set()
    (stage.root / "units").mkdir(parents=True, mode=0o700)
    folder = stage.folder(one)
    folder.mkdir(mode=0o700)
    (folder / STATUS).mkdir()  # what cannot be replaced by a file
    with pytest.raises(UnitError, match=r"its keeper cannot work: .*Is a directory"):
        processes.start(one, {})
    stage.none_left()


def keeper_in_process(stage: Stage, one: Any, processes: Any) -> keeping.Keeper:
    """Return a keeper that runs in this process, over the files of a unit that is stopped."""
    processes.start(one, {})
    processes.wait_ready(one.key)
    os.kill(stage.keeper(one) or 0, signal.SIGTERM)
    eventually(lambda: stage.keeper(one) is None)
    spec = read_json(stage.folder(one) / UNIT)
    assert spec is not None
    keeper = keeping.Keeper(stage.folder(one), spec, os.open(os.devnull, os.O_RDONLY))
    keeper.begin()
    return keeper


def test_a_full_disk_when_the_process_starts(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """What could not be written down must not run: nobody would find it."""
    processes, one = stage.set()
    keeper = keeper_in_process(stage, one, processes)
    monkeypatch.setattr(keeping, "write_json", full)
    keeper.step()
    stage.none_left()
    monkeypatch.undo()
    assert keeper.write()
    assert state(processes, one).phase == "failed"
    assert "cannot be written down" in state(processes, one).detail


def test_a_full_disk_and_a_process_that_will_not_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """It is kept in mind as long as it runs, and written down as soon as that is possible."""
    words = ("ignore=SIGTERM", "say=up", f"until={tmp_path}/go", "exit=0")
    processes, one = stage.set(*words, stop={"grace_s": 0.2})
    (tmp_path / "go").touch()
    keeper = keeper_in_process(stage, one, processes)
    (tmp_path / "go").unlink()

    def full_once_it_runs(path: Path, value: Any) -> None:
        eventually(lambda: "up" in processes.log(one.key), "the start")
        full()

    (stage.folder(one) / "log").unlink()
    monkeypatch.setattr(keeping, "write_json", full_once_it_runs)
    keeper.step()
    assert keeper.workload is not None
    assert keeper.workload.main_runs()
    monkeypatch.setattr(keeping, "write_json", write_json)
    assert keeper.write()
    assert len(state(processes, one).pids) == 1
    (tmp_path / "go").touch()
    eventually(lambda: not keeper.workload or not keeper.workload.main_runs(), "its end")


def test_a_full_disk_later(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """A process that runs and is known runs on; what is written is brought up to date later."""
    processes, one = stage.set()
    keeper = keeper_in_process(stage, one, processes)
    keeper.step()
    monkeypatch.setattr(keeping, "write_json", full)
    eventually(lambda: keeper.step() is False or keeper.status.phase == "ready", "ready")
    assert not keeper.write()
    assert keeper.workload is not None
    assert keeper.workload.main_runs()
    monkeypatch.undo()
    assert keeper.write()
    assert (read_json(stage.folder(one) / STATUS) or {})["phase"] == "ready"
    keeper.told_to_stop = True
    keeper.step()
    assert keeper.status.phase == "stopped"
    stage.none_left()


def test_status_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_two_keepers_of_one_unit(stage: Stage):
    processes, one = stage.set()
    processes.start(one, {})
    processes.wait_ready(one.key)
    pid = stage.keeper(one)
    main = Path(keeping.__file__).with_name("main.py")
    second = subprocess.run(
        [sys.executable, "-I", "-S", main, stage.folder(one)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert b"it has a keeper already" in second.stderr
    assert stage.keeper(one) == pid
    assert len(state(processes, one).pids) == 1


def test_a_folder_without_a_start(stage: Stage):
    """The executor was killed between the folder and the keeper."""
    file = launches()
    one = unit(file)
    processes = stage.processes(file)
    processes.start(one, {})
    processes.wait_ready(one.key)
    spec = read_json(stage.folder(one) / UNIT)
    processes.stop(one.key)
    folder = stage.folder(one)
    folder.mkdir(mode=0o700)
    write_json(folder / UNIT, spec)
    lost = state(processes, one)
    assert (lost.phase, lost.pids, lost.detail) == ("lost", (), "it was never started")
    processes.start(one, {})
    processes.wait_ready(one.key)
    processes.stop(one.key)
    assert processes.observe() == ()
