"""What stays on locked GPUs, put back into the answer of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colocate.entries import task_entries
from colocate.forecast import forecast
from colocate.instance import Instance
from colocate.locked import Freed, back, bound_of_whole
from colocate.objectives._gangs import placed_tasks, reference_rates
from colocate.objectives.base import Objective
from colocate.objectives.base import objective as objective_of
from colocate.placement import PlacementGroup
from colocate.plan import (
    Certificate,
    MissingReplicas,
    ObjectiveValue,
    Plan,
    Totals,
    UnplacedTasks,
)
from colocate.runs import count_ids, format_ids, ids_of, run_pairs
from colocate.verify import verify

__all__ = ["Stays"]

Ints = NDArray[np.int64]
ABOUT_THE_REST = {
    *("required_service", "accounting", "gang", "quota", "totals"),
    *("objective", "certificate", "instance"),
}
"""What the judge misses where nothing but the locked GPUs is in a plan."""


@dataclass(frozen=True)
class Stays:
    """What the locked GPUs of an instance hold, with what the models expect of it."""

    instance: Instance
    freed: Freed
    objective: Objective
    held: Plan
    """A plan of the whole with nothing else in it."""
    fault: str
    """Why this cannot stay so; else empty."""

    @classmethod
    def of(cls, instance: Instance, freed: Freed) -> Stays:
        """Work out what stays."""
        found = [forecast(instance, group) for group in freed.held]
        groups = [group for group in found if isinstance(group, PlacementGroup)]
        faults = [fault for fault in found if isinstance(fault, str)]
        faults += [freed.impossible] if freed.impossible else []
        held = _plan(instance, groups)
        if not faults:
            broken = verify(instance, held).violations
            faults = [str(v) for v in broken if v.kind not in ABOUT_THE_REST]
        detail = f"what is locked cannot stay: {'; '.join(faults[:3])}" if faults else ""
        return cls(instance, freed, objective_of(instance.objective), held, detail)

    def bound(self, of_rest: float) -> float:
        """Return the bound on the whole that a bound on the rest gives."""
        return bound_of_whole(self.instance, self.freed, self.objective, self.held, of_rest)

    def with_rest(self, rest: Plan, solver: str) -> Plan:
        """Return the plan of the whole."""
        groups = [*self.held.placements, *back(self.freed, rest.placements)]
        groups.sort(key=lambda g: (g.pool, run_pairs(g.gpus)[0][0]))
        plan = _plan(self.instance, groups)
        value = self.objective.score(self.instance, plan)
        proof = rest.certificate
        if proof is not None and self.objective.name == rest.objective.name:
            proof = self._proof(proof)
        return plan.model_copy(
            update={
                "solver": solver,
                "objective": ObjectiveValue(
                    name=self.objective.name, sense=self.objective.sense, value=value
                ),
                "missing": tuple(self._missing(groups, rest.missing)),
                "unplaced": tuple(self._unplaced(groups, rest.unplaced)),
                "certificate": proof,
            }
        )

    def _proof(self, proof: Certificate) -> Certificate:
        """Return the certificate of the rest with the bound that it gives for the whole.

        Of a worst case the bound is the level that the prices are about, and stays.
        """
        if getattr(self.objective, "combine", "sum") == "worst":
            return proof
        return proof.model_copy(update={"bound": self.bound(proof.bound)})

    def _missing(
        self, groups: Iterable[PlacementGroup], of_rest: tuple[MissingReplicas, ...]
    ) -> Iterator[MissingReplicas]:
        placed: dict[str, list[Ints]] = {}
        for group in groups:
            for s in group.services:
                placed.setdefault(s.service, []).append(ids_of(s.replicas))
        why = {m.service: m for m in of_rest}
        listed = {s.id: s.replicas for s in self.instance.services}
        yield from (m for m in of_rest if m.service not in listed)
        for name, replicas in sorted(listed.items()):
            ids = _left(placed.get(name, []), replicas)
            if ids.size:
                known = why.get(name)
                yield MissingReplicas(
                    service=name,
                    replicas=format_ids(ids),
                    reason="rules" if known is None else known.reason,
                    detail="its GPU is locked without it" if known is None else known.detail,
                )

    def _unplaced(
        self, groups: Iterable[PlacementGroup], of_rest: tuple[UnplacedTasks, ...]
    ) -> Iterator[UnplacedTasks]:
        placed: dict[str, list[Ints]] = {}
        for group in groups:
            for t in group.tasks:
                placed.setdefault(t.task, []).append(ids_of(t.workers))
        sizes = {t.id: (t.count, t.gang_size) for t in self.instance.tasks}
        for u in of_rest:
            if u.task not in sizes:
                yield u
                continue
            count, k = sizes[u.task]
            ids = _left([w // k for w in placed.get(u.task, [])], count)
            yield u.model_copy(update={"ids": format_ids(ids)})


def _left(placed: list[Ints], count: int) -> Ints:
    """Return the ordinals that are not placed."""
    none = np.zeros(0, dtype=np.int64)
    return np.setdiff1d(np.arange(count), np.concatenate([none, *placed]))


def _plan(instance: Instance, groups: list[PlacementGroup]) -> Plan:
    """Return a plan of nothing but these groups, with their totals."""
    plan = Plan(
        instance_name=instance.name,
        instance_sha256=instance.sha256,
        solver="locked",
        objective=ObjectiveValue(name=instance.objective.name, sense="max", value=0.0),
        placements=tuple(groups),
        totals=Totals(
            gpus_used=0,
            gpus_shared=0,
            replicas_placed=0,
            replicas_missing=0,
            tasks_placed=0,
            tasks_unplaced=0,
            normalised_throughput=0.0,
        ),
    )
    entries = task_entries(instance)
    placed = placed_tasks(instance, plan, entries)
    workers = entries.integers("gang_size")[placed.entry] * placed.number
    relative = placed.rate / reference_rates(instance, entries, placed.entry)
    replicas = sum(count_ids(s.replicas) for g in groups for s in g.services)
    wanted = sum(s.replicas for s in instance.iter_services())
    tasks = int(placed.number.sum())
    totals = Totals(
        gpus_used=sum(g.count for g in groups),
        gpus_shared=sum(g.count for g in groups if len(g.services) + len(g.tasks) > 1),
        replicas_placed=replicas,
        replicas_missing=wanted - replicas,
        tasks_placed=tasks,
        tasks_unplaced=int(entries.integers("count").sum()) - tasks,
        normalised_throughput=float((workers * relative).sum()),
    )
    return plan.model_copy(update={"totals": totals})
