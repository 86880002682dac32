"""Profiles that an instance keeps in files of their own, merged into it before it is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from colocate.errors import InstanceError
from colocate.io.files import read_within
from colocate.io.problems import show_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from colocate.io.json_path import Step
    from colocate.io.json_read import Document
    from colocate.profile import ProfileFile
    from colocate.profile.fitted import FittedModels

__all__ = ["Merged", "check_names", "merge"]

MAX_FILES = 100


@dataclass(frozen=True, slots=True)
class Merged:
    """An instance's data with the profiles of its files, and where each of these came from."""

    value: dict[str, Any]
    inline: int = 0
    """How many profiles the instance states itself; those of the files come after them."""
    origin: list[tuple[Document, int]] = field(default_factory=list)
    """File and index of each profile that a file brought."""

    def locate(self, steps: tuple[Step, ...]) -> tuple[Document, tuple[Step, ...]] | None:
        """Return file and path of something that a profile file brought."""
        if len(steps) < 2 or steps[0] != "profiles" or not isinstance(steps[1], int):
            return None
        k = steps[1] - self.inline
        if not 0 <= k < len(self.origin):
            return None
        document, index = self.origin[k]
        return document, ("profiles", index, *steps[2:])


class _Owners:
    """Who stated what, so that what is stated twice is refused with both places."""

    def __init__(self) -> None:
        self._owner: dict[tuple[str, ...], str] = {}

    def claim(self, key: tuple[str, ...], what: str, owner: str, path: str, source: str) -> None:
        other = self._owner.setdefault(key, owner)
        if other is not owner:
            raise InstanceError(
                f"{what} is stated in {other} and in {owner}",
                path=path,
                advice="remove one of the two.",
                source=source,
            )


def check_names(value: object, source: str) -> list[str]:
    """Return the file names of `profile_files`, or raise."""
    if not isinstance(value, list):
        raise InstanceError(
            f"'profile_files' must be a list of file names, not {show_value(value)}",
            path="$.profile_files",
            advice='write ["profiles.json"].',
            source=source,
        )
    if len(value) > MAX_FILES:
        raise InstanceError(
            f"'profile_files' names {len(value)} files (limit {MAX_FILES})",
            path="$.profile_files",
            advice="put several profiles into one file.",
            source=source,
        )
    for i, name in enumerate(value):
        if not isinstance(name, str) or not name:
            raise InstanceError(
                f"item {i} of 'profile_files' must be a file name, not {show_value(name)}",
                path=f"$.profile_files[{i}]",
                advice="write a relative path in quotes.",
                source=source,
            )
    return value


def merge(
    instance: Document,
    names: list[str],
    folder: Path,
    read: Callable[[bytes, str, int], tuple[Document, ProfileFile | FittedModels]],
    max_bytes: int,
    max_memory: int,
) -> Merged:
    """Return the instance's data with what its profile files hold.

    Parameters
    ----------
    instance, names, folder
        The instance, the names of its files, and the folder that they are relative to.
    read
        Makes a profile file of bytes, a name for messages, and a memory limit.
    max_bytes, max_memory
        Limits for all files together.
    """
    value = {k: v for k, v in instance.value.items() if k != "profile_files"}
    profiles = list(_rows(value.get("profiles", [])))
    stated = value.get("interference", {})
    interference = dict(stated) if isinstance(stated, dict) else {}
    pairs = list(_rows(interference.get("pairs", [])))
    merged = Merged(value, inline=len(profiles))

    owners = _Owners()
    for row in profiles:
        _claim_profile(owners, row, instance.source, "$.profiles", instance.source)
    for row in pairs:
        _claim_pair(owners, row, instance.source, "$.interference.pairs", instance.source)
    if interference.get("default_slowdown") is not None:
        owners.claim(("default",), "default_slowdown", instance.source, "$", instance.source)

    for j, name in enumerate(names):
        path = f"$.profile_files[{j}]"
        data, label = read_within(folder, name, path, max_bytes, InstanceError)
        max_bytes -= len(data)
        document, file = read(data, label, max_memory)
        max_memory -= document.memory
        for i, profile in enumerate(file.profiles):
            _claim_profile(owners, vars(profile), label, path, instance.source)
            profiles.append(profile)
            merged.origin.append((document, i))
        if file.interference is None:
            continue
        for pair in file.interference.pairs:
            _claim_pair(owners, vars(pair), label, path, instance.source)
            pairs.append(pair)
        if file.interference.default_slowdown is not None:
            owners.claim(("default",), "default_slowdown", label, path, instance.source)
            interference["default_slowdown"] = file.interference.default_slowdown
            interference["default_error"] = file.interference.default_error

    if isinstance(value.get("profiles", []), list):
        value["profiles"] = profiles
    if isinstance(stated, dict) and isinstance(interference.get("pairs", []), list):
        value["interference"] = {**interference, "pairs": pairs}
    return merged


def _rows(value: object) -> list[Any]:
    """Return a list as it is; what is no list is left for the instance's own check to refuse."""
    return value if isinstance(value, list) else []


def _claim_profile(owners: _Owners, row: Any, owner: str, path: str, source: str) -> None:  # noqa: ANN401
    if isinstance(row, dict):
        key = (str(row.get("workload")), str(row.get("gpu_type")))
        owners.claim(key, f"the profile of {key[0]!r} on {key[1]!r}", owner, path, source)


def _claim_pair(owners: _Owners, row: Any, owner: str, path: str, source: str) -> None:  # noqa: ANN401
    if isinstance(row, dict):
        key = tuple(str(row.get(k)) for k in ("gpu_type", "victim", "neighbour"))
        what = f"the slowdown of {key[1]!r} beside {key[2]!r} on {key[0]!r}"
        owners.claim(key, what, owner, path, source)
