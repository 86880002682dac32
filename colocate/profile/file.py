"""Profiles in a file of their own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from colocate.profile.interference import Interference
from colocate.profile.workload import Profile
from colocate.schema import Frozen, ListOf

__all__ = ["ProfileFile"]


class ProfileFile(Frozen):
    """Profiles and slowdowns in a file of their own, for several instances to refer to."""

    schema_: Literal["colocate/profiles/v1"] = Field(alias="schema")
    """Format and version."""
    description: Annotated[str, Field(max_length=10_000)] = ""
    """For readers."""
    profiles: Annotated[tuple[Profile, ...], ListOf, Field(max_length=100_000)] = ()
    """Profiles, added to those of the instance."""
    interference: Interference | None = None
    """Slowdowns, added to those of the instance."""
