"""The `mudi` SLO model: the row as the Mudi paper (EuroSys'25, Eq. 2) prints it.

    (lambda / b) * tau <= SLO

Read with lambda in samples per second it is the serial time for one second's arrivals. It admits
unstable loads where the SLO exceeds a second; it is here for comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from colocate.components import at_most
from colocate.models.slo import SloCheck, in_time
from colocate.schema import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class MudiModel:
    """The paper's literal row."""

    name: ClassVar[str] = "mudi"

    class Params(Frozen):
        """It has no parameters."""

    def __init__(self, params: Params) -> None:
        del params

    def latency_ms(
        self,
        batch: NDArray[np.float64],
        tau_s: NDArray[np.float64],
        rate_rps: NDArray[np.float64],
        percentile: float,
    ) -> NDArray[np.float64]:
        """Return the serial time for one second's arrivals."""
        del percentile
        return 1000.0 * rate_rps * tau_s / batch

    def allowed(
        self,
        batch: NDArray[np.float64],
        tau_hi_s: NDArray[np.float64],
        rate_rps: NDArray[np.float64],
        slo_ms: NDArray[np.float64],
        percentile: float,
    ) -> NDArray[np.bool_]:
        """Return where the row holds."""
        return in_time(self.latency_ms(batch, tau_hi_s, rate_rps, percentile), slo_ms)

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
        high = 1000.0 * (rate_rps / batch) * tau_hi_s
        return SloCheck(1000.0 * (rate_rps / batch) * tau_s, high, at_most(high, slo_ms))
