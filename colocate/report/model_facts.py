"""What a reader wants to know of fitted models, as plain data: curves, pairs, calibration.

The command line and the HTML page show these facts; neither computes any of its own. A residual is
(fitted - measured) / measured.
"""

from __future__ import annotations

import difflib
import math
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colocate.errors import InputError, clean_text
from colocate.models.bounds import relative_error
from colocate.models.curves import batches_of, rate_alone
from colocate.schema import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from colocate.profile import PairSlowdown, Profile
    from colocate.profile.company import CompanyModel, StructureModel
    from colocate.profile.fitted import CurveReport, FamilyError, FittedModels, SharePoint

__all__ = [
    "CurveFacts",
    "Overview",
    "PairFacts",
    "StructureFacts",
    "curve_facts",
    "family_words",
    "high_error",
    "line_over_share",
    "overview",
    "pair_facts",
    "residual",
    "spread",
    "structure_facts",
    "summary",
]

FAMILIES = {"formulas": "average of the formulas", "monotone_table": "joined points"}
"""Families whose names say too little."""
MOST_GUESSED = 12
"""Workloads that are named."""
SHARES = tuple(float(p) for p in range(1, 101))


@dataclass(frozen=True, slots=True)
class CurveFacts:
    """One rate curve with what it was fitted to."""

    profile: Profile
    batches: tuple[int, ...]
    """At which the curve is known."""
    report: CurveReport | None
    """None for a curve that was not fitted here."""

    @property
    def name(self) -> str:
        """Workload and GPU type."""
        return f"{self.profile.workload} on {self.profile.gpu_type}"

    @property
    def points(self) -> tuple[SharePoint, ...]:
        """The measured points."""
        return () if self.report is None else self.report.points

    @property
    def error_pct(self) -> float | None:
        """Mean error at points that were left out in turn."""
        return None if self.report is None else self.report.error_pct

    @property
    def families(self) -> tuple[FamilyError, ...]:
        """Every family that was tried, the one with the smallest error first."""
        tried = () if self.report is None else self.report.families
        return tuple(sorted(tried, key=lambda f: (f.error_pct is None, f.error_pct or 0.0)))

    @property
    def method(self) -> str:
        """How the curve came about, or at least what it is."""
        return self.profile.curve.family if self.report is None else self.report.method

    @property
    def notes(self) -> tuple[str, ...]:
        """Where measurements disagree."""
        return () if self.report is None else self.report.notes


@dataclass(frozen=True, slots=True)
class PairFacts:
    """By how much one workload is slowed down beside another."""

    pair: PairSlowdown
    least: float
    typical: float
    """The mean over the table, or the one number that there is."""
    most: float
    by_layers: bool = False
    """Whether the telemetry of one of the two was guessed from its layers."""

    @property
    def rests_on(self) -> str:
        """Its evidence, and where a guess comes from."""
        evidence = self.pair.evidence.value
        return f"{evidence} (layers)" if self.by_layers else evidence

    @property
    def depends(self) -> bool:
        """Whether it depends on batches or shares."""
        return self.pair.table is not None and len(self.pair.table.slowdown) > 1


@dataclass(frozen=True, slots=True)
class StructureFacts:
    """What was learnt from the layers of networks on one GPU type."""

    company: CompanyModel
    model: StructureModel

    @property
    def gpu_type(self) -> str:
        """Where it was learnt."""
        return self.company.gpu_type

    @property
    def guessed(self) -> tuple[str, ...]:
        """Workloads whose telemetry was guessed."""
        return tuple(t.workload for t in self.company.telemetry if t.guessed)

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """Ordered pairs that are told by guesses: with roles that were measured together."""
        role = {t.workload: t.role for t in self.company.telemetry}
        met = {(c.victim_role, c.neighbour_role) for c in self.company.constants}
        guessed = set(self.guessed)
        return frozenset(
            (v, n)
            for v in role
            for n in (role if v in guessed else guessed)
            if (role[v], role[n]) in met
        )

    @property
    def words(self) -> str:
        """What rests on layers, and how far off such slowdowns were."""
        who = ", ".join(self.guessed[:MOST_GUESSED]) or "no workload"
        rest = len(self.guessed) - MOST_GUESSED
        more = f" and {rest:,} more" if rest > 0 else ""
        known = len(self.model.workloads)
        errors = [f"{e.name} {e.error_pct:.3g} %" for e in self.model.slowdown_errors]
        off = f"; left-out workloads were off by {', '.join(errors)}" if errors else ""
        return f"{self.gpu_type}: {who}{more} guessed from {known:,} networks with layers{off}"


