"""Stages: deadlines, verdicts, and that one never ends the others."""

from __future__ import annotations

import time

import pytest

from colocate.errors import InputError
from colocate.executor.gpu_check import stages
from colocate.executor.gpu_check.stages import Course, NotPossibleError, Said


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def passing() -> Said:
    return Said(True, "good", {"n": 1})


def raising(error: BaseException):
    def work() -> Said:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "verdict", "words"),
    [
        (NotPossibleError("no GPU"), "not possible", "no GPU"),
        (InputError("wrong", advice="mend it."), "failed", "wrong (maybe mend it)"),
        (ValueError("odd"), "failed", "ValueError: odd"),
        (RuntimeError("a\nb\x1b[31m"), "failed", "RuntimeError: a\ufffdb\ufffd[31m"),
    ],
)
def test_what_goes_wrong_in_a_stage_stays_in_it(error, verdict, words):
    course = Course(100, 10)
    report = course.run("one", "?", raising(error), 5)
    assert (report.verdict, report.summary) == (verdict, words)
    assert course.run("two", "?", passing, 5).verdict == "passed"
    assert course.passed("two")
    assert not course.passed("one")


def test_somebody_who_stops_the_program_stops_it():
    with pytest.raises(KeyboardInterrupt):
        Course(100, 10).run("one", "?", raising(KeyboardInterrupt()), 5)


def test_a_stage_that_hangs_is_broken_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stages, "GRACE_S", 0.1)

    def hang() -> Said:
        while True:
            try:
                time.sleep(60)
            except Exception:  # noqa: BLE001
                continue  # a handler of ordinary errors does not catch it

    course = Course(100, 0)
    began = time.monotonic()
    report = course.run("hangs", "?", hang, 1.1)
    assert time.monotonic() - began < 30
    assert report.verdict == "failed"
    assert "broken off after 1 s" in report.summary
    assert course.run("next", "?", passing, 5).verdict == "passed"


def test_time_for_tidying_up_is_kept():
    clock = Clock()
    course = Course(100, 30, clock=clock)
    clock.now = 60.0
    limits = []

    def note() -> Said:
        limits.append(course.left_s)
        return passing()

    course.run("measure", "?", note, 50)
    course.run("tidy", "?", note, 50, tidies=True)
    assert limits == [10.0, 40.0]
    clock.now = 99.5
    assert course.run("measure", "?", note, 50).verdict == "not possible"
    # putting things back is tried even when no time is left
    assert course.run("tidy", "?", note, 50, tidies=True).verdict == "passed"
    assert limits[-1] == 10.0


def test_a_stage_leaves_the_time_that_later_ones_need():
    clock = Clock()
    course = Course(100, 10, clock=clock)
    assert course.run("measure", "?", passing, 90, keep_s=30).limit_s == 60
    clock.now = 80.0
    assert course.run("measure", "?", passing, 90, keep_s=30).verdict == "not possible"
    assert course.run("plan", "?", passing, 90).limit_s == 10


def test_reports_are_told_one_after_the_other():
    seen: list[list[str]] = []
    course = Course(100, 10, lambda reports: seen.append([r.name for r in reports]))
    course.run("a", "?", passing, 5)
    course.run("b", "?", raising(ValueError()), 5)
    assert seen == [["a"], ["a", "b"]]
    assert course.reports[0].facts == {"n": 1}
