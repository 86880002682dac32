"""The files that are made from the code: pictures, and the measurements of the worked example."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from renewal import measurements, picture, pictures

__all__ = ["FILES", "files", "same"]

FILES = (f"docs/{picture.FILE}", measurements.FILE, *pictures.DRAWINGS)
"""In the order in which they are made: drawings are made of the measurements."""


def content(name: str, root: Path) -> str:
    """Return what a file should hold."""
    if name == measurements.FILE:
        return measurements.written()
    if name in pictures.DRAWINGS:
        return pictures.DRAWINGS[name](root)
    return picture.drawn(root)


def files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file and what it should hold."""
    for name in FILES:
        yield root / name, content(name, root)


def same(old: str, new: str, path: Path) -> bool:
    """Return whether a file is up to date."""
    if any(path.as_posix().endswith(name) for name in pictures.DRAWINGS):
        return pictures.same_drawing(old, new)
    return old == new