@dataclass(frozen=True, slots=True)
class Overview:
    """A few numbers about everything."""

    rows: int
    rows_left_out: int
    curves: int
    workloads: int
    gpu_types: int
    evidence: dict[str, int]
    pairs: int
    pair_evidence: dict[str, int]
    median_error_pct: float | None
    """Median over the curves of the mean error at points that were left out."""


def residual(point: SharePoint) -> float | None:
    """Return (fitted - measured) / measured; None where nothing ran, or hardly anything."""
    found = (point.fitted - point.rate) / point.rate if point.rate > 0 else math.inf
    return found if math.isfinite(found) else None


def family_words(family: str) -> str:
    """Return what a family of curves is called in a sentence."""
    return FAMILIES.get(family, family.replace("_", " "))


def spread(items: Sequence[int], most: int) -> tuple[int, ...]:
    """Return at most `most` items, evenly chosen, the first and the last among them."""
    if len(items) <= most:
        return tuple(items)
    last = len(items) - 1
    return tuple(items[round(i * last / (most - 1))] for i in range(most))


def line_over_share(profile: Profile, batch: int) -> list[tuple[float, float]]:
    """Return shares in percent with the rate at each, where the workload runs at all."""
    found = ((p, rate_alone(profile, batch, p)) for p in SHARES)
    return [(p, rate) for p, rate in found if rate is not None and rate > 0]


def high_error(models: FittedModels, profile: Profile, confidence: float) -> float:
    """Return by how much the rate alone may be higher than the curve; infinite when unknown."""
    for c in models.calibration:
        if c.what == "alone" and c.evidence == profile.evidence:
            return relative_error(c.high, confidence)
    return relative_error((), confidence)


def curve_facts(
    models: FittedModels, workload: str | None = None, gpu: str | None = None
) -> list[CurveFacts]:
    """Return the curves, of one workload or GPU type if these are given.

    Raises
    ------
    InputError
        When there is no such workload or GPU type.
    """
    _check_name("workload", workload, (p.workload for p in models.profiles))
    _check_name("GPU type", gpu, (p.gpu_type for p in models.profiles))
    reports = {(c.workload, c.gpu_type): c for c in models.report.curves}
    chosen = [
        CurveFacts(p, batches_of(p), reports.get((p.workload, p.gpu_type)))
        for p in models.profiles
        if workload in (None, p.workload) and gpu in (None, p.gpu_type)
    ]
    if not chosen and workload is not None:
        raise InputError(
            f"there is no curve of {workload!r} on {gpu!r}",
            advice="give one of the two alone to see what there is.",
        )
    return sorted(chosen, key=lambda c: (c.profile.gpu_type, c.profile.role, c.profile.workload))


def pair_facts(
    models: FittedModels, workload: str | None = None, gpu: str | None = None
) -> list[PairFacts]:
    """Return the slowdowns of pairs; with a workload, those that it is part of."""
    if models.interference is None:
        return []
    guessed = {s.gpu_type: s.pairs for s in structure_facts(models)}
    found = []
    for p in models.interference.pairs:
        if gpu in (None, p.gpu_type) and workload in (None, p.victim, p.neighbour):
            values = (p.slowdown,) if p.table is None else p.table.slowdown
            known = [v for v in values if v is not None]
            pair = (p.victim, p.neighbour)
            by_layers = p.evidence is Evidence.CONSTANT and pair in guessed.get(p.gpu_type, ())
            mean = sum(known) / len(known)
            found.append(PairFacts(p, min(known), mean, max(known), by_layers))
    return found


