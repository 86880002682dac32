"""A batch size, as curves and memory use it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

__all__ = ["Batch"]

Batch = Annotated[int, Field(ge=1, le=1_000_000)]
