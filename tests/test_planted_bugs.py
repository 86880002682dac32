"""The bank of planted bugs still fits the source; deep: the tests notice every one of them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "planted_bugs.py"

pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file() or not (ROOT / "colocate").is_dir(),
    reason="the tests were copied away from the source tree",
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("planted_bugs", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_bug_applies_exactly_once_and_is_still_python(script: ModuleType) -> None:
    """A bug that does not compile would be caught by anything."""
    for bug in script.bank():
        text = (ROOT / "colocate" / bug.file).read_text(encoding="utf-8")
        spoiled = script.planted(bug, text)
        assert spoiled != text, bug.name
        compile(spoiled, bug.file, "exec")


@pytest.mark.parametrize(
    ("room", "least"),
    [
        (("classes.py", "columns.py", "problem.py"), 20),
        (("configure/",), 8),
        (("solvers/",), 12),
        (("dealing.py", "gangs.py", "expand.py", "predict.py", "prices.py", "solve.py"), 12),
        (("verify.py", "judge/"), 24),
        (("constraints/", "objectives/", "models/"), 20),
    ],
)
def test_every_room_has_its_bugs(script: ModuleType, room: tuple[str, ...], least: int) -> None:
    """The score says something about each part that decides or judges."""
    assert sum(bug.file.startswith(room) for bug in script.bank()) >= least


@pytest.mark.parametrize(("text", "times"), [("", 0), ("old old", 2)])
def test_a_bug_that_no_longer_applies_is_refused(script: ModuleType, text: str, times: int) -> None:
    """The message says which bug, where, and how often its text stands there."""
    bug = script.Bug("name", "file.py", "old", "new")
    with pytest.raises(script.BugError, match=rf"^name: .* {times} times in colocate/file\.py"):
        script.planted(bug, text)


def test_names_are_given_once(script: ModuleType, tmp_path: Path) -> None:
    """Two bugs of one name could not be told apart in the table."""
    entry = '[[bug]]\nname = "x"\nfile = "f.py"\nold = "a"\nnew = "b"\n'
    (tmp_path / "bank.toml").write_text(entry * 2, encoding="utf-8")
    with pytest.raises(script.BugError, match="twice: x"):
        script.bank(tmp_path)


@pytest.mark.deep
def test_every_planted_bug_is_caught() -> None:
    """The whole campaign: minutes."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
