"""What an export gives: files, and what they do not say."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ExportFile", "ExportResult", "Loss"]


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of an export."""

    name: str
    """Relative path; letters, digits, dots, dashes, underscores and slashes only."""
    text: str
    runs: bool = False
    """Whether it is a program."""


@dataclass(frozen=True, slots=True, order=True)
class Loss:
    """Something that the plan or the launch file says and the target cannot express."""

    what: str
    """One of the words in the documentation: `restart`, `ready`, `memory_limit`, ..."""
    program: str
    """Id of the program in the launch file, or empty where all of them are meant."""
    detail: str
    """What is lost, and what happens instead."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Files by name, and losses."""

    files: tuple[ExportFile, ...]
    losses: tuple[Loss, ...]
