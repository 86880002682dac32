"""How bursty recorded arrivals are, and how much of that is a rate that drifts.

Over gaps g between arrivals, burstiness c2 = var(g) / mean(g)^2. A rate that wanders makes gaps
vary as well, and does far more harm than renewal gaps of the same c2: while it is high, the queue
grows for as long as it stays high. So the drift is measured too, and can be taken out.

The rate in windows of w seconds is N_k / w. Time is rescaled by its integral, u(t) = (arrivals up
to t, straight within a window), stretched to the old length: in u the rate is the same in every
window. `steady_burstiness` is the c2 of the gaps in u. Without drift, N_k of a renewal process has
a variance of about c2 times its mean; `rate_spread` is the coefficient of variation of the rates
of the windows, and `expected_spread` what is left of it without drift, sqrt(c2 / mean(N)).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from colocate.errors import InputError
from colocate.simulator.arrivals import arrival_list

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ArrivalFacts", "measure_arrivals", "steady_times"]

FEWEST = 100
"""Arrivals below which nothing is said about their variance."""
DRIFT = 2.0
"""So much larger than expected may the spread of the rate be before there is a warning."""
GAP_CHANGE = 0.2
"""Part of c2 that may go with the drift before there is a warning."""
BUSY_LOAD = 0.75
"""Load of the busiest window up to which a replayed trace agreed with the queue model."""


class ArrivalFacts(NamedTuple):
    """What was found out about a list of arrivals."""

    arrivals: int
    rate_rps: float
    burstiness: float
    """Squared coefficient of variation of the gaps, as recorded."""
    steady_burstiness: float
    """The same after the drift of the rate was taken out."""
    rate_spread: float
    """Coefficient of variation of the rate from window to window."""
    expected_spread: float
    """The same, if the rate were steady."""
    peak: float
    """Rate of the busiest window over the mean rate."""
    window_s: float
    warning: str | None
    """What a user of one burstiness for all of it should know; None: nothing."""


def measure_arrivals(times_s: ArrayLike, *, window_s: float = 60.0) -> ArrivalFacts:
    """Measure the burstiness of recorded arrivals, with and without the drift of their rate.

    Parameters
    ----------
    times_s
        Arrival times in seconds, ascending.
    window_s
        What changes over longer than this counts as drift.
    """
    times = arrival_list(times_s)
    counts, _ = _windows(times, window_s)
    gaps, steady = np.diff(times), np.diff(steady_times(times, window_s=window_s))
    burstiness, steady_burstiness = _variation(gaps), _variation(steady)
    whole = counts[:-1] if counts.size > 1 else counts
    mean = float(whole.mean())
    spread = float(whole.std(ddof=1)) / mean if whole.size > 1 else 0.0
    expected = math.sqrt(steady_burstiness / mean)
    peak = float(whole.max()) / mean
    drifts = spread > DRIFT * expected
    differs = abs(burstiness - steady_burstiness) > GAP_CHANGE * steady_burstiness
    warning = None
    if drifts or differs:
        warning = (
            f"the rate drifts: over {window_s:g} s it varies by {100 * spread:.3g} % where "
            f"{100 * expected:.3g} % is expected of a steady one, up to {peak:.3g} times the mean; "
            f"burstiness {burstiness:.3g} as recorded, {steady_burstiness:.3g} without the drift. "
            f"Above a load of about {BUSY_LOAD / peak:.2g} latency is ruled by "
            "the drift, not by burstiness: plan for the rate of the busy windows, or simulate "
            "the recorded list"
        )
    return ArrivalFacts(
        arrivals=times.size,
        rate_rps=(times.size - 1) / float(times[-1] - times[0]),
        burstiness=burstiness,
        steady_burstiness=steady_burstiness,
        rate_spread=spread,
        expected_spread=expected,
        peak=peak,
        window_s=window_s,
        warning=warning,
    )


def steady_times(times_s: ArrayLike, *, window_s: float = 60.0) -> NDArray[np.float64]:
    """Return the arrivals on a clock on which every window has the mean rate.

    First and last arrival stay where they are.
    """
    times = arrival_list(times_s)
    counts, edges = _windows(times, window_s)
    before = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
    clock = np.interp(times, edges, before)
    length = float(times[-1] - times[0])
    return np.asarray(times[0] + (clock - clock[0]) * (length / (clock[-1] - clock[0])))


def _windows(
    times: NDArray[np.float64], window_s: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    length = float(times[-1] - times[0])
    if times.size < FEWEST or length <= 0:
        raise InputError(
            f"{times.size} arrivals in {length:g} s say nothing about their variance",
            advice=f"record at least {FEWEST}.",
        )
    if not (math.isfinite(window_s) and window_s > 0):
        raise InputError(f"the window is {window_s} s", advice="60 s is usual.")
    if times.size * window_s < 20 * length:
        raise InputError(
            f"a window of {window_s:g} s holds {times.size * window_s / length:.3g} arrivals on "
            "average, too few to tell drift from chance",
            advice=f"use a window of at least {math.ceil(20 * length / times.size)} s.",
        )
    # The last window ends with the last arrival.
    edges = np.append(np.arange(0.0, length, window_s), length) + times[0]
    counts = np.histogram(times, edges)[0].astype(np.int64)
    return counts, edges


def _variation(gaps: NDArray[np.float64]) -> float:
    return float(gaps.var()) / float(gaps.mean()) ** 2
