"""How workloads slow each other down, as fitted data: telemetry, regressors as arrays, tables.

Nothing here computes; `colocate.models.company` evaluates it. All numbers of a table stand in one
tuple in row-major order, the last axis running fastest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from colocate.profile.bounds import ascending
from colocate.profile.curves import Batch
from colocate.schema import Finite, Frozen, Id, ListOf, Percent, Positive

__all__ = [
    "LAYER_KINDS",
    "AdditiveModel",
    "CandidateError",
    "CompanyModel",
    "EffectTerm",
    "FeatureName",
    "KernelTerm",
    "MeasuredPair",
    "PairTerm",
    "RoleConstant",
    "StructureModel",
    "Telemetry",
]

LAYER_KINDS = (
    "conv",
    "linear",
    "activations",
    "embeddings",
    "encoder",
    "decoder",
    "flatten",
    "batch_normalization",
    "fc",
    "pooling",
    "other",
)
"""What a network's structure is told by: how many layers it has of each kind."""

FeatureName = Literal[
    "victim_sm",
    "victim_dram",
    "victim_elasticity",
    "victim_training",
    "victim_log_batch",
    "neighbour_sm",
    "neighbour_dram",
    "neighbour_elasticity",
    "neighbour_training",
    "neighbour_log_batch",
    "victim_share",
    "unused_share",
]
Role = Literal["inference", "training"]
Log = Annotated[float, Field(ge=-10, le=10)]
"""A logarithm of a slowdown."""
Activity = Annotated[float, Field(ge=0, le=200)]
Shares = Annotated[tuple[Percent, ...], ListOf, Field(min_length=1, max_length=1000)]
Batches = Annotated[tuple[Batch, ...], ListOf, Field(min_length=1, max_length=200)]
Activities = Annotated[tuple[Activity, ...], ListOf, Field(max_length=20_000)]
Names = Annotated[tuple[Id, ...], ListOf, Field(max_length=100_000)]


def _expect(what: str, found: int, expected: int) -> None:
    if found != expected:
        msg = f"{what} has {found} values, but {expected} are needed"
        raise ValueError(msg)


def _distinct(keys: Iterable[object], what: str) -> None:
    seen: set[object] = set()
    for key in keys:
        if key in seen:
            shown = " and ".join(map(repr, key)) if isinstance(key, tuple) else repr(key)
            msg = f"{what} must be distinct, but {shown} is listed twice"
            raise ValueError(msg)
        seen.add(key)


class Telemetry(Frozen):
    """What one workload does to the GPU when it is alone, over batch and share."""

    workload: Id
    """Name of the workload."""
    role: Role
    """Whether it serves or trains."""
    batch: Batches
    """Batch sizes, ascending."""
    share_pct: Shares
    """Shares, ascending."""
    sm_activity_pct: Activities = ()
    """Time that multiprocessors are active, for each batch and share; empty: unknown."""
    dram_activity_pct: Activities = ()
    """Time that the memory is active, for each batch and share; empty: unknown."""
    elasticity: Annotated[
        tuple[Annotated[float, Field(ge=0, le=10)], ...], ListOf, Field(max_length=20_000)
    ]
    """d log rate / d log share alone: 1 where the multiprocessors limit it, 0 where they do not."""
    guessed: bool = False
    """Whether the activities were guessed from the layers of the network, not measured."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        ascending([float(b) for b in self.batch], "batch")
        ascending(list(self.share_pct), "share_pct")
        cells = len(self.batch) * len(self.share_pct)
        _expect("elasticity", len(self.elasticity), cells)
        for name in ("sm_activity_pct", "dram_activity_pct"):
            if getattr(self, name):
                _expect(name, len(getattr(self, name)), cells)
        return self


class KernelTerm(Frozen):
    """sum_j weight_j exp(-|x / scale - landmark_j|^2 / 2), x the features of a pair."""

    features: Annotated[tuple[FeatureName, ...], ListOf, Field(min_length=1, max_length=20)]
    """Which features, in order."""
    scale: Annotated[tuple[Positive, ...], ListOf, Field(min_length=1, max_length=20)]
    """By what each feature is divided."""
    landmarks: Annotated[tuple[Finite, ...], ListOf, Field(max_length=100_000)]
    """Places in the divided features, one row for each landmark."""
    weights: Annotated[tuple[Finite, ...], ListOf, Field(min_length=1, max_length=5000)]
    """One for each landmark."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _distinct(self.features, "features")
        _expect("scale", len(self.scale), len(self.features))
        _expect("landmarks", len(self.landmarks), len(self.weights) * len(self.features))
        return self


