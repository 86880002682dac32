"""One belief about MPS, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Source", "Standing"]

Standing = Literal["documented", "reported", "assumed"]
"""In NVIDIA's pages; seen on hardware by others, who wrote it down; neither."""


@dataclass(frozen=True, slots=True)
class Source:
    """One belief.

    Parameters
    ----------
    name
        What it is about; replies of the double refer to it.
    standing
        How well it is known.
    where
        Page and section, or who reported it.
    says
        What it says, in our words.
    confirmed
        Driver of the transcript that shows it, or None.
    """

    name: str
    standing: Standing
    where: str
    says: str
    confirmed: str | None = None
