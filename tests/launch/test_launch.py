"""Launch files: what is taken, what is refused and in which words, and what places become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.io import dumps_launch, load_launch, parse_launch
from colocate.launch import LaunchFile
from colocate.launch.template import PLACES, SWITCH_PLACES, fill, places_in
from tests.corpus.launch import LAUNCH_FILE

BASE: dict[str, Any] = {
    "id": "p",
    "argv": ["/bin/x", "{batch}"],
    "batch": {"kind": "argv"},
}


def parse(**more: Any) -> LaunchFile:
    return parse_launch(
        json.dumps({"schema": "colocate/launch/v1", "programs": [{**BASE, **more}]})
    )


def test_what_is_written_reads_back(tmp_path):
    file = parse_launch(json.dumps(LAUNCH_FILE))
    text = dumps_launch(file)
    assert parse_launch(text) == file
    assert dumps_launch(parse_launch(text)) == text
    path = tmp_path / "launch.json"
    path.write_text(text)
    assert load_launch(path) == file


def test_defaults():
    one = parse().programs[0]
    assert one.pass_env == ("HOME", "LANG", "LC_ALL", "PATH", "TZ")
    assert one.ready.kind == "alive"
    assert (one.stop.signal, one.stop.hard_kill, one.pausable) == ("SIGTERM", False, False)
    assert one.restart.when is None
    assert one.memory_limit is None


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"argv": ["/bin/x"]}, "batch is set in argv, but no argument holds {batch}"),
    ({"argv": ["/bin/x", "{batch}", "{port}"]}, "argv holds {port}, but there are no ports"),
    ({"argv": ["/bin/x", "{batch}", "{bach}"]}, "argv holds {bach}; the places are batch, gpu"),
    ({"argv": ["bin/x", "{batch}"]}, "program 'bin/x' must be an absolute path, or a name"),
    ({"argv": ["./x", "{batch}"]}, "program './x' must be an absolute path"),
    ({"argv": ["-x", "{batch}"]}, "program '-x' must be an absolute path"),
    ({"argv": ["", "{batch}"]}, "program '' must be an absolute path"),
    ({"argv": ["/bin/{workload}", "{batch}"]}, "program '/bin/{workload}' must be an absolute"),
    ({"argv": ["@x", "{batch}"]}, "program '@x' must be"),
    ({"env": {"A": "{new_key}"}}, "env holds {new_key}; the places are"),
    ({"env": {"A": "1"}, "pass_env": ["A"]}, "A is both in env and in pass_env"),
    ({"ready": {"kind": "tcp"}}, "ready names no port, and there are no ports"),
    ({"ready": {"kind": "http", "url": "http://x:{port}/"}}, "ready holds {port}, but there"),
    ({"ready": {"kind": "http", "url": "http://x/{x}"}}, "ready holds {x}; the places are"),
    ({"ready": {"kind": "file", "path": "/{x}"}}, "ready holds {x}; the places are"),
    ({"ready": {"kind": "command", "argv": ["a/b"]}}, "program 'a/b' must be"),
    ({"checkpoint": {"argv": ["a/b"]}}, "program 'a/b' must be"),
    ({"checkpoint": {"argv": ["x", "{y}"]}}, "checkpoint holds {y}; the places are"),
    ({"switch": {"kind": "command", "argv": ["a/b"]}}, "program 'a/b' must be"),
    ({"switch": {"kind": "command", "argv": ["x", "{batch}"]}}, "switch holds {batch}; the"),
    ({"switch": {"kind": "http", "url": "http://x/{key}"}}, "switch holds {key}; the places"),
    ({"batch": {"kind": "http", "url": "http://x/"}}, "batch has no place {batch} to say which"),
    ({"batch": {"kind": "command", "argv": ["x"]}}, "batch has no place {batch}"),
    ({"batch": {"kind": "command", "argv": ["a/b", "{batch}"]}}, "program 'a/b' must be"),
    (
        {"batch": {"kind": "environment", "variable": "A"}, "env": {"A": "1"}},
        "A is set by batch, and again in env or pass_env",
    ),
    (
        {"batch": {"kind": "environment", "variable": "HOME"}},
        "HOME is set by batch, and again in env or pass_env",
    ),
    ({"ports": {"first": 9, "last": 8}}, "ports 9 to 8 are none"),
    ({"env": {"CUDA_MPS_PIPE_DIRECTORY": "/x"}}, "is set from the plan"),
    ({"env": {"CUDA_VISIBLE_DEVICES": "0"}}, "is set from the plan"),
    ({"pass_env": ["CUDA_MPS_CLIENT_PRIORITY"]}, "is set from the plan"),
    ({"directory": "srv"}, "must be an absolute path"),
    ({"directory": "/srv/../etc"}, "must not lead upwards"),
]


@pytest.mark.parametrize(("change", "words"), CONTRADICTIONS, ids=range(len(CONTRADICTIONS)))
def test_contradictions(change: dict[str, Any], words: str):
    with pytest.raises(InputError) as failed:
        parse(**change)
    assert words in str(failed.value), str(failed.value)
    assert (failed.value.path or "").startswith("$.programs[0]")
    assert failed.value.advice


def test_texts_in_braces_that_are_no_places():
    argv = ["/bin/x", "{batch}", '{"a": {"b": 1}}', "{}", "{A}", "{0}", "{ batch }", "${X}", "{-}"]
    assert parse(argv=argv).programs[0].argv == tuple(argv)


# -- places ----------------------------------------------------------------------------------------

VALUES = st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_characters="{}"))


@given(
    st.lists(st.one_of(TEXTS, st.sampled_from(sorted(PLACES)).map(lambda p: f"{{{p}}}"))), VALUES
)
def test_places_are_filled_and_nothing_else_changes(pieces: list[str], value: str):
    values = dict.fromkeys(PLACES, value)
    expected = "".join(value if p[1:-1] in PLACES and p[:1] == "{" else p for p in pieces)
    assert fill("".join(pieces), values) == expected


@given(st.text(), st.text())
def test_values_that_are_more_than_a_word_are_refused(text: str, value: str):
    plain = value.isascii() and value.replace(".", "").replace("_", "").replace("-", "").isalnum()
    if plain and len(value) <= 200:
        assert fill(text + "{batch}", {"batch": value}).endswith(value)
    elif value.strip(".-_"):
        with pytest.raises(ValueError, match="may hold letters, digits"):
            fill(text + "{batch}", {"batch": value})


def test_a_value_is_not_filled_again():
    assert fill("{a}{b}", {"a": "x", "b": "y"}) == "xy"
    assert fill("{{a}}", {"a": "a"}) == "{a}"
    assert fill("{a}", {}) == "{a}"


def test_places_in():
    assert places_in(["{a} {b_c}", "{D} {1} { e } {a}"]) == {"a", "b_c"}


def test_every_place_is_on_the_page():
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / "launch.md"
    if not page.is_file():
        pytest.skip("the tests were copied away from the source tree")
    text = page.read_text(encoding="utf-8")
    for name, about in PLACES.items():
        assert f"| `{{{name}}}` | {about}" in text
    for name in SWITCH_PLACES:
        assert f"`{{{name}}}`" in text
