"""The command as a whole: help, verbs, usage errors, streams."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import colocate
from colocate.cli.main import VERBS
from colocate.cli.main import app as root

HEAVY = ("numpy", "scipy", "ortools", "pulp", "networkx", "matplotlib", "hypothesis")


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nsys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["solve", "--help"], ["--version"]])
def test_help_is_light(arguments: list[str]) -> None:
    loaded = loaded_after(f"from colocate.cli.main import run; assert run({arguments!r}) == 0")
    assert "colocate.cli.main" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_help_imports_no_verb() -> None:
    loaded = loaded_after("from colocate.cli.main import run; run(['--help'])")
    assert loaded.isdisjoint(f"colocate.cli.{verb.replace('-', '_')}" for verb in VERBS)
    assert loaded.isdisjoint({"pydantic", "rich"})


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_the_summary_that_the_list_shows(verb: str) -> None:
    found = typer.main.get_command(
        importlib.import_module(f"colocate.cli.{verb.replace('-', '_')}").app
    )
    assert (found.help or "").split("\n\n")[0].replace("\n", " ") == VERBS[verb]


def commands() -> Iterator[tuple[str, Any]]:
    for verb in VERBS:
        found: Any = typer.main.get_command(
            importlib.import_module(f"colocate.cli.{verb.replace('-', '_')}").app
        )
        yield from getattr(found, "commands", {verb: found}).items()


def test_every_option_has_an_environment_variable() -> None:
    seen = 0
    for name, found in commands():
        for option in found.params:
            if option.param_type_name != "option" or option.name == "help":
                continue
            assert isinstance(option.envvar, str), (name, option.name)
            long_name = next(o for o in option.opts if o.startswith("--"))
            assert option.envvar == "COLOCATE_" + long_name[2:].replace("-", "_").upper()
            assert option.help, (name, option.name)
            seen += 1
    assert seen > 40


def test_every_verb_can_be_debugged() -> None:
    for name, found in commands():
        assert any("--debug" in option.opts for option in found.params), name


def test_root_has_no_options_of_its_own_but_version() -> None:
    options = {o for p in typer.main.get_command(root).params for o in p.opts}
    assert options == {"--version"}


def test_no_arguments_is_a_usage_error_with_help(cli: Any) -> None:
    done = cli()
    assert done.code == 2
    assert "Usage: colocate" in done.out


def test_version(cli: Any) -> None:
    done = cli("--version")
    assert (done.code, done.out) == (0, f"colocate {colocate.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["slove"], "slove"),
        (["solve"], "INSTANCE"),
        (["solve", "x.json", "--frobnicate"], "--frobnicate"),
        (["solve", "x.json", "--time-limit", "soon"], "--time-limit"),
        (["solve", "x.json", "--time-limit", "-1"], "--time-limit"),
        (["verify", "-", "-"], "standard input"),
        (["diff", "-", "-"], "standard input"),
        (["show", "-", "--instance", "-"], "standard input"),
        (["solve", "x.json", "-o", "-", "--json"], "standard output"),
        (["solve", "x.json", "--report", "-"], "--report"),
        (["schema", "poem"], "poem"),
        (["datasets"], "command"),
        (["datasets", "burn"], "burn"),
    ],
)
def test_wrong_usage_is_told_in_plain_text(cli: Any, arguments: list[str], said: str) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert done.out == ""
    first, *_, last = done.err.splitlines()
    assert first.startswith("colocate: ")
    assert said in first
    assert last.strip().startswith("Maybe see 'colocate")
    assert "Traceback" not in done.err


def test_wrong_usage_echoes_no_control_characters(cli: Any) -> None:
    done = cli("solve", "x.json", "--solver\x1b[31m")
    assert done.code == 2
    assert "\x1b" not in done.err


def test_a_closed_reader_ends_it_quietly(quickstart: Path) -> None:
    script = f'"{sys.executable}" -m colocate show "{quickstart}" --all | head -1'
    done = subprocess.run(
        ["bash", "-c", f"{script}; echo ${{PIPESTATUS[0]}} >&2"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "quickstart\n"
    # head may have read everything before it left
    assert done.stderr in {"141\n", "0\n"}


def test_a_reader_that_never_reads(quickstart: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "colocate", "show", str(quickstart)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_full_disk_is_an_error(quickstart: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as nowhere:
        done = subprocess.run(
            [sys.executable, "-m", "colocate", "show", str(quickstart)],
            stdout=nowhere,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_without_unicode(command: Any, solved: Path) -> None:
    done = command("show", solved, PYTHONIOENCODING="ascii", COLUMNS="120")
    assert done.code == 0
    assert done.out.isascii()
    assert "####" in done.out


def test_text_beyond_the_terminals_alphabet(command: Any, quickstart: Path, tmp_path: Path) -> None:
    text = quickstart.read_text(encoding="utf-8").replace(
        '"description": "', '"description": "\u00e9\u4e2d '
    )
    file = tmp_path / "instance.json"
    file.write_text(text, encoding="utf-8")
    done = command("show", file, PYTHONIOENCODING="ascii")
    assert done.code == 0
    assert "?? " in done.out


def test_no_colours_in_a_pipe_and_none_on_request(
    cli: Any, solved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" not in cli("show", solved).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[34m" in cli("show", solved).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[34m" not in cli("show", solved).out
