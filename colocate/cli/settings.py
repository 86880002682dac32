"""What one run of the command line shares between its parts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(slots=True)
class Settings:
    """Filled in by option callbacks while the command line is read."""

    debug: bool = False
    """Show tracebacks."""
    log_json: bool = False
    """Standard error carries one JSON object for each line."""
