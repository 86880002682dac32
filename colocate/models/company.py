"""Slowdown in company from a fitted model: the most specific evidence that there is.

    s = rate alone / rate in company, at the same batch and share

    measured     inside the table of the pair: multilinear between its nodes (log batch), where all
                 nodes with weight were measured; a pair whose shares were tied counts where the
                 neighbour's share is within `SPLIT_SLACK` points of what it was
    regression   both workloads have telemetry
    structure    the same, where the telemetry of one of them, or both, was guessed from its layers
    separable    at least one of them was measured in company
    constant     the median of the two roles; of all, where a role is unknown

Two roles of which no pair was measured, such as inference beside inference where the table has only
inference beside training, have met nowhere. How these slow each other down is another question than
the one that the regressions were fitted to, so the constant of all stands in for them, and no error
is known of it.

Where the shares of a pair exceed 100 % by more than they did in any measurement nothing is known:
nan. Everything works on arrays and needs numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.errors import InputError
from colocate.models.regression.additive import Additive
from colocate.models.regression.features import Queries, Traits
from colocate.models.regression.grids import GridStack
from colocate.profile.company import AdditiveModel, CompanyModel, MeasuredPair, Telemetry
from colocate.schema import Evidence

__all__ = ["EVIDENCE_OF", "SOURCES", "Company", "Predicted", "Queries"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SOURCES: Final = ("measured", "regression", "separable", "structure", "constant", "unknown")
"""Where a slowdown comes from, the strongest evidence first."""
EVIDENCE_OF: Final = (
    Evidence.MEASURED,
    Evidence.REGRESSED,
    Evidence.REGRESSED,
    Evidence.CONSTANT,
    Evidence.CONSTANT,
    Evidence.CONSTANT,
)
"""The evidence that goes with each source; a guess counts no more than a constant."""
MEASURED, REGRESSION, SEPARABLE, STRUCTURE, CONSTANT, UNKNOWN = range(len(SOURCES))
SPLIT_SLACK: Final = 5.0
OVERLAP_SLACK: Final = 1.0
LEAST, MOST = 0.5, 100.0
"""Slowdowns stay between these."""


class Predicted(NamedTuple):
    """Slowdowns, as arrays of equal length."""

    slowdown: Floats
    source: NDArray[np.int8]
    """Index into `SOURCES`."""


class Company:
    """A fitted model, ready for queries over a list of workloads.

    Parameters
    ----------
    model
        What was fitted.
    more
        Telemetry of further workloads, such as one known only by its structure.
    roles
        Roles of further workloads, of which nothing else is known.
    """

    def __init__(
        self,
        model: CompanyModel,
        more: Sequence[Telemetry] = (),
        roles: Mapping[str, str] | None = None,
    ) -> None:
        self.model = model
        role = dict.fromkeys(model.inference, "inference")
        role |= dict.fromkeys(model.training, "training")
        role |= {t.workload: t.role for t in (*model.telemetry, *more)} | dict(roles or {})
        self.names = tuple(sorted(role))
        """Workloads that can be asked for; queries give their places."""
        self.place = {name: i for i, name in enumerate(self.names)}
        replaced = {t.workload: t for t in (*model.telemetry, *more)}
        self.telemetry = tuple(replaced.values())
        by_layers = {t.workload for t in self.telemetry if t.guessed}
        self.guessed = np.array([name in by_layers for name in self.names], dtype=np.bool_)
        self.traits = Traits(self.telemetry, self.names)
        self.regression = _additive(model.regression, self.names)
        self.separable = _additive(model.separable, self.names)
        self.tables = _Tables(model.measured, self.place) if model.measured else None
        self.complete = _complete(self.traits, model, self.names)
        training = np.array([role[name] == "training" for name in self.names], dtype=np.int64)
        self.training = training
        self.constants = _constants(model)
        self._met = _met(model)

    def without_measurements(self) -> Company:
        """Return what the regressions and constants alone say."""
        bare = self.model.model_copy(update={"measured": ()})
        roles = {
            name: "training" if trains else "inference"
            for name, trains in zip(self.names, self.training, strict=True)
        }
        return Company(bare, self.telemetry, roles)

    def met(self, victim: Ints, neighbour: Ints) -> NDArray[np.bool_]:
        """Return whether any pair with the roles of these workloads was measured."""
        found: NDArray[np.bool_] = self._met[self.training[victim], self.training[neighbour]]
        return found

    def index(self, names: Sequence[str]) -> Ints:
        """Return the places of workloads."""
        for name in names:
            if name not in self.place:
                raise InputError(
                    f"the model of {self.model.gpu_type!r} knows no workload {name!r}",
                    advice="measure it, or give its telemetry or its role.",
                )
        return np.array([self.place[name] for name in names], dtype=np.int64)

    def predict(self, q: Queries) -> Predicted:
        """Return the slowdown of each query's victim beside its one neighbour."""
        n = q.victim.size
        slowdown, source = np.full(n, np.nan), np.full(n, UNKNOWN, dtype=np.int8)
        left = np.ones(n, dtype=bool)
        if self.tables is not None:
            found, usable = self.tables.lookup(q)
            slowdown[usable], source[usable] = found[usable], MEASURED
            left &= ~usable
        overlap = q.victim_share + q.neighbour_share - 100
        left &= overlap <= self.model.most_overlap_pct + OVERLAP_SLACK
        if not left.any():
            np.clip(slowdown, LEAST, MOST, out=slowdown)
            return Predicted(slowdown, source)
        guessed = left.copy()
        if not self._met.all():
            left &= self.met(q.victim, q.neighbour)
        if self.regression is not None:
            at = np.flatnonzero(left & self.complete[q.victim] & self.complete[q.neighbour])
            if at.size:
                slowdown[at] = np.exp(self.regression.log_slowdown(q.take(at), self.traits))
            either = self.guessed[q.victim[at]] | self.guessed[q.neighbour[at]]
            source[at] = np.where(either, STRUCTURE, REGRESSION)
            left[at] = False
        if self.separable is not None:
            at = np.flatnonzero(left & self.separable.knows(q))
            slowdown[at] = np.exp(self.separable.log_slowdown(q.take(at), None))
            source[at] = SEPARABLE
            left[at] = False
        at = np.flatnonzero(guessed & (source == UNKNOWN))
        slowdown[at] = self.constants[self.training[q.victim[at]], self.training[q.neighbour[at]]]
        source[at] = np.where(np.isnan(slowdown[at]), UNKNOWN, CONSTANT)
        np.clip(slowdown, LEAST, MOST, out=slowdown)
        return Predicted(slowdown, source)

    def beside(
        self,
        victim: Ints,
        batch: Floats,
        share: Floats,
        neighbours: Sequence[tuple[Ints, Floats, Floats]],
    ) -> Predicted:
        """Return the slowdown beside several neighbours, each given by workload, batch and share.

        Each pair is asked for at the shares that the two have in the larger company. With s_j the
        slowdown by neighbour j alone: `product` prod_j s_j, `excess` 1 + sum_j (s_j - 1). The
        source is the weakest among the pairs.
        """
        product, excess = np.ones(victim.size), np.zeros(victim.size)
        source = np.zeros(victim.size, dtype=np.int8)
        for who, neighbour_batch, neighbour_share in neighbours:
            one = self.predict(Queries(victim, who, batch, neighbour_batch, share, neighbour_share))
            product *= one.slowdown
            excess += one.slowdown - 1
            source = np.maximum(source, one.source)
        total = product if self.model.composition == "product" else 1 + excess
        return Predicted(np.clip(total, LEAST, MOST), source)


