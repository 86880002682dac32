"""Looking at several GPUs until told to stop, each in a thread of its own.

What one GPU needs may take long, such as waiting for a service that starts anew; it must not keep
the others from being looked at.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

__all__ = ["Agent", "run_until"]

Agent = Callable[[float], object]
"""Looks once, at a time."""


def run_until(
    agents: Sequence[Agent],
    stop: threading.Event,
    *,
    interval_s: float,
    clock: Callable[[], float] = time.monotonic,
    failed: Callable[[int, Exception], None],
) -> None:
    """Call every agent again and again until `stop` is set; return when all have ended.

    Parameters
    ----------
    agents
        One for each GPU.
    stop
        Set it to end.
    interval_s
        From the begin of one look to the begin of the next; a look that takes longer is followed at
        once.
    clock
        Only goes forward.
    failed
        Told of an error that an agent did not expect: its number, and the error. It goes on.
    """

    def follow(number: int, agent: Agent) -> None:
        due = clock()
        while not stop.is_set():
            try:
                agent(clock())
            except Exception as error:  # noqa: BLE001 - one bad look must not end the watch
                failed(number, error)
            due = max(due + interval_s, clock())
            if stop.wait(max(0.0, due - clock())):
                return

    threads = [
        threading.Thread(target=follow, args=(i, agent), name=f"gpu-{i}", daemon=True)
        for i, agent in enumerate(agents)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        # Joined in pieces: a signal handler runs only between calls of the main thread.
        while thread.is_alive():
            thread.join(0.2)
