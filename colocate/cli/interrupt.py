"""Ctrl-C while a solver runs: ask it to stop, and insist if it does not.

The first Ctrl-C asks the solver to stop and keep its best plan. A second one, or two seconds
without an answer, ends the run at the next Python instruction, without a plan.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from colocate.cli.failure import SolveInterruptedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["PATIENCE_S", "stoppable"]

PATIENCE_S = 2.0


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether the user asked to stop."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # signals belong to the main thread
        return

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)

    def on_alarm(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_interrupt), signal.signal(signal.SIGALRM, on_alarm)
    try:
        yield asked.is_set
    except KeyboardInterrupt:
        raise SolveInterruptedError from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGALRM, before[1])
