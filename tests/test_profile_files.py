"""Profiles in files of their own are the same as profiles in the instance."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest

from colocate.errors import InstanceError
from colocate.io import (
    dumps_instance,
    load_instance,
    parse_instance,
)
from tests.corpus.valid import (
    INSTANCE,
    INTERFERENCE,
    PROFILE_FILE,
    PROFILES,
    to_bytes,
)

TEXT = to_bytes(INSTANCE)
BARE = {k: v for k, v in INSTANCE.items() if k not in ("profiles", "interference")}


def refused(data: bytes) -> InstanceError:
    with pytest.raises(InstanceError) as caught:
        parse_instance(data)
    return caught.value


def with_files(folder: Path, *names: str, **fields: Any) -> Path:
    path = folder / "instance.json"
    path.write_bytes(to_bytes({**BARE, **fields, "profile_files": list(names)}))
    return path


def test_profile_files_are_the_same_as_inline_profiles(tmp_path: Path) -> None:
    inline = parse_instance(TEXT)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "all.json").write_bytes(to_bytes(PROFILE_FILE))
    whole = load_instance(with_files(tmp_path, "sub/all.json"))
    assert whole == inline
    assert whole.sha256 == inline.sha256
    assert "profile_files" not in dumps_instance(whole)

    one = {**PROFILE_FILE, "profiles": PROFILES[:1], "interference": None}
    pairs = {**PROFILE_FILE, "profiles": [], "interference": {"pairs": INTERFERENCE["pairs"]}}
    (tmp_path / "one.json").write_bytes(to_bytes(one))
    (tmp_path / "pairs.json").write_bytes(to_bytes(pairs))
    mixed = load_instance(
        with_files(
            tmp_path,
            "one.json",
            "pairs.json",
            profiles=PROFILES[1:],
            interference={k: v for k, v in INTERFERENCE.items() if k != "pairs"},
        )
    )
    assert mixed == inline
    assert mixed.sha256 == inline.sha256


def test_changed_profile_file_changes_the_hash(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(to_bytes(PROFILE_FILE))
    before = load_instance(with_files(tmp_path, "p.json")).sha256
    changed = copy.deepcopy(PROFILE_FILE)
    changed["profiles"][0]["curve"]["batches"][0]["points"][0]["rate"] = 51
    (tmp_path / "p.json").write_bytes(to_bytes(changed))
    assert load_instance(with_files(tmp_path, "p.json")).sha256 != before


def test_profile_files_of_text_are_in_the_folder_given(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(to_bytes(PROFILE_FILE))
    data = to_bytes({**BARE, "profile_files": ["p.json"]})
    assert parse_instance(data, base_dir=tmp_path) == parse_instance(TEXT)
    assert parse_instance(data, base_dir=str(tmp_path)) == parse_instance(TEXT)
    with pytest.raises(InstanceError, match="no folder"):
        parse_instance(data)
    with pytest.raises(InstanceError, match="no folder"):
        load_instance(io.BytesIO(data))


def test_no_profile_files_are_allowed_anywhere() -> None:
    data = to_bytes({**INSTANCE, "profile_files": []})
    assert parse_instance(data) == parse_instance(TEXT)


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_bytes(to_bytes(PROFILE_FILE))
    (tmp_path / "p.json").symlink_to("real.json")
    assert load_instance(with_files(tmp_path, "p.json")) == parse_instance(TEXT)


def test_files_share_one_limit(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(to_bytes(PROFILE_FILE))
    path = with_files(tmp_path, "p.json")
    together = path.stat().st_size + (tmp_path / "p.json").stat().st_size
    load_instance(path, max_bytes=together)
    with pytest.raises(InstanceError, match="limit") as caught:
        load_instance(path, max_bytes=together - 1)
    assert caught.value.path == "$.profile_files[0]"


def test_problems_of_the_instance_itself_name_the_instance(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(to_bytes({**PROFILE_FILE, "profiles": PROFILES[:1]}))
    role = {**PROFILES[1], "workload": "bert", "gpu_type": "V100"}
    path = with_files(tmp_path, "p.json", profiles=[PROFILES[1], role])
    with pytest.raises(InstanceError, match="as inference and as training") as caught:
        load_instance(path)
    assert caught.value.path == "$.profiles[0].role"
    assert caught.value.source == "p.json:1"
    path = with_files(tmp_path, "p.json", profiles=[PROFILES[1], PROFILES[1]])
    with pytest.raises(InstanceError, match="'vgg on A100' is listed twice") as caught:
        load_instance(path)
    assert caught.value.path == "$.profiles[1]"
    assert caught.value.source == f"{path}:1"
    path = with_files(tmp_path, "p.json", profiles=[PROFILES[1]], confidence=0.9, services=[])
    with pytest.raises(InstanceError, match="'s0'") as caught:
        load_instance(path)
    assert caught.value.source == f"{path}:1"


@pytest.mark.parametrize("fields", [{"profiles": [1]}, {"interference": {"pairs": [1]}}])
def test_wrong_rows_beside_profile_files(tmp_path: Path, fields: dict[str, Any]) -> None:
    (tmp_path / "p.json").write_bytes(to_bytes(PROFILE_FILE))
    with pytest.raises(InstanceError, match="must be an object, not 1"):
        load_instance(with_files(tmp_path, "p.json", **fields))
