"""When to look for another configuration: the load has moved, or the SLO is at risk.

A pure function of what is remembered, what is seen, and the time. A rise counts at once, because a
queue grows while one waits; a fall has to last, because going back costs a new process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from colocate.executor.tuner.sources import Signal
from colocate.schema import Frozen

__all__ = ["Reason", "TriggerSettings", "Watch", "look"]

Reason = Literal["start", "rate_up", "rate_down", "slo_risk"]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class TriggerSettings(Frozen):
    """What counts as a move."""

    rate_up: Annotated[float, Field(gt=0, le=10)] = 0.2
    """Rise over the rate that the configuration was made for."""
    jump: Annotated[float, Field(gt=0, le=100)] = 0.5
    """A rise by this much counts at once."""
    rate_down: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Fall below it."""
    up_sustain_s: Seconds = 1.0
    """A rise lasts so long."""
    down_sustain_s: Seconds = 30.0
    """A fall lasts so long."""
    risk_pct: Annotated[float, Field(gt=0, le=1000)] = 90.0
    """The SLO is at risk with a p99 from this part of it on, in percent."""
    risk_sustain_s: Seconds = 3.0
    """A risk lasts so long."""
    settle_s: Seconds = 15.0
    """After a change so long is waited before a fall or a risk counts again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is remembered of one service."""

    made_for_rps: float | None = None
    """Rate that the configuration was made for; None before the first."""
    up_from: float | None = None
    down_from: float | None = None
    risk_from: float | None = None
    changed_at: float | None = None
    """When the configuration was changed last."""
    highest_rps: float = 0.0
    """Highest rate since the fall began: what a lower configuration must bear."""

    def changed(self, now: float, rate_rps: float) -> Watch:
        """Return the watch after a configuration was made for a rate."""
        return Watch(made_for_rps=rate_rps, changed_at=now)


def look(
    watch: Watch, signal: Signal, slo_ms: float, now: float, settings: TriggerSettings
) -> tuple[Watch, Reason | None]:
    """Return what is remembered now, and why to look for another configuration, if so."""
    if signal.rate_rps is None and signal.p99_ms is None:
        return watch, None
    rate = signal.rate_rps
    made_for = watch.made_for_rps
    if made_for is None:
        return watch, None if rate is None else "start"
    up = rate is not None and rate > made_for * (1 + settings.rate_up)
    down = rate is not None and rate < made_for * (1 - settings.rate_down)
    if rate is None:  # as it was
        up, down = watch.up_from is not None, watch.down_from is not None
    risk = signal.p99_ms is not None and signal.p99_ms >= slo_ms * settings.risk_pct / 100
    seen = replace(
        watch,
        up_from=_since(watch.up_from, now, holds=up),
        down_from=_since(watch.down_from, now, holds=down),
        risk_from=_since(watch.risk_from, now, holds=risk),
        highest_rps=max(watch.highest_rps, rate or 0.0) if down else 0.0,
    )
    jumped = rate is not None and rate > made_for * (1 + settings.jump)
    if jumped or _lasted(seen.up_from, now, settings.up_sustain_s):
        return seen, "rate_up"
    if watch.changed_at is not None and now - watch.changed_at < settings.settle_s:
        return seen, None
    if _lasted(seen.risk_from, now, settings.risk_sustain_s):
        return seen, "slo_risk"
    if _lasted(seen.down_from, now, settings.down_sustain_s):
        return seen, "rate_down"
    return seen, None


def _since(begin: float | None, now: float, *, holds: bool) -> float | None:
    if not holds:
        return None
    return now if begin is None else begin


def _lasted(begin: float | None, now: float, seconds: float) -> bool:
    return begin is not None and now - begin >= seconds
