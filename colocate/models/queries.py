"""Rates for the rows of a table: alone or in company, with bounds and what they rest on.

    rate = mu(b, p) / s,   s = product over neighbours n of s(v, n)
    low  = rate * (1 - e(rate)) / product of (1 + e(pair)),   high = rate * (1 + e(high side))

at the stated confidence. Where nothing reaches that confidence, `low` is 0 and `high` is infinite.
Rows of one workload, or of one pair, are worked out together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.models.bounds import relative_error
from colocate.models.company import EVIDENCE_OF, OVERLAP_SLACK, Company
from colocate.models.curves import batches_of, rates_alone
from colocate.models.interference import EVIDENCE_ORDER
from colocate.models.regression.features import Queries
from colocate.models.slowdown_table import read_many
from colocate.profile import ErrorBound, PairSlowdown, Profile
from colocate.profile.fitted import FittedModels
from colocate.schema import Evidence
from colocate.tables import ProfileTable

__all__ = ["Predictions", "predict"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[Any]


class Predictions(NamedTuple):
    """One entry for each row of the queries."""

    rate: Floats
    """Samples per second; nan where unknown."""
    low: Floats
    """With the stated confidence the rate is no lower."""
    high: Floats
    """With the stated confidence the rate is no higher; infinite where nothing is known."""
    evidence: Texts
    """`measured`, `regressed` or `constant`, the weakest that counts; "" where unknown."""
    note: Texts
    """Why the rate is unknown, or ""."""


def predict(
    models: FittedModels, queries: ProfileTable, *, confidence: float = 0.95
) -> Predictions:
    """Return the rate of every row of `queries`, whatever has been measured there.

    Parameters
    ----------
    models
        What was fitted.
    queries
        Rows with workload, gpu, batch, share and neighbours; measured columns are not looked at.
    confidence
        With which `low` and `high` hold, each by itself.
    """
    return _Predictor(models, queries, confidence).run()


class _Coded(NamedTuple):
    """A text column as numbers into the texts that occur."""

    code: Ints
    texts: Sequence[str]

    @classmethod
    def of(cls, column: Texts) -> _Coded:
        known = _Numbers()
        code = np.fromiter(map(known.__getitem__, column.tolist()), np.int64, column.size)
        return cls(code, tuple(known))


class _Numbers(dict[str, int]):
    """Numbers texts in the order in which they are first asked for."""

    def __missing__(self, text: str) -> int:
        self[text] = number = len(self)
        return number


class _Predictor:
    """Fills the columns of the answer, kind by kind."""

    def __init__(self, models: FittedModels, queries: ProfileTable, confidence: float) -> None:
        n = len(queries)
        self.models = models
        self.queries = queries
        self.confidence = confidence
        self.workload = _Coded.of(queries["workload"])
        self.gpu = _Coded.of(queries["gpu"])
        self.neighbour = _Coded.of(queries["neighbour"])
        self.batch = np.array(queries["batch"], dtype=np.float64)
        self.rate = np.full(n, np.nan)
        self.kept = np.ones(n)
        """What the bounds leave of the rate."""
        self.weakest = np.zeros(n, dtype=np.int64)
        self.unbounded = np.zeros(n, dtype=bool)
        """Where a constant counts of which no error is known."""
        self.note = np.full(n, "", dtype=object)
        count = np.array([text.count("+") + bool(text) for text in self.neighbour.texts], dtype=int)
        self.neighbours = count[self.neighbour.code] if n else np.zeros(0, dtype=int)
        self.companies: dict[str, Company | None] = {}
        self.errors = {
            (c.gpu_type, c.evidence): c.low for c in models.calibration if c.what == "company"
        }

    def run(self) -> Predictions:
        """Return the answer."""
        self._alone()
        self._company()
        unknown = np.isnan(self.rate)
        evidence = np.array([*map(str, EVIDENCE_ORDER)], dtype=object)[self.weakest]
        evidence[unknown] = ""
        high = self.rate * (1.0 + self._high_error())
        return Predictions(self.rate, self.rate * self.kept, high, evidence, self.note)

    # -- alone ---------------------------------------------------------------------------------

    def _alone(self) -> None:
        profiles = {(p.workload, p.gpu_type): p for p in self.models.profiles}
        pair = self.workload.code * len(self.gpu.texts) + self.gpu.code
        for code, rows in _groups(pair):
            name = self.workload.texts[code // len(self.gpu.texts)]
            gpu = self.gpu.texts[code % len(self.gpu.texts)]
            profile = profiles.get((name, gpu))
            if profile is None:
                self.note[rows] = f"{name!r} has no profile on {gpu!r}"
            else:
                self._of_profile(profile, rows)

    def _of_profile(self, profile: Profile, rows: Ints) -> None:
        known = batches_of(profile)
        if len(known) == 1:
            # Nothing to choose from: a query need not name the only batch.
            self.batch[rows[np.isnan(self.batch[rows])]] = known[0]
        error = relative_error(profile.rate_error, self.confidence)
        self.weakest[rows] = _rank(profile.evidence)
        batches = self.batch[rows]
        self.note[rows[np.isnan(batches)]] = "the batch is not stated, and there are several"
        for batch in np.unique(batches[~np.isnan(batches)]):
            at = rows[batches == batch]
            share = self.queries["share_pct"][at]
            found = rates_alone(profile, int(batch), share) if batch == int(batch) else None
            if found is None:
                shown = ", ".join(map(str, known))
                self.note[at] = f"batch {batch:g} is not in the profile (known: {shown})"
                continue
            self.rate[at] = np.where(found > 0, found, np.nan)
            self.note[at[found <= 0]] = "the share is below the smallest that was measured"
            self.kept[at] = max(0.0, 1.0 - error)

    # -- in company ----------------------------------------------------------------------------

    def _company(self) -> None:
        names = [text.split("+") if text else [] for text in self.neighbour.texts]
        most = max(map(len, names), default=0)
        if most == 0:
            return
        batch = _numbers(self.queries["neighbour_batch"], most)
        share = _numbers(self.queries["neighbour_share_pct"], most)
        interference = self.models.interference
        listed: dict[tuple[str, str, str], PairSlowdown] = {}
        if interference is not None:
            listed = {(p.gpu_type, p.victim, p.neighbour): p for p in interference.pairs}
        gpus, workloads = len(self.gpu.texts), len(self.workload.texts)
        for k in range(most):
            others = _Coded.of(np.array([n[k] if k < len(n) else "" for n in names], dtype=object))
            other = others.code[self.neighbour.code]
            there = np.flatnonzero([others.texts[i] != "" for i in range(len(others.texts))])
            rows = np.flatnonzero(np.isin(other, there) & ~np.isnan(self.rate))
            code = (other[rows] * workloads + self.workload.code[rows]) * gpus
            for number, part in _groups(code + self.gpu.code[rows]):
                victim = self.workload.texts[number // gpus % workloads]
                neighbour = others.texts[number // gpus // workloads]
                gpu = self.gpu.texts[number % gpus]
                at = rows[part]
                pair = listed.get((gpu, victim, neighbour))
                if pair is not None:
                    self._of_pair(pair, at, batch[at, k], share[at, k])
                else:
                    self._unlisted(gpu, victim, neighbour, at, batch[at, k], share[at, k])

    def _of_pair(self, pair: PairSlowdown, at: Ints, batch: Floats, share: Floats) -> None:
        overlap = self._overlap(pair.gpu_type)
        beyond = self.queries["share_pct"][at] + share > 100 + overlap
        if beyond.any():
            self.note[at[beyond]] = f"shares above {100 + overlap:g} % together were never measured"
            self.rate[at[beyond]] = np.nan
            at, batch, share = at[~beyond], batch[~beyond], share[~beyond]
        if pair.table is None:
            slowdown: Floats = np.full(at.size, pair.slowdown)
        else:
            own = self.queries["share_pct"][at]
            slowdown = read_many(pair.table, self.batch[at], batch, own, share)
            lacking = np.isnan(slowdown)
            self.note[at[lacking]] = f"the slowdown beside {pair.neighbour!r} depends on its knobs"
        self._slow_down(at, slowdown, pair.error, pair.evidence)

    def _unlisted(
        self, gpu: str, victim: str, neighbour: str, at: Ints, batch: Floats, share: Floats
    ) -> None:
        """Ask the regression, then the constant."""
        company = self._fitted(gpu)
        if company is not None and {victim, neighbour} <= company.place.keys():
            n = at.size
            who = np.full(n, company.place[victim]), np.full(n, company.place[neighbour])
            asked = Queries(*who, self.batch[at], batch, self.queries["share_pct"][at], share)
            answer = company.predict(asked)
            for source in np.unique(answer.source):
                of = answer.source == source
                evidence = EVIDENCE_OF[source]
                error = self.errors.get((gpu, evidence), ())
                if evidence is Evidence.CONSTANT and not company.met(who[0][:1], who[1][:1])[0]:
                    error = ()
                self._slow_down(at[of], answer.slowdown[of], error, evidence)
            self.note[at[np.isnan(answer.slowdown)]] = f"nothing is known beside {neighbour!r} here"
            return
        model = self.models.interference
        if model is None or model.default_slowdown is None:
            self.note[at] = f"nothing is known of {victim!r} beside {neighbour!r} on {gpu!r}"
            self.rate[at] = np.nan
            return
        constant = np.full(at.size, model.default_slowdown)
        self._slow_down(at, constant, model.default_error, Evidence.CONSTANT)

    def _overlap(self, gpu: str) -> float:
        """Return by how many points two shares may overlap; without a fit nobody knows."""
        company = self._fitted(gpu)
        return math.inf if company is None else company.model.most_overlap_pct + OVERLAP_SLACK

    def _fitted(self, gpu: str) -> Company | None:
        if gpu not in self.companies:
            model = next((m for m in self.models.company if m.gpu_type == gpu), None)
            roles = {p.workload: p.role for p in self.models.profiles if p.gpu_type == gpu}
            self.companies[gpu] = None if model is None else Company(model, roles=roles)
        return self.companies[gpu]

    def _slow_down(
        self, at: Ints, slowdown: Floats, error: Sequence[ErrorBound], evidence: Evidence
    ) -> None:
        self.rate[at] /= slowdown
        self.kept[at] /= 1.0 + relative_error(error, self.confidence)
        self.weakest[at] = np.maximum(self.weakest[at], _rank(evidence))
        self.unbounded[at] |= evidence is Evidence.CONSTANT and not error

    # -- bounds --------------------------------------------------------------------------------

    def _high_error(self) -> Floats:
        """Return by how much the rate may be higher, which depends on its kind and evidence."""
        alone = self.queries.alone
        found = np.full(self.rate.shape, np.inf)
        for kind in self.models.calibration:
            # Alone all curves were calibrated together, whatever they rest on.
            rows = (
                alone if kind.what == "alone" else ~alone & (self.weakest == _rank(kind.evidence))
            )
            if kind.gpu_type is not None:
                rows = rows & (self.queries["gpu"] == kind.gpu_type)
            # Each neighbour adds an error of its own.
            error = relative_error(kind.high, self.confidence)
            found[rows] = np.power(1.0 + error, np.maximum(1, self.neighbours[rows])) - 1.0
        found[self.unbounded] = np.inf
        if self.confidence <= 0.5:
            found[:] = 0.0
        return found


def _rank(evidence: Evidence) -> int:
    return EVIDENCE_ORDER.index(evidence)


def _groups(codes: Ints) -> Iterator[tuple[int, Ints]]:
    """Yield each code with the places where it stands."""
    order = np.argsort(codes, kind="stable")
    edges = np.flatnonzero(np.diff(codes[order])) + 1
    for part in np.split(order, edges):
        if part.size:
            yield int(codes[part[0]]), part


def _numbers(column: Texts, most: int) -> Floats:
    """Return the numbers of a column of texts such as "8+16", [row, neighbour]; nan for none."""
    coded = _Coded.of(column)
    parsed = np.full((len(coded.texts), most), np.nan)
    for i, text in enumerate(coded.texts):
        parts = [float(p) if p.strip() else np.nan for p in text.split("+")] if text else []
        # A single number counts for all neighbours.
        parts = parts * most if len(parts) == 1 else parts[:most]
        parsed[i, : len(parts)] = parts
    return parsed[coded.code]
