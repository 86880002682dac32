"""Arguments and options that several of the sub-commands share."""

from __future__ import annotations

from typing import Any

import typer

from colocate.cli import options

__all__ = [
    "CONFIDENCE",
    "MAX_MODELS",
    "MAX_TABLE",
    "MODELS",
    "MODELS_BYTES",
    "TABLE",
    "TABLE_BYTES",
    "check_confidence",
]

TABLE_BYTES = 512 * 1024 * 1024
MODELS_BYTES = 256 * 1024 * 1024
"""Slowdown tables of many pairs make large files."""

TABLE: Any = typer.Argument(
    ..., help="Profile table, CSV or JSON; - reads standard input.", metavar="TABLE"
)
MODELS: Any = typer.Argument(
    ..., help="File of fitted models; - reads standard input.", metavar="MODELS"
)
MAX_TABLE = options.flag(
    TABLE_BYTES,
    "--max-input",
    help="Refuse larger tables, also after decompression.",
    metavar="BYTES",
    min=1,
)
MAX_MODELS = options.flag(
    MODELS_BYTES, "--max-input", help="Refuse larger files of models.", metavar="BYTES", min=1
)
CONFIDENCE = options.flag(
    0.95,
    "--confidence",
    help="With which each bound holds, from 0.5 (no bounds) to below 1.",
    metavar="P",
)


def check_confidence(value: float) -> None:
    """Refuse what is no confidence; a range that leaves out its end is beyond typer."""
    if not 0.5 <= value < 1:
        raise typer.BadParameter(f"--confidence must be at least 0.5 and below 1, not {value:g}")
