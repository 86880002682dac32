"""A discrete-event simulator of one replica: requests arrive, wait, and are served in batches.

`simulate` answers with latencies, waits, batch sizes and the load, and with percentiles that carry
their standard errors. It is the oracle of the `queue` SLO model.
"""

from colocate.simulator.arrivals import Arrivals, GammaArrivals, PoissonArrivals, RecordedArrivals
from colocate.simulator.measured import ArrivalFacts, measure_arrivals, steady_times
from colocate.simulator.outcome import Estimate, Outcome
from colocate.simulator.server import BatchServer
from colocate.simulator.simulate import serve, simulate

__all__ = [
    "ArrivalFacts",
    "Arrivals",
    "BatchServer",
    "Estimate",
    "GammaArrivals",
    "Outcome",
    "PoissonArrivals",
    "RecordedArrivals",
    "measure_arrivals",
    "serve",
    "simulate",
    "steady_times",
]
