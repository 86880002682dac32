"""What the judge needs to price columns: rates over shares, tolerated slowdowns, pair slowdowns.

A service holds its SLO at a batch and a share as long as its company slows it down by no more than
some factor. The SLO models are monotone in the time of a batch, so this factor is found once by
bisection on the model's plain-number face, and the rest is a step function of the share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from colocate.instance import GpuPool, Instance
from colocate.judge.classes import ServiceClass
from colocate.judge.placement import sms_of
from colocate.models.bounds import relative_error
from colocate.models.curves import batches_of, rate_alone
from colocate.models.memory import memory_per_process
from colocate.models.slo import slo_model
from colocate.profile import SlowdownTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["ROUNDING", "Grid", "ServiceStep", "Speeds"]

ROUNDING = 1e-12
"""Far more than the arithmetic loses, far less than the tolerance of any limit."""


class Grid(NamedTuple):
    """The percentages that may be used on a GPU, by the multiprocessors that they may take."""

    sm_count: int
    percent: tuple[int, ...]
    sure: tuple[int, ...]
    most: tuple[int, ...]

    @classmethod
    def of(cls, pool: GpuPool) -> Grid:
        """Return the grid of a pool."""
        rows = []
        for percent in range(1, 101):
            sms = sms_of(pool, percent)
            if sms is not None and sms[0] >= 1:
                rows.append((sms[1], percent, sms[0]))
        rows.sort()
        most, percents, sure = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(pool.sm_count, percents, sure, most)


class ServiceStep(NamedTuple):
    """A service at one batch."""

    batch: int
    bears: Floats
    """Largest slowdown that it bears at each percentage of the grid."""
    memory_gib: float
    """All processes together."""
    tolerated: Floats
    """Largest slowdown that it bears with at most h multiprocessors, for h = 0 ... S."""


class Speeds:
    """Rates and tolerated slowdowns of one instance, each worked out once."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.slo = slo_model(instance.slo_model)
        self._alone: dict[tuple[str, str, int, Grid], Floats | None] = {}
        self._longest: dict[tuple[int, float, float, float], float] = {}
        self._steps: dict[tuple[ServiceClass, str, Grid], tuple[ServiceStep, ...]] = {}
        self._pairs: dict[str, dict[str, dict[str, tuple[float, float]]]] = {}
        self.tables: dict[str, dict[tuple[str, str], tuple[SlowdownTable, float]]] = {}
        """By GPU type, then by victim and neighbour: slowdowns that depend on knobs, and what turns
        them into their bounds."""
        for p in instance.interference.pairs:
            values = (p.slowdown,) if p.table is None else p.table.slowdown
            least = min(value for value in values if value is not None)
            wider = 1 + relative_error(p.error, instance.confidence)
            high = least * wider
            if p.table is not None and len(values) > 1:
                of_type = self.tables.setdefault(p.gpu_type, {})
                of_type[p.victim, p.neighbour] = p.table, wider
            of_victim = self._pairs.setdefault(p.gpu_type, {}).setdefault(p.victim, {})
            of_victim[p.neighbour] = (least, high)

    def alone(self, workload: str, gpu_type: str, batch: int, grid: Grid) -> Floats | None:
        """Return the rate alone at each percentage, or None when the batch is not profiled."""
        key = workload, gpu_type, batch, grid
        if key not in self._alone:
            profile = self.instance.profile(workload, gpu_type)
            rates: dict[int, float | None] = {}
            if profile is not None:
                for sms in dict.fromkeys(grid.sure):
                    rates[sms] = rate_alone(profile, batch, 100 * sms / grid.sm_count)
            found = [rates.get(sms) for sms in grid.sure]
            known = None not in found and bool(found)
            self._alone[key] = np.array(found, dtype=np.float64) if known else None
        return self._alone[key]

    def memory(self, workload: str, gpu_type: str, batch: int) -> float | None:
        """Return GiB of one process."""
        profile = self.instance.profile(workload, gpu_type)
        return None if profile is None else memory_per_process(profile, batch)

    def steps(self, service: ServiceClass, gpu_type: str, grid: Grid) -> tuple[ServiceStep, ...]:
        """Return the batches at which a service can run on a GPU type."""
        key = service.bare(), gpu_type, grid
        if key not in self._steps:
            self._steps[key] = tuple(self._new_steps(service, gpu_type, grid))
        return self._steps[key]

    def _new_steps(self, service: ServiceClass, gpu_type: str, grid: Grid) -> list[ServiceStep]:
        profile = self.instance.profile(service.workload, gpu_type)
        if profile is None:
            return []
        keep = max(0.0, 1 - relative_error(profile.rate_error, self.instance.confidence))
        offered = np.array(grid.percent) >= service.min_share_pct
        found = []
        for batch in batches_of(profile) if service.batches is None else service.batches:
            alone = self.alone(service.workload, gpu_type, batch, grid)
            memory = memory_per_process(profile, batch)
            if alone is None or memory is None:
                continue
            longest = self._longest_batch_time(batch, service)
            bears = np.where(offered, alone * keep * longest / batch, 0.0)
            tolerated = np.zeros(grid.sm_count + 1)
            np.maximum.at(tolerated, np.array(grid.most), bears)
            tolerated = np.maximum.accumulate(tolerated)
            if tolerated[-1] > 0:
                found.append(ServiceStep(batch, bears, memory * service.processes, tolerated))
        return found

    def _longest_batch_time(self, batch: int, service: ServiceClass) -> float:
        """Return the longest time of a batch in seconds that the SLO model allows."""
        asked = service.rate_rps, service.slo_ms, service.slo_percentile
        key = batch, *asked
        if key not in self._longest:
            low, high = 1e-30, 1e30
            if not self.slo.judge(batch, low, low, *asked).allowed:
                high = 0.0
            while high > low * (1 + ROUNDING):
                middle = math.sqrt(low * high)
                if self.slo.judge(batch, middle, middle, *asked).allowed:
                    low = middle
                else:
                    high = middle
            self._longest[key] = high
        return self._longest[key]

    def slowdowns(
        self, gpu_type: str, victims: Sequence[str], neighbours: Sequence[str]
    ) -> tuple[Floats, Floats]:
        """Return the slowdown of each victim beside each neighbour, and its bound; nan: unknown.

        Of slowdowns that depend on knobs, the smallest.
        """
        model = self.instance.interference
        default = math.nan if model.default_slowdown is None else model.default_slowdown
        error = relative_error(model.default_error, self.instance.confidence)
        mean = np.full((len(victims), len(neighbours)), default)
        high = np.full(mean.shape, default * (1 + error))
        columns: dict[str, list[int]] = {}
        for j, name in enumerate(neighbours):
            columns.setdefault(name, []).append(j)
        listed = self._pairs.get(gpu_type, {})
        for i, victim in enumerate(victims):
            for name, (s, s_high) in listed.get(victim, {}).items():
                for j in columns.get(name, ()):
                    mean[i, j], high[i, j] = s, s_high
        return mean, high
