"""Sets of co-tenants in which some slowdown depends on the knobs: every combination is tried.

    options of a service  (b, q): allowed batch and percentage at which the SLO might hold
    options of a task     q:      percentages at which it runs
    settings of a set = all combinations of one option for each workload that fit in memory and
                        multiprocessors, and at which the slowdowns read at these very knobs let
                        every service hold its SLO

Of the settings of a set those are kept that no other one beats in value and in the rates of gang
workers at the same shares of tenants whose shares are counted. Nothing is pruned before that but
what cannot be in any setting: a larger share of one workload may slow down, or speed up, another.

An SLO model allows times of a batch up to some longest one (`longest`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.configure.longest import longest_batch_time
from colocate.configure.settings import (
    BLOCK,
    MAX_WORK,
    Settings,
    joined,
    limit_of,
    none_of,
    too_much_work,
)
from colocate.configure.speeds import Speeds
from colocate.models.slowdown_table import tabulate
from colocate.task_facts import facts_at

__all__ = ["Coupled"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

HAIR = 1e-12
"""How much is let through early, so that rounding decides nothing that is looked at later."""


class _Options(NamedTuple):
    """What one workload of a set may run at; the arrays run in parallel."""

    batch_index: Ints
    """Index into the batches of a service; 0 for a task."""
    grid: Ints
    batch: Ints
    rate: Floats
    """Alone."""
    patience: Floats
    """The largest slowdown bound that it bears; infinite for tasks."""
    memory_gib: Floats
    multiprocessors: Ints

    def only(self, rows: Bools) -> _Options:
        """Return some of the options."""
        return _Options(
            self.batch_index[rows],
            self.grid[rows],
            self.batch[rows],
            self.rate[rows],
            self.patience[rows],
            self.memory_gib[rows],
            self.multiprocessors[rows],
        )


class Coupled:
    """Finds the settings of sets whose slowdowns depend on the knobs, one set at a time."""

    def __init__(self, speeds: Speeds) -> None:
        self.speeds = speeds
        self.gpu = speeds.gpu
        self._services: dict[int, _Options | None] = {}
        self._tasks: dict[int, _Options | None] = {}

    def settings(self, sets: Ints, n_services: int) -> Settings:
        """Return the settings worth considering for sets of one shape, services first."""
        self._refuse_too_much(sets, n_services)
        best_high = self.speeds.slowdowns(sets, n_services)[1]
        index = self.speeds.pair_index(sets, n_services)
        blocks = [none_of(sets.shape[1])]
        for i, row in enumerate(sets.tolist()):
            options = self._fitting(row, n_services, best_high[i])
            if options is None:
                continue
            factors = self._factors(index[i].tolist(), options, self._batches(row, n_services))
            settings = self._of_set(row, n_services, options, factors)
            if settings is not None:
                batch, grid, rate = settings
                blocks.append(Settings(np.full(len(batch), i), batch, grid, rate))
        return joined(blocks)

    # -- what each workload may run at ---------------------------------------------------------

    def _options(self, cls: int, *, is_task: bool) -> _Options | None:
        known = self._tasks if is_task else self._services
        if cls not in known:
            known[cls] = self._task(cls) if is_task else self._service(cls)
        return known[cls]

    def _service(self, cls: int) -> _Options | None:
        speed = self.speeds.services[cls]
        if speed is None:
            return None
        batch_index, grid = np.nonzero(speed.rate_lo > 0)
        batch = speed.batch[batch_index]
        longest = self._longest_batch_time(cls, speed.batch.astype(np.float64))
        return self._distinct(
            _Options(
                batch_index,
                grid,
                batch,
                speed.rate[batch_index, grid],
                speed.rate_lo[batch_index, grid] * longest[batch_index] / batch,
                speed.memory_gib[batch_index],
                self.gpu.grid.hi[grid],
            )
        )

    def _task(self, cls: int) -> _Options | None:
        speed = self.speeds.tasks[cls]
        if speed is None:
            return None
        grid = np.flatnonzero(speed.rate > 0)
        found = _Options(
            np.zeros_like(grid),
            grid,
            np.full(grid.size, self.speeds.task_batch[cls]),
            speed.rate[grid],
            np.full(grid.size, np.inf),
            np.full(grid.size, speed.memory_gib),
            self.gpu.grid.hi[grid],
        )
        return found if self.speeds.share_counts[cls] else self._distinct(found)

    def _distinct(self, options: _Options) -> _Options:
        """Keep the first of percentages that give and take the same: they stand together."""
        same = np.ones(max(0, options.grid.size - 1), dtype=bool)
        lo = self.gpu.grid.lo[options.grid]
        for column in (options.batch_index, lo, options.multiprocessors):
            same &= column[1:] == column[:-1]
        return options.only(np.concatenate(([True], ~same))[: options.grid.size])

    def _longest_batch_time(self, cls: int, batch: Floats) -> Floats:
        """Return the longest time of a batch that the SLO model allows; 0 where it allows none."""
        row = self.speeds.classes.services.representative[cls]
        rate, slo_ms, p = np.asarray(row.rate_rps), np.asarray(row.slo_ms), row.slo_percentile
        return longest_batch_time(self.speeds.slo, batch, rate, slo_ms, p)

    def _batches(self, row: list[int], n_services: int) -> list[Ints]:
        """Return the batches of each workload of a set, as its options number them."""
        found = []
        for i, cls in enumerate(row):
            speed = self.speeds.services[cls] if i < n_services else None
            found.append(self.speeds.task_batch[[cls]] if speed is None else speed.batch)
        return found

    def _refuse_too_much(self, sets: Ints, n_services: int) -> None:
        per_set = np.ones(len(sets))
        for i in range(sets.shape[1]):
            sizes = {
                cls: 0 if (o := self._options(cls, is_task=i >= n_services)) is None else len(o[0])
                for cls in np.unique(sets[:, i]).tolist()
            }
            per_set *= [sizes[cls] for cls in sets[:, i].tolist()]
        if per_set.sum() > MAX_WORK:
            raise too_much_work(len(sets), sets.shape[1], self.gpu.gpu_type, int(per_set.max()))

    def _fitting(self, row: list[int], n_services: int, best_high: Floats) -> list[_Options] | None:
        """Return the options of each workload of a set that may be in a setting at all."""
        options = []
        for i, cls in enumerate(row):
            found = self._options(cls, is_task=i >= n_services)
            if found is not None:
                found = found.only(found.patience * (1 + HAIR) >= best_high[i])
            if found is None or not found.grid.size:
                return None
            options.append(found)
        least = sum(int(o.multiprocessors.min()) for o in options)
        least_gib = sum(float(o.memory_gib.min()) for o in options)
        fitting = []
        for o in options:
            sms = o.multiprocessors - o.multiprocessors.min() + least <= self.gpu.sm_count
            room = limit_of(self.gpu.memory_gib) * (1 + HAIR)
            fits = o.only(sms & (o.memory_gib - o.memory_gib.min() + least_gib <= room))
            if not fits.grid.size:
                return None
            fitting.append(fits)
        return fitting

    # -- together ------------------------------------------------------------------------------

    def _factors(
        self, index: list[int], options: Sequence[_Options], batches: Sequence[Ints]
    ) -> dict[tuple[int, int], tuple[Floats, float]] | None:
        """Return slowdowns by (victim, neighbour), [option, option], and what widens the bound.

        A number for all options is an array of one. None where a pair is unknown.
        """
        found: dict[tuple[int, int], tuple[Floats, float]] = {}
        grid = self.gpu.grid
        sure = 100.0 * grid.lo / self.gpu.sm_count
        most = 100.0 * grid.hi / self.gpu.sm_count
        for a, b in itertools.permutations(range(len(options)), 2):
            v, n = index[a], index[b]
            known = self.speeds.pairs.tables.get((v, n))
            if known is None:
                mean = self.speeds.pairs.mean[v, n]
                if np.isnan(mean):
                    return None
                found[a, b] = np.full((1, 1), mean), float(self.speeds.pairs.high[v, n] / mean)
                continue
            table = tabulate(known.table, batches[a], batches[b], sure, most)
            mine, other = options[a], options[b]
            rows = mine.batch_index[:, None], other.batch_index[None, :]
            found[a, b] = table[(*rows, mine.grid[:, None], other.grid[None, :])], known.wider
        return found

    def _of_set(
        self,
        row: list[int],
        n_services: int,
        options: Sequence[_Options],
        factors: dict[tuple[int, int], tuple[Floats, float]] | None,
    ) -> tuple[Ints, Ints, Floats] | None:
        """Return batch, grid and rate of each setting of a set that is worth keeping."""
        if factors is None:
            return None
        worth: list[_Worth] = []
        for chosen in self._that_fit(options):
            at = chosen
            for v in range(n_services):
                bears = options[v].patience[at[v]]
                at = at[:, _slowdown(factors, v, at, bound=True) <= bears]
            if at.shape[1]:
                worth.append(self._worth(row, n_services, options, factors, at).undominated())
        if not worth:
            return None
        at = _all_of(worth).undominated().at
        columns = [
            (o.batch[i], o.grid[i], o.rate[i] / _slowdown(factors, v, at, bound=False))
            for v, (o, i) in enumerate(zip(options, at, strict=True))
        ]
        batch, grid, rate = (np.stack(column, axis=1) for column in zip(*columns, strict=True))
        return batch, grid, rate

    def _that_fit(self, options: Sequence[_Options]) -> Iterator[Ints]:
        """Yield combinations that fit in multiprocessors and memory: [workload, combination]."""
        width = len(options)

        def along(axis: int) -> tuple[int, ...]:
            return tuple(-1 if i == axis else 1 for i in range(width))

        rest = 1
        for o in options[1:]:
            rest *= o.grid.size
        step = max(1, BLOCK // rest)
        for start in range(0, options[0].grid.size, step):
            part = slice(start, start + step)
            taken = options[0].multiprocessors[part].reshape(along(0))
            memory = options[0].memory_gib[part].reshape(along(0))
            for i, o in enumerate(options[1:], 1):
                taken = taken + o.multiprocessors.reshape(along(i))
                memory = memory + o.memory_gib.reshape(along(i))
            fits = (taken <= self.gpu.sm_count) & (memory <= limit_of(self.gpu.memory_gib))
            at = np.stack(np.nonzero(fits))
            at[0] += start
            yield at

    def _worth(
        self,
        row: list[int],
        n_services: int,
        options: Sequence[_Options],
        factors: dict[tuple[int, int], tuple[Floats, float]],
        at: Ints,
    ) -> _Worth:
        """Return what tells the settings `at` of a set apart."""
        speeds = self.speeds
        value = np.zeros(at.shape[1])
        gangs: list[Floats] = []
        shares: dict[int, Ints] = {}
        for v in range(n_services, len(row)):
            task = np.array([row[v]])
            rate = options[v].rate[at[v]] / _slowdown(factors, v, at, bound=False)
            if speeds.is_gang[row[v]]:
                gangs.append(rate)
            else:
                value += speeds.value.placed_value(facts_at(speeds.facts, task), rate)
            if speeds.share_counts[row[v]]:
                tenant = int(speeds.task_tenant[row[v]])
                share = self.gpu.grid.share_pct[options[v].grid[at[v]]]
                shares[tenant] = shares[tenant] + share if tenant in shares else share
        taken = np.zeros(at.shape[1], dtype=np.int64)
        for o, i in zip(options, at, strict=True):
            taken += o.multiprocessors[i]
        return _Worth(
            at,
            np.stack([value, *gangs]),
            np.array(list(shares.values()), dtype=np.int64).reshape(len(shares), value.size),
            taken,
        )


class _Worth(NamedTuple):
    """What tells settings of one set apart; the last axis runs over the settings."""

    at: Ints
    """[workload, setting]: chosen option."""
    gain: Floats
    """Value without gangs, then the rate of each gang worker."""
    shares: Ints
    """Sum of percentages of each tenant whose shares are counted."""
    taken: Ints
    """Multiprocessors."""

    def undominated(self) -> _Worth:
        """Keep what no other setting of the same shares beats; of equals the one that takes least.

        The lexicographically largest gain is beaten by none: it is kept, what it beats is dropped,
        and so on with the rest.
        """
        order = np.lexsort((self.taken, *-self.gain[::-1], *self.shares[::-1]))
        group = np.zeros(order.size, dtype=np.int64)
        if self.shares.size:
            sorted_shares = self.shares[:, order]
            group[1:] = np.cumsum((sorted_shares[:, 1:] != sorted_shares[:, :-1]).any(axis=0))
        gain = self.gain[:, order]
        kept = []
        left = np.arange(order.size)
        while left.size:
            # The first of each group that is left is the largest of it.
            first = np.ones(left.size, dtype=bool)
            first[1:] = group[left[1:]] != group[left[:-1]]
            best = left[first]
            kept.append(best)
            leader = best[np.cumsum(first) - 1]
            left = left[(gain[:, left] > gain[:, leader]).any(axis=0)]
        chosen = np.sort(order[np.concatenate(kept)])
        return _Worth(
            self.at[:, chosen], self.gain[:, chosen], self.shares[:, chosen], self.taken[chosen]
        )


def _all_of(parts: Sequence[_Worth]) -> _Worth:
    return _Worth(
        np.concatenate([p.at for p in parts], axis=1),
        np.concatenate([p.gain for p in parts], axis=1),
        np.concatenate([p.shares for p in parts], axis=1),
        np.concatenate([p.taken for p in parts]),
    )


def _slowdown(
    factors: dict[tuple[int, int], tuple[Floats, float]], v: int, at: Ints, *, bound: bool
) -> Floats:
    """Return the slowdown of workload v, or its bound, in the settings `at`."""
    found = np.ones(at.shape[1])
    for n in range(at.shape[0]):
        if n != v:
            factor, wider = factors[v, n]
            many = factor.shape != (1, 1)
            here = factor[at[v], at[n]] if many else factor[0, 0]
            found *= here * (wider if bound else 1.0)
    return found
