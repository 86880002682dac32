"""No text gets out of its place: what is written reads back as it was, or is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from colocate.errors import ColocateError, InputError
from colocate.executor.mps.directories import folders_of
from colocate.executor.unit import Unit
from colocate.export import launchers
from colocate.export.launchers.job import Job, Order
from colocate.io import parse_launch
from colocate.launch import LaunchFile, Program
from tests.export.launchers import made, parsers

PIECES = (
    *("'", '"', "`", "\\", "$", "${HOME}", "$(id)", "`id`", "$$", "%", "%%", "%h", "%n", "#"),
    *(";", "; reboot", "&&", "|", ">", "<", "(", ")", "{", "}", "[", "]", "*", "?", "~", "!", "^"),
    *(" ", "  ", "-", "--", "-rf", "=", "==", ":", ",", "@", "+", "/", "//", "..", "a=b", "x"),
    *("\n", "\r", "\t", "\x00", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", "\u200b"),
    *("\ud800", "é", "日本", "😀", "\u0301", "\nquit", "\n[Service]\nExecStart=/bin/x", "\\\n"),
    *("#SBATCH --uid=0", "]]>", "</script>", "null", "true", "yes", "1e9", "!!python/object", "&a"),
    *("'; touch /x; '", '"; touch /x; "', "EOF", "\\x41", "\\u0041", "\\", "{{", "}}", "{0}"),
)


def hostile(count: int, seed: int) -> Iterator[str]:
    """Yield texts made of what means something to some reader; each piece by itself first."""
    dice = random.Random(seed)
    yield from PIECES
    for _ in range(count - len(PIECES)):
        pieces = dice.choices(PIECES, k=dice.randint(1, 6))
        if dice.random() < 0.2:
            pieces.append(chr(dice.randint(0, 0x10FFFF)))
        yield "".join(pieces)


def job(program: Program, **unit: Any) -> Job:
    values: dict[str, Any] = {
        "key": "bert.0.00000000",
        "role": "service",
        "workload": "bert",
        "ordinal": 0,
        "gpu": made.UUIDS[0],
        "share_pct": 50,
        "batch": 16,
        "memory_gib": 1.0,
        "memory_limit_mib": None,
        "launch": "bert",
        **unit,
    }
    gpu = made.UUIDS[0]
    return Job(
        unit=Unit(**values),
        program=program,
        port=None,
        node=None,
        user_id=None,
        processes=1,
        folders=folders_of(Path("/run/colocate"), gpu, [gpu]),
    )


def program(argv: list[str], env: dict[str, str], **more: Any) -> Program:
    """Return a program that nobody has checked, as a bug elsewhere might make it."""
    base = made.launch_file().program("training")
    values = {n: getattr(base, n) for n in Program.model_fields}
    batch = made.launch_file({"batch": {"kind": "argv"}}).program("bert").batch
    return Program.model_construct(
        **{**values, "argv": tuple(argv), "env": env, "pass_env": (), "batch": batch, **more}
    )


def files(target: str, one: Job) -> dict[str, str]:
    result = launchers._target(target)(Order((one,)))
    return {file.name: file.text for file in result.files}


def read_back(target: str, one: Job, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return arguments and environment as the target's reader finds them."""
    found = files(target, one)
    if target == "systemd":
        service = parsers.unit_file(found["colocate-bert.0.00000000.service"])["Service"]
        argv = parsers.systemd_argv(dict(service)["ExecStart"])
        return argv, parsers.systemd_environment(service)
    if target == "compose":
        service = parsers.compose(found["compose.yaml"])["services"]["bert.0.00000000"]
        return service["entrypoint"] + service["command"], service["environment"]
    name = next(n for n in found if n.startswith("bert.0") and not n.endswith(".env"))
    if target == "slurm":
        parsers.sbatch_options(found[name])
    argv, env = parsers.run_script(found[name], folder, {})
    return [*parsers.PROGRAM, *argv], env


def accepted(target: str, text: str) -> bool:
    """Tell whether a target takes a text; it must say so by an `InputError` when not."""
    try:
        files(target, job(program([*parsers.PROGRAM, text], {"X": text})))
    except InputError:
        return False
    return True


