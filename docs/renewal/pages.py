"""The pages, and the parts of them that are generated."""

from __future__ import annotations

import re
from pathlib import Path

from renewal.blocks import BLOCKS

__all__ = ["generated_names", "paths", "renewed"]

_PART = re.compile(
    r"(?P<head><!-- generated: (?P<what>[^\n]*?) -->\n)"
    r".*?(?P<foot><!-- end of generated -->)",
    re.DOTALL,
)


def paths(root: Path) -> list[Path]:
    """Return the README and all pages, in order."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def renewed(text: str) -> str:
    """Return a page with every generated part as the code has it now."""

    def part(match: re.Match[str]) -> str:
        name, *arguments = match["what"].split()
        return f"{match['head']}\n{BLOCKS[name](*arguments).strip()}\n\n{match['foot']}"

    return _PART.sub(part, text)


def generated_names(text: str) -> list[str]:
    """Return what the generated parts of a page are, such as `fields GpuPool`."""
    return [match["what"] for match in _PART.finditer(text)]
