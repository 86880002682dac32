"""Finding the control program."""

from __future__ import annotations

from pathlib import Path

import pytest

from colocate.executor.errors import MpsError
from colocate.executor.mps.binary import NAME, resolve_binary
from colocate.executor.mps.control import ControlError


def program(folder: Path, mode: int = 0o755) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / NAME
    path.write_text("#!/bin/true\n")
    path.chmod(mode)
    return path


def test_the_first_of_the_places_counts(tmp_path: Path) -> None:
    path = program(tmp_path / "b")
    program(tmp_path / "c")
    assert resolve_binary(None, [tmp_path / n for n in "abc"]) == path


def test_a_missing_program_is_explained(tmp_path: Path) -> None:
    for given, places in ((None, [tmp_path]), (tmp_path / "none", [])):
        with pytest.raises(ControlError) as caught:
            resolve_binary(given, places)
        assert caught.value.kind == "missing"
        assert "install" in (caught.value.advice or "")
        assert caught.value.exit_code == 5


def test_path_is_never_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ControlError, match="is not there"):
        resolve_binary(None, [tmp_path])
    with pytest.raises(MpsError, match="not an absolute path"):
        resolve_binary(NAME)


@pytest.mark.parametrize(("mode", "kind"), [(0o644, "missing"), (0o757, None)])
def test_a_program_that_is_not_executable_or_that_anybody_may_write(
    tmp_path: Path, mode: int, kind: str | None
) -> None:
    path = program(tmp_path / "bin", mode)
    with pytest.raises(MpsError) as caught:
        resolve_binary(path)
    assert getattr(caught.value, "kind", None) == kind


def test_a_program_in_a_folder_that_anybody_may_write(tmp_path: Path) -> None:
    path = program(tmp_path / "bin")
    path.parent.chmod(0o777)
    with pytest.raises(MpsError, match="writable by all"):
        resolve_binary(path)
    path.parent.chmod(0o1777)
    assert resolve_binary(path) == path


def test_a_folder_is_no_program(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="not a program"):
        resolve_binary(tmp_path)
