"""Fitted models in one file: curves, slowdowns, error bounds, and how they came about.

An instance refers to such a file as it does to a profile file; what it takes from it are the
profiles and the slowdowns. The rest tells people and `predict` what these rest on.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from colocate.profile.bounds import Bounds, check_bounds
from colocate.profile.company import CompanyModel
from colocate.profile.interference import Interference
from colocate.profile.workload import Profile
from colocate.schema import Evidence, Frozen, Id, ListOf, NonNegative

__all__ = [
    "Calibration",
    "CurveReport",
    "FamilyError",
    "FitReport",
    "FittedModels",
    "RowsLeftOut",
    "SharePoint",
]

Text = Annotated[str, Field(max_length=1000)]
Number = Annotated[int, Field(ge=0, le=10**12)]


class Calibration(Frozen):
    """How far predictions of one kind were from measurements that had no part in them."""

    what: Literal["alone", "company"]
    """Rates alone on the GPU, or rates in company."""
    gpu_type: Id | None = None
    """On which type of GPU; left out where all types were taken together."""
    evidence: Evidence
    """What the predictions rested on."""
    low: Bounds = ()
    """The rate was lower than predicted by at most this."""
    high: Bounds = ()
    """The rate was higher than predicted by at most this."""
    residuals: Number = 0
    """Held-out measurements."""
    units: Number = 0
    """Workloads that they came from; the split was made between these."""
    mean_error_pct: NonNegative = 0.0
    """Mean of |predicted - measured| / measured."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_bounds(self.low, "low")
        check_bounds(self.high, "high")
        return self


class SharePoint(Frozen):
    """A measured point of a curve, as it was used."""

    batch: Annotated[int, Field(ge=1, le=1_000_000)]
    """Batch size."""
    share_pct: Annotated[float, Field(gt=0, le=100)]
    """Share of the GPU's multiprocessors."""
    rate: NonNegative
    """Measured samples per second; the mean where it was measured more than once."""
    fitted: NonNegative
    """What the curve says there."""


class FamilyError(Frozen):
    """How well one family of curves did, and how much it counts."""

    family: Id
    """Name of the family: `formulas` is the average of the formulas, each believed as far as it
    explains the points, `monotone_table` the measured points joined."""
    weight: Annotated[float, Field(ge=0, le=1)]
    """Its part of the curve; learnt on other workloads."""
    error_pct: NonNegative | None = None
    """Mean relative error at points that were left out in turn; None with too few points."""


class CurveReport(Frozen):
    """How one rate curve came about."""

    workload: Id
    """Name of the workload."""
    gpu_type: Id
    """GPU type."""
    method: Text
    """Family of the curve, or which families were averaged with which weights."""
    error_pct: NonNegative | None = None
    """Mean relative error at points that were left out in turn; None with too few points."""
    families: Annotated[tuple[FamilyError, ...], ListOf, Field(max_length=100)] = ()
    """Every family that was tried, with its error at the same points that were left out."""
    points: Annotated[tuple[SharePoint, ...], ListOf, Field(max_length=100_000)] = ()
    """The measured points."""
    notes: Annotated[tuple[Text, ...], ListOf, Field(max_length=1000)] = ()
    """Where measurements disagree with each other or with the curve."""


class RowsLeftOut(Frozen):
    """Rows of the table that were not used, and why."""

    reason: Text
    """Why."""
    rows: Annotated[int, Field(ge=1, le=10**12)]
    """How many."""
    example: Text = ""
    """One of them."""


class FitReport(Frozen):
    """What went in, what was left out, and how well the models fit."""

    rows: Number = 0
    """Rows of the table."""
    left_out: Annotated[tuple[RowsLeftOut, ...], ListOf, Field(max_length=1000)] = ()
    """Rows that were not used."""
    curves: Annotated[tuple[CurveReport, ...], ListOf, Field(max_length=100_000)] = ()
    """How each rate curve came about."""
    company: Text = ""
    """How slowdowns in company are predicted where they were not measured."""
    notes: Annotated[tuple[Text, ...], ListOf, Field(max_length=10_000)] = ()
    """Further remarks."""


class FittedModels(Frozen):
    """Everything that was fitted to a profile table."""

    schema_: Literal["colocate/models/v1"] = Field(default="colocate/models/v1", alias="schema")
    """Format and version."""
    description: Annotated[str, Field(max_length=10_000)] = ""
    """For readers."""
    profiles: Annotated[tuple[Profile, ...], ListOf, Field(max_length=100_000)] = ()
    """How each workload runs alone on each GPU type."""
    interference: Interference | None = None
    """Slowdowns of pairs."""
    company: Annotated[tuple[CompanyModel, ...], ListOf, Field(max_length=1000)] = ()
    """What slowdowns are predicted with, one for each GPU type that was measured in company."""
    calibration: Annotated[tuple[Calibration, ...], ListOf, Field(max_length=10_000)] = ()
    """How far predictions are from measurements."""
    report: FitReport = FitReport()
    """How the models came about."""
    _sha256: str | None = PrivateAttr(default=None)

    @property
    def sha256(self) -> str:
        """Hash of the canonical form."""
        if self._sha256 is None:
            text = self.model_dump_json(by_alias=True, exclude_none=True)
            self._sha256 = hashlib.sha256(text.encode()).hexdigest()
        return self._sha256
