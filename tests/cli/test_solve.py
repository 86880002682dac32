"""`colocate solve`: exit codes, what is written where, progress, interruption."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from colocate import verify
from colocate.io import load_instance, load_plan


def test_a_plan_is_written_and_valid(cli: Any, quickstart: Path, tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    done = cli("solve", quickstart, "-o", target)
    assert done.code == 0
    assert done.err == ""
    assert str(target) in done.out
    plan = load_plan(target)
    assert verify(load_instance(quickstart), plan).ok
    assert plan.totals.replicas_placed == 12


def test_without_output_the_plan_is_shown(cli: Any, quickstart: Path) -> None:
    done = cli("solve", quickstart, "--solver", "greedy")
    assert done.code == 0
    for words in ("Who shares with whom", "Inference services", "Training tasks", "█", "SLO ms"):
        assert words in done.out
    for name in ("bert", "yolos", "vgg16"):
        assert name in done.out


def test_standard_input_to_standard_output(cli: Any, quickstart: Path, solved: Path) -> None:
    done = cli("solve", "-", "-o", "-", "-s", "greedy", stdin=quickstart.read_bytes())
    assert done.code == 0
    assert done.out == solved.read_text(encoding="utf-8")
    assert done.err.startswith("quickstart: throughput")
    quiet = cli("solve", "-", "-o", "-", "-s", "greedy", "-q", stdin=quickstart.read_bytes())
    assert (quiet.code, quiet.out, quiet.err) == (0, done.out, "")


def test_json_holds_everything(cli: Any, quickstart: Path, solved: Path) -> None:
    done = cli("solve", quickstart, "--json", "--solver", "greedy")
    assert done.code == 0
    found = done.json
    assert found["schema"] == "colocate/result/v1"
    assert found["termination"]["limit"] == "none"
    assert found["plan"] == json.loads(solved.read_text(encoding="utf-8"))
    assert found["objective"] == found["plan"]["objective"]["value"]
    assert found["gap"] == pytest.approx((found["bound"] - found["objective"]) / found["bound"])
    assert found["timings"]["total_s"] > 0
    assert found["solver"] == "greedy"
    assert found["history"]
    assert found["versions"]["colocate"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("infeasible-memory", "15 GiB"),
        ("infeasible-slo", "23 ms"),
        ("infeasible-too-few-gpus", "infeasible"),
    ],
)
def test_infeasible_is_3_with_reasons_and_nothing_written(
    cli: Any, dataset: Callable[[str], Path], tmp_path: Path, name: str, said: str
) -> None:
    instance = dataset(name)
    before = sorted(tmp_path.iterdir())
    arguments = ["solve", instance, "-o", tmp_path / "p.json", "--report", tmp_path / "r.html"]
    done = cli(*arguments)
    assert done.code == 3
    assert done.out == ""
    assert said in done.err
    assert sorted(tmp_path.iterdir()) == before
    machine = cli(*arguments, "--json")
    assert machine.code == 3
    assert machine.json["plan"] is None
    assert machine.json["objective"] is None
    assert machine.json["termination"]["reason"] == "infeasible"
    assert sorted(tmp_path.iterdir()) == before


def test_a_limit_without_a_plan_is_4(
    cli: Any, quickstart: Path, plugin: Any, tmp_path: Path
) -> None:
    target = tmp_path / "p.json"
    done = cli("solve", quickstart, *plugin("Late"), "--time-limit", "0.5", "-o", target)
    assert done.code == 4
    assert "no plan in 0.5 s" in done.err
    assert "time limit" in done.err
    assert not target.exists()


@pytest.mark.parametrize(("solver", "said"), [("Broken", "crashed"), ("Raising", "boom")])
def test_a_failing_solver_is_5(
    cli: Any, quickstart: Path, plugin: Any, tmp_path: Path, solver: str, said: str
) -> None:
    target = tmp_path / "p.json"
    done = cli("solve", quickstart, *plugin(solver), "-o", target)
    assert done.code == 5
    assert said in done.err
    assert "\x1b" not in done.err
    assert "Traceback" not in done.err
    assert not target.exists()


def test_debug_shows_where_a_solver_failed(cli: Any, quickstart: Path, plugin: Any) -> None:
    done = cli("solve", quickstart, *plugin("Raising"), "--debug")
    assert done.code == 5
    assert "Traceback" in done.err
    assert "\x1b" not in done.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--solver", "magic"], "greedy"),
        (["--plugin", "nowhere.py:Name"], "nowhere.py"),
        (["--plugin", "nonsense"], "nonsense"),
    ],
)
def test_unknown_components_are_bad_input(
    cli: Any, quickstart: Path, more: list[str], said: str
) -> None:
    done = cli("solve", quickstart, *more)
    assert done.code == 2
    assert said in done.err


def test_the_instance_is_never_overwritten(
    cli: Any, dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    instance = dataset("single-pair")
    before = instance.read_bytes()
    (tmp_path / "other.json").symlink_to(instance)
    for target in (instance, tmp_path / "other.json"):
        for option in ("-o", "--report"):
            done = cli("solve", instance, option, target)
            assert done.code == 2
            assert "same file" in done.err
    assert instance.read_bytes() == before
    both = cli("solve", instance, "-o", tmp_path / "x", "--report", tmp_path / "x")
    assert both.code == 2


def test_a_folder_that_is_not_there_is_told_before_the_work(
    cli: Any, quickstart: Path, tmp_path: Path, plugin: Any
) -> None:
    done = cli("solve", quickstart, *plugin("Raising"), "-o", tmp_path / "no" / "plan.json")
    assert done.code == 2
    assert "folder" in done.err


def test_the_report_is_one_whole_page(cli: Any, quickstart: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = cli("solve", quickstart, "--report", page, "--quiet", "-o", tmp_path / "plan.json")
    assert (done.code, done.out, done.err) == (0, "", "")
    text = page.read_text(encoding="utf-8")
    assert ET.fromstring(text).tag == "html"
    assert "recomputed from the certificate" in text


def test_options_come_from_the_environment(
    cli: Any, quickstart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLOCATE_SOLVER", "magic")
    assert "magic" in cli("solve", quickstart).err
    assert cli("solve", quickstart, "--solver", "greedy").code == 0
    monkeypatch.setenv("COLOCATE_SOLVER", "greedy")
    monkeypatch.setenv("COLOCATE_JSON", "1")
    assert cli("solve", quickstart).json["solver"] == "greedy"


def test_log_json_is_one_object_a_line(cli: Any, quickstart: Path, plugin: Any) -> None:
    done = cli("solve", quickstart, *plugin("Chatty"), "--log-json", "--json")
    assert done.code == 0
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert {line["event"] for line in lines[:-1]} == {"progress"}
    assert lines[-1]["event"] == "done"
    assert lines[0] == {
        "event": "progress",
        "elapsed_s": 0.1,
        "incumbent": 1.0,
        "bound": 4.0,
        "gap": 0.75,
        "phase": "searching",
    }
    assert lines[-1]["termination"] == done.json["termination"]
    failed = cli("solve", "no-such-file", "--log-json")
    assert failed.code == 2
    assert json.loads(failed.err)["event"] == "error"


def test_progress_only_on_a_terminal(quickstart: Path, plugin: Any, cli: Any) -> None:
    assert cli("solve", quickstart, *plugin("Chatty")).err == ""
    assert "best 2" in on_a_terminal("solve", quickstart, *plugin("Chatty"))
    assert "best 2" not in on_a_terminal("solve", quickstart, *plugin("Chatty"), "--quiet")


def on_a_terminal(*arguments: str | Path) -> str:
    """Run with a terminal as standard error, and return what the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "colocate", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    got = b""
    try:
        while part := os.read(ours, 4096):
            got += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return got.decode(errors="replace")


