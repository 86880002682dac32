"""What the library answers: a plan, its certificate, and the difference of two plans.

A plan is data. It holds no times, so that equal input gives equal bytes. Placements are grouped:
one group for all GPUs of a pool that hold the same thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from colocate.certificate import (
    MAX_DEPTH,
    MAX_LEAVES,
    Among,
    Certificate,
    Leaf,
    LevelPrice,
    Price,
    QuotaPrice,
    Split,
)
from colocate.placement import PlacedService, PlacedTask, PlacementGroup
from colocate.runs import Runs, iter_ids
from colocate.schema import Finite, Frozen, Id, ListOf, NonNegative

__all__ = [
    "MAX_DEPTH",
    "MAX_LEAVES",
    "Among",
    "Certificate",
    "Leaf",
    "LevelPrice",
    "MissingReplicas",
    "ObjectiveValue",
    "Placement",
    "Plan",
    "PlanDiff",
    "Price",
    "QuotaPrice",
    "Reason",
    "Split",
    "Totals",
    "UnplacedTasks",
    "diff",
]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ObjectiveValue(Frozen):
    """The plan's worth under the instance's objective."""

    name: Id
    """Name of the objective."""
    sense: Literal["max", "min"]
    """Whether more or less is better."""
    value: Finite
    """The worth."""


Reason = Literal[
    "no_profile",
    "no_bound",
    "memory",
    "slo",
    "clients",
    "rules",
    "no_room",
    "outbid",
]
"""Why something is not in the plan; the words are in the glossary."""


class UnplacedTasks(Frozen):
    """Tasks of one entry that the plan leaves out."""

    task: Id
    """Id of the task entry."""
    ids: Runs
    """Task ordinals."""
    reason: Reason
    """Why; see the [glossary](glossary.md#reasons)."""
    detail: Annotated[str, Field(max_length=1000)] = ""
    """The values behind the reason."""


class MissingReplicas(Frozen):
    """Replicas of one service that the plan leaves out."""

    service: Id
    """Id of the service."""
    replicas: Runs
    """Replica ordinals."""
    reason: Reason
    """Why; see the [glossary](glossary.md#reasons)."""
    detail: Annotated[str, Field(max_length=1000)] = ""
    """The values behind the reason."""


class Totals(Frozen):
    """Sums over the plan."""

    gpus_used: Annotated[int, Field(ge=0)]
    """GPUs that hold something."""
    gpus_shared: Annotated[int, Field(ge=0)]
    """GPUs that hold more than one workload."""
    replicas_placed: Annotated[int, Field(ge=0)]
    """Replicas that are placed."""
    replicas_missing: Annotated[int, Field(ge=0)]
    """Replicas that are not placed."""
    tasks_placed: Annotated[int, Field(ge=0)]
    """Whole tasks: a gang counts once."""
    tasks_unplaced: Annotated[int, Field(ge=0)]
    """Whole tasks that are not placed."""
    normalised_throughput: NonNegative
    """Sum of the normalised rates of all training workers, a gang's at its slowest."""


class Plan(Frozen):
    """Who is where, what it is worth, and how good that is."""

    schema_: Literal["colocate/plan/v1"] = Field(
        default="colocate/plan/v1", alias="schema", validate_default=False
    )
    """Format and version."""
    instance_name: Id
    """Name of the instance."""
    instance_sha256: Sha256
    """Hash of the instance that the plan answers."""
    solver: Id
    """Name of the solver, as it was asked for."""
    objective: ObjectiveValue
    """What the plan is worth."""
    placements: Annotated[tuple[PlacementGroup, ...], ListOf] = ()
    """Groups of GPUs that hold the same."""
    missing: Annotated[tuple[MissingReplicas, ...], ListOf] = ()
    """Replicas that are not placed."""
    unplaced: Annotated[tuple[UnplacedTasks, ...], ListOf] = ()
    """Tasks that are not placed."""
    totals: Totals
    """Counts and sums over all placements."""
    certificate: Certificate | None = None
    """Prices that prove a bound, over all plans or box by box."""

    def iter_placements(self) -> Iterator[Placement]:
        """Yield one `Placement` for each used GPU, made as it is read."""
        for group in self.placements:
            yield from _expand(group)

    def placement(self, pool: str, gpu: int) -> Placement | None:
        """Return what one GPU holds, or None when it holds nothing."""
        for group in self.placements:
            if group.pool == pool:
                for p in _expand(group):
                    if p.gpu == gpu:
                        return p
        return None


class Placement(Frozen):
    """What one GPU holds. A view: plans store groups."""

    pool: Id
    gpu: int
    services: tuple[tuple[int, PlacedService], ...]
    """(replica ordinal, how it is placed)."""
    tasks: tuple[tuple[int, PlacedTask], ...]
    """(worker ordinal, how it is placed)."""


def _expand(group: PlacementGroup) -> Iterator[Placement]:
    services = [(iter_ids(s.replicas), s) for s in group.services]
    tasks = [(iter_ids(t.workers), t) for t in group.tasks]
    for gpu in iter_ids(group.gpus):
        yield Placement.model_construct(
            pool=group.pool,
            gpu=gpu,
            services=tuple((next(ids), s) for ids, s in services),
            tasks=tuple((next(ids), t) for ids, t in tasks),
        )


class Move(Frozen):
    """One replica or worker whose place or knobs differ between two plans."""

    kind: Literal["service", "task"]
    id: Id
    ordinal: int
    change: Literal["added", "removed", "moved", "changed"]
    before: str | None
    """Where and how it was: `pool/gpu batch b share p %`."""
    after: str | None


class PlanDiff(Frozen):
    """What it takes to get from one plan to another."""

    same_instance: bool
    value_before: Finite
    value_after: Finite
    moves: tuple[Move, ...]

    @property
    def empty(self) -> bool:
        """Whether both plans put everything at the same place with the same knobs."""
        return not self.moves


def _by_workload(plan: Plan) -> dict[tuple[str, str, int], tuple[str, int, int, int]]:
    found: dict[tuple[str, str, int], tuple[str, int, int, int]] = {}
    for p in plan.iter_placements():
        for replica, s in p.services:
            found["service", s.service, replica] = (p.pool, p.gpu, s.batch, s.share_pct)
        for worker, t in p.tasks:
            found["task", t.task, worker] = (p.pool, p.gpu, t.batch, t.share_pct)
    return found


def _text(at: tuple[str, int, int, int] | None) -> str | None:
    return None if at is None else f"{at[0]}/{at[1]} batch {at[2]} share {at[3]} %"


def diff(before: Plan, after: Plan) -> PlanDiff:
    """Compare two plans, replica by replica and worker by worker."""
    a, b = _by_workload(before), _by_workload(after)
    moves = []
    for key in sorted(a.keys() | b.keys()):
        was, now = a.get(key), b.get(key)
        if was == now:
            continue
        change: Literal["added", "removed", "moved", "changed"]
        if was is None:
            change = "added"
        elif now is None:
            change = "removed"
        else:
            change = "moved" if was[:2] != now[:2] else "changed"
        moves.append(
            Move.model_construct(
                kind="service" if key[0] == "service" else "task",
                id=key[1],
                ordinal=key[2],
                change=change,
                before=_text(was),
                after=_text(now),
            )
        )
    return PlanDiff(
        same_instance=before.instance_sha256 == after.instance_sha256,
        value_before=before.objective.value,
        value_after=after.objective.value,
        moves=tuple(moves),
    )
