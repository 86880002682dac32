"""Words that changes share."""

from __future__ import annotations

__all__ = ["instead"]


def instead(old: float | None, unit: str = "") -> str:
    """Return ` instead of 330 ms`, or nothing where there was no one value."""
    return "" if old is None else f" instead of {old:.6g}{unit}"
