"""Curves and residuals drawn with characters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

__all__ = ["residual_bar", "sparkline"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-:=+*#"


def sparkline(values: Sequence[float], top: float, *, unicode: bool) -> str:
    """Return one character for each value, from zero to `top`; a blank where there is none."""
    ramp = _BLOCKS if unicode else _ASCII
    if top <= 0:
        return " " * len(values)
    return "".join(
        " " if v <= 0 else ramp[max(0, min(len(ramp), math.ceil(len(ramp) * v / top)) - 1)]
        for v in values
    )


def residual_bar(value: float | None, reach: float, half: int, *, unicode: bool) -> Text:
    """Draw a residual as a bar to the left (below the measurement) or right of a middle mark."""
    from rich.text import Text

    bar, middle, nothing = ("█", "│", "·") if unicode else ("#", "|", ".")
    part = 0.0 if value is None or reach <= 0 else max(-1.0, min(1.0, value / reach))
    length = round(abs(part) * half)
    left, right = (length, 0) if part < 0 else (0, length)
    text = Text(no_wrap=True)
    text.append(nothing * (half - left), style="dim")
    text.append(bar * left, style="yellow")
    text.append(middle)
    text.append(bar * right, style="blue")
    text.append(nothing * (half - right), style="dim")
    return text
