"""JSON text to Python objects, for input that nobody vouches for.

`json.loads` lets the last of two equal keys win, accepts NaN and numbers of any length, and builds
whatever it is given: a few megabytes of brackets become a gigabyte of lists. Here the text is
weighed before it is parsed, and what JSON allows but the formats do not is refused with its place.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

from colocate.errors import InputError, clean_text
from colocate.io.json_path import Step, line_of
from colocate.io.problems import MAX_PROBLEMS, Problem, error_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Document", "read_json"]

MAX_DEPTH = 64
MAX_WHOLE = 2**53
"""Beyond this, readers that know only floating point change a whole number silently."""
MAX_NUMBER_TEXT = 400
MAX_KEYS = 1000
"""Different keys in one file; the formats have about two hundred."""
SHORTER = "use count, id ranges or tables in place of long lists, or raise the size limit."
LOCATE_CHARACTERS = 1 << 20
"""Longer texts are not kept to find line numbers in."""
LOCATE_ALL_CHARACTERS = 1 << 16
"""In longer texts only the first problem gets its line number: each takes a walk."""

# Measured cost in bytes of what each character brings with it.
_WEIGHTS = {b",": 50, b"[": 60, b"{": 450, b":": 30, b'"': 15, b"-": 60}
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_CHECK_UNIT = "check the number and its unit."
_NOT_BRACKETS = bytes(b for b in range(256) if b not in b'[]{}"')
_RISE = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_KEY = re.compile(rb'"([^"\n]{0,300})"[ \t\r\n]*:')

# Control characters, lone surrogates, and marks that reorder or break lines on a terminal.
_BAD_IN_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BAD_IN_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_RAW_SUSPECT = re.compile(r"[\\\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_FREE_TEXT = frozenset({"description", "detail"})


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file, and what is needed to say where something is in it."""

    value: Any
    source: str
    text: str | None
    """The text, when it is short enough to look for lines in it."""
    items: int = 0
    """At least as many as the values in the file."""
    memory: int = 0
    """Bytes that its values take, roughly."""

    def place(self, steps: tuple[Step, ...], nth: int = 0) -> str:
        """Return `file:line` of the place of the n-th problem, or the file alone."""
        known = self.text is not None and (nth == 0 or len(self.text) <= LOCATE_ALL_CHARACTERS)
        line = line_of(self.text, steps) if known and self.text is not None else None
        return self.source if line is None else f"{self.source}:{line}"


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Stands where something was that JSON allows and the formats do not."""

    message: str
    advice: str
    key: str | None = None


# After the first problems one object stands for all: there may be millions.
_ONE_MORE = _Flaw("this value cannot be used either", "mend the values named first.")


def read_json(data: bytes, source: str, error: type[InputError], max_memory: int) -> Document:
    """Parse one file.

    Parameters
    ----------
    data
        The whole file.
    source
        What to call it in messages; already safe to print.
    error
        Class of the exceptions raised.
    max_memory
        How many bytes the values may take, roughly.
    """
    text = _text(data, source, error)
    items, memory = _weigh(data, text, source, error, max_memory)
    del data
    hooks = _Hooks()
    try:
        value = json.loads(
            text,
            object_pairs_hook=hooks.objects,
            parse_int=hooks.wholes,
            parse_float=hooks.floats,
            parse_constant=hooks.constants,
        )
    except json.JSONDecodeError as broken:
        raise error(
            f"not valid JSON: {broken.msg} in line {broken.lineno}, column {broken.colno}",
            path="$",
            advice="check the commas, quotes and brackets before that place.",
            source=f"{source}:{broken.lineno}",
        ) from None
    kept = text if len(text) <= LOCATE_CHARACTERS else None
    document = Document(value, source, kept, items, memory)
    if hooks.flaws or _RAW_SUSPECT.search(text):
        problems = list(islice(_problems_in(value, ()), MAX_PROBLEMS))
        if problems:
            raise error_of(problems, document.place, error)
    return document


def _text(data: bytes, source: str, error: type[InputError]) -> str:
    if data.startswith(_BOMS):
        raise error(
            f"the file starts with a byte order mark ({data[:3].hex(' ')})",
            path="$",
            advice="save it as UTF-8 without a byte order mark.",
            source=source,
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as broken:
        raise error(
            f"not UTF-8 text: byte 0x{data[broken.start]:02x} at offset {broken.start}",
            path="$",
            advice="save the file as UTF-8.",
            source=source,
        ) from None
    if not text.strip():
        raise error(
            "the file is empty", path="$", advice="check how it was written.", source=source
        )
    return text


def _weigh(
    data: bytes, text: str, source: str, error: type[InputError], max_memory: int
) -> tuple[int, int]:
    """Refuse text that would become too deep or too large; return its items and its memory."""
    counts = {mark: data.count(mark) for mark in _WEIGHTS}
    memory = sum(counts[mark] * weight for mark, weight in _WEIGHTS.items())
    if not text.isascii():
        memory += 4 * len(text)
    brackets = counts[b"["] + counts[b"{"]
    if memory > max_memory:
        raise error(
            f"{counts[b',']} commas and {brackets} brackets: the file would need "
            f"about {memory >> 20} MiB of memory (limit {max_memory >> 20} MiB)",
            path="$",
            advice=SHORTER,
            source=source,
        )
    bare = b""
    if brackets > MAX_DEPTH or counts[b":"] > MAX_KEYS:
        bare = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    if brackets > MAX_DEPTH:
        _refuse_deep(bare, counts, source, error)
    if counts[b":"] > MAX_KEYS:
        _refuse_many_keys(bare, source, error)
    return counts[b","] + brackets, memory


def _refuse_deep(
    data: bytes, counts: dict[bytes, int], source: str, error: type[InputError]
) -> None:
    brackets = data.translate(None, _NOT_BRACKETS)
    separators = sum(counts[mark] for mark in (b",", b":", b"[", b"{"))
    if counts[b'"'] <= 2 * separators + 2:
        # Valid JSON has a separator between any two strings. Where there are more strings, they are
        # left in: the parser will refuse the text anyhow.
        brackets = re.sub(rb'"[^"]*"', b"", brackets)
    deepest = max(accumulate(map(_RISE.__getitem__, brackets.replace(b'"', b""))), default=0)
    if deepest > MAX_DEPTH:
        raise error(
            f"lists and objects are nested {deepest} deep (limit {MAX_DEPTH})",
            path="$",
            advice="check how the file was written: the format is at most ten deep.",
            source=source,
        )


def _refuse_many_keys(bare: bytes, source: str, error: type[InputError]) -> None:
    keys = set()
    for match in _KEY.finditer(bare):
        keys.add(match[1])
        if len(keys) > MAX_KEYS:
            raise error(
                f"more than {MAX_KEYS} different keys",
                path="$",
                advice="give names as values (`id`, `profile`), not as keys.",
                source=source,
            )


class _Hooks:
    """What `json.loads` calls: it puts a flaw where it can keep no value."""

    def __init__(self) -> None:
        self.flaws = 0

    def _flaw(self, message: str, advice: str, key: str | None = None) -> _Flaw:
        self.flaws += 1
        return _Flaw(message, advice, key)

    def objects(self, pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Flaw:
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        if self.flaws >= MAX_PROBLEMS:
            return _ONE_MORE
        key = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        shown = clean_text(key, 60)
        return self._flaw(f"key {shown!r} is given twice", "remove one of the two.", key)

    def wholes(self, text: str) -> int | _Flaw:
        # Python refuses to read more than 4300 digits, and takes quadratic time below that.
        if len(text) <= 17 and -MAX_WHOLE <= (value := int(text)) <= MAX_WHOLE:
            return value
        if self.flaws >= MAX_PROBLEMS:
            return _ONE_MORE
        shown = f"{text[:20]}... ({len(text)} characters)" if len(text) > 24 else text
        return self._flaw(f"whole number {shown} is beyond 2^53", _CHECK_UNIT)

    def floats(self, text: str) -> float | _Flaw:
        if len(text) <= MAX_NUMBER_TEXT and abs(value := float(text)) != float("inf"):
            return value
        if self.flaws >= MAX_PROBLEMS:
            return _ONE_MORE
        return self._flaw(f"number {clean_text(text, 40)} is too large or too long", _CHECK_UNIT)

    def constants(self, text: str) -> _Flaw:
        if self.flaws >= MAX_PROBLEMS:
            return _ONE_MORE
        return self._flaw(f"{text} is not a number", "leave it out, or write a finite number.")


def _problems_in(value: Any, steps: tuple[Step, ...]) -> Iterator[Problem]:  # noqa: ANN401
    """Yield flaws and unprintable text, in the order of the file."""
    if isinstance(value, _Flaw):
        at = steps if value.key is None else (*steps, value.key)
        yield Problem(at, value.message, value.advice)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if _BAD_IN_NAME.search(key):
                yield _bad_text(key, (*steps, key), _BAD_IN_NAME)
            yield from _problems_in(inner, (*steps, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            if not isinstance(inner, int | float):
                yield from _problems_in(inner, (*steps, i))
    elif isinstance(value, str):
        bad = _BAD_IN_TEXT if steps and steps[-1] in _FREE_TEXT else _BAD_IN_NAME
        if bad.search(value):
            yield _bad_text(value, steps, bad)


def _bad_text(text: str, steps: tuple[Step, ...], bad: re.Pattern[str]) -> Problem:
    codes = ", ".join(dict.fromkeys(f"U+{ord(c):04X}" for c in bad.findall(text[:10_000])[:4]))
    return Problem(
        steps,
        f"{clean_text(text, 60)!r} holds control characters ({codes or 'further on'})",
        "write plain text: letters, digits, punctuation and spaces.",
    )
