"""Plant one bug at a time and see whether the tests notice.

    python benchmarks/planted_bugs.py [--jobs N] [--only NAME ...] [--list]

The bugs are in benchmarks/bugs/*.toml: in a file of the package some text, which must stand there
exactly once, becomes another. Each bug goes into a copy of its own; a quick part of the tests runs
against it until one fails. A bug that no test notices is a hole in the tests. The exit code is 0
when all were caught, 1 when one was missed, 2 when a bug no longer applies or the tests fail
without any.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

__all__ = ["Bug", "BugError", "bank", "planted"]

ROOT = Path(__file__).resolve().parents[1]
BANK = Path(__file__).resolve().parent / "bugs"
RESULTS = Path(__file__).resolve().parent / "results" / "planted_bugs.csv"
SHORTEST_TIMEOUT_S = 120
TESTS = (
    "tests/test_classes.py",
    "tests/test_configure.py",
    "tests/test_configure_coupled.py",
    "tests/configure/test_*.py",
    "tests/test_problem.py",
    "tests/test_prices.py",
    "tests/models/test_*.py",
    "tests/constraints/test_*.py",
    "tests/objectives/test_*.py",
    "tests/solvers/test_auto.py",
    "tests/solvers/test_brute_force.py",
    "tests/solvers/test_greedy.py",
    "tests/test_dealing.py",
    "tests/test_gangs.py",
    "tests/test_expand.py",
    "tests/test_solve.py",
    "tests/test_worst.py",
    "tests/test_verify.py",
    "tests/test_verify_*.py",
    "tests/solvers/test_*.py",
)
"""What runs against each bug, in this order, as far as it is there: seconds, not minutes."""

FIRST_FAILURE = """
import hypothesis

# That an example fails is enough; the smallest one is of no interest.
hypothesis.settings.register_profile(
    "first_failure",
    parent=hypothesis.settings.get_profile("ci"),
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)
hypothesis.settings.load_profile("first_failure")
"""


class BugError(Exception):
    """The bank, or the tests without any bug, are not as they should be."""


@dataclass(frozen=True, slots=True)
class Bug:
    """In a file of the package, `old` becomes `new`."""

    name: str
    file: str
    """Below colocate/."""
    old: str
    new: str


class Outcome(NamedTuple):
    """What the tests said."""

    caught: bool
    by: str
    seconds: float


def bank(folder: Path = BANK) -> list[Bug]:
    """Return all bugs, by file of the bank and in its order."""
    found = [
        Bug(**entry)
        for file in sorted(folder.glob("*.toml"))
        for entry in tomllib.loads(file.read_text(encoding="utf-8"))["bug"]
    ]
    twice = {b.name for b in found if sum(b.name == other.name for other in found) > 1}
    if twice:
        raise BugError(f"names that occur twice: {', '.join(sorted(twice))}")
    return found


def planted(bug: Bug, text: str) -> str:
    """Return the text of the bug's file with the bug in it."""
    n = text.count(bug.old)
    if n != 1:
        raise BugError(
            f"{bug.name}: its text stands {n} times in colocate/{bug.file}, not once; "
            "bring the bank up to date"
        )
    return text.replace(bug.old, bug.new)


