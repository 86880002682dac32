"""Consoles that print foreign text as it is: no markup, no emoji codes, no guessing at colours."""

from __future__ import annotations

import json
import os
import sys
from typing import IO, TYPE_CHECKING, Any

from colocate.errors import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = ["cell", "console", "plain_table", "print_json", "speaks_unicode"]

_WIDTH_OF_A_PIPE = 100


def console(stream: IO[str] | None = None) -> Console:
    """Return a console on standard output, or on another stream."""
    from rich.console import Console

    stream = sys.stdout if stream is None else stream
    wide = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH_OF_A_PIPE
    return Console(file=stream, markup=False, emoji=False, highlight=False, width=wide)


def speaks_unicode(stream: IO[str] | None = None) -> bool:
    """Return whether block characters can be written."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "ascii"
    return encoding.lower().replace("_", "-").startswith("utf")


def cell(text: object, style: str = "", limit: int = 200) -> Text:
    """Return foreign text as a table cell: cleaned, and never read as markup."""
    from rich.text import Text

    return Text(clean_text(str(text), limit), style=style)


def plain_table(title: str, columns: Iterable[str], *, right: Iterable[str] = ()) -> Table:
    """Return an empty table without a frame. The columns in `right` are aligned on that side."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_style="bold",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        header_style="bold",
        pad_edge=False,
        show_edge=False,
    )
    on_the_right = set(right)
    for name in columns:
        justify = "right" if name in on_the_right else "left"
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table


def print_json(document: Any) -> None:  # noqa: ANN401 - anything that JSON can hold
    """Write one JSON object to standard output. Escaped to ASCII, so it is safe on any terminal."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
