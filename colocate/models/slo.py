"""What an SLO model is, and how the one that an instance names is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from colocate import registry
from colocate.components import make
from colocate.schema import TOLERANCE, Component

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SloCheck", "SloModel", "in_time", "slo_model"]


class SloCheck(NamedTuple):
    """How one replica stands against its SLO."""

    latency_ms: float
    latency_hi_ms: float
    allowed: bool


class SloModel(Protocol):
    """Holds the time of a batch in company against a service's SLO."""

    name: ClassVar[str]

    def latency_ms(
        self,
        batch: NDArray[np.float64],
        tau_s: NDArray[np.float64],
        rate_rps: NDArray[np.float64],
        percentile: float,
    ) -> NDArray[np.float64]:
        """Return the number that is held against the SLO, for arrays that broadcast.

        It must not fall as tau rises. `percentile` is the service's `slo_percentile`.
        """
        ...

    def allowed(
        self,
        batch: NDArray[np.float64],
        tau_hi_s: NDArray[np.float64],
        rate_rps: NDArray[np.float64],
        slo_ms: NDArray[np.float64],
        percentile: float,
    ) -> NDArray[np.bool_]:
        """Return where the SLO holds at the bound on the batch time."""
        ...

    def judge(
        self,
        batch: int,
        tau_s: float,
        tau_hi_s: float,
        rate_rps: float,
        slo_ms: float,
        percentile: float,
    ) -> SloCheck:
        """Return the same for one replica, in plain arithmetic. For the judge."""
        ...


def in_time(latency_ms: NDArray[np.float64], slo_ms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where a latency is at most the SLO. The judge's face has `components.at_most`."""
    import numpy as np

    found: NDArray[np.bool_] = latency_ms <= slo_ms + TOLERANCE * np.maximum(1.0, slo_ms)
    return found


def slo_model(spec: Component) -> SloModel:
    """Make the SLO model that an instance names."""
    model: SloModel = make(registry.get("slo_model", spec.name), spec, "$.slo_model")
    return model
