"""Building HTML and SVG so that foreign text cannot become markup.

Everything that is not made by `element` or `raw` is escaped when it is put inside an element or an
attribute. There is no other way to make `Markup`, except `raw`, which is for constants of ours.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from colocate.errors import clean_text

__all__ = ["Markup", "element", "escaped", "join", "raw"]

_LONGEST_TEXT = 20_000
_VOID = frozenset({"br", "col", "hr", "img", "meta"})


class Markup(str):
    """Text that is already HTML."""

    __slots__ = ()


Child = object
"""Markup, text, a number, None (nothing), or an iterable of these."""


def raw(constant: str) -> Markup:
    """Mark a constant of this package as HTML. Never for anything that came from outside."""
    return Markup(constant)


def escaped(value: object) -> Markup:
    """Return any value as text that is safe between tags and inside quotes."""
    if isinstance(value, Markup):
        return value
    lines = str(value).split("\n")
    cleaned = "\n".join(clean_text(line, _LONGEST_TEXT) for line in lines)
    return Markup(html.escape(cleaned, quote=True))


def join(children: Iterable[Child]) -> Markup:
    """Return the children one after the other."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Iterable) and not isinstance(child, str):
            parts.append(join(child))
        else:
            parts.append(escaped(child))
    return Markup("".join(parts))


def element(tag: str, *children: Child, **attributes: object) -> Markup:
    """Return `<tag attributes>children</tag>`, well-formed as XML too.

    An attribute's trailing underscore is dropped (`class_`), other underscores become dashes;
    attributes that are None are left out.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{written} />")
    return Markup(f"<{tag}{written}>{join(children)}</{tag}>")