class EffectTerm(Frozen):
    """A curve over the share for each workload, linear between knots and constant beyond."""

    workloads: Names
    """Workloads that have a curve; for others the term is 0."""
    share_pct: Shares
    """Knots, ascending."""
    values: Annotated[tuple[Log, ...], ListOf, Field(max_length=1_000_000)]
    """One row for each workload."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _distinct(self.workloads, "workloads")
        ascending(list(self.share_pct), "share_pct")
        _expect("values", len(self.values), len(self.workloads) * len(self.share_pct))
        return self


class PairTerm(Frozen):
    """A number for each pair of workloads, the same in both directions."""

    first: Names
    second: Names
    values: Annotated[tuple[Log, ...], ListOf, Field(max_length=100_000)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        _expect("second", len(self.second), len(self.first))
        _expect("values", len(self.values), len(self.first))
        both = zip(self.first, self.second, strict=True)
        _distinct((tuple(sorted(pair)) for pair in both), "pairs, in either direction,")
        return self


class AdditiveModel(Frozen):
    """log slowdown = intercept + kernel + victim's curve + neighbour's curve + pair."""

    intercept: Log
    kernel: KernelTerm | None = None
    """Without it the model is separable: victim times aggressor."""
    victims: EffectTerm | None = None
    neighbours: EffectTerm | None = None
    pairs: PairTerm | None = None


class MeasuredPair(Frozen):
    """What was measured of one workload beside another, as a table with gaps."""

    victim: Id
    neighbour: Id
    victim_batch: Batches
    neighbour_batch: Batches
    victim_share_pct: Shares
    neighbour_share_pct: Annotated[
        tuple[Percent, ...], ListOf, Field(min_length=1, max_length=1000)
    ]
    """An axis of its own; or, where `split`, the share that goes with each share of the victim."""
    split: bool
    """Whether the neighbour's share was tied to the victim's, such as the rest of the GPU."""
    slowdown: Annotated[
        tuple[Annotated[float, Field(gt=0, le=100)] | None, ...],
        ListOf,
        Field(min_length=1, max_length=100_000),
    ]
    """Over victim batch, neighbour batch, victim share and, unless `split`, neighbour share; null
    where nothing was measured."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        ascending([float(b) for b in self.victim_batch], "victim_batch")
        ascending([float(b) for b in self.neighbour_batch], "neighbour_batch")
        ascending(list(self.victim_share_pct), "victim_share_pct")
        cells = len(self.victim_batch) * len(self.neighbour_batch) * len(self.victim_share_pct)
        if self.split:
            shares = len(self.victim_share_pct)
            _expect("neighbour_share_pct", len(self.neighbour_share_pct), shares)
        else:
            ascending(list(self.neighbour_share_pct), "neighbour_share_pct")
            cells *= len(self.neighbour_share_pct)
        _expect("slowdown", len(self.slowdown), cells)
        return self


class RoleConstant(Frozen):
    """The slowdown to expect where only the roles are known."""

    victim_role: Role
    neighbour_role: Role
    slowdown: Annotated[float, Field(gt=0, le=100)]
    rows: Annotated[int, Field(ge=1)]
    """Measurements that it rests on."""


class CandidateError(Frozen):
    """How well one candidate predicted what was left out, inside the training data."""

    name: Annotated[str, Field(max_length=200)]
    error_pct: Annotated[float, Field(ge=0, le=1e6)]
    """Of slowdowns the mean |predicted - measured| / measured, half with pairs left out and half
    with workloads; of a structure model the mean error of activities, in points."""
    chosen: bool = False


