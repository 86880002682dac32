"""Workloads on one GPU all of whose knobs are set together, in plain Python.

Written from `docs/formulation.md` for the oracle, as `_plain_model` is. Where a slowdown is a table
over the knobs, no workload can be looked at by itself: everything is tried with everything.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from colocate.instance import GpuPool, Instance, Service
from colocate.testing._plain_model import Choice, Setting, Workload, choices_of, pair_of, stands

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colocate.profile import SlowdownTable

__all__ = ["Company", "settings_together", "table_at"]


def table_at(
    table: SlowdownTable, victim_batch: int, neighbour_batch: int, victim: float, neighbour: float
) -> float:
    """Return a slowdown table between its nodes: one axis after the other, the first one last."""
    axes: list[tuple[list[float], float]] = [
        ([math.log2(b) for b in table.victim_batch], math.log2(victim_batch)),
        ([math.log2(b) for b in table.neighbour_batch], math.log2(neighbour_batch)),
        (list(table.victim_share_pct), victim),
        (list(table.neighbour_share_pct), neighbour),
    ]
    return _between(list(table.slowdown), axes)


def _between(values: list[float], axes: list[tuple[list[float], float]]) -> float:
    if not axes:
        (value,) = values
        return value
    (nodes, x), rest = axes[0], axes[1:]
    size = len(values) // len(nodes)

    def at(i: int) -> float:
        return _between(values[i * size : (i + 1) * size], rest)

    if x <= nodes[0]:
        return at(0)
    if x >= nodes[-1]:
        return at(len(nodes) - 1)
    i = max(i for i in range(len(nodes)) if nodes[i] <= x)
    w = (x - nodes[i]) / (nodes[i + 1] - nodes[i])
    return at(i) * (1 - w) + at(i + 1) * w


class Company:
    """Some workloads on a GPU of one pool."""

    def __init__(self, instance: Instance, pool: GpuPool, members: Sequence[Workload]) -> None:
        self.instance = instance
        self.pool = pool
        self.members = members
        names = [m.entry.profile for m in members]
        self.pairs = {
            (i, j): pair_of(instance, pool.gpu_type, names[i], names[j])
            for i in range(len(names))
            for j in range(len(names))
            if i != j
        }
        self._read: dict[tuple[int, int, int, int, int, int], float] = {}

    def settings(self, choices: Sequence[Choice]) -> tuple[Setting, ...] | None:
        """Return how the members run at these choices, None where that is not allowed."""
        found = []
        for i, (member, choice) in enumerate(zip(self.members, choices, strict=True)):
            slower = self.slowdown(i, choices)
            if slower is None:
                return None
            mean, high = slower
            rate_lo = choice.rate_lo / high
            entry = member.entry
            if isinstance(entry, Service) and not stands(
                self.instance, entry, choice.batch, rate_lo
            ):
                return None
            found.append(
                Setting(choice.batch, choice.knob, choice.memory_gib, choice.rate / mean, rate_lo)
            )
        return tuple(found)

    def slowdown(self, i: int, choices: Sequence[Choice]) -> tuple[float, float] | None:
        """Return (mean, bound) of the slowdown of member i, None when unknown."""
        mean = high = 1.0
        for j, other in enumerate(choices):
            if j == i:
                continue
            pair = self.pairs[i, j]
            if pair is None:
                return None
            factor, error = pair
            if not isinstance(factor, float | int):
                factor = self._table(i, j, factor, choices[i], other)
            mean *= factor
            high *= factor * (1 + error)
        return mean, high

    def _table(self, i: int, j: int, table: SlowdownTable, mine: Choice, other: Choice) -> float:
        key = (i, j, mine.batch, other.batch, mine.knob.sure, other.knob.taken)
        if key not in self._read:
            sure = 100 * mine.knob.sure / self.pool.sm_count
            most = 100 * other.knob.taken / self.pool.sm_count
            self._read[key] = table_at(table, mine.batch, other.batch, sure, most)
        return self._read[key]


def settings_together(
    instance: Instance, pool: GpuPool, members: Sequence[Workload]
) -> Iterator[tuple[Setting, ...] | None]:
    """Yield every way to set all knobs of a company that fits into the multiprocessors.

    None stands for a way that was tried and is not allowed. Memory is not checked here.
    """
    company = Company(instance, pool, members)
    known = [list(choices_of(instance, pool, m)) for m in members]

    def extend(chosen: tuple[Choice, ...], taken: int) -> Iterator[tuple[Setting, ...] | None]:
        if len(chosen) == len(known):
            yield company.settings(chosen)
            return
        for choice in known[len(chosen)]:
            if taken + choice.knob.taken <= pool.sm_count:
                yield from extend((*chosen, choice), taken + choice.knob.taken)

    yield from extend((), 0)
