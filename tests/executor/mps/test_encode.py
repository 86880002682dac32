"""No string reaches argv, standard input, the environment or TOML except in its own form."""

from __future__ import annotations

import random
import re
import string
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.executor.errors import MpsError
from colocate.executor.mps import NodeDaemons, encode, space_of
from colocate.executor.mps.toml import ServerConfig, config_text
from colocate.executor.ports import Limits, Space
from colocate.executor.unit import Unit
from tests.fakes.double import Double, uuid

SAFE = frozenset(string.ascii_letters + string.digits + "_./-+@=~")
TEXT_ENCODERS: dict[str, Callable[[str], str]] = {
    "uuid": encode.gpu_uuid,
    "short": encode.short_uuid,
    "namespace": encode.namespace,
    "key": encode.unit_key,
    "space": encode.space_name,
    "path": lambda text: encode.path_text(Path(text)),
    "line": lambda text: encode.stdin_line("get_server_status", text),
}
NASTY = (
    *("a\nquit", "a\rquit", "a\x00b", "a;reboot", "$(reboot)", "`id`", "a b", "", " ", "\t"),
    *("../../etc/passwd", "/a/../../b", "a,b", 'a"b', "a'b", "a\\nquit", "--force", "-f", "=x"),
    *("a\u2028quit", "a\u0085quit", "\ufeffa", "\u202ea", "а", "Ａ", "１", "a\ud800", "é", "%s{0}"),
    *("GPU-\n", uuid(1) + "\n", uuid(0xAB).replace("ab", "AB"), uuid(1) + "\x00"),
    *(uuid(1)[:-1], " " + uuid(1), uuid(1) + " ", uuid(1) + "0"),
    *("x" * 65, "x" * 10_000, "]\n[servers.evil", '"\nuid = 0', "default\n", "\x1b[31m", "#"),
)
SPECIAL = "\n\r\0 ;,\"'\\$`|&<>()[]{}#=\x1b\x85\u2028"


def hostile(count: int) -> Iterator[str]:
    """Yield strings that try to get out: nasty ones, good ones bent, and noise."""
    chosen = random.Random(5)
    good = [uuid(7), "a.0.0123abcd", "gpu_0", "/run/colocate/mps", "100", "512M"]
    yield from NASTY
    for _ in range(count - len(NASTY)):
        base = chosen.choice([*good, *NASTY])
        at = chosen.randrange(len(base) + 1)
        kind = chosen.randrange(4)
        junk = "".join(chr(chosen.randrange(0x300)) for _ in range(chosen.randrange(1, 4)))
        if kind == 0:
            yield base[:at] + chosen.choice(SPECIAL) + base[at:]
        elif kind == 1:
            yield base[:at] + junk + base[at:]
        elif kind == 2:
            yield base[:at] + chosen.choice(NASTY) + base[at:]
        else:
            yield junk * chosen.randrange(1, 30)


def escapes(text: str) -> list[str]:
    """Return through which encoders a string gets out of its form."""
    found = []
    for name, encoder in TEXT_ENCODERS.items():
        try:
            out = encoder(text)
        except InputError:
            continue
        body = out.removeprefix("get_server_status ").removesuffix("\n") if name == "line" else out
        same = (text, text[4:12], str(Path(text)) if name == "path" else text)
        as_given = name == "space" or body in same
        if not body or not SAFE.issuperset(body) or not as_given:
            found.append(name)
    return found


def test_a_thousand_hostile_strings_do_not_escape() -> None:
    assert [(text, found) for text in hostile(1_000) if (found := escapes(text))] == []


@pytest.mark.deep
def test_ten_thousand_hostile_strings_do_not_escape() -> None:
    assert [(text, found) for text in hostile(10_000) if (found := escapes(text))] == []


@given(st.text())
def test_any_text_is_refused_or_in_its_form(text: str) -> None:
    assert escapes(text) == []


@pytest.mark.parametrize("name", TEXT_ENCODERS)
def test_what_is_well_formed_passes(name: str) -> None:
    good = {
        "uuid": uuid(9),
        "short": uuid(9),
        "namespace": "train_a",
        "key": "resnet-50.3.0a1b2c3d",
        "space": "resnet-50.3.0a1b2c3d",
        "path": "/run/user/1000/colocate/mps/0123abcd/pipe",
        "line": "4711",
    }[name]
    assert TEXT_ENCODERS[name](good)


def test_a_final_newline_is_not_overlooked() -> None:
    with pytest.raises(InputError):
        encode.gpu_uuid(uuid(1) + "\n")


@pytest.mark.parametrize("value", [0, -1, 101, True, 50.0, "50", None, float("nan"), 10**400])
def test_shares_are_whole_numbers_from_1_to_100(value: object) -> None:
    with pytest.raises(InputError):
        encode.percentage(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -5, True, 1.5, "1G", None, 10**30])
