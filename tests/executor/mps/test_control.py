"""One command to the control program: every way in which it can go wrong has a kind and an end."""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

import pytest

from colocate.executor.mps.control import Control, ControlError, Exchange
from tests.fakes.double import Double

QUESTION = "get_default_active_thread_percentage"


@pytest.fixture
def double(tmp_path: Path) -> Double:
    return Double(tmp_path / "bin")


@pytest.fixture
def control(double: Double, tmp_path: Path) -> Control:
    """Return how to speak to a pipe directory in which nobody listens."""
    for name in ("pipe", "log"):
        (tmp_path / name).mkdir()
    return Control(binary=double.binary, pipe=tmp_path / "pipe", log=tmp_path / "log")


def script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def of(control: Control, **changes: object) -> Control:
    values = {name: getattr(control, name) for name in control.__slots__}
    return Control(**{**values, **changes})


def kind_of(control: Control, *words: str) -> str:
    with pytest.raises(ControlError) as caught:
        control.ask(*(words or (QUESTION,)))
    assert caught.value.advice
    assert caught.value.exit_code == 5
    return caught.value.kind


def test_nobody_listens(control: Control) -> None:
    assert kind_of(control) == "no-daemon"


def test_an_answer_comes_back_stripped(control: Control, double: Double) -> None:
    double.fail(QUESTION, "garbage", value="  25.0 \n\n")
    assert control.ask(QUESTION) == "25.0"


def test_a_program_that_hangs_is_ended_at_the_deadline(control: Control, double: Double) -> None:
    double.fail("*", "hang")
    began = time.monotonic()
    assert kind_of(of(control, deadline_s=0.5)) == "timeout"
    assert time.monotonic() - began < 10
    assert double.daemons() == []  # the program itself has gone as well


def test_a_program_that_answers_and_then_hangs(tmp_path: Path, control: Control) -> None:
    binary = script(tmp_path, "echo 25.0; exec >&- 2>&-; sleep 60")
    assert kind_of(of(control, binary=binary, deadline_s=0.5)) == "timeout"


def test_a_program_that_leaves_a_child_with_its_output(tmp_path: Path, control: Control) -> None:
    binary = script(tmp_path, "sleep 60 & echo 25.0")
    assert kind_of(of(control, binary=binary, deadline_s=0.5)) == "timeout"


def test_an_endless_answer_is_cut_off(control: Control, double: Double) -> None:
    double.fail("*", "endless")
    assert kind_of(of(control, deadline_s=30.0)) == "reply"
    assert double.daemons() == []


def test_a_status_other_than_0(control: Control, double: Double) -> None:
    double.fail("*", "exit", value="No space left on device\x1b[2J", code=7)
    with pytest.raises(ControlError, match="exit status 7") as caught:
        control.ask(QUESTION)
    assert caught.value.kind == "status"
    assert "No space left on device" in caught.value.message
    assert "\x1b" not in str(caught.value)


def test_bytes_that_are_no_text_do_no_harm(control: Control, double: Double) -> None:
    double.fail("*", "garbage")
    assert "garbage" in control.ask(QUESTION)


def test_a_busy_daemon_is_asked_again(control: Control, double: Double) -> None:
    double.fail("*", "busy", times=2)
    double.fail("*", "garbage", value="25.0")
    assert control.ask(QUESTION) == "25.0"
    assert len(double.commands()) == 3


def test_a_daemon_that_stays_busy(control: Control, double: Double) -> None:
    double.fail("*", "busy")
    assert kind_of(of(control, deadline_s=2.0)) == "refused"


def test_the_program_is_gone(control: Control, tmp_path: Path) -> None:
    assert kind_of(of(control, binary=tmp_path / "none")) == "missing"


def test_the_program_may_not_run(control: Control, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    assert kind_of(of(control, binary=tmp_path / "text")) == "system"


def test_the_environment_is_what_mps_needs_and_nothing_else(
    control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    for name in ("LD_PRELOAD", "CUDA_VISIBLE_DEVICES", "CUDA_MPS_PROTOCOL_VERSION", "SECRET"):
        monkeypatch.setenv(name, "x")
    said = of(control, binary=script(tmp_path, "env; pwd; readlink /proc/self/fd/0")).ask("quit")
    names = {line.partition("=")[0] for line in said.splitlines() if "=" in line}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        *("PATH", "LC_ALL", "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"),
    }
    assert "/" in said.splitlines()  # its working directory


def test_folders_of_libraries_are_passed_on_unless_anybody_may_write_them(
    control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, mode in (("good", 0o755), ("open", 0o777)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    given = [str(tmp_path / name) for name in ("open", "good", "none")]
    monkeypatch.setenv("LD_LIBRARY_PATH", ":".join([*given, "", "relative", "."]))
    assert control.environment()["LD_LIBRARY_PATH"] == str(tmp_path / "good")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "open"))
    assert "LD_LIBRARY_PATH" not in control.environment()


def test_no_shell_and_no_words_but_ours(control: Control, tmp_path: Path) -> None:
    binary = script(tmp_path, 'echo "$#"; cat')
    assert of(control, binary=binary).ask("quit") == "0\nquit"
    with pytest.raises(Exception, match="word of an MPS command"):
        control.ask("get_server_status", "1\nquit")


def test_callers_take_turns(control: Control, tmp_path: Path) -> None:
    import fcntl

    lock = tmp_path / "lock"
    held = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert kind_of(of(control, lock=lock, deadline_s=0.3)) == "timeout"
    os.close(held)
    assert kind_of(of(control, lock=lock)) == "no-daemon"


def test_a_lock_that_is_a_link_is_refused(control: Control, tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "target")
    assert kind_of(of(control, lock=tmp_path / "lock")) == "system"
    assert not (tmp_path / "target").exists()


def test_everything_said_can_be_written_down(control: Control, double: Double) -> None:
    heard: list[Exchange] = []
    double.fail("*", "garbage", value="25.0")
    of(control, record=heard.append).ask(QUESTION)
    assert [(one.argv, one.stdin, one.reply, one.exit_code) for one in heard] == [
        ((), QUESTION + "\n", "25.0", 0)
    ]
    assert heard[0].seconds > 0


@pytest.mark.parametrize(
    ("do", "more", "kind"),
    [
        ("hang", {}, "timeout"),
        ("exit", {"value": "Permission denied", "code": 1}, "status"),
        ("exit", {"value": "Read-only file system", "code": 1}, "status"),
    ],
)
def test_a_start_that_fails(
    control: Control, double: Double, do: str, more: dict[str, object], kind: str
) -> None:
    double.fail("-d", do, **more)
    with pytest.raises(ControlError) as caught:
        control.start(double.uuids[0], ["-d"], 0.5)
    assert caught.value.kind == kind
    assert double.daemons() == []


def test_a_start_does_not_wait_for_a_daemon_that_keeps_its_output(
    control: Control, double: Double, tmp_path: Path
) -> None:
    binary = script(tmp_path, "sleep 60 & echo $!")
    began = time.monotonic()
    of(control, binary=binary).start(double.uuids[0], ["-d"], 50)
    out = tmp_path / "log" / "start.out"
    os.kill(int(out.read_text()), signal.SIGKILL)
    assert time.monotonic() - began < 40
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_start_without_room_for_its_output(control: Control, double: Double) -> None:
    (control.log / "start.out").symlink_to("/dev/full")
    with pytest.raises(ControlError) as caught:
        control.start(double.uuids[0], ["-d"], 1)
    assert caught.value.kind == "system"
    assert double.commands() == []
