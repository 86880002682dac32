"""The progress of a solve: a live line on a terminal, JSON lines for services, or nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from colocate.cli.failure import say_json
from colocate.errors import clean_text
from colocate.report.words import number, percent, relative_gap

if TYPE_CHECKING:
    from colocate.result import Progress

__all__ = ["shown_progress", "shown_steps"]

_LONGEST_STEP = 100
Callback = Callable[["Progress"], None]


@contextmanager
def shown_progress(*, quiet: bool, log_json: bool) -> Iterator[Callback | None]:
    """Yield the callback to give to the solver, or None when nobody would see anything."""
    if log_json:
        yield _log
        return
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from colocate.cli.console import console

    with console(sys.stderr).status("solving") as status:
        lock = threading.Lock()

        def update(progress: Progress) -> None:
            with lock:
                status.update(line_of(progress))

        yield update


@contextmanager
def shown_steps(first: str, *, quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """Yield a function that shows what is being done, or None when nobody would see it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from colocate.cli.console import console

    with console(sys.stderr).status(first) as status:
        lock = threading.Lock()

        def update(step: str) -> None:
            with lock:
                status.update(clean_text(step, _LONGEST_STEP))

        yield update


def _gap(progress: Progress) -> float | None:
    if progress.incumbent is None or progress.bound is None:
        return None
    return relative_gap(progress.incumbent, progress.bound)


def _log(progress: Progress) -> None:
    say_json(
        "progress",
        elapsed_s=round(progress.elapsed_s, 6),
        incumbent=progress.incumbent,
        bound=progress.bound,
        gap=_gap(progress),
        phase=progress.phase,
    )


def line_of(progress: Progress) -> str:
    """Return incumbent, bound, gap and time as one line."""
    gap = _gap(progress)
    parts = [
        progress.phase or "solving",
        "no plan yet" if progress.incumbent is None else f"best {number(progress.incumbent)}",
        "no bound yet" if progress.bound is None else f"bound {number(progress.bound)}",
        "" if gap is None else f"gap {percent(gap)}",
        f"{progress.elapsed_s:.1f} s",
    ]
    return "  ".join(p for p in parts if p)
