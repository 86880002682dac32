"""The `fill` SLO model: the batch fills, then it is served; the load is stable.

latency = 1000 * b / lambda + 1000 * tau  <= slo_ms       and       lambda * tau / b <= rho_max
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from colocate.components import at_most
from colocate.models.slo import SloCheck, in_time
from colocate.schema import TOLERANCE, Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FillModel:
    """Fill time plus service time within the SLO, and a load that is stable."""

    name: ClassVar[str] = "fill"

    class Params(Frozen):
        """Parameters."""

        rho_max: Annotated[float, Field(gt=0, le=1)] = 0.95
        """Largest load of a replica."""

    def __init__(self, params: Params) -> None:
        self.rho_max = params.rho_max

    def latency_ms(
        self,
        batch: NDArray[np.float64],
        tau_s: NDArray[np.float64],
        rate_rps: NDArray[np.float64],
        percentile: float,
    ) -> NDArray[np.float64]:
        """Return fill time plus service time."""
        del percentile  # a mean fill time has none
        return 1000.0 * batch / rate_rps + 1000.0 * tau_s

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
        del percentile
        fill_ms = 1000.0 * batch / rate_rps
        high = fill_ms + 1000.0 * tau_hi_s
        stable = at_most(rate_rps * tau_hi_s / batch, self.rho_max)
        return SloCheck(fill_ms + 1000.0 * tau_s, high, at_most(high, slo_ms) and stable)
