"""`colocate guard` and `colocate tune` on a node with the MPS double and real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.executor.apply.real_node import PATIENCE_S, RealNode, real_node

GUARD = {
    "patience": {
        "init_readings": 1,
        "sustain_s": 0.1,
        "over_sustain_s": 0.0,
        "recover_s": 0.2,
        "calm_first_s": 0.3,
    },
    "interval_s": 0.05,
}


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


def write(path: Path, value: object) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(value))
    partial.replace(path)


def is_halted(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@contextmanager
def running(node: RealNode, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = node.start(*words)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def pids(node: RealNode, workload: str) -> tuple[int, ...]:
    states = node.operator().ports.processes.observe()
    return next(s.pids for s in states if s.unit.workload == workload)


def records(node: RealNode, name: str) -> list[dict[str, object]]:
    path = node.root / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.deep
def test_the_guard_halts_and_lets_go_and_the_tuner_tells_the_drift():
    with real_node() as node:
        launch = node.launch(pausable=True)
        files = node.files(launch)
        done = node.cli("apply", *files, "--quiet")
        assert done.code == 0, done.err
        load = node.folder / "web.json"
        write(load, {"rate_rps": 10.0, "p99_ms": 50.0})
        write(node.folder / "guard.json", GUARD)
        source = {"service": "web", "replica": 0, "kind": "file", "path": str(load)}
        write(node.folder / "tuner.json", {"sources": [source], "interval_s": 0.05})
        job, web = pids(node, "job")[0], pids(node, "web")[0]
        where = ("--sources", "tuner.json", "--instance", files[2], "-c", "guard.json")
        with running(node, "guard", *where) as process:

            def saw(after: str) -> bool:
                if process.poll() is not None:
                    raise AssertionError(process.communicate()[1])
                # a file that nobody writes to is no answer
                os.utime(load)
                return any(r.get("after") == after for r in records(node, "guard.jsonl"))

            until(lambda: saw("healthy"), "healthy")
            assert not is_halted(job)
            write(load, {"rate_rps": 10.0, "p99_ms": 5000.0})
            until(lambda: saw("overlimit") and is_halted(job), "halted")
            assert not is_halted(web)
            assert node.cli("assert", "--json").code == 0  # a halted unit is still as applied
            write(load, {"rate_rps": 10.0, "p99_ms": 50.0})
            until(lambda: saw("calm_down") and not is_halted(job), "let go")
            write(load, {"rate_rps": 10.0, "p99_ms": 5000.0})
            until(lambda: saw("overlimit") and is_halted(job), "halted again")
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0, process.communicate()[1]
        assert not is_halted(job)
        assert pids(node, "job") == (job,)

        write(load, {"rate_rps": 11.0, "p99_ms": 50.0})
        shown = node.cli("tune", files[2], "-c", "tuner.json", "--once", "--json", "--dry-run")
        assert shown.code == 0, shown.err
        text = shown.out[shown.out.index('{\n  "kind": "drift"') :]
        (row,) = json.loads(text)["services"]
        assert row["seen_rps"] == 11.0
        assert pids(node, "web") == (web,)


TUNER = {
    "trigger": {"settle_s": 0.5, "down_sustain_s": 0.5, "up_sustain_s": 0.0},
    "headroom": 0.0,
    "rising": 0.0,
    "resume_s": 0.2,
    "interval_s": 0.05,
}


@pytest.mark.deep
@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_the_tuner_gives_a_service_another_share_by_a_second_process(dialect):
    with real_node(dialect) as node:
        files = node.files(node.launch(pausable=True))
        assert node.cli("apply", *files, "--quiet").code == 0
        load = node.folder / "web.json"
        write(load, {"rate_rps": 10.0, "p99_ms": 50.0})
        source = {"service": "web", "replica": 0, "kind": "file", "path": str(load)}
        write(node.folder / "tuner.json", {**TUNER, "sources": [source]})

        def share(workload: str) -> int:
            states = node.operator().ports.processes.observe()
            found = [s.unit.share_pct for s in states if s.unit.workload == workload]
            return found[0] if len(found) == 1 else 0

        before = share("web"), pids(node, "web")
        with running(node, "tune", files[2], "-c", "tuner.json") as process:

            def saw(event: str) -> bool:
                if process.poll() is not None:
                    raise AssertionError(process.communicate()[1])
                os.utime(load)
                return any(r["event"] == event for r in records(node, "tuner.jsonl"))

            write(load, {"rate_rps": 20.0, "p99_ms": 50.0})
            until(lambda: saw("retune") and share("web") > before[0], "another share")
            until(lambda: saw("retune") and 0 < share("job") <= 100 - share("web"), "training")
            process.send_signal(signal.SIGTERM)
            assert process.wait(5 * PATIENCE_S) == 0, process.communicate()[1]
        assert pids(node, "web") != before[1]
        assert not is_halted(pids(node, "job")[0])
        assert not Path(f"/proc/{before[1][0]}").exists()
        assert node.cli("assert").code == 0  # what the tuner did is what was applied last
