"""What happens to a simulated GPU: a load over time, and what goes wrong when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scenario", "arrivals_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A course of events. Times in seconds."""

    name: str
    seconds: float
    burst_at: float | None = None
    burst_s: float = 120.0
    burst_times: float = 3.0
    """The rate of a burst over the usual one."""
    ramp_s: float = 0.0
    """How long it takes to rise, and to fall; 0: from one request to the next."""
    drift_at: float | None = None
    drift_s: float = 120.0
    """How long the drift takes."""
    drift_times: float = 1.25
    """How much longer a batch takes in the end."""
    crash_at: float | None = None
    crash_again_s: float | None = None
    """Training takes the server down again so long after it is back."""
    crashes: int = 1

    def rate(self, usual_rps: float, at: float) -> float:
        """Return the arrival rate at a time."""
        if self.burst_at is None:
            return usual_rps
        into, left = at - self.burst_at, self.burst_at + self.burst_s - at
        if into < 0 or left <= 0:
            return usual_rps
        part = 1.0 if self.ramp_s <= 0 else min(1.0, into / self.ramp_s, left / self.ramp_s)
        return usual_rps * (1.0 + (self.burst_times - 1.0) * part)

    def slower(self, at: float) -> float:
        """Return by how much the service is slower than modelled at a time."""
        if self.drift_at is None or at < self.drift_at:
            return 1.0
        part = min(1.0, (at - self.drift_at) / self.drift_s) if self.drift_s > 0 else 1.0
        return 1.0 + (self.drift_times - 1.0) * part

    def crash_times(self) -> list[float]:
        """Return when training takes the MPS server down with it."""
        if self.crash_at is None:
            return []
        again = self.crash_again_s or 0.0
        return [self.crash_at + i * again for i in range(self.crashes)]


def arrivals_of(scenario: Scenario, usual_rps: float, seed: int) -> NDArray[np.float64]:
    """Return Poisson arrivals at the rate of a scenario, in seconds."""
    rng = np.random.default_rng(seed)
    # Thinned from the highest rate: exact for a rate of any shape.
    highest = usual_rps * (max(1.0, scenario.burst_times) if scenario.burst_at is not None else 1.0)
    found = np.sort(rng.uniform(0.0, scenario.seconds, rng.poisson(highest * scenario.seconds)))
    if scenario.burst_at is None:
        return found
    # Outside the burst the rate is the usual one; within, it is asked for.
    rates = np.full(found.size, usual_rps)
    inside = (found >= scenario.burst_at) & (found < scenario.burst_at + scenario.burst_s)
    rates[inside] = [scenario.rate(usual_rps, t) for t in found[inside].tolist()]
    return np.asarray(found[rng.uniform(0.0, highest, found.size) < rates])
