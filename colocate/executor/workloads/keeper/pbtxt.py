"""One number in a protocol buffer text file; every other byte stays as it is."""

from __future__ import annotations

import re

__all__ = ["PbtxtError", "with_number"]

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<open>[{<\[])
    |(?P<close>[}>\]])
    |(?P<word>[A-Za-z0-9_.+-]+)
    |(?P<mark>[:,;/])""",
    re.VERBOSE,
)


class PbtxtError(Exception):
    """The text is not in the format, or holds the field twice."""


def with_number(text: str, name: str, value: int) -> str:
    """Return the text with a whole number as the outermost field `name`.

    The field is added at the end where there is none.
    """
    found: list[tuple[int, int]] = []
    depth, at = 0, 0
    before: list[str] = []
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            line = text.count("\n", 0, at) + 1
            msg = f"line {line} is not in the text format of protocol buffers"
            raise PbtxtError(msg)
        at = token.end()
        if token.lastgroup == "space":
            continue
        if token.lastgroup == "open":
            depth += 1
        elif token.lastgroup == "close":
            depth -= 1
            if depth < 0:
                msg = "more brackets are closed than opened"
                raise PbtxtError(msg)
        elif depth == 0 and before == [name, ":"]:
            if not token[0].isdigit():
                msg = f"{name} is not a whole number"
                raise PbtxtError(msg)
            found.append(token.span())
        before = [*before[-1:], token[0]]
    if depth:
        msg = "a bracket is not closed"
        raise PbtxtError(msg)
    if len(found) > 1:
        msg = f"{name} is given {len(found)} times"
        raise PbtxtError(msg)
    if not found:
        return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{name}: {value}\n"
    start, end = found[0]
    return f"{text[:start]}{value}{text[end:]}"
