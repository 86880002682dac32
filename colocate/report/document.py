"""The frame of every page: no scripts, nothing loaded from anywhere, styles inside."""

from __future__ import annotations

from importlib import resources

from colocate.report.markup import Markup, element, raw

__all__ = ["document"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def document(title: str, body: Markup, *styles: str) -> str:
    """Return a whole page as text.

    Parameters
    ----------
    title
        Title of the page.
    body
        The `body` element.
    styles
        Style sheets of this package, by file name.
    """
    folder = resources.files("colocate.report")
    style = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in styles)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", raw(style)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"
