"""When something counts as measured."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Effort"]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """When something counts as measured; the campaign's page says what each is."""

    warm_up_s: float = 2.0
    window_s: float = 1.0
    steady_windows: int = 3
    steady_within: float = 0.02
    steady_most_s: float = 30.0
    least_windows: int = 6
    most_windows: int = 30
    confidence: float = 0.95
    rate_within: float = 0.02
    latency_within: float = 0.15
    starts: int = 1
    parked: int = 8
