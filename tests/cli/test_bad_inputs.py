"""The corpus through the command line: exit code 2, the place, no traceback, nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import colocate as co
from tests.corpus.contradictions import contradiction_cases
from tests.corpus.fields import generated_cases
from tests.corpus.files import file_cases
from tests.corpus.text import text_cases
from tests.corpus.valid import Case, to_bytes
from tests.corpus.values import value_cases

if TYPE_CHECKING:
    from collections.abc import Callable

ONE_IN = 9
"""Of the generated cases this share runs here without --deep; the library's test runs them all."""
MOST_MEMORY_MIB = 200
BARE: dict[str, Any] = {
    "schema": "colocate/instance/v1",
    "name": "bare",
    "slo_model": {"name": "fill"},
    "confidence": 0.5,
    "objective": {"name": "throughput"},
    "gpu_pools": [],
    "profile_files": ["bad.json"],
}


def arguments(case: Case, folder: Path) -> list[str]:
    """Write the case into an empty folder and return a command line that reads it."""
    (folder / "bad.json").write_bytes(case.data)
    if case.kind == "plan":
        return ["diff", str(folder / "bad.json"), str(folder / "bad.json")]
    if case.kind == "models":
        return ["models", "show", str(folder / "bad.json")]
    if case.kind == "launch":
        question = {k: v for k, v in BARE.items() if k != "profile_files"}
        (folder / "instance.json").write_bytes(to_bytes(question))
        plan = co.solve(co.Instance.model_validate(question)).plan
        assert plan is not None
        (folder / "plan.json").write_text(plan.model_dump_json(by_alias=True), encoding="utf-8")
        files = [str(folder / name) for name in ("plan.json", "instance.json", "bad.json")]
        return ["export", "--to", "env", *files, "-o", str(folder / "out")]
    if case.kind == "profiles":
        (folder / "instance.json").write_bytes(to_bytes(BARE))
        return ["solve", str(folder / "instance.json"), "-o", str(folder / "plan.json")]
    return ["solve", str(folder / "bad.json"), "-o", str(folder / "plan.json")]


def check(code: int, out: str, err: str, path: str) -> None:
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("colocate: ")
    assert path in err
    assert "\n  Maybe " in err
    assert all(line.isprintable() for line in err.rstrip("\n").split("\n")), ascii(err)


def in_process(cases: list[Case], tmp_path: Path, cli: Any) -> None:
    for case in cases:
        try:
            line = arguments(case, tmp_path)
            before = sorted(tmp_path.iterdir())
            done = cli(*line)
            check(done.code, done.out, done.err, case.path)
            assert sorted(tmp_path.iterdir()) == before
        except BaseException as failed:
            failed.add_note(case.name)
            raise


def test_damaged_fields(tmp_path: Path, cli: Any, pytestconfig: pytest.Config) -> None:
    every = 1 if pytestconfig.getoption("--deep") else ONE_IN
    cases = list(generated_cases(every))
    assert len(cases) >= 300
    in_process(cases, tmp_path, cli)


def test_written_cases(tmp_path: Path, cli: Any) -> None:
    in_process([*text_cases(), *value_cases(), *contradiction_cases()], tmp_path, cli)


def test_bad_files(tmp_path: Path, cli: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "in").mkdir()
    for case in file_cases(tmp_path / "in"):
        if "\x00" in str(case.source):
            continue  # no command line can hold it
        done = cli("solve", case.source, "-o", out / "plan.json")
        check(done.code, done.out, done.err, case.path)
        assert list(out.iterdir()) == []


# The limit of memory is that of a process of its own, started by a small one: what a process has
# used at most includes what its parent had used when it started it.
MEASURE = """
import json, os, sys, time
line = json.loads(sys.argv[1])
out, err = (os.open(name, os.O_WRONLY | os.O_CREAT, 0o600) for name in sys.argv[2:4])
start = time.monotonic()
child = os.posix_spawn(line[0], line, os.environ, file_actions=[
    (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)])
_, status, usage = os.wait4(child, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024,
                  time.monotonic() - start]))
"""
HEAVY = (
    "text: depth 100,000 of objects",
    "text: depth 65",
    "text: many lists",
    "text: many objects",
    "text: wide characters",
    "text: one key many times",
    "text: many huge numbers",
    "text: many empty services",
    "text: many wrong items",
    "text: UTF-16",
    "text: 17 MiB",
    "text: many different keys",
    "value: 10^5 digits at services[0].replicas",
    "value: an escape sequence at tasks[0].tenant",
    "value: a huge run at rules.locked[0].gpus",
    "contradiction: too many rows",
    "contradiction: too many workers",
    "contradiction: pinned beyond the pool",
    "contradiction: one slowdown twice",
    "contradiction: the id of a row",
)
EACH = {c.name: c for c in [*text_cases(), *value_cases(), *contradiction_cases()]}


