"""The front door of the simulator."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from colocate.errors import InputError
from colocate.simulator.always_full import always_full
from colocate.simulator.arrivals import Arrivals, RecordedArrivals
from colocate.simulator.one_by_one import one_by_one
from colocate.simulator.outcome import Outcome
from colocate.simulator.side_by_side import side_by_side

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colocate.simulator.server import BatchServer

__all__ = ["serve", "simulate"]

FEW_ROWS = 12
"""Up to so many rows, plain numbers are faster than arrays over the rows (measured)."""


def simulate(
    server: BatchServer,
    arrivals: Arrivals,
    *,
    requests: int = 200_000,
    replications: int = 40,
    warmup: float = 0.1,
    seed: int = 0,
) -> Outcome:
    """Simulate a server that starts empty.

    Parameters
    ----------
    server
        What serves.
    arrivals
        When requests come. A recorded list is replayed once, whole.
    requests
        How many requests in all, dealt evenly to the replications.
    replications
        How many independent runs.
    warmup
        Fraction of each run that the statistics leave out, because the server starts empty. A
        batch more of generated requests is drawn at the end of each run, and left out too.
    seed
        Same seed, same arguments: same outcome.

    Examples
    --------
    >>> server = BatchServer(batch=8, service_s=0.02)
    >>> outcome = simulate(server, PoissonArrivals(rate_rps=200))
    >>> p99 = outcome.percentile_s(99)
    """
    if not 0 <= warmup < 1:
        raise InputError(f"the warm-up is {warmup}", advice="state a fraction below 1.")
    if requests < 1 or replications < 1:
        raise InputError(
            f"{requests} requests in {replications} replications",
            advice="both are at least 1.",
        )
    if isinstance(arrivals, RecordedArrivals):
        rows, each, after = 1, len(arrivals.times), 0
    else:
        rows, each, after = replications, -(-requests // replications), server.batch
    rng = np.random.default_rng(seed)
    times = arrivals.times_s(rows, each + after, rng)
    factors = None
    if server.variation > 0:
        factors = rng.standard_gamma(1 / server.variation, times.shape) * server.variation
    return serve(server, times, factors=factors, warmup=math.floor(warmup * each), cooldown=after)


def serve(
    server: BatchServer,
    times_s: NDArray[np.float64],
    *,
    factors: NDArray[np.float64] | None = None,
    warmup: int = 0,
    cooldown: int = 0,
) -> Outcome:
    """Serve given arrivals: rows of ascending times, each row a world of its own.

    `factors[r, i]` stretches the time of the i-th batch of row r; `warmup` and `cooldown` are the
    numbers of requests at the start and the end of each row that the statistics leave out.
    """
    if times_s.ndim != 2 or times_s.shape[1] == 0:
        raise InputError(
            f"arrivals of shape {times_s.shape}", advice="give [replication, request]."
        )
    if server.batch == 1 or math.isinf(server.timeout_s):
        batches = always_full(server, times_s, factors)
    elif times_s.shape[0] > FEW_ROWS:
        batches = side_by_side(server, times_s, factors)
    else:
        parts = [
            one_by_one(server, times_s[r : r + 1], None if factors is None else factors[r : r + 1])
            for r in range(times_s.shape[0])
        ]
        batches = parts[0]._replace(
            row=np.repeat(np.arange(len(parts)), [p.size.size for p in parts]),
            size=np.concatenate([p.size for p in parts]),
            start_s=np.concatenate([p.start_s for p in parts]),
            service_s=np.concatenate([p.service_s for p in parts]),
        )
    return Outcome.of(times_s, batches, warmup=warmup, cooldown=cooldown)
