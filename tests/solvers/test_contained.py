"""Workers: kept, ended, independent of threads and forks, and no library in the way of another."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import colocate as co
from colocate import datasets
from colocate.problem import compile_problem
from colocate.result import Limit, Limits, Reason
from colocate.solvers.backends import contained as _contained
from colocate.solvers.backends.ask import Ask, Found
from colocate.solvers.backends.contained import answers
from colocate.solvers.backends.model import IntegerModel, integer_model
from colocate.solvers.base import Context
from colocate.solvers.milp import MilpSolver

SOLVERS = ("milp", "ilp", "cp-sat")


def endless() -> Ask:
    """Thirty knapsacks over eighty things: no backend closes that within a minute."""
    n, m = 80, 30
    rng = np.random.default_rng(1)
    weight = rng.integers(1, 1000, (m, n)).astype(float)
    none = np.zeros(0, dtype=np.int64)
    model = IntegerModel(
        worth=rng.uniform(1, 2, n),
        most=np.ones(n, dtype=np.int64),
        start=np.arange(m + 1) * n,
        variable=np.tile(np.arange(n), m),
        coefficient=weight.ravel(),
        lower=np.full(m, -np.inf),
        upper=weight.sum(axis=1) // 2,
        whole=np.ones(m, dtype=bool),
        switch_level=none,
        switch_gangs=none,
        n_columns=n,
        n_levels=0,
        constant=0.0,
        scale=2.0,
        units=n,
    )
    return Ask(model)


def quick() -> Ask:
    return Ask(integer_model(compile_problem(datasets.generate("gangs", gpus=8, seed=1))))


def idle(kind: str) -> list[int]:
    return [worker.process.pid for worker in _contained._pool.idle.get(kind, [])]


def last(kind: str, ask: Ask, **options: float) -> Found:
    *_, found = answers(kind, ask, lambda: False, **options)
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("kind", "pool"), [("highs", "scipy"), ("pulp", "pulp")])
def test_a_worker_is_kept_for_the_next_question(kind: str, pool: str) -> None:
    """The second question goes to the same process."""
    assert last(kind, quick()).outcome == "optimal"
    before = idle(pool)
    assert last(kind, quick()).outcome == "optimal"
    assert idle(pool) == before


def test_a_worker_outlives_the_thread_that_asked_first() -> None:
    """Linux would end it with the thread that started it."""
    _contained._pool.close()
    asking = threading.Thread(target=last, args=("highs", quick()))
    asking.start()
    asking.join()
    (pid,) = idle("scipy")
    time.sleep(0.1)
    assert alive(pid)
    assert last("highs", quick()).outcome == "optimal"
    assert idle("scipy") == [pid]


def test_threads_do_not_get_in_each_others_way() -> None:
    """Four threads, three solvers: the answers of one thread."""
    asked = datasets.generate("gangs", gpus=8, seed=1)
    expected = co.solve(asked, "milp").objective
    found: dict[int, object] = {}

    def ask(i: int) -> None:
        found[i] = [co.solve(asked, name).objective for name in SOLVERS]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: [pytest.approx(expected)] * 3 for i in range(4)}


@pytest.mark.parametrize("kind", ["highs", "pulp", "ortools"])
def test_a_stop_ends_the_worker_and_what_it_started(kind: str) -> None:
    """Within half a second of the wish, the worker's whole process group is gone."""
    started = time.monotonic()
    told = 0.0
    groups: set[int] = set()

    def until() -> bool:
        nonlocal told
        groups.update(children_of(os.getpid()) - set(idle("scipy")))
        if time.monotonic() - started > 1.5 and not told:
            told = time.monotonic()
        return bool(told)

    found = list(answers(kind, endless(), until))
    assert all(f.outcome == "progress" for f in found)
    assert time.monotonic() - told < 0.5
    assert groups
    ended = groups - {pid for pool in ("scipy", "pulp", "ortools") for pid in idle(pool)}
    assert ended
    # They are killed at once; a busy machine may take a moment to have them dead.
    deadline = time.monotonic() + 2.0
    while left := [pid for pid, group in living() if group in ended]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def living() -> list[tuple[int, int]]:
    """Return each process that is not a zombie, with its group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if state != "Z":
                found.append((int(entry.name), int(group)))
    return found


def children_of(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def test_an_exception_of_the_caller_ends_the_worker() -> None:
    """KeyboardInterrupt while it works: nothing is left that works."""
    _contained._pool.close()
    started = time.monotonic()
    seen: set[int] = set()

    def until() -> bool:
        seen.update(children_of(os.getpid()))
        if time.monotonic() - started > 0.5:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        list(answers("highs", endless(), until))
    assert seen
    assert not any(alive(pid) for pid in seen)
    assert idle("scipy") == []


def test_a_worker_that_crashes_is_an_error_in_words() -> None:
    """The signal is named, nobody waits, and the next question gets a new worker."""
    _contained._pool.close()
    started = time.monotonic()
    struck = False

    def until() -> bool:
        nonlocal struck
        if time.monotonic() - started > 0.5 and not struck:
            (pid,) = children_of(os.getpid())
            os.kill(pid, signal.SIGSEGV)
            struck = True
        return False

    (found,) = answers("highs", endless(), until)
    assert found.outcome == "failed"
    assert "ended with signal SIGSEGV" in found.detail
    assert last("highs", quick()).outcome == "optimal"


def test_a_crash_is_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result says what happened; greedy's plan is not passed off as the solver's."""

    def broken(kind: str, *_: object) -> Iterator[Found]:
        yield Found("failed" if kind == "highs" else "nothing", detail="broke")

    monkeypatch.setattr("colocate.solvers._course.answers", broken)
    result = co.solve(datasets.generate("gangs", gpus=8, seed=1), "milp")
    assert result.plan is None
    assert result.termination.reason is Reason.ERROR
    assert result.termination.detail == "broke"


