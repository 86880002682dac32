"""Strict readers of what the exports write, each after its target's own description.

They share nothing with the writers, and fail on whatever a target would expand, join or skip.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

DUMP = "import json,os,sys;print(json.dumps([sys.argv[1:],dict(os.environ)]))"
"""What a script's program is replaced by: it tells what it was given."""


# -- systemd.syntax(7), systemd.service(5) ---------------------------------------------------------

Sections = dict[str, list[tuple[str, str]]]


def unit_file(text: str) -> Sections:
    """Return the settings of each section of a unit file."""
    assert text.endswith("\n")
    found: Sections = {}
    section = None
    for line in text[:-1].split("\n"):
        assert not line.endswith("\\"), "would be joined with the next line"
        assert line.isprintable(), line
        if not line or line.startswith(("#", ";")):
            continue
        if header := re.fullmatch(r"\[([A-Za-z]+)\]", line):
            section = header[1]
            assert section not in found
            found[section] = []
            continue
        setting = re.fullmatch(r"([A-Z][A-Za-z]*)=(.*)", line)
        assert setting is not None, line
        assert section is not None
        assert setting[2] == setting[2].strip(), "spaces at the ends are dropped"
        found[section].append((setting[1], setting[2]))
    return found


def systemd_words(text: str) -> list[str]:
    """Split as systemd does, quotes and C escapes undone; fail on what it would expand."""
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        assert not (text[at] == ";" and text[at + 1 : at + 2] in ("", " ")), "another command"
        word = ""
        while at < len(text) and text[at] not in " \t":
            if text[at] in "\"'":
                quote, at = text[at], at + 1
                while text[at] != quote:
                    part, at = _character(text, at)
                    word += part
                at += 1
                assert at == len(text) or text[at] in " \t", "text after a quote"
            else:
                part, at = _character(text, at)
                word += part
        words.append(word)
    return words


def _character(text: str, at: int) -> tuple[str, int]:
    if text[at] != "\\":
        return text[at], at + 1
    assert text[at + 1] in "\\\"'", "an escape that was not meant"
    return text[at + 1], at + 2


def without_specifiers(text: str) -> str:
    return _undoubled(text, "%")


def without_variables(text: str) -> str:
    return _undoubled(text, "$")


def _undoubled(text: str, mark: str) -> str:
    parts = text.split(mark * 2)
    assert not any(mark in part for part in parts), f"{text!r} would be expanded"
    return mark.join(parts)


def systemd_argv(value: str) -> list[str]:
    words = systemd_words(value)
    assert words[0][0] not in "-@:+!|", "a prefix"
    return [without_variables(without_specifiers(word)) for word in words]


def systemd_environment(settings: list[tuple[str, str]]) -> dict[str, str]:
    found = {}
    for name, value in settings:
        if name == "Environment":
            for word in systemd_words(value):
                variable, equals, text = without_specifiers(word).partition("=")
                assert equals
                assert variable not in found
                found[variable] = text
    return found


# -- Compose specification -------------------------------------------------------------------------

_YAML_PRINTABLE = re.compile(
    r"[\n\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*"
)


def compose(text: str) -> dict[str, Any]:
    """Return a compose file with its variables undone; it is JSON, and YAML's characters only."""
    assert _YAML_PRINTABLE.fullmatch(text)
    # a pair of surrogates is one character in JSON and two wrong ones in YAML
    assert not re.search(r"(?<!\\)(?:\\\\)*\\u", text)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        assert len(made) == len(items)
        assert not any("$" in key for key in made)
        return made

    def undone(value: Any) -> Any:
        if isinstance(value, str):
            return without_variables(value)
        if isinstance(value, list):
            return [undone(item) for item in value]
        if isinstance(value, dict):
            return {key: undone(item) for key, item in value.items()}
        return value

    found: dict[str, Any] = undone(json.loads(text, object_pairs_hook=pairs))
    return found


# -- sbatch(1) -------------------------------------------------------------------------------------


def sbatch_options(text: str) -> dict[str, str]:
    """Return the options of a batch script: those before its first command."""
    lines = text.split("\n")
    assert lines[0].startswith("#!")
    found: dict[str, str] = {}
    for line in lines[1:]:
        if not line.startswith("#"):
            break
        if not line.startswith("#SBATCH"):
            continue
        option = re.fullmatch(r"#SBATCH --([a-z-]+)(?:=([A-Za-z0-9_.,:-]+))?", line)
        assert option is not None, line
        assert option[1] not in found
        found[option[1]] = option[2] or ""
    rest = text.split("\nset -eu\n", 1)[1]
    assert not any(line.startswith("#SBATCH") for line in rest.split("\n")), "a late option"
    return found


# -- POSIX shell -----------------------------------------------------------------------------------


def run_script(text: str, folder: Path, outer: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Run a script whose program is this Python, and return what the program was given."""
    script = folder / "script.sh"
    script.write_text(text, encoding="utf-8")
    ended = subprocess.run(
        ["/bin/sh", str(script)],
        env={**outer, "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stderr == b""
    argv, env = json.loads(ended.stdout)
    return argv, env


PROGRAM = (sys.executable, "-I", "-S", "-X", "utf8", "-c", DUMP)
