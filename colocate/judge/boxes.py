"""What the splits above a leaf say, and what their prices charge columns.

A split names a number that is a sum over GPUs, or over tasks. On its first side the number is at
most k, on its second at least k + 1. With a price p >= 0 a unit of the number is charged p on the
first side and paid p on the second, and the bound takes the charge back for k, or k + 1, units.
Weak duality holds for these statements as for quotas.

A GPU or a task that would break "at most k" by itself is in no plan of the box, at no price.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from colocate.certificate import Certificate, Split
from colocate.entries import service_entries, task_entries
from colocate.instance import Instance
from colocate.judge.findings import Findings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colocate.judge.candidates import Candidates

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "EVERYTHING",
    "Box",
    "ChargedSets",
    "LevelCharges",
    "Pace",
    "ShareCharge",
    "Statement",
    "check_splits",
]

LevelCharges = tuple[tuple[float, float, float], ...]
"""(low, high, charge): what a task is charged that makes progress above low and up to high."""
MOST_WAYS = 16
"""Ways to say which workers are slow; statements that would make more of them are left out."""
_NOBODY: frozenset[int] = frozenset()


class Pace(NamedTuple):
    """How a worker must run, and what it is paid for."""

    above: float = -math.inf
    """It makes more progress than this."""
    cap: float = math.inf
    """It is paid for no more progress than this, since its gang runs no faster."""


class ShareCharge(NamedTuple):
    """What a worker is charged from a percentage on."""

    share_from: int
    charge: float


@dataclass(frozen=True)
class Statement:
    """One side of one split."""

    split: Split
    above: bool
    """Whether the number is at least `at_most + 1`, and not at most `at_most`."""
    price: float
    of: int
    """Number of the list `of` among those of the box; -1 for none."""
    holding: tuple[tuple[int, int], ...]
    """(number of the list, how many of it) that a GPU must hold."""

    @property
    def charge(self) -> float:
        """What one unit is charged."""
        return -self.price if self.above else self.price

    @property
    def worth(self) -> float:
        """What the bound takes back."""
        return self.charge * (self.split.at_most + self.above)

    @property
    def low(self) -> float:
        """Tasks count only above this progress."""
        return -math.inf if self.split.faster_than is None else self.split.faster_than

    @property
    def high(self) -> float:
        """Tasks count only up to this progress."""
        return math.inf if self.split.not_faster_than is None else self.split.not_faster_than

    @property
    def by_progress(self) -> bool:
        """Whether tasks count by how they run."""
        return (self.split.batch, self.low, self.high) != (None, -math.inf, math.inf)

    @property
    def paces(self) -> bool:
        """Whether it limits how many workers on one GPU are slow, or in fast gangs."""
        tasks = self.split.counts == "tasks" and self.by_progress and not self.above
        return tasks and (math.isinf(self.low) or math.isinf(self.high))


@dataclass(frozen=True)
class Box:
    """The statements that hold in one box."""

    statements: tuple[Statement, ...] = ()
    _marks: dict[str, frozenset[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Sequence[tuple[Split, bool]], prices: Sequence[float]) -> Box:
        """Read the splits above a leaf, each with the side that the leaf is on."""
        lists: dict[frozenset[str], int] = {}
        statements = tuple(
            Statement(
                split=split,
                above=above,
                price=max(0.0, price),
                of=lists.setdefault(frozenset(split.of), len(lists)) if split.of else -1,
                holding=tuple(
                    (lists.setdefault(frozenset(some.ids), len(lists)), some.at_least)
                    for some in split.holding
                ),
            )
            for (split, above), price in zip(path, prices, strict=True)
        )
        marks: dict[str, set[int]] = {}
        for names, number in lists.items():
            for name in names:
                marks.setdefault(name, set()).add(number)
        return cls(statements, {name: frozenset(found) for name, found in marks.items()})

    @property
    def worth(self) -> float:
        """What the bound takes back for all statements."""
        return math.fsum(s.worth for s in self.statements)

    @property
    def at_stake(self) -> float:
        """What rounding errors grow with: what units are charged, and what is taken back."""
        return math.fsum(abs(s.worth) + s.price for s in self.statements)

    @property
    def by_share(self) -> bool:
        """Whether it matters which of several percentages that give the same a worker has."""
        return any(s.split.share_from > 1 for s in self.statements)

    def marks(self, entry_id: str) -> frozenset[int]:
        """Return the numbers of the lists that name an entry."""
        return self._marks.get(entry_id, _NOBODY)

    def pools(self, pool: str) -> frozenset[int]:
        """Return the numbers of the statements that count on the GPUs of a pool."""
        return frozenset(
            i for i, s in enumerate(self.statements) if not s.split.pools or pool in s.split.pools
        )

    def price(self, counts: str, marks: frozenset[int]) -> float:
        """Return what each task, or each replica, with these marks is charged however it runs."""
        return math.fsum(
            s.charge
            for s in self.statements
            if s.split.counts == counts and s.of in marks and not s.by_progress
        )

    def level_charges(self, marks: frozenset[int], batch: int) -> LevelCharges:
        """Return what a task at a batch is charged by its progress."""
        return tuple(
            (s.low, s.high, s.charge)
            for s in self.statements
            if s.split.counts == "tasks"
            and s.by_progress
            and s.of in marks
            and s.split.batch in (None, batch)
        )


EVERYTHING = Box()
"""The box of all plans."""


class ChargedSets:
    """What a box charges the sets of one kind of GPU; tasks are numbered after services."""

    def __init__(self, box: Box, table: Candidates) -> None:
        self._here = [
            s for i, s in enumerate(box.statements) if i in table.kind.pools or not _on_gpus(s)
        ]
        self._table = table
        marks = [*(s.marks for s in table.services), *(t.marks for t in table.tasks)]
        self._is_task = np.arange(len(marks)) >= len(table.services)
        self._named = {
            number: np.array([number in m for m in marks], dtype=np.int64)
            for s in self._here
            for number in (s.of, *(number for number, _ in s.holding))
            if number >= 0
        }
        self._of_workers = [s for s in self._here if s.split.counts == "workers"]

    def charge(self, everyone: Ints) -> Floats:
        """Return the charge of each set, a row each; infinite where the box has no such GPU."""
        found = np.zeros(everyone.shape[0])
        for s in self._here:
            if s.split.counts == "gpus":
                held = self._holds(s, everyone)
                found[held] += s.charge
                if not s.above and s.split.at_most == 0:
                    found[held] = np.inf
            elif s.split.counts in ("tasks", "replicas") and not s.by_progress and not s.above:
                kind = self._is_task == (s.split.counts == "tasks")
                found[self._count(s.of, everyone, kind) > s.split.at_most] = np.inf
        return found

    def of_worker(self, everyone: Ints, j: int) -> list[tuple[Bools, ShareCharge]]:
        """Return in which sets the j-th member is charged, and what, by its share."""
        found = []
        me = everyone[:, j]
        for s in self._of_workers:
            counted = self._named[s.of][me] > 0
            if s.split.batch is not None:
                counted &= self._batch()[me] == s.split.batch
            if counted.any():
                counted &= self._holds(s, everyone)
                found.append((counted, ShareCharge(s.split.share_from, s.charge)))
        return found

    def paces(self, everyone: Ints) -> list[tuple[Ints, list[tuple[Pace, ...]]]]:
        """Return sets, by their rows, and the ways in which their members may run, a pace each.

        At most k gangs are slow: then at most k workers on one GPU are. At most k gangs are fast:
        then at most k workers on one GPU are in such gangs, and others are paid for less.
        """
        anyhow = (Pace(),) * everyone.shape[1]
        bits = 1 << np.arange(everyone.shape[1])
        limits, members = [], []
        for s in self._here:
            if s.paces:
                mine = (self._named[s.of] * self._is_task)[everyone] > 0
                if s.split.batch is not None:
                    mine &= self._batch()[everyone] == s.split.batch
                binds = mine.sum(axis=1) > s.split.at_most
                if binds.any():
                    limits.append(s)
                    members.append(np.where(binds, mine @ bits, 0))
        if not limits:
            return [(np.arange(everyone.shape[0]), [anyhow])]
        patterns, which = np.unique(np.stack(members, axis=1), axis=0, return_inverse=True)
        found = []
        for i, pattern in enumerate(patterns.tolist()):
            ways = [anyhow]
            for s, mask in zip(limits, pattern, strict=True):
                named = [j for j in range(everyone.shape[1]) if mask >> j & 1]
                more = [
                    _paced(way, chosen, s)
                    for way in ways
                    for chosen in combinations(named, max(0, len(named) - s.split.at_most))
                ]
                if named and len(more) <= MOST_WAYS:
                    ways = more
            found.append((np.flatnonzero(which.reshape(-1) == i), ways))
        return found

    def _batch(self) -> Ints:
        services = [0] * len(self._table.services)
        return np.array([*services, *(t.batch for t in self._table.tasks)], dtype=np.int64)

    def _count(self, number: int, everyone: Ints, only: Bools | None = None) -> Ints:
        named = self._named[number] if only is None else self._named[number] * only
        return np.asarray(named[everyone].sum(axis=1))

    def _holds(self, s: Statement, everyone: Ints) -> Bools:
        found = np.ones(everyone.shape[0], dtype=bool)
        for number, at_least in s.holding:
            found &= self._count(number, everyone) >= at_least
        return found


def _paced(way: tuple[Pace, ...], chosen: tuple[int, ...], s: Statement) -> tuple[Pace, ...]:
    """Have some members run as those must that a statement does not count."""
    return tuple(
        pace
        if j not in chosen
        else pace._replace(above=max(pace.above, s.high))
        if math.isinf(s.low)
        else pace._replace(cap=min(pace.cap, s.low))
        for j, pace in enumerate(way)
    )


def _on_gpus(s: Statement) -> bool:
    return s.split.counts in ("gpus", "workers")


def check_splits(instance: Instance, certificate: Certificate, findings: Findings) -> None:
    """Write down names in splits that the instance does not have."""
    services, tasks = service_entries(instance), task_entries(instance)
    pools = {pool.id for pool in instance.gpu_pools}
    known: dict[tuple[str, str], bool] = {}

    def unknown(kind: str, name: str) -> bool:
        if (kind, name) not in known:
            known[kind, name] = (
                (kind == "pool" and name in pools)
                or (kind in ("service", "workload") and services.find(name) is not None)
                or (kind in ("task", "workload") and tasks.find(name) is not None)
            )
            return not known[kind, name]
        return False

    for split in certificate.tree:
        if not isinstance(split, Split):
            continue
        of = "service" if split.counts == "replicas" else "task"
        named = [(of, name) for name in split.of] + [("pool", name) for name in split.pools]
        named += [("workload", name) for some in split.holding for name in some.ids]
        for kind, name in named:
            if unknown(kind, name):
                message = f"splits by the {kind} {name!r}, which the instance does not have"
                findings.add("certificate", "certificate", message)