def test_an_error_of_the_backend_is_an_answer_and_the_worker_stays() -> None:
    """An exception inside the worker comes back in words."""
    ask = quick()
    assert last("highs", ask).outcome == "optimal"
    before = idle("scipy")
    bad = Ask(ask.model, option="NOT_AN_ENGINE")
    assert "NOT_AN_ENGINE is not available" in last("pulp", bad).detail
    short = IntegerModel(**{**vars(ask.model), "worth": ask.model.worth[:3]})
    found = last("highs", Ask(short))
    assert found.outcome == "failed"
    assert "Error" in found.detail
    assert idle("scipy") == before


def test_memory_is_limited_where_that_is_asked_for() -> None:
    """A worker that may not grow says so, and may grow again for the next question."""
    assert last("highs", quick()).outcome == "optimal"
    found = last("highs", endless(), memory_gib=0.05)
    assert found.outcome == "failed"
    assert last("highs", quick()).outcome == "optimal"
    problem = compile_problem(datasets.generate("gangs", gpus=8, seed=1))
    raw = MilpSolver(plain=True).solve(problem, Context(Limits(memory_gib=0.05)))
    assert (raw.reason, raw.limit) == (Reason.NO_SOLUTION_FOUND, Limit.MEMORY), raw.detail


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SOLVE = """
import sys
import colocate as co
from colocate import datasets
asked = datasets.generate("gangs", gpus=8, seed=1)
def solve(name, isolation="auto"):
    result = co.solve(asked, name, isolation=isolation)
    assert result.termination.reason.value == "optimal", result.termination
    return result.objective
"""


def test_backends_are_loaded_in_workers_only() -> None:
    """This process stays free of them."""
    code = """
for name in ("milp", "ilp", "cp-sat"):
    solve(name)
assert not {"scipy.optimize", "pulp", "ortools", "highspy"} & set(sys.modules)
"""
    run(SOLVE + code)


def test_a_forked_process_starts_workers_of_its_own() -> None:
    """Neither uses the other's, and both get their answers."""
    code = """
import os, warnings
warnings.simplefilter("ignore")
first = solve("milp")
from colocate.solvers.backends import contained as _contained
mine = [w.process.pid for w in _contained._pool.idle["scipy"]]
pid = os.fork()
if pid == 0:
    same = solve("milp") == first
    others = [w.process.pid for w in _contained._pool.idle["scipy"]]
    os._exit(0 if same and not set(mine) & set(others) else 1)
assert os.waitpid(pid, 0)[1] == 0
assert solve("milp") == first
assert [w.process.pid for w in _contained._pool.idle["scipy"]] == mine
"""
    run(SOLVE + code)


HIGHSPY = """
import sys
if "ortools" in sys.modules:
    raise ImportError("undefined symbol: Highs, as with the real one")
sys.modules["ortools"] = None
class Highs: ...
"""


@pytest.mark.parametrize("isolation", ["auto", "none"])
@pytest.mark.parametrize("order", [("ilp", "cp-sat", "milp"), ("cp-sat", "ilp", "milp")])
def test_highspy_gets_in_nobodys_way(
    tmp_path: Path, isolation: str, order: tuple[str, ...]
) -> None:
    """PuLP imports highspy where it is installed, and OR-Tools cannot be loaded after that."""
    (tmp_path / "highspy.py").write_text(HIGHSPY)
    code = f"""
found = {{round(solve(name, {isolation!r}), 6) for name in {order!r}}}
assert len(found) == 1
assert "highspy" not in sys.modules
import highspy
"""
    if isolation == "none":
        code = code.replace("import highspy", "")
    run(SOLVE + code, PYTHONPATH=str(tmp_path))