def interrupted(times: int, *arguments: str | Path) -> tuple[int, float, str]:
    """Press Ctrl-C once the solver runs; return code, seconds until the end, errors."""
    process = subprocess.Popen(
        [sys.executable, "-m", "colocate", "solve", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "READY\n"
    start = time.monotonic()
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    code = process.wait(timeout=60)
    took = time.monotonic() - start
    errors = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    return code, took, errors


def test_one_ctrl_c_keeps_the_best_plan(quickstart: Path, plugin: Any, tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    code, _, errors = interrupted(1, quickstart, *plugin("Polite"), "-o", target)
    assert code == 130
    assert errors == ""
    assert verify(load_instance(quickstart), load_plan(target)).ok


def test_a_second_ctrl_c_ends_it(quickstart: Path, plugin: Any, tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    code, took, errors = interrupted(2, quickstart, *plugin("Deaf"), "-o", target)
    assert code == 130
    assert took < 10
    assert errors == "colocate: interrupted before there was a plan\n"
    assert not target.exists()


def test_a_solver_that_does_not_listen_is_ended(quickstart: Path, plugin: Any) -> None:
    code, took, errors = interrupted(1, quickstart, *plugin("Deaf"))
    assert code == 130
    assert 1.5 < took < 15
    assert "interrupted" in errors
