"""`schema`, `datasets`, `doctor` and `versions`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import colocate
from colocate import datasets
from colocate.cli import checks
from colocate.io import json_schema, load_instance


@pytest.mark.parametrize("kind", ["instance", "plan", "profiles"])
def test_schema(cli: Any, tmp_path: Path, kind: Any) -> None:
    done = cli("schema", kind)
    assert done.code == 0
    assert done.json == json_schema(kind)
    target = tmp_path / "schema.json"
    assert cli("schema", kind, "-o", target).out == ""
    assert target.read_text(encoding="utf-8") == done.out


def test_datasets_list(cli: Any) -> None:
    done = cli("datasets", "list")
    assert done.code == 0
    for name in (*datasets.names(), *datasets.families()):
        assert name in done.out
    found = cli("datasets", "list", "--json").json
    assert [d["name"] for d in found["datasets"]] == datasets.names()
    assert sorted(found["families"]) == sorted(datasets.families())


def test_datasets_get(
    cli: Any, quickstart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("datasets", "get", "quickstart", "-o", "-").out == quickstart.read_text()
    assert list(tmp_path.iterdir()) == []
    assert cli("datasets", "get", "quickstart").code == 0
    target = tmp_path / "quickstart.json"
    assert target.read_bytes() == quickstart.read_bytes()
    target.write_text("mine", encoding="utf-8")
    again = cli("datasets", "get", "quickstart")
    assert again.code == 2
    assert "--force" in again.err
    assert target.read_text(encoding="utf-8") == "mine"
    assert cli("datasets", "get", "quickstart", "--force").code == 0
    assert target.read_bytes() == quickstart.read_bytes()


@pytest.mark.parametrize("name", ["nothing", "../data/quickstart", "quick\x1bstart"])
def test_datasets_get_unknown(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("datasets", "get", name)
    assert done.code == 2
    assert "quickstart" in done.err
    assert "\x1b" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_datasets_generate(cli: Any, tmp_path: Path) -> None:
    arguments = ["datasets", "generate", "gangs", "--gpus", "6", "--seed", "3"]
    to_output = cli(*arguments, "-o", "-")
    assert to_output.code == 0
    target = tmp_path / "made.json"
    assert cli(*arguments, "-o", target).code == 0
    assert target.read_text(encoding="utf-8") == to_output.out
    assert load_instance(target).gpu_count == 6
    assert cli(*arguments[:-1], "4", "-o", "-").out != to_output.out


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["gangs", "--gpus", "0"], ["gangs", "--seed", "-1"]]
)
def test_datasets_generate_refuses(cli: Any, arguments: list[str]) -> None:
    done = cli("datasets", "generate", *arguments, "-o", "-")
    assert done.code == 2
    assert done.out == ""
    assert "Maybe" in done.err


def test_versions(cli: Any) -> None:
    found = cli("versions", "--json").json
    assert found["colocate"] == colocate.__version__
    text = cli("versions").out
    assert all(f"{name} " in text for name in found)


def test_doctor_finds_this_installation_healthy_and_imports_nothing_heavy_itself() -> None:
    script = (
        "import sys\nfrom colocate.cli.main import run\ncode = run(['doctor', '--json'])\n"
        "heavy = {'numpy', 'scipy', 'ortools', 'pulp', 'networkx'} & set(sys.modules)\n"
        "sys.exit(' '.join(heavy) or code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["ok"] is True
    status = {c["name"]: c["status"] for c in found["checks"]}
    assert {status[name] for name in checks.PACKAGES} == {"ok"}
    assert status["greedy"] == "ok"
    assert "MPS" in status


def test_doctor_tells_what_is_missing(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_solvers", list)
    monkeypatch.setattr(checks, "PACKAGES", {"no-such-package": "x", "pydantic": "pydantic.nope"})
    done = cli("doctor")
    assert done.code == 1
    assert "not installed" in done.out
    assert "does not load" in done.out
    assert "Something is missing." in done.out


def test_doctor_reads_the_driver(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "_solvers", list)
    monkeypatch.setattr(checks, "PACKAGES", {})
    for name, text in (
        ("nvidia-smi", "printf 'NVIDIA H200, 570.1, 143771 MiB\\n'"),
        ("nvidia-cuda-mps-control", "exit 1"),
    ):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    found = {c["name"]: c["detail"] for c in cli("doctor", "--json").json["checks"]}
    assert found["GPU 0"] == "NVIDIA H200, 570.1, 143771 MiB"
    assert found["MPS"].endswith(f"no daemon in {tmp_path}")
    (tmp_path / "nvidia-cuda-mps-control.pid").write_text("1\n")  # of something else: no daemon
    found = {c["name"]: c["detail"] for c in cli("doctor", "--json").json["checks"]}
    assert "no daemon" in found["MPS"]
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho no driver >&2\nexit 9\n")
    found = {c["name"]: c["status"] for c in cli("doctor", "--json").json["checks"]}
    assert found["driver"] == "note"


def test_the_module_runs_too(command: Any) -> None:
    done = command("show", "-", "--json", stdin=json.dumps({"schema": "x"}))
    assert done.code == 2
