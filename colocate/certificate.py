"""Certificates: prices that bound every plan, for all plans at once or box by box.

A box is what is left of the plans after some splits. A split names a whole number that every plan
has, such as how many GPUs hold a service of one kind beside a task of another, and cuts the plans
in two: those in which it is at most so much, and all others. Boxes are kept as a tree in one list,
from the top, so that whatever stands in it, no plan is outside of all boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from colocate.profile.batch import Batch
from colocate.schema import Finite, Frozen, Id, ListOf, NonNegative, Share

__all__ = [
    "MAX_DEPTH",
    "MAX_LEAVES",
    "Among",
    "Certificate",
    "Leaf",
    "LevelPrice",
    "Price",
    "QuotaPrice",
    "Split",
]

MAX_LEAVES = 1000
"""Leaves of one tree of boxes."""
MAX_DEPTH = 100
"""Splits above one leaf."""


class Price(Frozen):
    """Dual price of one service (per replica) or one task entry (per task)."""

    id: Id
    """Id of the service or task entry."""
    price: Finite
    """The price."""


class LevelPrice(Frozen):
    """What a gang at a batch pays each of its workers that reach a progress."""

    task: Id
    """Id of the task entry."""
    batch: Batch
    """Batch that the gang trains at."""
    rate: NonNegative
    """Progress of a worker, in samples of the task's own batch per second."""
    price: Finite
    """The price."""


class QuotaPrice(Frozen):
    """Dual price of one side of a tenant's quota."""

    tenant: Id
    """Owner."""
    unit: Literal["tasks", "gpu_share"]
    """Unit of the quota."""
    side: Literal["maximum", "minimum"]
    """Which side of the quota."""
    price: Finite
    """The price."""


Ids = Annotated[tuple[Id, ...], ListOf, Field(max_length=10_000)]


class Among(Frozen):
    """So many of some services or tasks, on one GPU."""

    ids: Annotated[tuple[Id, ...], ListOf, Field(min_length=1, max_length=10_000)]
    """Ids of services and task entries."""
    at_least: Annotated[int, Field(ge=1, le=32)] = 1
    """How many replicas and workers of these, together."""


class Split(Frozen):
    """A whole number that every plan has, and where it cuts the plans in two."""

    kind: Literal["split"] = "split"
    """Tells it from a leaf."""
    counts: Literal["gpus", "workers", "tasks", "replicas"]
    """What is counted: GPUs that hold all of `holding`; training workers of `of` on such GPUs;
    placed tasks of `of`; placed replicas of `of`."""
    of: Ids = ()
    """Ids of the services or task entries that are counted; none where GPUs are."""
    pools: Ids = ()
    """Only on the GPUs of these pools (`gpus` and `workers`); of all when empty."""
    holding: Annotated[tuple[Among, ...], ListOf, Field(max_length=32)] = ()
    """What a GPU must hold to count, and its workers with it; anything when empty."""
    batch: Batch | None = None
    """Only workers, or gangs, that train at this batch (`workers` and `tasks`)."""
    faster_than: NonNegative | None = None
    """Only tasks whose slowest worker makes more progress than this (`tasks`)."""
    not_faster_than: NonNegative | None = None
    """Only tasks whose slowest worker makes at most this progress (`tasks`)."""
    share_from: Share = 1
    """Only workers with at least this percentage (`workers`)."""
    at_most: Annotated[int, Field(ge=0, le=10**12)]
    """The first part are the plans in which the number is at most this, the second all others."""

    @model_validator(mode="after")
    def _one_meaning(self) -> Split:
        """Refuse fields that say nothing about what is counted."""
        on_gpus = self.counts in ("gpus", "workers")
        for stated, allowed, field in (
            (bool(self.of), self.counts != "gpus", "of"),
            (bool(self.pools), on_gpus, "pools"),
            (bool(self.holding), on_gpus, "holding"),
            (self.batch is not None, self.counts in ("workers", "tasks"), "batch"),
            (self.faster_than is not None, self.counts == "tasks", "faster_than"),
            (self.not_faster_than is not None, self.counts == "tasks", "not_faster_than"),
            (self.share_from > 1, self.counts == "workers", "share_from"),
        ):
            if stated and not allowed:
                msg = f"a split that counts {self.counts} has no {field!r}"
                raise ValueError(msg)
        if self.counts != "gpus" and not self.of:
            msg = f"a split that counts {self.counts} must say of what in 'of'"
            raise ValueError(msg)
        return self


