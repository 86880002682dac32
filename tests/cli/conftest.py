"""Running the command line in this process, and in one of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from colocate import datasets
from colocate.cli.main import run


@dataclass(frozen=True)
class Outcome:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the surroundings may change what the command line does."""
    for name in list(os.environ):
        if name.startswith("COLOCATE_") or name in {"FORCE_COLOR", "NO_COLOR", "COLUMNS"}:
            monkeypatch.delenv(name)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return a function that runs a command line in this process."""

    def go(*arguments: str | Path, stdin: str | bytes = b"") -> Outcome:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return go


@pytest.fixture
def command(tmp_path: Path) -> Cli:
    """Return a function that runs a command line in a process of its own."""

    def go(*arguments: str | Path, stdin: str = "", **surroundings: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "colocate", *map(str, arguments)],
            input=stdin.encode(),
            capture_output=True,
            timeout=120,
            check=False,
            env={**os.environ, **surroundings},
            cwd=tmp_path,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    return go


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundled quickstart instance as a file that must not be changed."""
    return _copy("quickstart", tmp_path_factory.mktemp("quickstart"))


@pytest.fixture(scope="session")
def solved(quickstart: Path) -> Path:
    """Return a plan for quickstart as a file that must not be changed."""
    plan = quickstart.with_name("plan.json")
    assert run(["solve", str(quickstart), "-o", str(plan), "--solver", "greedy", "--quiet"]) == 0
    return plan


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a bundled instance into the test's folder."""
    return lambda name: _copy(name, tmp_path)


def _copy(name: str, folder: Path) -> Path:
    target = folder / f"{name}.json"
    target.write_bytes(datasets.path(name).read_bytes())
    return target


PLUGIN = """
import time
from dataclasses import replace
from colocate.result import Limit, Progress, Reason
from colocate.solvers.base import Availability, RawSolution
from colocate.solvers.greedy import GreedySolver

class Base:
    kind = "solver"
    capabilities = GreedySolver.capabilities

    @classmethod
    def availability(cls):
        return Availability(True)

class Late(Base):
    name = "late"

    def solve(self, problem, context):
        assert context.limits.time_s == 0.5
        return RawSolution(Reason.NO_SOLUTION_FOUND, limit=Limit.TIME, detail="no plan in 0.5 s")

class Broken(Base):
    name = "broken"

    def solve(self, problem, context):
        return RawSolution(Reason.ERROR, detail="the backend \\x1b[31mcrashed")

class Raising(Base):
    name = "raising"

    def solve(self, problem, context):
        raise RuntimeError("boom \\x1b]0;title\\x07")

class Chatty(Base):
    name = "chatty"

    def solve(self, problem, context):
        for i in (1, 2):
            context.progress and context.progress(Progress(i / 10, float(i), 4.0, "searching"))
            time.sleep(0.2)
        return GreedySolver().solve(problem, context)

class Polite(Base):
    name = "polite"

    def solve(self, problem, context):
        best = GreedySolver().solve(problem, context)
        print("READY", flush=True)
        deadline = time.monotonic() + 30
        while not context.stop():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return replace(best, reason=Reason.FEASIBLE, limit=Limit.INTERRUPTED)

class Deaf(Base):
    name = "deaf"

    def solve(self, problem, context):
        print("READY", flush=True)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            time.sleep(0.02)
        return RawSolution(Reason.NO_SOLUTION_FOUND)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], list[str]]:
    """Return a function that gives the options to solve with one of the solvers above."""
    file = tmp_path / "solvers_for_tests.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return lambda name: ["--plugin", f"{file}:{name}", "--solver", name.lower()]