def _additive(model: AdditiveModel | None, names: Sequence[str]) -> Additive | None:
    return None if model is None else Additive(model, names)


class _Tables:
    """The measured pairs, looked up together."""

    def __init__(self, pairs: Sequence[MeasuredPair], place: Mapping[str, int]) -> None:
        known = [p for p in pairs if p.victim in place and p.neighbour in place]
        self.workloads = len(place)
        keys = np.array(
            [place[p.victim] * self.workloads + place[p.neighbour] for p in known], dtype=np.int64
        )
        order = np.argsort(keys)
        self.keys = keys[order]
        self.pairs = [known[i] for i in order]
        self.stack = GridStack.of([_table(p) for p in self.pairs])

    def lookup(self, q: Queries) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the measured slowdowns, and where there are any."""
        key = q.victim * self.workloads + q.neighbour
        at = np.minimum(np.searchsorted(self.keys, key), self.keys.size - 1)
        listed = np.flatnonzero(self.keys[at] == key)
        slowdown, usable = np.full(key.size, np.nan), np.zeros(key.size, dtype=bool)
        part = q if listed.size == key.size else q.take(listed)
        found, inside = self.stack.lookup(
            at[listed],
            np.log2(part.victim_batch),
            np.log2(part.neighbour_batch),
            part.victim_share,
            part.neighbour_share,
        )
        slowdown[listed] = found[:, 0]
        tied = np.isfinite(found[:, 1])
        near = ~tied | (np.abs(part.neighbour_share - found[:, 1]) <= SPLIT_SLACK)
        usable[listed] = inside & near & np.isfinite(found[:, 0])
        return slowdown, usable


def _table(p: MeasuredPair) -> tuple[tuple[Floats, ...], Floats]:
    batches = [np.log2(np.array(b, dtype=float)) for b in (p.victim_batch, p.neighbour_batch)]
    shares = np.array(p.victim_share_pct)
    # where the shares were tied the neighbour's axis has one node, and the tie is a second field
    others = np.full(1, np.nan) if p.split else np.array(p.neighbour_share_pct)
    shape = (*(b.size for b in batches), shares.size, others.size)
    values = np.reshape([np.nan if s is None else s for s in p.slowdown], shape)
    tie = np.full(shape, np.nan)
    if p.split:
        tie[:] = np.array(p.neighbour_share_pct)[:, None]
    return (*batches, shares, others), np.stack([values, tie], axis=-1)


def _complete(traits: Traits, model: CompanyModel, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which workloads have all telemetry that the regression asks for."""
    complete = np.zeros(len(names), dtype=bool)
    if model.regression is None:
        return complete
    kernel = model.regression.kernel
    wanted = {f.split("_", 1)[1] for f in kernel.features} if kernel else set()
    known = np.flatnonzero(traits.known(np.arange(len(names))))
    if known.size == 0:
        return complete
    ones = np.ones(known.size)
    at = traits.side("victim", known, ones, 100 * ones)
    complete[known] = True
    for column in ("sm", "dram"):
        if column in wanted:
            complete[known] &= np.isfinite(at[f"victim_{column}"])
    return complete


def _met(model: CompanyModel) -> NDArray[np.bool_]:
    """Return whether roles were measured together, as [victim trains, neighbour trains]."""
    found = np.full((2, 2), not model.constants)
    for c in model.constants:
        found[int(c.victim_role == "training"), int(c.neighbour_role == "training")] = True
    return found


def _constants(model: CompanyModel) -> Floats:
    """Return the constants as [victim trains, neighbour trains]."""
    if not model.constants:
        return np.full((2, 2), np.nan)
    logs = np.log([c.slowdown for c in model.constants])
    rows = np.array([c.rows for c in model.constants])
    found = np.full((2, 2), float(np.exp(np.average(logs, weights=rows))))
    for c in model.constants:
        found[int(c.victim_role == "training"), int(c.neighbour_role == "training")] = c.slowdown
    return found
