"""The report's pictures, as SVG with nothing outside: they open in any browser."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Series", "chart", "pictures_of"]

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 44, 56
COLOURS = ("#1f5fa8", "#c2571a", "#2f7d4f", "#8a3f8f", "#6b6b6b")


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one kind."""

    name: str
    points: Sequence[tuple[float, float]]
    line: bool = True


def chart(
    title: str,
    x_name: str,
    y_name: str,
    series: Sequence[Series],
    *,
    diagonal: bool = False,
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Return a chart.

    Parameters
    ----------
    title, x_name, y_name
        What it shows.
    series
        Points, joined where that means something.
    diagonal
        Whether to draw where x and y are equal.
    marks
        Vertical lines with a word each.
    """
    xs = [x for s in series for x, _ in s.points] + [x for x, _ in marks]
    ys = [y for s in series for _, y in s.points]
    if not xs or not ys:
        xs, ys = [0.0, 1.0], [0.0, 1.0]
    most_x, most_y = _round_up(max(xs)), _round_up(max(ys))
    if diagonal:
        most_x = most_y = max(most_x, most_y)

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / most_x
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / most_y

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" ',
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 22, title, size=15),
    ]
    for i in range(6):
        x, y = most_x * i / 5, most_y * i / 5
        (px, _), (_, py) = at(x, 0), at(0, y)
        parts.append(_line(px, TOP, px, HEIGHT - BOTTOM, "#e6e6e6"))
        parts.append(_line(LEFT, py, WIDTH - RIGHT, py, "#e6e6e6"))
        parts.append(_text(px, HEIGHT - BOTTOM + 16, f"{x:.4g}", anchor="middle"))
        parts.append(_text(LEFT - 8, py + 4, f"{y:.4g}", anchor="end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 34, x_name, anchor="middle"))
    parts.append(_text(LEFT - 60, TOP - 8, y_name))
    if diagonal:
        parts.append(_line(*at(0, 0), *at(most_x, most_y), "#999999", dash=True))
    for x, word in marks:
        px, _ = at(x, 0)
        parts.append(_line(px, TOP, px, HEIGHT - BOTTOM, "#b00020", dash=True))
        parts.append(_text(px + 4, TOP + 12, word))
    across = LEFT
    for i, each in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        placed = [at(x, y) for x, y in each.points]
        if each.line and len(placed) > 1:
            steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(f'<polyline points="{steps}" fill="none" stroke="{colour}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in placed]
        parts.append(
            f'<rect x="{across}" y="{HEIGHT - 14}" width="10" height="10" fill="{colour}"/>'
        )
        parts.append(_text(across + 14, HEIGHT - 5, each.name))
        across += 30 + 7 * len(each.name)
    return "\n".join([*parts, "</svg>", ""])


def pictures_of(stages: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the pictures that the facts of the stages give, by file name."""
    found = {}
    caps = stages.get("share caps", {}).get("points", [])
    if caps and all("rate_over_whole" in p for p in caps):
        found["share-caps.svg"] = chart(
            "What a share cap leaves of the GPU",
            "share, %",
            "part of the whole",
            [
                Series("products", [(p["share_pct"], p["rate_over_whole"]) for p in caps]),
                Series(
                    "multiprocessors seen", [(p["share_pct"], p["sms_over_whole"]) for p in caps]
                ),
            ],
        )
    alone = [
        row
        for point in stages.get("alone", {}).get("points", [])
        for row in point["rows"]
        if row.get("rate")
    ]
    if alone:
        found["alone.svg"] = _alone(alone)
    held = stages.get("held-out pairs", {}).get("rows", [])
    rows = stages.get("compare", {}).get("rows", [])
    if held or rows:
        most = [max(r["measured"], r["predicted"]) for r in (*held, *rows)]
        scale = max(most)
        found["predicted.svg"] = chart(
            "Rates in company: predicted against measured (of the largest)",
            "measured",
            "predicted",
            [
                Series("pairs not fitted", _scaled(held, scale), line=False),
                Series("the applied plan", _scaled(rows, scale), line=False),
            ],
            diagonal=True,
        )
    timeline = stages.get("kill", {}).get("timeline", [])
    if timeline:
        found["kill.svg"] = _kill(timeline, stages["kill"]["killed_at_s"])
    return found


def _alone(rows: Sequence[dict[str, Any]]) -> str:
    series = []
    for name in dict.fromkeys(r["workload"] for r in rows):
        mine = [r for r in rows if r["workload"] == name]
        batch = max(r["batch"] for r in mine)
        points = sorted((r["share_pct"], r["rate"]) for r in mine if r["batch"] == batch)
        most = max(rate for _, rate in points)
        series.append(Series(f"{name} b{batch}", [(s, rate / most) for s, rate in points]))
    title = "Rates alone, over the largest of each"
    return chart(title, "share, %", "part of the largest", series[: len(COLOURS)])


def _kill(timeline: Sequence[dict[str, Any]], killed_at: float) -> str:
    def over(name: str) -> list[tuple[float, float]]:
        values = [(m["at_s"], m[name]) for m in timeline if m[name] is not None]
        most = max((v for _, v in values), default=0.0) or 1.0
        return [(at, v / most) for at, v in values]

    return chart(
        "A training process is killed: each over its own largest",
        "seconds",
        "part of the largest",
        [
            Series("service, samples/s", over("service_rate")),
            Series("service, p99", over("p99_ms")),
            Series("training, samples/s", over("training_rate")),
        ],
        marks=[(killed_at, "killed")],
    )


def _scaled(rows: Sequence[dict[str, Any]], scale: float) -> list[tuple[float, float]]:
    return [(r["measured"] / scale, r["predicted"] / scale) for r in rows]


def _round_up(value: float) -> float:
    """Return the next number of 1, 2, 2.5, 5 times a power of ten."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        f * power for f in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if f * power >= value * 0.999
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dash: bool = False) -> str:
    dashes = ' stroke-dasharray="5 4"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    shown = html.escape(text)
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{shown}</text>'