START = to_bytes({k: v for k, v in BARE.items() if not isinstance(v, list)})[:-1]


def rows(count: int, row: str, last: str) -> bytes:
    return ("[" + ",".join([row % i for i in range(count)] + [last]) + "]").encode()


def many_pools() -> bytes:
    pool = '{"id":"%s","gpu_type":"g","count":1,"memory_gib":1,"sm_count":1}'
    return START + b', "gpu_pools":' + rows(75_000, pool % "a%d", pool % "a0") + b"}"


def many_numbers() -> bytes:
    table = b'{"rows":9,"profile":"p","slo_ms":1,"rate_rps":' + rows(1_600_000, "%d.5", "0") + b"}"
    return START + b', "gpu_pools":[], "service_table":' + table + b"}"


def many_strings() -> bytes:
    return START + b', "services":' + rows(950_000, '"%x"', '""') + b"}"


def many_runs() -> bytes:
    runs = b",".join(b"%d" % i for i in range(0, 2_600_000, 2))
    pool = b'{"id":"a","gpu_type":"g","count":3000000,"memory_gib":1,"sm_count":1}'
    group = b'{"pool":"a","gpus":"' + runs + b',0"}'
    return START + b', "gpu_pools":[' + pool + b'], "rules":{"locked":[' + group + b"]}}"


# Files that just pass the check of their weight and are wrong in the end.
NEAR_THE_LIMIT = {
    many_pools: "$.gpu_pools[75000]",
    many_numbers: "$.service_table.rate_rps[1600000]",
    many_strings: "$.services[0]",
    many_runs: "$.rules.locked",
}


def measured(line: list[str], folder: Path) -> tuple[int, float, float, str, str]:
    names = [str(folder / "stdout"), str(folder / "stderr")]
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", MEASURE, json.dumps(line), *names],
        capture_output=True,
        check=True,
        timeout=120,
    )
    code, memory, seconds = json.loads(done.stdout)
    out, err = (Path(name).read_text(encoding="utf-8") for name in names)
    return code, memory, seconds, out, err


def refused_by_a_process(data: bytes, path: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "bad.json").write_bytes(data)
    command = [sys.executable, "-m", "colocate", "solve", str(folder / "bad.json")]
    code, memory, seconds, out, err = measured(
        [*command, "-o", str(folder / "plan.json")], tmp_path
    )
    check(code, out, err, path)
    assert [p.name for p in folder.iterdir()] == ["bad.json"]
    assert memory < MOST_MEMORY_MIB
    assert seconds < 60


def some_or_all(names: Any) -> list[Any]:
    """Every fourth runs always, the others with --deep."""
    return [
        n if i % 4 == 0 else pytest.param(n, marks=pytest.mark.deep) for i, n in enumerate(names)
    ]


@pytest.mark.parametrize("name", some_or_all(HEAVY))
def test_process_ends_plainly_and_small(name: str, tmp_path: Path) -> None:
    refused_by_a_process(EACH[name].data, EACH[name].path, tmp_path)


@pytest.mark.parametrize("make", some_or_all(NEAR_THE_LIMIT))
def test_large_files_stay_within_the_memory(make: Callable[[], bytes], tmp_path: Path) -> None:
    refused_by_a_process(make(), NEAR_THE_LIMIT[make], tmp_path)


def test_pipe_does_not_block_a_process(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    command = [sys.executable, "-m", "colocate", "solve", str(tmp_path / "pipe")]
    code, _, seconds, out, err = measured(command, tmp_path)
    check(code, out, err, "$")
    assert seconds < 60
