"""The state folder cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.errors import ColocateError, clean_text

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["StateError"]


class StateError(ColocateError):
    """The state folder, or a file in it, cannot be read or written as it must be."""

    exit_code = 5

    @classmethod
    def of(cls, failed: OSError, verb: str, path: Path) -> StateError:
        """Return what the system says, with the path and advice."""
        shown = clean_text(str(path), 200)
        return cls(
            f"cannot {verb} {shown!r}: {failed.strerror or failed}",
            advice="check that the folder is yours, is writable and has room.",
        )
