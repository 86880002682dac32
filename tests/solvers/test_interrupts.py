"""Ctrl-C, SIGTERM and SIGKILL at random moments: an answer or a clean none, and nothing left over.

The instance is one that no backend closes within a minute. Every process that a run starts carries
a mark in its environment, so that whatever outlives it is found.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from colocate.cli.exit_codes import ExitCode
from tests.helpers import instance

SOLVERS = ("milp", "ilp", "cp-sat")
HERE = Path(__file__).resolve().parent
PLUGIN = f"{HERE / 'hard_rows.py'}:Knapsacks"
LATEST_S = 2.5
"""Moments are drawn up to here, from when the instance is being compiled."""
PATIENCE_S = 2.0
MARK = "COLOCATE_TEST_MARK"

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty tasks of eighty kinds for eighty GPUs, and thirty knapsacks."""
    rng = random.Random(0)
    tasks = [
        {"id": f"t{i}", "profile": "train", "batch": 8, "weight": 1 + rng.random()}
        for i in range(80)
    ]
    pool = {"id": "a", "gpu_type": "A", "count": 80, "memory_gib": 16.0, "sm_count": 4}
    hard = instance(
        gpu_pools=[pool], services=[], tasks=tasks, constraints=[{"name": "user_id"}]
    ).model_dump(mode="json", by_alias=True, exclude_none=True)
    hard["constraints"] = [{"name": "knapsacks"}]
    file = tmp_path_factory.mktemp("hard") / "instance.json"
    file.write_text(json.dumps(hard))
    return file


class Run:
    """A run of the command line, and everything that it starts."""

    def __init__(self, file: Path, *arguments: str) -> None:
        self.mark = uuid.uuid4().hex
        command = [sys.executable, "-m", "colocate", "solve", str(file), "--plugin", PLUGIN]
        self.process = subprocess.Popen(
            [*command, "--quiet", "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {MARK: self.mark},
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "compiling" in line:
                break

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        for pid in self.left():
            os.kill(pid, signal.SIGKILL)

    def end(self) -> tuple[float, str]:
        """Wait for the end; return how long that took, and what was printed."""
        started = time.monotonic()
        out, _ = self.process.communicate(timeout=30)
        return time.monotonic() - started, out

    def left(self) -> list[int]:
        """Return the processes of this run that live, without the one that the test started."""
        mark = f"{MARK}={self.mark}".encode()
        return [pid for pid, environ in environments() if mark in environ]

    def nothing_left(self) -> bool:
        """Return whether all are gone, soon."""
        until = time.monotonic() + PATIENCE_S
        while self.left() and time.monotonic() < until:
            time.sleep(0.02)
        return not self.left()


def environments() -> Iterator[tuple[int, bytes]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z":
                    yield int(entry.name), (entry / "environ").read_bytes()
            except (OSError, IndexError):
                continue


def interrupt(hard: Path, solver: str, sign: signal.Signals, seed: int) -> None:
    """One run, one signal at a random moment."""
    rng = random.Random(f"{solver} {sign} {seed}")
    with Run(hard, "--solver", solver) as run:
        time.sleep(rng.uniform(0, LATEST_S))
        run.process.send_signal(sign)
        took, out = run.end()
        assert took <= PATIENCE_S + 0.5, f"{took:.2f} s"
        code = run.process.returncode
        if sign is signal.SIGINT:
            assert code == ExitCode.INTERRUPTED
            if out:
                result = json.loads(out)
                assert result["termination"]["limit"] == "interrupted"
                assert (result["plan"] is None) == (result["objective"] is None)
                assert result["violations"] == []
        else:
            assert code == -sign
        assert run.nothing_left(), "a process outlived its parent"


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@pytest.mark.parametrize("sign", SIGNALS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_ends_when_told_and_leaves_nothing(hard: Path, solver: str, sign: signal.Signals) -> None:
    """Each signal once for each solver."""
    interrupt(hard, solver, sign, 0)


@pytest.mark.deep
@pytest.mark.parametrize("solver", SOLVERS)
def test_ends_when_told_fifty_times(hard: Path, solver: str) -> None:
    """Fifty runs for each solver, the three signals in turn."""
    for seed in range(50):
        interrupt(hard, solver, SIGNALS[seed % 3], seed)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_time_limit_is_kept(hard: Path, solver: str) -> None:
    """What no backend closes ends after the limit, at most a second and a tenth of it later."""
    with Run(hard, "--solver", solver, "--time-limit", "1") as run:
        _, out = run.end()
        result = json.loads(out)
        assert result["termination"]["limit"] == "time"
        assert result["timings"]["solve_s"] <= 1 * 1.1 + 1.0
        assert run.nothing_left()