class StructureModel(Frozen):
    """From the layers of a network to its telemetry, by the networks most like it.

    Features are log(1 + count) of the kinds in `LAYER_KINDS`.
    """

    method: Literal["ridge", "nearest"]
    counts: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1e9)], ...], ListOf, Field(max_length=1_000_000)
    ]
    """Layer counts of the known workloads, one row for each."""
    workloads: Annotated[tuple[Id, ...], ListOf, Field(min_length=1, max_length=100_000)]
    """Known workloads."""
    targets: Annotated[tuple[Finite, ...], ListOf, Field(max_length=1_000_000)]
    """Logarithms of 1 + SM activity and 1 + DRAM activity, and elasticity of each, on the whole
    GPU."""
    strength: Positive
    """Ridge: penalty; nearest: length scale, both in standardised features."""
    errors: Annotated[tuple[CandidateError, ...], ListOf, Field(max_length=100)] = ()
    """How far guessed activities were off, in points, for each method that was tried."""
    slowdown_errors: Annotated[tuple[CandidateError, ...], ListOf, Field(max_length=10)] = ()
    """How far slowdowns of left-out workloads were off: told from their layers, from their own
    telemetry, and by the constant of the roles. Guesses are used where `structure` is chosen."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _distinct(self.workloads, "workloads")
        _expect("counts", len(self.counts), len(self.workloads) * len(LAYER_KINDS))
        _expect("targets", len(self.targets), len(self.workloads) * 3)
        return self


class CompanyModel(Frozen):
    """Everything known about slowdown in company on one GPU type, most specific first."""

    gpu_type: Id
    """On which type of GPU."""
    inference: Names = ()
    """Workloads that serve."""
    training: Names = ()
    """Workloads that train."""
    measured: Annotated[tuple[MeasuredPair, ...], ListOf, Field(max_length=100_000)] = ()
    """Used inside what was measured."""
    telemetry: Annotated[tuple[Telemetry, ...], ListOf, Field(max_length=100_000)] = ()
    """What the regression knows the workloads by."""
    regression: AdditiveModel | None = None
    """Used where both workloads have telemetry."""
    separable: AdditiveModel | None = None
    """Used where one of them has none, but has been measured in company."""
    structure: StructureModel | None = None
    """From layers to telemetry, for workloads that were never run."""
    constants: Annotated[tuple[RoleConstant, ...], ListOf, Field(max_length=4)] = ()
    """Used where nothing else is known."""
    composition: Literal["product", "excess"] = "product"
    """How the slowdowns by several neighbours make one: multiplied, or their excesses added."""
    most_overlap_pct: Annotated[float, Field(ge=0, le=100)] = 0.0
    """By how much the shares of a pair exceeded 100 % at most; beyond, nothing is predicted."""
    candidates: Annotated[tuple[CandidateError, ...], ListOf, Field(max_length=1000)] = ()
    """What was tried for the regression."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        both = set(self.inference) & set(self.training)
        if both:
            msg = f"{min(both)!r} is listed under inference and under training"
            raise ValueError(msg)
        _distinct(self.inference, "inference workloads")
        _distinct(self.training, "training workloads")
        _distinct((t.workload for t in self.telemetry), "workloads of telemetry")
        _distinct(((m.victim, m.neighbour) for m in self.measured), "measured pairs")
        _distinct(((c.victim_role, c.neighbour_role) for c in self.constants), "roles of constants")
        known = {*self.inference, *self.training, *(t.workload for t in self.telemetry)}
        for m in self.measured:
            for name in (m.victim, m.neighbour):
                if name not in known:
                    msg = f"{name!r} was measured, but is not listed under inference or training"
                    raise ValueError(msg)
        if self.separable is not None and self.separable.kernel is not None:
            msg = "separable must have no kernel: it counts where there is no telemetry to feed one"
            raise ValueError(msg)
        return self
