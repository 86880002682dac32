"""Finding out what a file holds before it is loaded, and other things about the files named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer

from colocate.errors import InputError

if TYPE_CHECKING:
    from colocate.instance import Instance
    from colocate.plan import Plan

__all__ = ["at_most_one_stdin", "load_either", "load_plugins"]

_SCHEMA = re.compile(rb'"schema"\s*:\s*"colocate/(instance|plan|models)/v')


def at_most_one_stdin(*sources: str) -> None:
    """Refuse to read standard input twice."""
    if sum(s == "-" for s in sources) > 1:
        raise typer.BadParameter("only one of the files can be - (standard input)")


def load_plugins(specs: list[str] | None) -> None:
    """Load the components named on the command line."""
    if specs:
        from colocate.registry import load_plugin

        for spec in specs:
            load_plugin(spec)


def load_either(source: str, max_bytes: int) -> Instance | Plan:
    """Load an instance or a plan, whichever the file says that it is."""
    from io import BytesIO

    from colocate import io
    from colocate.io.files import read_source
    from colocate.io.json_read import read_json

    data, label, _ = read_source(source, max_bytes, InputError)
    again: str | BytesIO = source
    if source == "-":
        again = BytesIO(data)
        again.name = label  # for the messages
    found = _SCHEMA.search(data)
    if found is None:
        document = read_json(data, label, InputError, io.MEMORY_PER_BYTE * max_bytes)
        raise InputError(
            "the file says neither that it is an instance nor that it is a plan",
            path="$.schema",
            advice='give a file with "schema": "colocate/instance/v1" or "colocate/plan/v1".',
            source=document.source,
        )
    if found.group(1) == b"models":
        raise InputError(
            "the file holds fitted models",
            path="$.schema",
            advice="look at them with `colocate models show`.",
            source=label,
        )
    if found.group(1) == b"plan":
        return io.load_plan(again, max_bytes=max_bytes)
    return io.load_instance(again, max_bytes=max_bytes)
