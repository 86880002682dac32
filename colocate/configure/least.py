"""The least share at which a service holds its SLO in company, looked up rather than tried.

With L the longest time of a batch b that the SLO model allows (`longest`), a service with rate
bound mu at percentage q holds its SLO beside company that slows it down by s when b * s / mu <= L.
So at each batch and percentage there is a largest slowdown T that it bears, and

    least percentage at batch b   the first q, in the order of the grid, with T_bq >= s

Percentages that bear no more than one before them are never the first. What is left ascends in T,
and a binary search finds q. The same holds for all batches that fit into the memory together: of
their (b, q) in the order of what q takes, then of b, those are left that bear more than all before
them. So beside a task the service's batch and percentage are one step of a function of s.

T is exact to the last bit: the search answers what trying every percentage would.

A model that is not monotone, against what `SloModel` asks for, is noticed, and its services are
tried percentage by percentage.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.configure.longest import longest_batch_time
from colocate.configure.settings import BLOCK, limit_of
from colocate.configure.speeds import ServiceSpeed, Speeds
from colocate.instance import Service

__all__ = ["LeastShares", "Steps", "steps_of"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PROBES = np.array([1.0, 1.5])
"""Slowdowns at which the SLO model is asked whether it is monotone."""
NEIGHBOURS = 16
"""Numbers that are tried to either side of a tolerated slowdown; rounding moves it by a few."""


class Steps(NamedTuple):
    """What is best at a slowdown s: row `np.searchsorted(bears, s)`; the last row is none."""

    bears: Floats
    """Ascending: the largest slowdown that each step bears."""
    batch: Ints
    """Index into the batches of the service."""
    grid: Ints
    """-1 in the last row."""
    takes: Ints
    """Multiprocessors; -1 in the last row."""


def steps_of(bears: Floats, takes: Ints) -> Steps:
    """Return the steps of what takes least, then of what stands first.

    Parameters
    ----------
    bears
        [batch, percentage]: the largest slowdown that is borne; 0: none.
    takes
        [percentage]: ascending.
    """
    batch, grid = np.nonzero(bears)
    order = np.lexsort((grid, batch, takes[grid]))
    batch, grid = batch[order], grid[order]
    borne = bears[batch, grid]
    more = borne > np.concatenate(([0.0], np.maximum.accumulate(borne)[:-1]))[: borne.size]
    batch, grid = batch[more], grid[more]
    return Steps(
        borne[more],
        np.append(batch, 0),
        np.append(grid, -1),
        np.append(takes[grid], -1),
    )


class LeastShares:
    """Least shares of the services of one GPU class."""

    def __init__(self, speeds: Speeds) -> None:
        self.speeds = speeds
        self.tried: set[int] = set()
        """Services whose SLO model is not monotone; they are tried percentage by percentage."""
        self._bears: dict[int, Floats | None] = {}
        self._steps: dict[tuple[int, int], Steps] = {}

    def by_batch(self, service: int, slowdown_hi: Floats) -> Ints:
        """Return, [set, batch], the least percentage that meets the SLO; -1 if none."""
        bears = self.borne(service)
        if bears is None:
            return self._trying(service, slowdown_hi)
        found = np.empty((slowdown_hi.size, len(bears)), dtype=np.int64)
        best = np.maximum.accumulate(bears, axis=1)
        width = best.shape[1]
        for b, row in enumerate(best):
            at = np.searchsorted(row, slowdown_hi)
            # Where rows begin with 0 nothing is borne, and no slowdown is as small as that.
            found[:, b] = np.where(at < width, at, -1)
        return found

    def beside(
        self, service: int, slowdown_hi: Floats, memory_gib: Floats
    ) -> tuple[Ints, Ints, Ints]:
        """Return batch index, grid index and multiprocessors that take least; -1: none.

        `memory_gib` is what others on the GPU hold: only batches that fit beside it count.
        """
        speed = self.speeds.services[service]
        assert speed is not None
        fits = self._fitting(speed, memory_gib)
        if self.borne(service) is None:
            return self._trying_beside(service, slowdown_hi, memory_gib)
        if isinstance(fits, int):
            return self._looked_up(service, fits, slowdown_hi)
        found = np.empty((3, slowdown_hi.size), dtype=np.int64)
        for n in np.unique(fits).tolist():
            at = np.flatnonzero(fits == n)
            found[:, at] = self._looked_up(service, n, slowdown_hi[at])
        return found[0], found[1], found[2]

    def _fitting(self, speed: ServiceSpeed, memory_gib: Floats) -> Ints | int:
        """Return how many batches fit, those that take least memory first."""
        limit, memory = limit_of(self.speeds.gpu.memory_gib), np.sort(speed.memory_gib)
        if memory_gib.size and memory_gib.max() + memory[-1] <= limit:
            return int(memory.size)
        return np.asarray((memory_gib[:, None] + memory <= limit).sum(axis=1))

    def _looked_up(self, service: int, n: int, slowdown_hi: Floats) -> tuple[Ints, Ints, Ints]:
        key = service, n
        if key not in self._steps:
            speed, bears = self.speeds.services[service], self.borne(service)
            assert speed is not None
            assert bears is not None
            usable = np.zeros(speed.batch.size, dtype=bool)
            usable[np.argsort(speed.memory_gib, kind="stable")[:n]] = True
            takes = self.speeds.gpu.grid.hi
            usable = usable[:, None] & (takes <= self.speeds.gpu.sm_count)
            self._steps[key] = steps_of(np.where(usable, bears, 0.0), takes)
        steps = self._steps[key]
        at = np.searchsorted(steps.bears, slowdown_hi)
        return steps.batch[at], steps.grid[at], steps.takes[at]

    # -- what is borne -------------------------------------------------------------------------

    def borne(self, service: int) -> Floats | None:
        """Return, [batch, percentage], the largest slowdown borne; None: not monotone."""
        if service not in self._bears:
            speed = self.speeds.services[service]
            assert speed is not None
            longest = self._longest[service][:, None]
            batch = speed.batch.astype(np.float64)[:, None]
            found = _exactly(batch, speed.rate_lo, longest)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                tau = batch * PROBES[:, None, None] / speed.rate_lo
                same = np.array_equal(self._allowed(service, batch, tau), tau <= longest)
            if not same:
                self.tried.add(service)
            self._bears[service] = found if same else None
        return self._bears[service]

    @cached_property
    def _longest(self) -> dict[int, Floats]:
        """By service: the longest time of a batch that its SLO allows, at each batch."""
        rows = self.speeds.classes.services.representative
        of_percentile: dict[float, list[int]] = {}
        for s, speed in enumerate(self.speeds.services):
            if speed is not None:
                of_percentile.setdefault(rows[s].slo_percentile, []).append(s)
        found: dict[int, Floats] = {}
        for percentile, services in of_percentile.items():
            batches = [_speed(self.speeds, s).batch for s in services]
            n = [b.size for b in batches]
            longest = longest_batch_time(
                self.speeds.slo,
                np.concatenate(batches).astype(np.float64),
                np.repeat([rows[s].rate_rps for s in services], n),
                np.repeat([rows[s].slo_ms for s in services], n),
                percentile,
            )
            found |= zip(services, np.split(longest, np.cumsum(n)[:-1]), strict=True)
        return found

    # -- trying --------------------------------------------------------------------------------

    def _allowed(self, service: int, batch: Floats, tau_hi: Floats) -> Bools:
        row: Service = self.speeds.classes.services.representative[service]
        rate, slo_ms = np.asarray(row.rate_rps), np.asarray(row.slo_ms)
        allowed = self.speeds.slo.allowed(batch, tau_hi, rate, slo_ms, row.slo_percentile)
        return np.asarray(allowed & np.isfinite(tau_hi))

    def _trying(self, service: int, slowdown_hi: Floats) -> Ints:
        """Return, [set, batch], the first percentage that the SLO model allows; -1 if none."""
        speed = _speed(self.speeds, service)
        batch = speed.batch.astype(np.float64)[None, :, None]
        found = np.empty((slowdown_hi.size, speed.batch.size), dtype=np.int64)
        step = max(1, BLOCK // max(1, speed.rate_lo.size))
        for start in range(0, slowdown_hi.size, step):
            part = slice(start, start + step)
            with np.errstate(divide="ignore", invalid="ignore"):
                tau_hi = batch * slowdown_hi[part, None, None] / speed.rate_lo[None, :, :]
            allowed = self._allowed(service, batch, tau_hi)
            found[part] = np.where(allowed.any(axis=2), allowed.argmax(axis=2), -1)
        return found

    def _trying_beside(
        self, service: int, slowdown_hi: Floats, memory_gib: Floats
    ) -> tuple[Ints, Ints, Ints]:
        speed, gpu = _speed(self.speeds, service), self.speeds.gpu
        least = self._trying(service, slowdown_hi)
        fits = memory_gib[:, None] + speed.memory_gib <= limit_of(gpu.memory_gib)
        takes = np.where((least >= 0) & fits, gpu.grid.hi[least], gpu.sm_count + 1)
        batch = takes.argmin(axis=1)
        rows = np.arange(batch.size)
        found = takes[rows, batch] <= gpu.sm_count
        none = np.full(batch.size, -1)
        return (
            batch,
            np.where(found, least[rows, batch], none),
            np.where(found, takes[rows, batch], none),
        )


def _speed(speeds: Speeds, service: int) -> ServiceSpeed:
    found = speeds.services[service]
    assert found is not None
    return found


def _exactly(batch: Floats, rate_lo: Floats, longest: Floats) -> Floats:
    """Return the largest slowdown s with batch * s / rate_lo <= longest, as these are rounded."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):

        def holds(slowdown: Floats) -> Bools:
            return np.asarray(batch * slowdown / rate_lo <= longest)

        bears = np.where((rate_lo > 0) & (longest > 0), longest * rate_lo / batch, 0.0)
        bears = np.minimum(bears, np.finfo(np.float64).max)
        for _ in range(NEIGHBOURS):
            lower = (bears > 0) & ~holds(bears)
            if not lower.any():
                break
            bears = np.where(lower, np.nextafter(bears, 0.0), bears)
        for _ in range(NEIGHBOURS):
            further = np.nextafter(bears, np.inf)
            higher = (bears > 0) & np.isfinite(further) & holds(further)
            if not higher.any():
                break
            bears = np.where(higher, further, bears)
    return bears
