"""Whose process is it? Pid files, start times, programs, ancestors."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from colocate.executor.errors import MpsError
from colocate.executor.mps import identity, members, others
from colocate.executor.mps.directories import PID_FILE, folders_of
from colocate.executor.mps.identity import Record, daemon_process, process_start, standing
from tests.fakes.double import uuid

GPU = uuid(1)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that stands for a daemon: a copy of a real one, by the expected name."""
    binary = tmp_path / "nvidia-cuda-mps-control"
    binary.write_bytes(Path("/bin/sleep").read_bytes())
    binary.chmod(0o755)
    environment = {
        "CUDA_MPS_PIPE_DIRECTORY": str(tmp_path / "pipe"),
        "CUDA_VISIBLE_DEVICES": GPU,
    }
    (tmp_path / "pipe").mkdir()
    process = subprocess.Popen([str(binary), "300"], env=environment)
    until = time.monotonic() + 20
    # it has to become the program first, and its environment shows last
    while identity.process_environment(process.pid) != environment:
        assert time.monotonic() < until
        time.sleep(0.01)
    (tmp_path / "pipe" / PID_FILE).write_text(f"{process.pid}")
    yield process
    process.kill()
    process.wait()


def record(tmp_path: Path, **changes: object) -> Record:
    values: dict[str, object] = {
        "gpu": GPU,
        "state": "running",
        "boot_id": identity.boot_id(),
        "since_ticks": 0,
        "pipe": str(tmp_path / "pipe"),
        "log": str(tmp_path / "log"),
        "dialect": "v2",
    }
    return Record(**{**values, **changes})  # type: ignore[arg-type]


def whose(tmp_path: Path, known: Record | None) -> str:
    return standing(tmp_path / "pipe", known, tmp_path / "nvidia-cuda-mps-control")[0]


def test_ours_is_what_our_record_names(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    start = process_start(sleeper.pid)
    assert start is not None
    good = record(tmp_path, pid=sleeper.pid, start_ticks=start)
    assert whose(tmp_path, good) == "ours"
    assert whose(tmp_path, None) == "foreign"
    assert whose(tmp_path, record(tmp_path, pid=sleeper.pid, start_ticks=start - 1)) == "foreign"
    assert whose(tmp_path, record(tmp_path, pid=1, start_ticks=start)) == "foreign"
    other_boot = record(tmp_path, pid=sleeper.pid, start_ticks=start, boot_id="x")
    assert whose(tmp_path, other_boot) == "foreign"
    other_pipe = record(tmp_path, pid=sleeper.pid, start_ticks=start, pipe="/elsewhere")
    assert whose(tmp_path, other_pipe) == "foreign"


def test_a_start_that_was_cut_short_is_completed(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    begun = record(tmp_path, state="starting", since_ticks=identity.own_start())
    program = tmp_path / "nvidia-cuda-mps-control"
    status, process, known = standing(tmp_path / "pipe", begun, program)
    assert status == "ours"
    assert process is not None
    assert known is not None
    assert (known.state, known.pid, known.start_ticks) == (
        "running",
        sleeper.pid,
        process.start_ticks,
    )
    later = record(tmp_path, state="starting", since_ticks=process.start_ticks + 1)
    assert whose(tmp_path, later) == "foreign"


def test_a_living_process_that_is_no_daemon_is_none(tmp_path: Path) -> None:
    (tmp_path / "pipe").mkdir()
    (tmp_path / "pipe" / PID_FILE).write_text(f"{os.getpid()}")
    (tmp_path / "nvidia-cuda-mps-control").write_bytes(b"\x7fELF")
    assert daemon_process(tmp_path / "pipe") is not None
    assert whose(tmp_path, None) == "absent"


def test_a_program_that_was_replaced_is_still_known_by_its_name(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    """An update of the driver while a daemon runs."""
    binary = tmp_path / "nvidia-cuda-mps-control"
    binary.rename(tmp_path / "old")
    binary.write_bytes(b"\x7fELF")
    assert identity.is_control_program(sleeper.pid, binary)
    assert not identity.is_control_program(os.getpid(), binary)
    assert not identity.is_control_program(sleeper.pid, tmp_path / "none")


def test_dead_and_unread_processes_have_no_start() -> None:
    process = subprocess.Popen(["/bin/true"])
    until = time.monotonic() + 20
    while process_start(process.pid) is not None:  # a zombie counts as gone
        assert time.monotonic() < until
        time.sleep(0.01)
    pid = process.pid
    process.wait()
    assert process_start(pid) is None
    assert identity.process_environment(pid) is None
    assert members.parent_and_session(pid) is None
    assert members.unit_of(pid, {1: "a"}) is None


def test_a_pid_file_that_is_a_folder_or_pipe_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / PID_FILE)  # reading it must not wait for a writer
    assert daemon_process(tmp_path) is None
    (tmp_path / PID_FILE).unlink()
    (tmp_path / PID_FILE).mkdir()
    assert daemon_process(tmp_path) is None
    (tmp_path / PID_FILE).rmdir()
    (tmp_path / PID_FILE).symlink_to("/proc/1/stat")
    with pytest.raises(MpsError):
        daemon_process(tmp_path)


def test_without_a_boot_id_all_boots_look_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert identity.boot_id() == "unknown"


def test_a_record_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").symlink_to(tmp_path / "x")
    with pytest.raises(MpsError):
        identity.read_record(tmp_path / "daemon.json")


def test_no_units_own_nothing() -> None:
    assert members.no_units() == {}
    assert members.unit_of(os.getpid(), {}) is None
    assert members.unit_of(os.getpid(), {os.getpid(): "a"}) == "a"
    assert members.unit_of(os.getpid(), {os.getppid(): "b"}) == "b"


def test_a_session_counts_only_where_a_unit_leads_it() -> None:
    """A process of a unit that does not lead its session says nothing of the others in it."""
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(300)"
    argv = [sys.executable, "-IS", "-c", code]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        first, second = (process.pid for process in both)
        assert members.unit_of(second, {first: "a"}) is None
    finally:
        for process in both:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("visible", "covered"),
    [
        *[(None, True), (GPU, True), ("0", True), ("1,2", True), (uuid(2), False), ("", False)],
        *[(GPU[:12], True), (f"{uuid(2)},{GPU}", True), ("none", False), ("-1", False)],
    ],
)
def test_which_gpus_a_daemon_may_serve(visible: str | None, covered: bool) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert others._covers(GPU, environment) is covered
    assert others._covers(GPU, None)


def test_why_a_daemon_cannot_be_adopted(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert others._refusal(GPU, sleeper.pid) is None
    assert "alone" in (others._refusal(uuid(2), sleeper.pid) or "")
    assert others._refusal(GPU, 1 << 22) == "it is ending"
    monkeypatch.setattr(others, "process_environment", lambda pid: None)
    assert "cannot be read" in (others._refusal(GPU, sleeper.pid) or "")
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert "runs as user" in (others._refusal(GPU, sleeper.pid) or "")


def test_a_pid_that_was_used_again_elsewhere_is_passed_over(tmp_path: Path) -> None:
    folders = folders_of(tmp_path / "root", GPU, [GPU])
    pipe = tmp_path / "nvidia-mps"
    pipe.mkdir()
    (pipe / PID_FILE).write_text(f"{os.getpid()}")
    (tmp_path / "program").write_bytes(b"\x7fELF")
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / PID_FILE).symlink_to(pipe / PID_FILE)  # what cannot be read is passed over as well
    found = others.find_daemon(GPU, folders, [closed, pipe], lambda: tmp_path / "program")
    assert found is None