def structure_facts(models: FittedModels, gpu: str | None = None) -> list[StructureFacts]:
    """Return what was learnt from layers, for each GPU type where anything was."""
    return [
        StructureFacts(c, c.structure)
        for c in models.company
        if c.structure is not None and gpu in (None, c.gpu_type)
    ]


def overview(models: FittedModels) -> Overview:
    """Count what there is."""
    pairs = () if models.interference is None else models.interference.pairs
    errors = [c.error_pct for c in models.report.curves if c.error_pct is not None]
    return Overview(
        rows=models.report.rows,
        rows_left_out=sum(r.rows for r in models.report.left_out),
        curves=len(models.profiles),
        workloads=len({p.workload for p in models.profiles}),
        gpu_types=len({p.gpu_type for p in models.profiles}),
        evidence=dict(Counter(p.evidence.value for p in models.profiles)),
        pairs=len(pairs),
        pair_evidence=dict(Counter(p.evidence.value for p in pairs)),
        median_error_pct=statistics.median(errors) if errors else None,
    )


def summary(
    models: FittedModels, curves: Sequence[CurveFacts], pairs: Sequence[PairFacts]
) -> dict[str, Any]:
    """Return what the tables say, for machines."""
    model = models.interference
    report = models.report
    return {
        "models_sha256": models.sha256,
        "description": models.description,
        "rows": report.rows,
        "left_out": [r.model_dump(mode="json") for r in report.left_out],
        "curves": [_curve_summary(c) for c in curves],
        "company": report.company,
        "structure": [
            {
                "gpu_type": s.gpu_type,
                "guessed": list(s.guessed),
                "known": list(s.model.workloads),
                "method": s.model.method,
                "slowdown_errors": [e.model_dump(mode="json") for e in s.model.slowdown_errors],
            }
            for s in structure_facts(models)
        ],
        "default_slowdown": None if model is None else model.default_slowdown,
        "pairs": [
            {
                "gpu_type": f.pair.gpu_type,
                "victim": f.pair.victim,
                "neighbour": f.pair.neighbour,
                "evidence": f.pair.evidence.value,
                "by_layers": f.by_layers,
                "slowdown_least": f.least,
                "slowdown_mean": f.typical,
                "slowdown_most": f.most,
                "depends_on_knobs": f.depends,
            }
            for f in pairs
        ],
        "calibration": [c.model_dump(mode="json") for c in models.calibration],
        "notes": list(report.notes),
    }


def _curve_summary(facts: CurveFacts) -> dict[str, Any]:
    p = facts.profile
    return {
        "workload": p.workload,
        "gpu_type": p.gpu_type,
        "role": p.role,
        "family": p.curve.family,
        "method": facts.method,
        "evidence": p.evidence.value,
        "batches": list(facts.batches),
        "error_pct": facts.error_pct,
        "families": [f.model_dump(mode="json") for f in facts.families],
        "points": [
            {
                "batch": q.batch,
                "share_pct": q.share_pct,
                "rate": q.rate,
                "fitted": q.fitted,
                "residual": residual(q),
            }
            for q in facts.points
        ],
        "notes": list(facts.notes),
    }


def _check_name(what: str, name: str | None, known: Iterable[str]) -> None:
    """Refuse a name that no curve has."""
    names = sorted(set(known))
    if name is None or name in names:
        return
    near = difflib.get_close_matches(name[:80], names, n=1)
    if near:
        advice = f"write {near[0]!r}."
    else:
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        advice = f"use one of {shown}." if names else "fit models to a table first."
    raise InputError(f"there is no curve of a {what} {clean_text(name, 80)!r}", advice=advice)