def _workspace(folder: Path, bug: Bug | None) -> Path:
    """Copy the package and the tests, and plant the bug in the copy."""
    ignore = shutil.ignore_patterns("__pycache__", ".hypothesis")
    for name in ("colocate", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    with (folder / "tests" / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(FIRST_FAILURE)
    if bug is not None:
        file = folder / "colocate" / bug.file
        file.write_text(planted(bug, file.read_text(encoding="utf-8")), encoding="utf-8")
    return folder


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment in which the copy is the package, installed or not."""
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"}
    where = subprocess.run(
        [sys.executable, "-c", "import colocate; print(colocate.__file__)"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if not Path(where.stdout.strip() or "nowhere").is_relative_to(folder):
        raise BugError(
            f"the tests would not see the copy, but {where.stdout.strip() or where.stderr}"
        )
    return env


def _tests(folder: Path, bug: Bug | None) -> list[str]:
    """Return the files of tests to run, each once; those named after the bug's place first."""
    files = (found for name in TESTS for found in sorted(folder.glob(name)))
    tests = list(dict.fromkeys(str(file.relative_to(folder)) for file in files))
    if bug is None:
        return tests
    place = Path(bug.file)
    words = {place.stem, *place.parts[:-1]}
    if "judge" in words:
        words.add("verify")
    return sorted(tests, key=lambda test: not any(word in test for word in words))


def run(bug: Bug | None, timeout_s: float | None = None) -> Outcome:
    """Run the tests against a copy with this bug, or without any."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        folder = _workspace(Path(name).resolve(), bug)
        argv = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "-p", "no:cacheprovider"]
        with subprocess.Popen(
            [*argv, *_tests(folder, bug)],
            cwd=folder,
            env=_environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                # A busy machine could do that too, so it is no verdict.
                return Outcome(False, f"not done after {timeout_s:.0f} s", timeout_s or 0.0)
    seconds = time.perf_counter() - started
    if process.returncode == 0:
        return Outcome(False, "", seconds)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    if process.returncode not in (1, 2) or not failed:
        # Not a verdict: something else is wrong, and a miss until it is put right.
        last = output.strip().rpartition("\n")[2]
        return Outcome(False, f"pytest ended with code {process.returncode}: {last}", seconds)
    return Outcome(True, failed[0].removeprefix("tests/"), seconds)


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="plant these bugs only")
    parser.add_argument("--list", action="store_true", help="list the bugs and stop")
    asked = parser.parse_args()
    try:
        return _list(bank()) if asked.list else _score(bank(), asked.only, asked.jobs)
    except BugError as error:
        print(error, file=sys.stderr)
        return 2


def _list(bugs: list[Bug]) -> int:
    for bug in bugs:
        print(f"{bug.name:50} {bug.file}")
    return 0


def _score(bugs: list[Bug], only: list[str] | None, jobs: int) -> int:
    unknown = sorted(set(only or ()) - {b.name for b in bugs})
    if unknown:
        raise BugError(f"there is no bug named {', '.join(unknown)}; see --list")
    chosen = [b for b in bugs if only is None or b.name in only]
    for bug in chosen:
        planted(bug, (ROOT / "colocate" / bug.file).read_text(encoding="utf-8"))
    clean = run(None)
    if clean.by:
        raise BugError(f"without any bug the tests fail: {clean.by}")
    print(f"without any bug the tests pass ({clean.seconds:.0f} s); {len(chosen)} bugs\n")
    patience_s = max(SHORTEST_TIMEOUT_S, 5 * clean.seconds)
    found: list[tuple[Bug, Outcome]] = []
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        for bug, outcome in zip(
            chosen, pool.map(lambda bug: run(bug, patience_s), chosen), strict=True
        ):
            found.append((bug, outcome))
            verdict = "caught" if outcome.caught else "MISSED"
            print(
                f"{verdict}  {bug.name:46} {bug.file:32} {outcome.seconds:5.1f} s  {outcome.by}",
                flush=True,
            )
    caught = sum(outcome.caught for _, outcome in found)
    print(f"\n{caught} of {len(found)} planted bugs caught")
    if only is None:
        _keep(found)
    return 0 if caught == len(found) else 1


def _keep(found: list[tuple[Bug, Outcome]]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["bug", "file", "caught", "by", "seconds"])
        for bug, outcome in found:
            seconds = f"{outcome.seconds:.1f}"
            table.writerow(
                [bug.name, bug.file, "yes" if outcome.caught else "NO", outcome.by, seconds]
            )


if __name__ == "__main__":
    sys.exit(main())
