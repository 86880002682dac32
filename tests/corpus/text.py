"""Text that is not the JSON of one object in one of the formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.corpus.valid import INSTANCE, PLAN, PROFILE_FILE, Case, damaged, to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = to_bytes(INSTANCE)
Row = tuple[str, bytes, str, str]
"""Name, bytes, path, words of the message."""

ENCODINGS: list[Row] = [
    ("empty", b"", "$", "empty"),
    ("only spaces", b" \n\t \n", "$", "empty"),
    ("a byte order mark", b"\xef\xbb\xbf" + GOOD, "$", "byte order mark (ef bb bf)"),
    ("UTF-16", GOOD.decode().encode("utf-16"), "$", "byte order mark"),
    ("UTF-16 without a mark", GOOD.decode().encode("utf-16-le"), "$", "not valid JSON"),
    ("Latin-1", GOOD.replace(b"every", b"\xe9very"), "$", "byte 0xe9"),
    ("an overlong code", GOOD.replace(b"every", b"\xc0\xaf"), "$", "not UTF-8"),
    ("half a character", GOOD.replace(b"every", b"\xed\xa0\x80"), "$", "not UTF-8"),
    ("a compressed file", b"\x1f\x8b\x08\x00" + bytes(range(256)), "$", "byte 0x8b"),
]
SYNTAX: list[Row] = [
    ("one bracket", b"{", "$", "line 1, column 2"),
    ("truncated in the middle", GOOD[: len(GOOD) // 2], "$", "not valid JSON"),
    ("truncated before the end", GOOD[:-1], "$", "not valid JSON"),
    ("two documents", GOOD + b"\n" + GOOD, "$", "Extra data in line 2"),
    ("a comment", b"// my cluster\n" + GOOD, "$", "line 1"),
    ("single quotes", GOOD.replace(b'"', b"'"), "$", "not valid JSON"),
    ("a trailing comma", GOOD[:-1] + b",}", "$", "not valid JSON"),
    ("a missing comma", GOOD.replace(b', "name"', b' "name"', 1), "$", "delimiter"),
    ("a bare word", b"instance", "$", "not valid JSON"),
    ("YAML", b"schema: colocate/instance/v1\nname: demo\n", "$", "not valid JSON"),
    ("a list", b"[" + GOOD + b"]", "$", "one object, not a list of 1"),
    ("a string", b'"colocate/instance/v1"', "$", "one object"),
    ("a number", b"1", "$", "one object, not 1"),
    ("true", b"true", "$", "one object, not true"),
    ("null", b"null", "$", "one object, not null"),
    ("NaN alone", b"NaN", "$", "NaN"),
    ("hexadecimal", GOOD.replace(b'"batch": 32', b'"batch": 0x20'), "$", "not valid JSON"),
    ("a leading zero", GOOD.replace(b'"batch": 32', b'"batch": 032'), "$", "not valid JSON"),
    ("a leading plus", GOOD.replace(b'"batch": 32', b'"batch": +32'), "$", "not valid JSON"),
    ("a number without digits", GOOD.replace(b": 32", b": ."), "$", "not valid JSON"),
    ("a raw newline in a string", GOOD.replace(b'"base"', b'"ba\nse"'), "$", "control character"),
    ("a raw NUL", GOOD.replace(b'"base"', b'"ba\x00se"'), "$", "control character"),
    ("an escape that JSON lacks", GOOD.replace(b'"base"', b'"\\x41"'), "$", "escape"),
]
BOMBS: list[Row] = [
    ("depth 65", b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "$", "nested 65 deep"),
    ("depth 100,000 of lists", b"[" * 100_000, "$", "nested 100000 deep"),
    ("depth 100,000 of objects", b'{"a":' * 100_000, "$", "nested 100000 deep"),
    ("depth closed in text", b'["]]]",' + b"[" * 70 + b"]" * 71, "$", "nested 71 deep"),
    ("depth behind a quote", b'["\\"",' + b"[" * 70 + b"]" * 71, "$", "nested 71 deep"),
    ("depth behind a backslash", b'["\\\\",' + b"[" * 70 + b"]" * 71, "$", "nested 71 deep"),
    ("depth behind many quotes", b'"' * 1000 + b"[" * 70, "$", "nested 70 deep"),
    ("many lists", b"[" + b"[]," * 1_000_000 + b"[]]", "$", "commas and 1000002 brackets"),
    ("many objects", b"[" + b"{}," * 1_000_000 + b"{}]", "$", "MiB of memory (limit 80 MiB)"),
    ("many numbers", b"[" + b"0," * 2_000_000 + b"0]", "$", "MiB of memory"),
    ("many strings", b"[" + b'"",' * 2_000_000 + b'""]', "$", "MiB of memory"),
    ("many quotes", b'"' * 8_000_000, "$", "MiB of memory"),
    ("wide characters", b'["' + "\U0001f600".encode() * 4_000_000 + b'"]', "$", "one object"),
    ("17 MiB", b" " * (17 << 20), "$", "limit 16777216"),
    (
        "many different keys",
        b"{" + b",".join(b'"k%d":0' % i for i in range(2000)) + b"}",
        "$",
        "more than 1000 different keys",
    ),
    (
        "one key many times",
        b"{" + b",".join([b'"k":0'] * 20_000) + b"}",
        "$.k",
        "'k' is given twice",
    ),
    (
        "many wrong numbers",
        b'{"a":[' + b",".join([b"NaN"] * 100_000) + b"]}",
        "$.a[19]",
        "NaN is not a number",
    ),
    (
        "many huge numbers",
        b'{"a":[' + b",".join([b"9" * 40] * 20_000) + b"]}",
        "$.a[19]",
        "(40 characters) is beyond 2^53",
    ),
    (
        "many infinite numbers",
        b'{"a":[' + b",".join([b"-1e999"] * 20_000) + b"]}",
        "$.a[19]",
        "-1e999 is too large",
    ),
    (
        "many objects with a key twice",
        b'{"a":[' + b",".join([b'{"b":0,"b":1}'] * 20_000) + b"]}",
        "$.a[19].b",
        "'b' is given twice",
    ),
    (
        "many wrong items",
        damaged("instance", {("gpu_pools", 1, "uuids"): [1] * 100_000}),
        "$.gpu_pools[1].uuids[0]",
        "must be text, not 1",
    ),
    (
        "many empty services",
        damaged("instance", {("services",): [{}] * 20_000}),
        "$.services[0].rate_rps",
        "is missing",
    ),
]


def _twice(inner: bytes) -> bytes:
    """Return a valid file whose object starts with a further key."""
    return b"{" + inner + b", " + GOOD[1:]


KEYS: list[Row] = [
    ("name given twice", _twice(b'"name": "other"'), "$.name", "'name' is given twice"),
    ("the same name given twice", _twice(b'"name": "base"'), "$.name", "given twice"),
    ("a list given twice", _twice(b'"tasks": []'), "$.tasks", "given twice"),
    (
        "a key given twice deep down",
        GOOD.replace(b'"slo_ms": 300', b'"slo_ms": 300, "slo_ms": 3000', 1),
        "$.services[0].slo_ms",
        "'slo_ms' is given twice",
    ),
    (
        "a key given twice, once escaped",
        GOOD.replace(b'"slo_ms": 300', b'"slo_ms": 300, "slo_\\u006ds": 3000', 1),
        "$.services[0].slo_ms",
        "'slo_ms' is given twice",
    ),
]


def _versions() -> Iterator[Row]:
    versions: list[Any] = [
        "colocate/instance/v2",
        "colocate/plan/v1",
        "colocate",
        "v1",
        "",
        1,
        None,
        [],
    ]
    for version in versions:
        yield (
            f"version {version!r}",
            damaged("instance", {("schema",): version}),
            "$.schema",
            "'schema' must be 'colocate/instance/v1'",
        )
    yield "a plan", to_bytes(PLAN), "$.schema", "not 'colocate/plan/v1'"
    yield "a file of profiles", to_bytes(PROFILE_FILE), "$.schema", "not 'colocate/profiles/v1'"


def text_cases() -> Iterator[Case]:
    """Yield all of them."""
    for rows in (ENCODINGS, SYNTAX, BOMBS, KEYS, _versions()):
        for name, data, path, words in rows:
            yield Case(f"text: {name}", "instance", data, path, words)
    yield Case(
        "text: an instance in place of a plan",
        "plan",
        GOOD,
        "$.schema",
        "not 'colocate/instance/v1'",
    )
