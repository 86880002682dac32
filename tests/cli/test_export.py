"""`colocate export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colocate.io import dumps_instance, dumps_launch, dumps_plan
from tests.export.launchers import made


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    question = made.instance()
    texts = {
        "plan.json": dumps_plan(made.plan(question)),
        "node.json": dumps_instance(question),
        "launch.json": dumps_launch(made.launch_file()),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [tmp_path / name for name in texts]


def below(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): p.read_text(encoding="utf-8")
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.mark.parametrize("target", ["compose", "env", "mps-v3", "slurm", "systemd"])
def test_files_and_losses(cli: Any, files: list[Path], tmp_path: Path, target: str) -> None:
    done = cli("export", "--to", target, *files, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    expected = made.exported(target)
    assert below(tmp_path / "out") == {f.name: f.text for f in expected.files}
    assert done.out.startswith(f"{len(expected.files)} files in ")
    for loss in expected.losses:
        assert loss.detail in " ".join(done.out.split())


def test_strict_writes_nothing(cli: Any, files: list[Path], tmp_path: Path) -> None:
    done = cli("export", "--to", "slurm", *files, "-o", tmp_path / "out", "--strict")
    assert done.code == 1
    assert "slurm cannot express 'batch' of program 'bert'" in done.err
    assert not (tmp_path / "out").exists()


def test_json(cli: Any, files: list[Path], tmp_path: Path) -> None:
    done = cli("export", "--to", "env", *files, "-o", tmp_path / "out", "--json")
    assert done.code == 0
    assert done.json["target"] == "env"
    assert set(done.json["files"]) == set(below(tmp_path / "out"))
    what = {(row["what"], row["program"]) for row in done.json["losses"]}
    assert ("switch", "bert") in what


def test_quiet(cli: Any, files: list[Path], tmp_path: Path) -> None:
    done = cli("export", "--to", "env", *files, "-o", tmp_path / "out", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_files_are_replaced_with_force_only(cli: Any, files: list[Path], tmp_path: Path) -> None:
    arguments = ("export", "--to", "env", *files, "-o", tmp_path / "out")
    assert cli(*arguments).code == 0
    again = cli(*arguments)
    assert again.code == 2
    assert "exists" in again.err
    assert cli(*arguments, "--force").code == 0


def test_the_state_folder(cli: Any, files: list[Path], tmp_path: Path) -> None:
    arguments = ("export", "--to", "env", *files, "-o", tmp_path / "out", "--root")
    assert cli(*arguments, "/srv/mps").code == 0
    script = next((tmp_path / "out/n1").glob("bert.0.*.sh")).read_text()
    assert "/srv/mps/mps/00000000/pipe" in script
    for root in ("/srv/a b", "/srv/$(id)", "relative", "/srv/\nx"):
        refused = cli(*arguments, root, "--force")
        assert refused.code == 2, root
        assert "Maybe" in refused.err
    assert cli(*arguments, "/" + "x" * 100, "--force").code != 0


def test_another_instance(cli: Any, files: list[Path], tmp_path: Path) -> None:
    plan, node, launch = files
    node.write_text(dumps_instance(made.instance(name="other")))
    done = cli("export", "--to", "env", plan, node, launch, "-o", tmp_path / "out")
    assert done.code == 2
    assert "the plan is for the instance with hash" in done.err


def test_usage(cli: Any, files: list[Path], tmp_path: Path) -> None:
    assert cli("export", *files, "-o", tmp_path / "out").code == 2
    assert cli("export", "--to", "env", *files).code == 2
    unknown = cli("export", "--to", "helm", *files, "-o", tmp_path / "out")
    assert unknown.code == 2
    assert "known: compose, env" in unknown.err
    twice = cli("export", "--to", "env", "-", "-", files[2], "-o", tmp_path / "out")
    assert twice.code == 2
    broken = cli("export", "--to", "env", *files[:2], files[0], "-o", tmp_path / "out")
    assert broken.code == 2
    assert "'schema' must be 'colocate/launch/v1'" in broken.err
    occupied = tmp_path / "a-file"
    occupied.write_text("x")
    assert cli("export", "--to", "env", *files, "-o", occupied).code == 2
    assert occupied.read_text() == "x"
