"""A workload that only waits, for a time that a formula tells.

    mu(b, p) = peak * b / (b + half_batch) * p (1 + knee) / (p + knee)       p: the share, 0 ... 1

It takes no GPU. Environment variables change it: `SYNTHETIC_PEAK` (samples per second at endless
batches on the whole GPU), `SYNTHETIC_MOST` (largest batch that it can run), `SYNTHETIC_EXIT_AFTER`
(batches after which it ends by itself, badly).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from colocate.executor.measure.protocol import SHARE_VARIABLE
from colocate.executor.measure.worker import CannotError

__all__ = ["Synthetic", "make", "rate"]

HALF_BATCH = 4.0
KNEE = 0.5
SM_COUNT = 100


def rate(batch: int, share_pct: float, peak: float = 400.0) -> float:
    """Return samples per second."""
    p = share_pct / 100
    return peak * batch / (batch + HALF_BATCH) * p * (1 + KNEE) / (p + KNEE)


class Synthetic:
    """Waits as long as a batch takes; what one wait was too long, the next ones make up for."""

    def __init__(self) -> None:
        self.share_pct = float(os.environ.get(SHARE_VARIABLE, "100"))
        self.peak = float(os.environ.get("SYNTHETIC_PEAK", "400"))
        self.most = int(os.environ.get("SYNTHETIC_MOST", "1000000"))
        self.exit_after = int(os.environ.get("SYNTHETIC_EXIT_AFTER", "-1"))
        self.batch = 1
        self._owed = 0.0

    def prepare(self, batch: int) -> None:
        """Take the batch size."""
        if batch > self.most:
            msg = f"out of memory at batch {batch}"
            raise CannotError(msg)
        self.batch = batch
        self._owed = 0.0

    def step(self) -> None:
        """Wait."""
        if self.exit_after == 0:
            os._exit(7)
        self.exit_after -= 1
        wanted = self.batch / rate(self.batch, self.share_pct, self.peak) - self._owed
        began = time.monotonic()
        if wanted > 0:
            time.sleep(wanted)
        self._owed = min(0.05, time.monotonic() - began - wanted)

    def facts(self) -> Mapping[str, Any]:
        """Return the multiprocessors of a GPU that has a hundred."""
        return {"sm_count": max(1, int(SM_COUNT * self.share_pct / 100))}

    def memory_mib(self) -> float | None:
        """Return a formula again."""
        return 100.0 + self.batch

    def finish(self) -> None:
        """Do nothing: nothing goes on."""


def make(name: str, *, device: str, size: str) -> Synthetic:
    """Return the workload."""
    del name, device, size
    return Synthetic()
