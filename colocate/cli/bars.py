"""Shares of a GPU and use of a limit, drawn with block characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from colocate.report.facts import Cotenant

__all__ = ["ASCII", "BLOCKS", "Glyphs", "legend", "share_bar", "use_bar"]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character for each kind of cell; co-tenants of one kind take turns."""

    service: str
    task: str
    free: str
    used: str


BLOCKS = Glyphs(service="█▓", task="▒░", free="·", used="━")
ASCII = Glyphs(service="#%", task="=-", free=".", used="=")
_STYLES = {"service": ("blue", "cyan"), "task": ("yellow", "bright_yellow")}


def cells(shares: Sequence[int], width: int) -> list[int]:
    """Return how many of `width` cells each share takes: at least one each, never more than all.

    Ends are rounded, not lengths, so that the sum is as exact as the drawing allows.
    """
    ends: list[int] = []
    total = 0
    for i, share in enumerate(shares):
        total += share
        left = len(shares) - 1 - i
        least = (ends[-1] if ends else 0) + 1
        ends.append(max(least, min(round(total * width / 100), width - left)))
    return [b - a for a, b in zip([0, *ends], ends, strict=False)]


def share_bar(cotenants: Sequence[Cotenant], width: int, glyphs: Glyphs) -> Text:
    """Draw one GPU: each co-tenant's share, then what is free."""
    from rich.text import Text

    bar = Text(no_wrap=True)
    turn = {"service": 0, "task": 0}
    lengths = cells([c.share_pct for c in cotenants], width)
    for c, length in zip(cotenants, lengths, strict=True):
        n = turn[c.kind] % 2
        turn[c.kind] += 1
        glyph = (glyphs.service if c.kind == "service" else glyphs.task)[n]
        bar.append(glyph * length, style=_STYLES[c.kind][n])
    bar.append(glyphs.free * max(0, width - sum(lengths)), style="dim")
    return bar


def use_bar(part: float | None, width: int, glyphs: Glyphs) -> Text:
    """Draw how much of a limit is used, and say it in percent."""
    from rich.text import Text

    if part is None:
        return Text("")
    filled = max(0, min(width, round(part * width)))
    style = "red" if part > 1 + 1e-9 else "yellow" if part > 0.9 else "green"
    bar = Text(no_wrap=True)
    bar.append(glyphs.used * filled, style=style)
    bar.append(glyphs.free * (width - filled), style="dim")
    bar.append(f"{100 * part:4.0f} %", style="" if width else style)
    return bar


def legend(glyphs: Glyphs) -> Text:
    """Say what the characters of a share bar stand for."""
    from rich.text import Text

    text = Text("share of each GPU:  ")
    text.append(glyphs.service[0], style=_STYLES["service"][0])
    text.append(" inference service   ")
    text.append(glyphs.task[0], style=_STYLES["task"][0])
    text.append(" training worker   ")
    text.append(glyphs.free, style="dim")
    text.append(" free")
    return text
