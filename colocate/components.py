"""Making a registered component from its name and parameters.

A component class names its parameters in a frozen pydantic model `Params`; they are validated here,
so that a wrong parameter is an input error with its path.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from colocate.errors import InstanceError, clean_text
from colocate.schema import TOLERANCE, Component

__all__ = ["at_most", "make"]


def at_most(value: float, limit: float) -> bool:
    """Return whether value <= limit, with the tolerance that is used everywhere."""
    return value <= limit + TOLERANCE * max(1.0, abs(limit))


def make(cls: Any, spec: Component, path: str) -> Any:  # noqa: ANN401 - any component class
    """Return `cls(cls.Params(**spec.params))`, or raise `InstanceError` naming the parameter."""
    try:
        params = cls.Params(**spec.params)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        known = ", ".join(cls.Params.model_fields) or "none"
        raise InstanceError(
            f"{spec.name!r}: {first['msg']} (got {clean_text(str(first.get('input')), 60)})",
            path=f"{path}.params.{clean_text(at, 80)}" if at else f"{path}.params",
            advice=f"check its parameters: {known}.",
        ) from error
    return cls(params)
