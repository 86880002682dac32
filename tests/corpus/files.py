"""Things on disk that are no instance, and profile files that must not be read."""

from __future__ import annotations

import copy
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.corpus.valid import INSTANCE, PROFILE_FILE, PROFILES, to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class FileCase:
    """Something on disk that must be refused."""

    name: str
    source: Path
    path: str
    words: str


def file_cases(folder: Path) -> Iterator[FileCase]:
    """Make things in a folder and yield them."""
    good = folder / "good.json"
    good.write_bytes(to_bytes(INSTANCE))

    def made(name: str, make: Callable[[Path], object]) -> Path:
        path = folder / name
        make(path)
        return path

    yield FileCase("nothing there", folder / "absent.json", "$", "No such file")
    yield FileCase("a folder", made("folder.json", Path.mkdir), "$", "a folder, not a regular file")
    yield FileCase("a pipe", made("pipe.json", os.mkfifo), "$", "a pipe, not a regular file")
    yield FileCase("a device", Path("/dev/zero"), "$", "a device, not a regular file")
    yield FileCase("another device", Path("/dev/null"), "$", "a device")
    yield FileCase(
        "a link to nothing",
        made("dead.json", lambda p: p.symlink_to("absent")),
        "$",
        "No such file",
    )
    yield FileCase(
        "a link in a circle",
        made("circle.json", lambda p: p.symlink_to("circle.json")),
        "$",
        "cannot open",
    )
    yield FileCase(
        "a link to a pipe", made("to-pipe.json", lambda p: p.symlink_to("pipe.json")), "$", "a pipe"
    )
    yield FileCase("a name with NUL", Path("a\x00b.json"), "$", "null")
    yield FileCase("a name with an escape sequence", folder / "a\x1b[31m.json", "$", "No such file")
    yield FileCase("a name that is too long", folder / ("x" * 5000), "$", "too long")
    yield FileCase("a file as a folder", good / "x.json", "$", "Not a directory")

    def socket_at(path: Path) -> None:
        # Socket names are short, temporary folders are not.
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path.name)
        finally:
            os.chdir(here)

    yield FileCase("a socket", made("socket.json", socket_at), "$", "")

    def large(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(1 << 30)

    yield FileCase(
        "a gibibyte", made("large.json", large), "$", "1073741824 bytes (limit 16777216)"
    )
    yield from _profile_file_cases(folder)


def _profile_file_cases(folder: Path) -> Iterator[FileCase]:
    """Yield instances whose profile files are bad."""
    outside = folder / "outside"
    outside.mkdir()
    (outside / "p.json").write_bytes(to_bytes(PROFILE_FILE))
    inside = folder / "inside"
    inside.mkdir()
    bare = {k: v for k, v in INSTANCE.items() if k not in ("profiles", "interference")}

    def instance(name: str, *files: Any, **fields: Any) -> Path:
        path = inside / f"case-{name}.json"
        path.write_text(json.dumps({**bare, **fields, "profile_files": list(files)}))
        return path

    def put(name: str, value: Any) -> str:
        (inside / name).write_bytes(value if isinstance(value, bytes) else to_bytes(value))
        return name

    first = "$.profile_files[0]"
    for name, file in (
        ("up", "../outside/p.json"),
        ("up-and-down", "sub/../../outside/p.json"),
        ("absolute", str(outside / "p.json")),
        ("home", "~/p.json"),
        ("windows", "..\\outside\\p.json"),
    ):
        yield FileCase(f"profile file: {name}", instance(name, file), first, "plain relative path")
    (inside / "link.json").symlink_to(outside / "p.json")
    yield FileCase(
        "profile file: a link out", instance("link-out", "link.json"), first, "leads out"
    )
    (inside / "way-out").symlink_to(outside)
    yield FileCase(
        "profile file: a folder that is a link out",
        instance("folder-out", "way-out/p.json"),
        first,
        "leads out",
    )
    yield FileCase("profile file: absent", instance("absent", "p0.json"), first, "cannot be found")
    yield FileCase("profile file: NUL", instance("nul", "a\x00"), first, "U+0000")
    yield FileCase("profile file: no name", instance("no-name", ""), first, "a file name, not ''")
    yield FileCase("profile file: the folder", instance("dot", "."), first, "a folder")
    os.mkfifo(inside / "pipe.json")
    yield FileCase("profile file: a pipe", instance("pipe", "pipe.json"), first, "a pipe")
    yield FileCase(
        "profile file: broken",
        instance("broken", put("cut.json", b'{"schema": ')),
        "$",
        "not valid JSON",
    )
    yield FileCase(
        "profile file: of another kind",
        instance("kind", put("kind-of.json", INSTANCE)),
        "$.schema",
        "must be 'colocate/profiles/v1'",
    )
    wrong = copy.deepcopy(PROFILE_FILE)
    wrong["profiles"][1]["memory"][0]["memory_gib"] = -4
    yield FileCase(
        "profile file: a wrong value",
        instance("wrong", put("wrong-value.json", wrong)),
        "$.profiles[1].memory[0].memory_gib",
        "greater than 0, not -4",
    )
    one = put("one.json", PROFILE_FILE)
    two = put("two.json", {**PROFILE_FILE, "interference": None})
    yield FileCase(
        "profile file: the same profile in two files",
        instance("both", one, two),
        "$.profile_files[1]",
        "is stated in one.json and in two.json",
    )
    yield FileCase(
        "profile file: the same file twice",
        instance("same", one, one),
        "$.profile_files[1]",
        "stated in one.json and in one.json",
    )
    yield FileCase(
        "profile file: a profile that the instance states too",
        instance("inline", one, profiles=PROFILES[:1]),
        first,
        "inline.json and in one.json",
    )
    pairs = put("pairs.json", {**PROFILE_FILE, "profiles": []})
    plain = put("plain.json", {**PROFILE_FILE, "interference": None})
    defaults = put(
        "defaults.json",
        {"schema": "colocate/profiles/v1", "interference": {"default_slowdown": 1.1}},
    )
    yield FileCase(
        "profile file: the same slowdown twice",
        instance(
            "pair",
            plain,
            pairs,
            interference={"pairs": PROFILE_FILE["interference"]["pairs"]},
        ),
        "$.profile_files[1]",
        "the slowdown of 'bert' beside 'vgg' on 'A100'",
    )
    yield FileCase(
        "profile file: two default slowdowns",
        instance("defaults-twice", one, defaults),
        "$.profile_files[1]",
        "default_slowdown is stated in one.json and in defaults.json",
    )
    other = put(
        "other-role.json",
        {
            "schema": "colocate/profiles/v1",
            "profiles": [{**PROFILES[1], "workload": "bert", "gpu_type": "V100"}],
        },
    )
    yield FileCase(
        "profile file: a workload with two roles",
        instance("roles", plain, other),
        "$.profiles[0].role",
        "as inference and as training",
    )
    yield FileCase(
        "profile file: inline profiles that are no list",
        instance("no-list", plain, profiles={}),
        "$.profiles",
        "must be a list",
    )
    yield FileCase(
        "profile file: inline slowdowns that are no list",
        instance("no-pairs", plain, interference={"pairs": 1}),
        "$.interference.pairs",
        "must be a list",
    )
    yield FileCase(
        "profile file: inline slowdowns that are no object",
        instance("no-object", pairs, interference=3, profiles=PROFILES),
        "$.interference",
        "must be an object",
    )

    def filled(path: Path) -> str:
        path.write_bytes(to_bytes(PROFILE_FILE) + b" " * (9 << 20))
        return path.name

    big = [filled(inside / f"big-{i}.json") for i in range(2)]
    yield FileCase(
        "profile file: too large together", instance("large", *big), "$.profile_files[1]", "(limit"
    )
