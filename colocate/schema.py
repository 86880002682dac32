"""What all data objects have in common: strict, frozen, bounded, with units in their names."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
)

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = [
    "TOLERANCE",
    "Component",
    "Confidence",
    "Evidence",
    "Frozen",
    "Id",
    "NonNegative",
    "Percent",
    "Positive",
    "Share",
]

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
TOLERANCE = 1e-9
"""Relative slack with which every limit (SLO, memory, load, shares) is checked, everywhere."""


class _ListOf:
    """Marks a tuple field: JSON has lists only, which strict mode would refuse.

    Validation leaves a list at its first wrong item. Pydantic keeps a record of every problem, and
    a list of a million wrong numbers would fill the memory with records.
    """

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401 - any annotation
        handler: GetCoreSchemaHandler,
    ) -> CoreSchema:
        return cast("CoreSchema", {**handler(source), "strict": False, "fail_fast": True})


class Frozen(BaseModel):
    """Base of every data object: unknown keys, coercion, NaN and infinity are refused."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=False,
        ser_json_inf_nan="strings",
        use_attribute_docstrings=True,
    )


Id = Annotated[str, Field(pattern=ID_PATTERN)]
"""A name: letters, digits, dot, underscore, dash; at most 63 characters."""
Positive = Annotated[float, Field(gt=0, le=1e15)]
NonNegative = Annotated[float, Field(ge=0, le=1e15)]
Finite = Annotated[float, Field(ge=-1e15, le=1e15)]
Share = Annotated[int, Field(ge=1, le=100)]
"""A whole MPS percentage."""
Percent = Annotated[float, Field(gt=0, le=100)]
Confidence = Annotated[float, Field(ge=0.5, lt=1)]
Count = Annotated[int, Field(ge=1, le=100_000_000)]
ListOf = _ListOf()


class Evidence(StrEnum):
    """What a predicted number rests on, best first."""

    MEASURED = "measured"
    REGRESSED = "regressed"
    CONSTANT = "constant"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Let the plain words through, which is all that JSON has; strict mode refuses them."""
        return cast("CoreSchema", {**handler(source), "strict": False})


class Component(Frozen):
    """A registered component by name, with its parameters."""

    name: Id
    """The registered name, such as `throughput` or `fill`."""
    params: Annotated[
        dict[Id, bool | int | float | str | None],
        AfterValidator(lambda params: dict(sorted(params.items()))),
    ] = Field(default_factory=dict)
    """Its parameters; each component's page lists them."""