def test_memory_limits_are_whole_mib(value: object) -> None:
    with pytest.raises(InputError):
        encode.memory_limit(value)  # type: ignore[arg-type]
    assert encode.memory_limit(4096) == "4096M"


@pytest.mark.parametrize("value", [0, -1, True, "1", 1 << 23, None])
def test_process_ids_are_numbers_that_linux_gives(value: object) -> None:
    with pytest.raises(InputError):
        encode.process_id(value)  # type: ignore[arg-type]


@given(st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True), unique=True))
def test_different_keys_get_different_namespaces(keys: list[str]) -> None:
    names = [encode.space_name(key) for key in keys]
    assert len(set(names)) == len(keys)
    assert all(re.fullmatch(r"[a-z0-9_]{1,64}", name) for name in names)


def unit(**changes: object) -> Unit:
    values: dict[str, object] = {
        "key": "a.0.01234567",
        "role": "service",
        "workload": "a",
        "ordinal": 0,
        "gpu": uuid(1),
        "share_pct": 50,
        "batch": 4,
        "memory_gib": 2.0,
        "memory_limit_mib": 2048,
        "launch": "a",
    }
    return Unit(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_a_hostile_unit_gets_no_environment_and_nothing_is_run(
    tmp_path: Path, dialect: Literal["v2", "v3"]
) -> None:
    double = Double(tmp_path / "bin")
    root = tmp_path / "root"
    node = NodeDaemons(root, double.binary, gpus=double.gpus, dialect=dialect, other_pipes=())
    for text in NASTY:
        with pytest.raises(InputError):
            node.environment(unit(gpu=text))
        with pytest.raises((InputError, MpsError)):
            node.observe(text)
        if dialect == "v3" and not re.fullmatch(r"[\w.-]{1,160}", text, re.ASCII):
            with pytest.raises(InputError):
                node.environment(unit(key=text))
    assert double.commands() == []


def test_toml_holds_what_was_meant() -> None:
    limits = Limits(
        share_pct=80,
        memory_limit_mib=1024,
        spaces=(
            Space(name="b", share_pct=30, low_priority=True),
            space_of(unit(key="A.b-c.0.01234567")),
        ),
    )
    text = config_text([ServerConfig(name="gpu_0", gpu=uuid(1), limits=limits, user_id=1000)])
    data = tomllib.loads(text)
    server = data["servers"]["gpu_0"]
    assert data["schema_version"] == "1.0"
    assert server["allowed_devices"] == uuid(1)
    assert server["active_thread_percentage"] == "80"
    assert server["pinned_memory_limit"] == "1024M"
    assert server["uid"] == 1000
    name = encode.space_name("A.b-c.0.01234567")
    assert server["namespaces"] == {
        "b": {"active_thread_percentage": "30", "client_priority": "1"},
        name: {
            "active_thread_percentage": "50",
            "pinned_memory_limit": "2048M",
            "client_priority": "0",
        },
    }


def test_equal_configurations_give_equal_text() -> None:
    spaces = (Space(name="a", share_pct=1), Space(name="b", share_pct=2))
    one = ServerConfig(name="x", gpu=uuid(1), limits=Limits(spaces=spaces))
    two = ServerConfig(name="x", gpu=uuid(1), limits=Limits(spaces=spaces[::-1]))
    other = ServerConfig(name="y", gpu=uuid(2), limits=Limits())
    assert config_text([one, other]) == config_text([other, two])


def test_nothing_hostile_gets_into_toml() -> None:
    for text in NASTY:
        spaces = (Space(name=text, share_pct=1),)
        for server in (
            ServerConfig(name=text, gpu=uuid(1), limits=Limits()),
            ServerConfig(name="a", gpu=text, limits=Limits()),
            ServerConfig(name="a", gpu=uuid(1), limits=Limits(spaces=spaces)),
        ):
            with pytest.raises(InputError):
                config_text([server])


@pytest.mark.parametrize(
    "limits",
    [
        Limits(spaces=(Space(name="a", share_pct=1), Space(name="a", share_pct=2))),
        Limits(spaces=(Space(name="default", share_pct=1),)),
    ],
)
def test_namespaces_are_distinct_and_not_the_built_in_one(limits: Limits) -> None:
    with pytest.raises(InputError):
        config_text([ServerConfig(name="a", gpu=uuid(1), limits=limits)])


def test_two_servers_of_one_name_are_refused() -> None:
    server = ServerConfig(name="a", gpu=uuid(1), limits=Limits())
    with pytest.raises(InputError, match="two servers"):
        config_text([server, server])
