"""Stages with deadlines and verdicts, one after the other, whatever happens in them."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Literal

from colocate.errors import ColocateError, clean_text

__all__ = ["Course", "NotPossibleError", "Report", "Said", "Verdict"]

Verdict = Literal["passed", "failed", "not possible"]
GRACE_S = 5.0
"""How far a stage may overrun before it is broken off."""


class NotPossibleError(Exception):
    """A stage cannot say anything here; the message says why."""


class OverdueError(BaseException):
    """A stage is broken off. No handler of ordinary errors may catch it on the way."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a stage found."""

    passed: bool
    summary: str
    """One sentence with the figures that matter."""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A stage, and what came of it."""

    name: str
    question: str
    verdict: Verdict
    summary: str
    seconds: float
    limit_s: float
    facts: Mapping[str, Any]


class Course:
    """Runs stages within one budget of time.

    Parameters
    ----------
    total_s
        All of them together, tidying up included.
    tidy_s
        What is kept of it for the stages that put things back.
    told
        Called after every stage with all reports so far.
    clock
        Seconds, on a clock that only goes forward.
    """

    def __init__(
        self,
        total_s: float,
        tidy_s: float,
        told: Callable[[Sequence[Report]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total_s, self.tidy_s = total_s, tidy_s
        self.reports: list[Report] = []
        self._told = told
        self._clock = clock
        self._began = clock()
        self._stage_ends = clock() + total_s

    @property
    def spent_s(self) -> float:
        """Time since the beginning."""
        return self._clock() - self._began

    @property
    def left_s(self) -> float:
        """Time that the present stage has left."""
        return max(0.0, self._stage_ends - self._clock())

    def passed(self, name: str) -> bool:
        """Tell whether a stage has passed."""
        return any(r.name == name and r.verdict == "passed" for r in self.reports)

    def run(
        self,
        name: str,
        question: str,
        work: Callable[[], Said],
        limit_s: float,
        *,
        keep_s: float = 0.0,
        tidies: bool = False,
    ) -> Report:
        """Run a stage and report on it; nothing that goes wrong in it gets out.

        Parameters
        ----------
        name, question
            What it is called, and what it is to show.
        work
            Does it. It looks at `left_s` where it can do less.
        limit_s
            How long it may take, if there is so much time left.
        keep_s
            Time that stages after it need, and that it may not use up.
        tidies
            Whether it puts things back, and may use the time that is kept for that.
        """
        began = self._clock()
        left = self.total_s - self.spent_s - (0.0 if tidies else self.tidy_s + keep_s)
        limit = min(limit_s, max(left, 10.0 if tidies else 0.0))
        self._stage_ends = began + limit
        verdict: Verdict
        facts: Mapping[str, Any] = {}
        if limit <= 1.0:
            verdict, summary = "not possible", "no time was left"
        else:
            try:
                with _alarm(limit + GRACE_S):
                    said = work()
                verdict, summary = ("passed" if said.passed else "failed"), said.summary
                facts = said.facts
            except NotPossibleError as why:
                verdict, summary = "not possible", str(why)
            except OverdueError:
                verdict, summary = "failed", f"it was broken off after {limit:.0f} s"
            except ColocateError as failed:
                verdict, summary = "failed", _in_one_line(failed)
            except Exception as failed:  # noqa: BLE001 - one stage must not end the others
                verdict, summary = "failed", f"{type(failed).__name__}: {failed}"
        report = Report(
            name=name,
            question=question,
            verdict=verdict,
            summary=clean_text(summary, 2000),
            seconds=self._clock() - began,
            limit_s=limit,
            facts=facts,
        )
        self.reports.append(report)
        if self._told is not None:
            self._told(self.reports)
        return report


def _in_one_line(failed: ColocateError) -> str:
    advice = "" if failed.advice is None else f" (maybe {failed.advice.rstrip('.')})"
    return f"{failed.message}{advice}"


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Break off what runs after so many seconds; only the main thread can be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_alarm(_signal: int, _frame: FrameType | None) -> None:
        raise OverdueError

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
