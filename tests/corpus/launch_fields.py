"""What the fields of a launch file must not be."""

from __future__ import annotations

from typing import Any

from tests.corpus.kinds import (
    Field,
    flag,
    name,
    number,
    some,
    text,
    thing,
    whole,
    word,
)


def seconds() -> Field:
    return number(0, 86_400, above=True)


def path(*, required: bool = False) -> Field:
    return Field((*text(1000).wrong, "relative", "", "/a/../b"), required)


def argv(*, required: bool = False) -> Field:
    wrong: tuple[Any, ...] = ([], [1], ["a\nb"], ["x", "\x00"], ["true", "x" * 8193])
    return Field((*some().wrong, *wrong), required)


def url() -> Field:
    hosts = ("", "ftp://x/", "http://", "http://a b/", "http://x:123456/", "http://x/\n", "x")
    return Field((*text(2000).wrong, *hosts, "http://u:p@x/", "http://x/é", "file:///x"), True)


PROBED = {
    "kind": word(required=True),
    "deadline_s": seconds(),
    "interval_s": seconds(),
    "timeout_s": seconds(),
}
VARIABLE = Field((1, "", "1A", "A-B", "A B", "A\n", "x" * 129, "CUDA_MPS_X", "COLOCATE_X"), True)
METHOD = word()
BODY = Field(text(8192).wrong, null=True)
PORT = whole(1, 65_535, required=True)

IN_LAUNCH: dict[tuple[str | int, ...], dict[str, Field]] = {
    (): {"schema": word(required=True), "programs": some(required=True)},
    ("programs", 0): {
        "id": name(required=True),
        "workloads": Field((*some().wrong, [], [1], ["a b"], ["*"], ["a*b"], ["a\n"])),
        "argv": argv(required=True),
        "env": Field((*thing().wrong, {"A B": "x"}, {"A": 1}, {"A": "\n"}, {"CUDA_MPS_X": "1"})),
        "pass_env": Field((*some().wrong, ["A B"], ["CUDA_VISIBLE_DEVICES"])),
        "directory": path(),
        "ports": thing(null=True),
        "ready": thing(),
        "batch": thing(required=True),
        "switch": thing(null=True),
        "checkpoint": thing(null=True),
        "stop": thing(),
        "restart": thing(),
        "pausable": flag(),
        "memory_limit": thing(null=True),
        "image": Field((1, "", "a b", "-x", "x\n", "x" * 501, "a;b"), null=True),
        "log_mib": whole(1, 1024),
    },
    ("programs", 0, "ports"): {"first": PORT, "last": PORT},
    ("programs", 0, "ready"): {
        **PROBED,
        "host": Field((1, "", "a b", "a\n", "-x", "x" * 254, "a/b")),
        "port": whole(1, 65_535, null=True),
    },
    ("programs", 0, "batch"): {
        "kind": word(required=True),
        "url": url(),
        "method": METHOD,
        "body": BODY,
        "timeout_s": seconds(),
    },
    ("programs", 0, "switch"): {
        "kind": word(required=True),
        "url": url(),
        "method": METHOD,
        "body": BODY,
        "timeout_s": seconds(),
    },
    ("programs", 0, "checkpoint"): {"argv": argv(required=True), "deadline_s": seconds()},
    ("programs", 0, "stop"): {
        "signal": word(),
        "grace_s": seconds(),
        "drain_s": number(0, 86_400),
        "hard_kill": flag(),
    },
    ("programs", 0, "restart"): {
        "when": Field(word().wrong, null=True),
        "first_wait_s": seconds(),
        "longest_wait_s": seconds(),
        "most": whole(0, 1000),
        "window_s": seconds(),
    },
    ("programs", 0, "memory_limit"): {
        "kind": word(required=True),
        "headroom_pct": number(0, 400),
    },
    ("programs", 1, "ready"): {**PROBED, "url": url()},
    ("programs", 1, "batch"): {
        "kind": word(required=True),
        "argv": argv(required=True),
        "timeout_s": seconds(),
    },
    ("programs", 1, "switch"): {
        "kind": word(required=True),
        "argv": argv(required=True),
        "timeout_s": seconds(),
    },
    ("programs", 1, "memory_limit"): {
        "kind": word(required=True),
        "mib": whole(1, 16_777_216, required=True),
    },
    ("programs", 2, "ready"): {**PROBED, "path": path(required=True)},
    ("programs", 2, "batch"): {
        "kind": word(required=True),
        "url": Field((*url().wrong, "http://x/path", "http://u:p@x", "http://x?y"), True),
        "model": name(required=True),
        "config": path(required=True),
        "timeout_s": seconds(),
    },
    ("programs", 3, "ready"): {**PROBED, "argv": argv(required=True)},
    ("programs", 3, "batch"): {"kind": word(required=True), "variable": VARIABLE},
    ("programs", 4, "ready"): {**PROBED, "settle_s": number(0, 86_400)},
    ("programs", 4, "batch"): {
        "kind": word(required=True),
        "batch": whole(1, 1_000_000, required=True),
    },
}