class Leaf(Frozen):
    """Prices that bound the plans of one box: those on one side of every split above it."""

    kind: Literal["leaf"] = "leaf"
    """Tells it from a split."""
    services: Annotated[tuple[Price, ...], ListOf] | None = None
    """Instead of the certificate's own, which hold where this is left out."""
    tasks: Annotated[tuple[Price, ...], ListOf] | None = None
    """Instead of the certificate's own."""
    levels: Annotated[tuple[LevelPrice, ...], ListOf] | None = None
    """Instead of the certificate's own."""
    quotas: Annotated[tuple[QuotaPrice, ...], ListOf] | None = None
    """Instead of the certificate's own."""
    splits: Annotated[tuple[Finite, ...], ListOf, Field(max_length=MAX_DEPTH)] = ()
    """Price of each split above the leaf, from the top; negative ones count as 0."""


class Certificate(Frozen):
    """Prices that bound every plan, by weak duality; see the formulation.

    Anything may stand here: the judge clips prices to their legal signs and recomputes the bound
    from the instance. A stated bound that is tighter than the recomputed one is rejected.
    """

    kind: Literal["prices", "tree"] = "prices"
    """`prices`: one list of prices for all plans. `tree`: the plans are cut into boxes, each with
    prices of its own, and the bound is the weakest of theirs."""
    bound: Finite
    """Stated bound on the objective, in its own sense."""
    services: Annotated[tuple[Price, ...], ListOf] = ()
    """Prices of services; those left out are 0."""
    tasks: Annotated[tuple[Price, ...], ListOf] = ()
    """Prices of tasks without gangs; those left out are 0."""
    levels: Annotated[tuple[LevelPrice, ...], ListOf] = ()
    """What gangs pay their workers, by rate."""
    quotas: Annotated[tuple[QuotaPrice, ...], ListOf] = ()
    """Prices of quotas; those left out are 0."""
    tree: Annotated[
        tuple[Annotated[Split | Leaf, Field(discriminator="kind")], ...],
        ListOf,
        Field(max_length=2 * MAX_LEAVES - 1),
    ] = ()
    """The boxes, from the top: each split is followed by all of its first part, then by all of its
    second. Whatever stands here, every plan is in one of the boxes."""

    @model_validator(mode="after")
    def _whole_tree(self) -> Certificate:
        """Refuse a tree that ends too early or too late, or is too deep."""
        if (self.kind == "tree") != bool(self.tree):
            msg = f"a certificate of kind {self.kind!r} with a tree of {len(self.tree)} parts"
            raise ValueError(msg)
        for path, leaf in self.leaves():
            if len(leaf.splits) != len(path):
                msg = f"a leaf below {len(path)} splits has {len(leaf.splits)} prices of splits"
                raise ValueError(msg)
        return self

    def leaves(self) -> Iterator[tuple[tuple[tuple[Split, bool], ...], Leaf]]:
        """Yield the leaves, each with the splits above it and whether it is in the second part."""
        path: list[tuple[Split, bool]] = []
        done = not self.tree
        for node in self.tree:
            if done:
                msg = "the tree goes on after its last leaf"
                raise ValueError(msg)
            if isinstance(node, Split):
                path.append((node, False))
                if len(path) > MAX_DEPTH:
                    msg = f"the tree has more than {MAX_DEPTH} splits above a leaf"
                    raise ValueError(msg)
                continue
            yield tuple(path), node
            while path and path[-1][1]:
                path.pop()
            if path:
                path[-1] = (path[-1][0], True)
            done = not path
        if not done:
            msg = "the tree ends before its last leaf"
            raise ValueError(msg)
