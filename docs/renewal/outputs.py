"""Brings what the examples print up to date, where the page shows all of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from renewal.examples import COLUMNS, run_page

__all__ = ["renewed"]


def renewed(text: str, path: Path) -> str:
    """Return a page with the outputs as they are now; those with `...` are left as they are."""
    root = path.parent if path.name == "README.md" else path.parents[1]
    home = Path.cwd()
    os.environ["COLUMNS"] = str(COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            found = list(run_page(text, path.name, root))
        finally:
            os.chdir(home)
    for mismatch in reversed(found):
        if "..." not in mismatch.expected:
            printed = "".join(f"{x.rstrip()}\n" for x in mismatch.printed.strip("\n").split("\n"))
            text = text[: mismatch.start] + printed + text[mismatch.end :]
    return text
