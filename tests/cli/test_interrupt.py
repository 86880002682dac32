"""Ctrl-C and progress, in this process."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import pytest

from colocate.cli import interrupt
from colocate.cli.failure import SolveInterruptedError
from colocate.cli.interrupt import stoppable
from colocate.cli.progress import line_of, shown_progress
from colocate.result import Progress


def press_ctrl_c(times: int = 1) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


def never_listen() -> None:
    press_ctrl_c()
    time.sleep(10)


def test_the_first_asks_and_everything_is_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)
    with stoppable() as stop:
        assert not stop()
        press_ctrl_c()
        assert stop()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_second_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "PATIENCE_S", 60.0)
    with pytest.raises(SolveInterruptedError), stoppable():
        press_ctrl_c(times=2)


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "PATIENCE_S", 0.05)
    with pytest.raises(SolveInterruptedError), stoppable():
        never_listen()


def test_without_ctrl_c_an_error_is_itself() -> None:
    with pytest.raises(ZeroDivisionError), stoppable():
        raise ZeroDivisionError


def test_other_threads_may_use_it() -> None:
    answers: list[bool] = []

    def solve() -> None:
        with stoppable() as stop:
            answers.append(stop())

    thread = threading.Thread(target=solve)
    thread.start()
    thread.join()
    assert answers == [False]


@pytest.mark.parametrize("quiet", [True, False])
def test_nobody_to_look_means_no_callback(quiet: bool) -> None:
    callback: Callable[[Progress], None] | None
    with shown_progress(quiet=quiet, log_json=False) as callback:
        assert callback is None


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress(0.0, None, None), "solving  no plan yet  no bound yet  0.0 s"),
        (Progress(1.23, 8.0, None, "greedy"), "greedy  best 8  no bound yet  1.2 s"),
        (Progress(60.0, 8.0, 9.0, "dive"), "dive  best 8  bound 9  gap 11.1 %  60.0 s"),
    ],
)
def test_the_live_line(progress: Progress, line: str) -> None:
    assert line_of(progress) == line
