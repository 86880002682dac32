"""How long to wait before a process is started again, and when to give up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

__all__ = ["Restarts"]


class Restarts:
    """Counts restarts under the policy of a launch entry."""

    def __init__(self, policy: Mapping[str, Any]) -> None:
        self._policy = policy
        self._starts: list[float] = []
        """When it was started again, within the window."""
        self._in_a_row = 0
        self.due = 0.0
        """When it is to be started next."""

    @property
    def recent(self) -> int:
        """How often it was started again within the window."""
        return len(self._starts)

    def wait(self, ready_since: float) -> float | None:
        """Return how long to wait from now, or None to give up.

        Parameters
        ----------
        ready_since
            When it got ready last, or 0.
        """
        policy, now = self._policy, time.monotonic()
        self._starts = [t for t in self._starts if now - t < policy["window_s"]]
        if ready_since and now - ready_since > policy["window_s"]:
            self._in_a_row = 0
        if policy["when"] == "never" or self.recent >= policy["most"]:
            return None
        seconds: float = min(policy["first_wait_s"] * 2.0**self._in_a_row, policy["longest_wait_s"])
        self._in_a_row = min(self._in_a_row + 1, 30)
        self._starts.append(now)
        self.due = now + seconds
        return seconds
