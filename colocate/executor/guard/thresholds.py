"""When a GPU counts as unhealthy or over its limit, and how patient the guard is.

Every signal has two bounds, and a margin by which it must come back before it counts as better
again: a signal that rests on a bound does not swing. Times say how long something must hold before
it counts at all.

The structure follows MuxFlow's monitor (arXiv 2303.13803); its thresholds are not public, so these
defaults are ours, and every one of them can be set.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from colocate.schema import Frozen

__all__ = [
    "SIGNALS",
    "Band",
    "GuardSettings",
    "Level",
    "Patience",
    "Policy",
    "Signal",
    "Thresholds",
    "most_changes",
]

Signal = Literal[
    "gpu_util_pct",
    "sm_active_pct",
    "memory_used_pct",
    "clock_pct",
    "temperature_c",
    "latency_pct",
]
SIGNALS: tuple[Signal, ...] = (
    "gpu_util_pct",
    "sm_active_pct",
    "memory_used_pct",
    "clock_pct",
    "temperature_c",
    "latency_pct",
)
Amount = Annotated[float, Field(ge=0, le=10_000)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
LongSeconds = Annotated[float, Field(gt=0, le=604_800)]


class Level(IntEnum):
    """How bad one signal is."""

    FINE = 0
    UNHEALTHY = 1
    OVER = 2


class Band(Frozen):
    """The bounds of one signal."""

    unhealthy: Amount
    """From here on the GPU takes no further training."""
    overlimit: Amount | None = None
    """From here on training is held back; left out, this signal alone never does that."""
    margin: Annotated[float, Field(gt=0, le=1000)]
    """A signal must come back by this much behind a bound before it counts as better."""
    falling: bool = False
    """Whether small values are the bad ones."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.overlimit is None:
            return self
        worse = self.overlimit < self.unhealthy if self.falling else self.overlimit > self.unhealthy
        if not worse:
            msg = (
                f"overlimit {self.overlimit:g} must be {'below' if self.falling else 'above'} "
                f"unhealthy {self.unhealthy:g}"
            )
            raise ValueError(msg)
        return self

    def level(self, value: float, before: Level) -> Level:
        """Return how bad a value is, given how bad the signal was until now."""
        sign = -1.0 if self.falling else 1.0
        value = sign * value
        if self.overlimit is not None:
            over = sign * self.overlimit
            if value >= over or (before is Level.OVER and value > over - self.margin):
                return Level.OVER
        bound = sign * self.unhealthy
        if value >= bound or (before is not Level.FINE and value > bound - self.margin):
            return Level.UNHEALTHY
        return Level.FINE


class Thresholds(Frozen):
    """The bounds of all signals; one that is left out is not looked at."""

    gpu_util_pct: Band | None = None
    """Time in which any kernel ran. Beside training it is near 100, so it is off by default."""
    sm_active_pct: Band | None = None
    """Multiprocessors that were busy, where the GPU tells."""
    memory_used_pct: Band | None = Band(unhealthy=93.0, overlimit=97.0, margin=3.0)
    """Device memory in use. Halting a process frees none, so beyond its limit training is evicted
    instead."""
    clock_pct: Band | None = Band(unhealthy=70.0, overlimit=50.0, margin=10.0, falling=True)
    """SM clock over the highest one; looked at only while the GPU is busy, because an idle one
    slows its clock down by itself."""
    temperature_c: Band | None = Band(unhealthy=85.0, overlimit=93.0, margin=5.0)
    """Temperature of the GPU."""
    latency_pct: Band | None = Band(unhealthy=100.0, overlimit=130.0, margin=15.0)
    """The p99 of a service, in percent of its SLO; the worst service of the GPU counts."""
    busy_from_pct: Annotated[float, Field(ge=0, le=100)] = 50.0
    """Utilisation from which the clock is looked at."""

    def band(self, signal: Signal) -> Band | None:
        """Return the bounds of one signal."""
        found: Band | None = getattr(self, signal)
        return found


class Patience(Frozen):
    """How long something must hold before it counts, and how long training stays away."""

    init_readings: Annotated[int, Field(ge=1, le=1000)] = 3
    """Readings before a GPU counts as healthy for the first time."""
    sustain_s: Seconds = 2.0
    """A healthy GPU is unhealthy after this long beyond a bound."""
    over_sustain_s: Seconds = 1.0
    """Training is held back after this long beyond an upper bound."""
    recover_s: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    """An unhealthy GPU is healthy after this long within all bounds."""
    calm_first_s: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    """How long training stays away after the first time; counted from when the signals came back.
    """
    calm_factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    """By how much longer after each further time."""
    calm_most_s: LongSeconds = 120.0
    """Training is never held back for longer than this in one go, whatever the signals say."""
    forgive_s: LongSeconds = 600.0
    """One time is forgiven after so long in good health."""
    disable_after: Annotated[int, Field(ge=1, le=1000)] | None = None
    """So many times over the limit within `disable_window_s` disable the GPU for training until a
    person enables it; None: never for this reason."""
    disable_window_s: LongSeconds = 3600.0
    """How far back such times count."""
    most_resets: Annotated[int, Field(ge=0, le=100)] = 3
    """So many resets of the MPS server within `disable_window_s`; one more disables the GPU."""
    blind_s: LongSeconds = 10.0
    """Without a reading for this long a GPU counts as unhealthy."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.calm_first_s > self.calm_most_s:
            msg = (
                f"calm_first_s {self.calm_first_s:g} is more than calm_most_s {self.calm_most_s:g}"
            )
            raise ValueError(msg)
        return self

    def calm_s(self, offences: int) -> float:
        """Return how long training stays away after so many times over the limit (1 or more)."""
        # The exponent stays small: factor 10 passes every bound before 64.
        grown = self.calm_first_s * self.calm_factor ** min(max(offences - 1, 0), 64)
        return min(grown, self.calm_most_s)


class Policy(Frozen):
    """What the guard does where it has a choice."""

    over: Literal["pause", "evict"] = "pause"
    """How training is held back. Where halting is not safe it is evicted in any case."""
    shrink_batch: bool = True
    """Whether training runs at half its batch while a GPU is unhealthy, where that can be set
    without a new process."""
    shrink_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Training that was evicted for what it did comes back with this part of its share; 1: all."""
    least_share_pct: Annotated[int, Field(ge=1, le=100)] = 10
    """It never comes back with less than this."""
    reset_server: bool = True
    """Whether the guard may shut a faulty MPS server down and start everything anew."""
    hang_s: LongSeconds = 30.0
    """A daemon or a service that does not answer for this long hangs."""


class GuardSettings(Frozen):
    """Everything that can be set about the guard."""

    schema_: Literal["colocate/guard/v1"] = Field(
        default="colocate/guard/v1", alias="schema", validate_default=False
    )
    """Format and version."""
    thresholds: Thresholds = Thresholds()
    """Bounds of the signals."""
    patience: Patience = Patience()
    """Times."""
    policy: Policy = Policy()
    """Choices."""
    interval_s: Annotated[float, Field(gt=0, le=3600)] = 1.0
    """Time from one look to the next."""


def most_changes(patience: Patience, span_s: float) -> int:
    """Return how often a GPU can change its state in so many seconds; faults are not counted.

    A change for the better takes `recover_s`, `calm_first_s`, or, where training was held for as
    long as allowed, `calm_most_s`. Between two of them there are at most two changes for the worse.
    """
    slow = min(patience.recover_s, patience.calm_first_s)
    better = math.floor(span_s / slow) + math.floor(span_s / patience.calm_most_s) + 1
    return 3 * better + 3
