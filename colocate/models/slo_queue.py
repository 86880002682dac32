"""The `queue` SLO model: a percentile of the latency of a batching queue; the load is stable.

A replica takes what is waiting, at most b requests at a time, whenever it is free; with a timeout
it waits until b are there or the oldest has waited for the timeout. Every batch takes tau, also one
that is not full. Requests arrive in a renewal process with gamma gaps; c2 is the squared
coefficient of variation of the gaps ("burstiness", 1 is Poisson).

    fill    = b / lambda                       the mean time in which b requests arrive
    rho     = lambda * tau / b
    latency = 1000 * fill * h(rho; b, c2, percentile, timeout / fill)  <= slo_ms     and
    rho    <= rho_max

h is a table made by simulation (`colocate.models.queueing`); the percentile is the service's own
`slo_percentile`. h does not fall with rho, so the latency does not fall with tau.

Where it ends: burstiness 1 to 4, load up to 0.95, percentiles up to 99.9 (refused beyond).
Percentiles below 50 get the latency of 50. Batches beyond 256 lie between the table's 256 and its
limit for endless batches. The latency past load 0.95 is an extrapolation, shown but never allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from colocate.components import at_most
from colocate.models.slo import SloCheck, in_time
from colocate.schema import TOLERANCE, Frozen, NonNegative

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from colocate.models.queueing.table import QueueTable


class QueueModel:
    """A percentile of fill, wait and service within the SLO, and a load that is stable."""

    name: ClassVar[str] = "queue"

    class Params(Frozen):
        """Parameters."""

        burstiness: Annotated[float, Field(ge=1, le=4)] = 1.0
        """Squared coefficient of variation of the gaps between arrivals; 1 is Poisson."""
        timeout_ms: NonNegative = 0.0
        """How long the oldest request may wait for a full batch; 0: a free server never waits."""
        rho_max: Annotated[float, Field(gt=0, le=0.95)] = 0.95
        """Largest load of a replica."""

    def __init__(self, params: Params) -> None:
        self.burstiness = params.burstiness
        self.timeout_ms = params.timeout_ms
        self.rho_max = params.rho_max
        self._tables: dict[float, QueueTable] = {}

    def latency_ms(
        self,
        batch: NDArray[np.float64],
        tau_s: NDArray[np.float64],
        rate_rps: NDArray[np.float64],
        percentile: float,
    ) -> NDArray[np.float64]:
        """Return the percentile of the latency."""
        from colocate.models.queueing.table import QueueTable

        table = self._tables.get(percentile)
        if table is None:
            table = self._tables[percentile] = QueueTable(self.burstiness, percentile)
        return table.latency_ms(batch, tau_s, rate_rps, self.timeout_ms)

    def allowed(
        self,
        batch: NDArray[np.float64],
        tau_hi_s: NDArray[np.float64],
        rate_rps: NDArray[np.float64],
        slo_ms: NDArray[np.float64],
        percentile: float,
    ) -> NDArray[np.bool_]:
        """Return where the latency meets the SLO and the load is stable."""
        latency = self.latency_ms(batch, tau_hi_s, rate_rps, percentile)
        load = rate_rps * tau_hi_s / batch
        return in_time(latency, slo_ms) & (load <= self.rho_max + TOLERANCE)

    def judge(
        self,
        batch: int,
        tau_s: float,
        tau_hi_s: float,
        rate_rps: float,
        slo_ms: float,
        percentile: float,
    ) -> SloCheck:
        """Judge one replica."""
        from colocate.models.queueing.plain import latency_in_fills

        fill_ms = 1000.0 * batch / rate_rps
        latency, high = (
            fill_ms
            * latency_in_fills(
                rate_rps * tau / batch,
                batch,
                self.burstiness,
                percentile,
                self.timeout_ms / fill_ms,
            )
            for tau in (tau_s, tau_hi_s)
        )
        stable = at_most(rate_rps * tau_hi_s / batch, self.rho_max)
        return SloCheck(latency, high, at_most(high, slo_ms) and stable)