def check(count: int, seed: int, folder: Path) -> None:
    texts = list(hostile(count, seed))
    for target in launchers.names():
        taken = [text for text in texts if text.isprintable()]
        assert len(taken) > len(texts) / 4
        assert not any(accepted(target, text) for text in texts if not text.isprintable())
        # all at once: the shell is started a few times and not ten thousand times
        for start in range(0, len(taken), 400):
            part = taken[start : start + 400]
            env = {f"X{i}": text for i, text in enumerate(part)}
            one = job(program([*parsers.PROGRAM, *part], env, directory=str(folder)))
            argv, found = read_back(target, one, folder)
            assert argv == [*parsers.PROGRAM, *part]
            assert {name: found[name] for name in env} == env


def test_a_thousand_hostile_texts(tmp_path: Path):
    check(1000, 1, tmp_path)


@pytest.mark.deep
def test_ten_thousand_hostile_texts(tmp_path: Path):
    check(10_000, 2, tmp_path)


def test_hostile_names_are_refused():
    """Ids that could not come out of a file, in every place of a unit and a program."""
    check_names(hostile(130, 3), every=False)


@pytest.mark.deep
def test_a_thousand_hostile_names_are_refused():
    check_names(hostile(1000, 7), every=True)


def check_names(texts: Iterator[str], *, every: bool) -> None:
    """`every`: each text at each place for each target, else for one of them in turn."""
    fine = program(["/bin/true"], {})
    targets = launchers.names()
    for i, text in enumerate(texts):
        if text.isascii() and text.replace(".", "").replace("-", "").replace("_", "").isalnum():
            continue
        places = (
            job(fine, key=text),
            job(fine, gpu=text),
            replace(job(fine), node=text),
            job(program(["/bin/true"], {text: "x"})),
            job(program(["/bin/true"], {}, pass_env=(text,))),
            job(program(["/bin/true"], {}, directory=f"/{text}\n")),
            job(program(["/bin/true", "{key}"], {}), key=text),
        )
        for j, one in enumerate(places):
            for target in targets if every else [targets[(i + j) % len(targets)]]:
                with pytest.raises((ColocateError, ValueError)):
                    files(target, one)


def test_hostile_folders_are_refused():
    for text in hostile(300, 4):
        path = f"/{text}"
        one = job(program(["/bin/true"], {}, directory=path))
        for target in launchers.names():
            try:
                found = files(target, one)
            except InputError:
                continue
            if target == "systemd":
                service = parsers.unit_file(found["colocate-bert.0.00000000.service"])["Service"]
                assert dict(service)["WorkingDirectory"] == path
            elif target == "compose":
                service = parsers.compose(found["compose.yaml"])["services"]["bert.0.00000000"]
                assert service["working_dir"] == path


def test_hostile_launch_files_are_refused_or_taken_as_they_are():
    """The reader is the first net: what it takes is what was written."""
    taken = 0
    for text in hostile(1000, 5):
        data = {**made.SERVE, "argv": ["/bin/true", text], "env": {"X": text}}
        value = {"schema": "colocate/launch/v1", "programs": [data]}
        try:
            file = parse_launch(json.dumps(value))
        except InputError:
            continue
        taken += 1
        assert isinstance(file, LaunchFile)
        assert file.programs[0].argv[1] == text
        assert file.programs[0].env["X"] == text
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in text)
    assert taken > 300


@pytest.mark.parametrize("field", ["id", "workloads", "image", "directory", "pass_env"])
def test_hostile_fields_of_a_launch_file(field: str):
    for text in hostile(200, 6):
        value: Any = [text] if field in ("workloads", "pass_env") else text
        data = {**made.SERVE, field: value}
        try:
            file = parse_launch(json.dumps({"schema": "colocate/launch/v1", "programs": [data]}))
        except InputError:
            continue
        kept = getattr(file.programs[0], field)
        kept = kept[0] if isinstance(kept, tuple) else kept
        assert kept == text
        assert text.isprintable() or field == "directory"
