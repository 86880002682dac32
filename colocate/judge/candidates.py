"""What one kind of GPU may hold at all, as arrays, and which sets of it may share the GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from colocate.instance import Rules
from colocate.judge.classes import ServiceClass, TaskClass
from colocate.judge.speeds import Grid, Speeds
from colocate.schema import TOLERANCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Candidates", "Evaluations", "GpuKind", "TooManyEvaluationsError"]

LISTING_COST = 10
"""Evaluations that listing one set costs: it is done in plain Python."""


class TooManyEvaluationsError(Exception):
    """Pricing all columns would take more evaluations than the judge is willing to make."""


class Evaluations:
    """Counts evaluations and stops at the cap."""

    def __init__(self, cap: int, cap_together: int = 0) -> None:
        self.left = cap
        self.left_together = cap_together
        self.enough = True
        """Whether every combination of knobs that was asked for could be looked at."""

    def spend_together(self, n: int) -> bool:
        """Take n combinations of knobs off their own account, if there are so many left."""
        if n > self.left_together:
            self.enough = False
            return False
        self.left_together -= n
        return True

    def spend(self, n: int) -> None:
        """Take n evaluations off what is left."""
        self.left -= n
        if self.left < 0:
            raise TooManyEvaluationsError


@dataclass(frozen=True)
class GpuKind:
    """GPUs between which no column can tell a difference."""

    gpu_type: str
    room_gib: float
    max_clients: int
    grid: Grid
    pinned: tuple[ServiceClass, ...] = ()
    """Services that are pinned to these GPUs, with as many copies as there are."""
    pools: frozenset[int] = frozenset()
    """Statements of the box that count on these GPUs."""


class Candidates:
    """What one kind of GPU may hold, as arrays; lists that cannot run there are left out."""

    def __init__(
        self,
        speeds: Speeds,
        rules: Rules,
        evaluations: Evaluations,
        kind: GpuKind,
        services: Sequence[ServiceClass],
        tasks: Sequence[TaskClass],
    ) -> None:
        self.kind = kind
        self.rules = rules
        self.evaluations = evaluations
        grid = kind.grid
        self.room = kind.room_gib + TOLERANCE * (1 + 1e-6) * max(1.0, kind.room_gib)
        everyone = [*services, *kind.pinned]
        steps = [speeds.steps(s, kind.gpu_type, grid) for s in everyone]
        self.services = [s for s, found in zip(everyone, steps, strict=True) if found]
        self.steps = [found for found in steps if found]
        self.tasks: list[TaskClass] = []
        self.alone: list[Floats] = []
        """Progress of each task alone, by percentage."""
        memory: list[float] = []
        for t in tasks:
            samples = speeds.alone(t.workload, kind.gpu_type, t.batch, grid)
            each = t.memory_gib or speeds.memory(t.workload, kind.gpu_type, t.batch)
            if samples is None or each is None or not (samples > 0).any():
                continue
            self.tasks.append(t)
            self.alone.append(samples * t.efficiency)
            memory.append(each * t.processes)
        self.task_memory = np.array(memory, dtype=np.float64)
        most = np.array(grid.most, dtype=np.int64)
        self.task_least = np.array([most[a > 0].min() for a in self.alone], dtype=np.int64)
        self.most_batches = max((len(found) for found in self.steps), default=0)
        self.service_memory = np.full((len(self.services), self.most_batches), np.inf)
        for i, found in enumerate(self.steps):
            self.service_memory[i, : len(found)] = [step.memory_gib for step in found]
        self.service_worth = np.array([s.worth for s in self.services], dtype=np.float64)
        both: list[ServiceClass | TaskClass] = [*self.services, *self.tasks]
        n = len(self.services)
        self.n_services = n
        self.processes = np.array([c.processes for c in both], dtype=np.int64)
        self.owner = _codes([c.tenant for c in both])
        self._user = _codes([c.user_id for c in both])
        self._sides = list(dict.fromkeys(c.rules for c in both))
        self._side = _codes([c.rules for c in both])
        self.names = [c.workload for c in both]
        # Named by whether they train: without services both slices start at 0.
        self._group = {False: slice(0, n), True: slice(n, len(both))}
        self.beside: dict[tuple[bool, bool], tuple[Floats, Floats]] = {}
        self.friends: dict[tuple[bool, bool], Bools] = {}
        for key, needed in (
            ((False, True), True),
            ((False, False), self.rules.services_per_gpu > 1),
            ((True, True), self.rules.tasks_per_gpu > 1),
        ):
            if needed:
                self._meet(speeds, key)

    def _meet(self, speeds: Speeds, key: tuple[bool, bool]) -> None:
        """Work out the slowdowns between two groups of candidates, and who may meet at all."""
        first, second = self._group[key[0]], self._group[key[1]]
        a, b = self.names[first], self.names[second]
        self.evaluations.spend(len(a) * len(b))
        self.beside[key] = speeds.slowdowns(self.kind.gpu_type, a, b)
        if key[0] != key[1]:
            self.beside[key[::-1]] = speeds.slowdowns(self.kind.gpu_type, b, a)
        known = ~np.isnan(self.beside[key][0]) & ~np.isnan(self.beside[key[::-1]][0].T)
        same_user = self._user[first][:, None] == self._user[second][None, :]
        apart = self._apart()[self._side[first][:, None], self._side[second][None, :]]
        self.friends[key] = known & same_user & ~apart

    def _apart(self) -> Bools:
        """Return which two groups of names some anti-affinity rule keeps apart."""
        sides = self._sides
        found = np.zeros((len(sides), len(sides)), dtype=bool)
        for i, a in enumerate(sides):
            for j, b in enumerate(sides):
                found[i, j] = bool(a.left & b.right) or bool(b.left & a.right)
        return found

    def service_sets(self, size: int) -> Ints:
        """Return the sets of services that may share a GPU, a row each."""
        least = [
            min(int(np.searchsorted(step.tolerated, 0.0, "right")) for step in found)
            for found in self.steps
        ]
        memory = self.service_memory.min(axis=1, initial=np.inf)
        copies = [c.copies for c in self.services]
        kin = list(range(len(copies)))
        return self._sets(size, copies, kin, self.friends.get((False, False)), memory, least, 0)

    def task_sets(self, size: int) -> Ints:
        """Return the sets of tasks that may share a GPU, a row each."""
        friends = self.friends.get((True, True))
        copies = [c.copies for c in self.tasks]
        # The batches of a task are candidates of their own, of the same copies.
        of_kin: dict[int, int] = {}
        kin = [i if t.kin < 0 else of_kin.setdefault(t.kin, i) for i, t in enumerate(self.tasks)]
        least = self.task_least.tolist()
        return self._sets(size, copies, kin, friends, self.task_memory, least, self.n_services)

    def _sets(
        self,
        size: int,
        copies: list[int],
        kin: list[int],
        friends: Bools | None,
        memory: Floats,
        least: list[int],
        offset: int,
    ) -> Ints:
        clients = self.processes[offset:].tolist()
        weights = memory.tolist()
        meets = None if friends is None else friends.tolist()
        spend = self.evaluations.spend
        everyone = range(len(copies))

        def grow(row: tuple[int, ...], gib: float, sms: int, n: int) -> Iterator[tuple[int, ...]]:
            if len(row) == size:
                spend(LISTING_COST)
                yield row
                return
            spend(len(everyone))
            for i in everyone[row[-1] if row else 0 :]:
                if (
                    gib + weights[i] <= self.room
                    and sms + least[i] <= self.kind.grid.sm_count
                    and n + clients[i] <= self.kind.max_clients
                    and sum(kin[j] == kin[i] for j in row) < copies[i]
                    and (not row or (meets is not None and all(meets[i][j] for j in row)))
                ):
                    yield from grow((*row, i), gib + weights[i], sms + least[i], n + clients[i])

        rows = list(grow((), 0.0, 0, 0))
        return np.array(rows, dtype=np.int64).reshape(len(rows), size)

    def cost(self, n_services: int, n_tasks: int) -> int:
        """Return how many evaluations one set of this shape takes."""
        sms = self.kind.grid.sm_count
        batches: int = self.most_batches**n_services
        shares = n_tasks * len(self.kind.grid.percent)
        splits = sms * (n_tasks > 1) + max(0, n_tasks - 2) * sms * sms
        return batches + shares + splits


def _codes(values: Sequence[object]) -> Ints:
    """Return a number for each value, the same for equal ones."""
    code: dict[object, int] = {}
    return np.array([code.setdefault(v, len(code)) for v in values], dtype=np.int64)
