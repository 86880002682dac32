"""The picture in the README: the plan of the README's own example, as one bar for each GPU."""

from __future__ import annotations

import contextlib
import io
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from renewal.examples import blocks

__all__ = ["FILE", "drawn"]

FILE = "_static/sharing.svg"

LEFT, WIDTH, TOP, HEIGHT, STEP = 92, 600, 58, 34, 50
"""Where the bars begin, how long and high they are, and how far apart."""

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
width="{width}" height="{height}" role="img" aria-label="{label}">
<style>
text {{ font: 13px system-ui, sans-serif; fill: #1f2328; }}
.small {{ font-size: 12px; fill: #59636e; }}
.inside {{ fill: #ffffff; font-weight: 600; }}
.service {{ fill: #2563a8; }} .task {{ fill: #a15c07; }} .free {{ fill: #d9dee3; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #e6edf3; }} .small {{ fill: #9198a1; }} .free {{ fill: #3d444d; }}
}}
</style>
"""


class _Part(NamedTuple):
    kind: str
    name: str
    share_pct: int


def drawn(root: Path) -> str:
    """Return the picture of the plan that the first example of the README finds."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    first = next(b for b in blocks(readme) if b.kind == "python")
    namespace: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(first.body, namespace)  # noqa: S102 - the README's own example
    plan = namespace["result"].plan
    gpus = {
        f"{p.pool}/{p.gpu}": [
            *(_Part("service", s.service, s.share_pct) for _, s in p.services),
            *(_Part("task", t.task, t.share_pct) for _, t in p.tasks),
        ]
        for p in plan.iter_placements()
    }
    return _svg(gpus)


def _svg(gpus: dict[str, list[_Part]]) -> str:
    width, height = LEFT + WIDTH + 20, TOP + STEP * len(gpus) - (STEP - HEIGHT) + 12
    spoken = "; ".join(
        f"{gpu}: {', '.join(f'{p.name} {p.share_pct} %' for p in parts)}"
        for gpu, parts in gpus.items()
    )
    lines = [_HEAD.format(width=width, height=height, label=escape(f"Who shares: {spoken}"))]
    legend = (("service", "inference service"), ("task", "training worker"), ("free", "free"))
    x = LEFT
    for kind, words in legend:
        lines.append(f'<rect class="{kind}" x="{x}" y="14" width="14" height="14" rx="2"/>')
        lines.append(f'<text class="small" x="{x + 20}" y="25">{words}</text>')
        x += 40 + 7 * len(words)
    lines.append(
        f'<text class="small" x="{LEFT + WIDTH}" y="25" text-anchor="end">'
        "width: share of the multiprocessors</text>"
    )
    for i, (gpu, parts) in enumerate(gpus.items()):
        y = TOP + STEP * i
        middle = y + HEIGHT // 2 + 5
        lines.append(f'<text x="{LEFT - 12}" y="{middle}" text-anchor="end">{escape(gpu)}</text>')
        lines.append(
            f'<rect class="free" x="{LEFT}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="3"/>'
        )
        x = LEFT
        for part in parts:
            w = WIDTH * part.share_pct // 100
            lines.append(
                f'<rect class="{part.kind}" x="{x}" y="{y}" width="{w - 2}" height="{HEIGHT}" '
                'rx="3"/>'
            )
            lines.append(
                f'<text class="inside" x="{x + (w - 2) / 2:g}" y="{middle}" '
                f'text-anchor="middle">{escape(part.name)} {part.share_pct} %</text>'
            )
            x += w
    return "\n".join([*lines, "</svg>"]) + "\n"
