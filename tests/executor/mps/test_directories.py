"""Folders of a daemon: made private, refused when they are not ours alone, never too long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from colocate.errors import InputError
from colocate.executor.errors import ForeignError, MpsError
from colocate.executor.mps.directories import check_socket_length, folders_of
from tests.fakes.double import short_folder, uuid

GPU = uuid(0xABC)


@pytest.fixture
def near() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


def test_folders_are_private_and_can_be_made_again(near: Path) -> None:
    root = near / "state" / "colocate"
    folders = folders_of(root, GPU, [GPU])
    assert not folders.check()
    for _ in range(2):
        folders.prepare(root)
    assert folders.pipe == root / "mps" / "00000abc" / "pipe"
    for folder in (root, root / "mps", folders.base, folders.pipe, folders.log):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert folders.check()


def test_gpus_that_share_their_first_digits_get_folders_of_their_own(tmp_path: Path) -> None:
    twin = GPU[:-1] + "f"
    assert GPU[:12] == twin[:12]
    one, two = (folders_of(tmp_path, gpu, [GPU, twin]).base for gpu in (GPU, twin))
    assert one != two


@pytest.mark.parametrize("name", ["base", "pipe", "log"])
def test_a_link_is_refused(tmp_path: Path, name: str) -> None:
    folders = folders_of(tmp_path, GPU, [GPU])
    folders.prepare(tmp_path)
    path: Path = getattr(folders, name)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    for look in (folders.check, lambda: folders.prepare(tmp_path)):
        with pytest.raises(ForeignError, match="symbolic link"):
            look()


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    folders = folders_of(tmp_path, GPU, [GPU])
    folders.prepare(tmp_path)
    folders.pipe.chmod(0o777)
    for look in (folders.check, lambda: folders.prepare(tmp_path)):
        with pytest.raises(ForeignError, match="others may write"):
            look()


def test_a_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = folders_of(tmp_path, GPU, [GPU])
    folders.prepare(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ForeignError, match="belongs to user"):
        folders.check()


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    folders = folders_of(tmp_path, GPU, [GPU])
    folders.base.parent.mkdir(mode=0o700)
    folders.base.write_text("")
    with pytest.raises(ForeignError, match="not a folder"):
        folders.prepare(tmp_path)


def test_a_folder_that_cannot_be_made_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(MpsError, match="Read-only file system") as caught:
        folders_of(tmp_path / "x", GPU, [GPU]).prepare(tmp_path / "x")
    assert "--root" in (caught.value.advice or "")


def test_a_socket_may_have_107_bytes_and_no_more(tmp_path: Path) -> None:
    check_socket_length(Path("/" + "a" * 106))
    with pytest.raises(MpsError, match="108 bytes"):
        check_socket_length(Path("/" + "a" * 107))
    with pytest.raises(MpsError, match="109 bytes"):
        check_socket_length(Path("/" + "ä" * 54))  # bytes count, not letters
    deep = tmp_path / ("d" * 100)
    with pytest.raises(MpsError, match="shorter --root"):
        folders_of(deep, GPU, [GPU]).prepare(deep)
    assert not deep.exists()


@pytest.mark.parametrize("name", ["a b", "a\nb", "a,b", "a;b", "ä", 'a"b'])
def test_a_root_that_could_be_misread_is_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    with pytest.raises(InputError, match="--root"):
        folders_of(root, GPU, [GPU]).prepare(root)
    assert not root.exists()
