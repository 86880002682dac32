"""What the code believes about MPS, where each belief comes from, and what nobody here has seen.

Every reply of the test double names an entry of this table, and every form that
`colocate.executor.mps.replies` accepts rests on one. ``docs/hardware/unconfirmed.md`` is made from
it. An entry loses its place there when a transcript of a real daemon shows it: `confirmed` then
names the driver.
"""

from __future__ import annotations

from colocate.executor.mps.beliefs import beliefs
from colocate.executor.mps.source import Source, Standing

__all__ = ["SOURCES", "unconfirmed", "unconfirmed_page"]

SOURCES: dict[str, Source] = {source.name: source for source in beliefs()}

_INTRODUCTION = """# What has not been confirmed on hardware

The executor was developed against a stand-in for NVIDIA's control program, on machines without a
GPU. A stand-in that agrees only with the code proves nothing, so each of its replies rests on one
of the statements below, and this page says where they come from. `make gpu-check` records what a
real daemon says; a statement that a recording shows leaves this page.

The pages are those of <https://docs.nvidia.com/deploy/mps/latest/>.
"""
_ASSUMED = """Neither documented nor reported. The code refuses what it does not know, so that a
wrong assumption shows as an error and not as a wrong limit."""
_HEADINGS: dict[Standing, tuple[str, str, str]] = {
    "assumed": ("Assumed", _ASSUMED, "Hint"),
    "reported": (
        "Reported by others",
        "Seen on hardware, by those who are named.",
        "Source",
    ),
    "documented": ("Documented", "In NVIDIA's pages for release 615, which are named.", "Source"),
}


def unconfirmed() -> tuple[Source, ...]:
    """Return what no transcript of ours has shown yet."""
    return tuple(source for source in SOURCES.values() if source.confirmed is None)


def _cell(text: str) -> str:
    return text.replace("<", r"\<")  # Markdown would take it for a tag


def unconfirmed_page() -> str:
    """Return the page that lists what has not been confirmed on hardware."""
    parts = [_INTRODUCTION]
    for standing, (title, lead, last) in _HEADINGS.items():
        rows = [source for source in unconfirmed() if source.standing == standing]
        if rows:
            parts.append(f"\n## {title}\n\n{lead}\n\n| About | Statement | {last} |\n")
            parts.append("| --- | --- | --- |\n")
            parts += [
                f"| `{row.name}` | {_cell(row.says)} | {_cell(row.where)} |\n" for row in rows
            ]
    return "".join(parts)
