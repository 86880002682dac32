"""Reading the Prometheus text format from somebody who need not be trusted.

Only samples of the metrics that were asked for are kept. A line that is malformed is passed over,
as a scraper would; sizes and counts are bounded, so that no text takes much time or memory.

Format: prometheus.io/docs/instrumenting/exposition_formats, text version 0.0.4.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from colocate.errors import InputError

__all__ = ["MAX_BYTES", "Sample", "samples"]

MAX_BYTES = 8 * 1024 * 1024
MAX_SAMPLES = 20_000
LONGEST_LINE = 8192
MOST_LABELS = 64

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\.)*+)"\s*(?:,\s*|(?=\}))')
_ESCAPE = re.compile(r"\\(.)")
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}


class Sample(NamedTuple):
    """One value of one series."""

    name: str
    labels: tuple[tuple[str, str], ...]
    """Sorted by name."""
    value: float
    """May be infinite; never a NaN."""

    def label(self, name: str) -> str | None:
        """Return one label, or None."""
        return dict(self.labels).get(name)


def samples(text: str, names: Collection[str]) -> list[Sample]:
    """Return the samples of some metrics, in the order of the text.

    Raises
    ------
    InputError
        When the text is too long, or holds too many of these samples.
    """
    if len(text) > MAX_BYTES:
        raise InputError(
            f"{len(text)} characters of metrics (limit {MAX_BYTES})",
            advice="let the service export fewer.",
        )
    wanted = frozenset(names)
    found: list[Sample] = []
    for line in _lines(text):
        sample = _sample(line, wanted)
        if sample is None:
            continue
        if len(found) >= MAX_SAMPLES:
            raise InputError(
                f"more than {MAX_SAMPLES} samples of {', '.join(sorted(wanted))[:200]}",
                advice="choose series by their labels, or let the service export fewer.",
            )
        found.append(sample)
    return found


def _lines(text: str) -> Iterator[str]:
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        if 0 < end - begin <= LONGEST_LINE:
            yield text[begin:end]
        begin = end + 1


def _sample(line: str, wanted: frozenset[str]) -> Sample | None:
    name = _NAME.match(line)
    if name is None or name[0] not in wanted:
        return None
    at = name.end()
    labels: dict[str, str] = {}
    if line[at : at + 1] == "{":
        at += 1
        while line[at : at + 1] != "}":
            pair = _LABEL.match(line, at)
            if pair is None or len(labels) >= MOST_LABELS or pair[1] in labels:
                return None
            labels[pair[1]] = _ESCAPE.sub(lambda m: _UNESCAPED.get(m[1], m[0]), pair[2])
            at = pair.end()
        at += 1
    rest = line[at:].split()
    if not 1 <= len(rest) <= 2:
        return None
    value = _number(rest[0])
    return None if value is None else Sample(name[0], tuple(sorted(labels.items())), value)


def _number(text: str) -> float | None:
    """Return a number; None for a NaN and for what is no number."""
    if len(text) > 64 or "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value
