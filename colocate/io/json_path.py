"""Places in JSON: paths such as `$.services[3].slo_ms`, and the lines that they are on."""

from __future__ import annotations

import json
import re

from colocate.errors import clean_text

__all__ = ["Step", "line_of", "read_path", "show_path"]

Step = str | int
"""A key of an object, or an index of a list."""

_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]{1,9})\]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_SCALAR = re.compile(r"[^,\]}\s]+")
_SPACE = re.compile(r"[ \t\r\n]*")


def show_path(steps: tuple[Step, ...]) -> str:
    """Return steps as a JSON path such as `$.services[3].slo_ms`, safe to print."""
    parts = ["$"]
    for step in steps:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_KEY.fullmatch(step) and len(step) <= 80:
            parts.append(f".{step}")
        else:
            parts.append(f"[{json.dumps(clean_text(step, 60), ensure_ascii=False)}]")
    return "".join(parts)


def read_path(path: str) -> tuple[Step, ...]:
    """Return the steps of a path made of plain keys and indices, as this library writes them."""
    return tuple(name or int(index) for name, index in _STEP.findall(path.removeprefix("$")))


def line_of(text: str, steps: tuple[Step, ...]) -> int | None:
    """Return the line on which a value starts, or that of the nearest value around it.

    The text must be valid JSON, or the answer is None.
    """
    at = _skip_space(text, 0)
    for step in steps:
        inner = _find_item(text, at, step) if isinstance(step, int) else _find_key(text, at, step)
        if inner is None:
            break
        at = inner
    return text.count("\n", 0, at) + 1


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _skip_value(text: str, at: int) -> int:
    if text[at] not in '[{"':
        scalar = _SCALAR.match(text, at)
        return scalar.end() if scalar else at
    depth = 0
    for token in _TOKEN.finditer(text, at):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        if depth == 0:
            return token.end()
    return len(text)


def _find_item(text: str, at: int, index: int) -> int | None:
    if text[at] != "[":
        return None
    at = _skip_space(text, at + 1)
    for _ in range(index):
        at = _skip_space(text, _skip_value(text, at))
        if text[at] != ",":
            return None
        at = _skip_space(text, at + 1)
    return at if text[at] != "]" else None


def _find_key(text: str, at: int, key: str) -> int | None:
    """Return where the value of a key starts: of its last mention, as `json.loads` has it."""
    if text[at] != "{":
        return None
    found = None
    at = _skip_space(text, at + 1)
    while text[at] == '"':
        end = _skip_value(text, at)
        name = json.loads(text[at:end])
        at = _skip_space(text, _skip_space(text, end) + 1)
        if name == key:
            found = at
        at = _skip_space(text, _skip_value(text, at))
        if text[at] == ",":
            at = _skip_space(text, at + 1)
    return found
