"""Files are written whole or not at all, and nothing but a regular file is ever replaced."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from colocate.errors import InputError
from colocate.io import (
    write_atomic,
)


def test_new_files_have_the_usual_permissions_and_old_ones_keep_theirs(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    write_atomic(tmp_path / "new", "x")
    assert (tmp_path / "new").stat().st_mode == usual.stat().st_mode
    usual.chmod(0o640)
    write_atomic(usual, b"y")
    assert stat.S_IMODE(usual.stat().st_mode) == 0o640
    assert usual.read_bytes() == b"y"


def things(folder: Path) -> dict[str, Path]:
    """Return what must never be replaced."""
    (folder / "target").write_text("precious")
    made = {name: folder / name for name in ("link", "dangling", "folder", "pipe")}
    made["link"].symlink_to("target")
    made["dangling"].symlink_to("nothing")
    made["folder"].mkdir()
    os.mkfifo(made["pipe"])
    return {**made, "device": Path("/dev/null")}


@pytest.mark.parametrize("force", [True, False])
def test_only_regular_files_are_replaced(tmp_path: Path, force: bool) -> None:
    for name, path in things(tmp_path).items():
        before = sorted(tmp_path.iterdir())
        with pytest.raises(InputError, match="only a regular file is replaced") as caught:
            write_atomic(path, "x", force=force)
        assert caught.value.exit_code == 2, name
        assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "target").read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["absent/x.json", "file/x.json", "a\x00b", "x" * 300])
def test_names_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write") as caught:
        write_atomic(tmp_path / name, "x")
    assert caught.value.advice
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "link"])
def test_failure_at_any_step_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "x"
    force = call != "link"
    if force:
        path.write_text("precious")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    if call == "write":
        monkeypatch.setattr(os, "fdopen", fail)
    elif call == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(InputError, match="No space left on device"):
        write_atomic(path, "new", force=force)
    monkeypatch.undo()
    if force:
        assert path.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == (["x"] if force else [])


def test_interruption_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "x", "new")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_name_taken_in_the_meantime_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    real = os.fsync

    def and_meanwhile(handle: int) -> None:
        real(handle)
        path.write_text("theirs")

    monkeypatch.setattr(os, "fsync", and_meanwhile)
    with pytest.raises(InputError, match="File exists"):
        write_atomic(path, "mine", force=False)
    monkeypatch.undo()
    assert path.read_text() == "theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_file_systems_without_links_or_folder_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_fsync, real_open = os.fsync, os.open

    def no_link(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    def no_folder_sync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        real_fsync(handle)

    def no_folder_open(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECTORY:
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags, *mode)

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(os, "fsync", no_folder_sync)
    write_atomic(tmp_path / "a", "1", force=False)
    monkeypatch.setattr(os, "open", no_folder_open)
    write_atomic(tmp_path / "b", "2", force=False)
    monkeypatch.undo()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "1", "b": "2"}


@pytest.mark.parametrize("where", ["open", "fsync"])
def test_folder_that_fails_for_another_reason_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    real_fsync, real_open = os.fsync, os.open

    def broken_fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(5, "Input/output error")
        real_fsync(handle)

    def broken_open(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECTORY:
            raise OSError(5, "Input/output error")
        return real_open(path, flags, *mode)

    monkeypatch.setattr(os, where, broken_fsync if where == "fsync" else broken_open)
    with pytest.raises(InputError, match="Input/output error"):
        write_atomic(tmp_path / "a", "1")


def test_nobody_ever_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    texts = {"a" * 200_000, "b" * 300_000}
    path.write_text(next(iter(texts)))
    done = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        for text in sorted(texts):
            write_atomic(path, text)
    done.set()
    reader.join()
    assert seen <= texts
