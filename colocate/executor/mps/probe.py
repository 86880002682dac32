"""Which dialect does the daemon speak, and what can the control program do? Ask; never guess.

A daemon that runs keeps its protocol, whatever the caller says (MPS v3 Interface, Enabling MPS
v3), so it is asked first, with a question of each dialect that changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from colocate.executor.errors import MpsError
from colocate.executor.mps import replies
from colocate.executor.mps.control import Control, ControlError
from colocate.executor.mps.dialect import Speaker
from colocate.executor.ports import Dialect

__all__ = ["Features", "client_limit", "features", "spoken_dialect"]

V3_FIELDS = 7
"""Columns of ``server list``: name, uid, pid, status, pipe-directory, allowed-devices, ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the control program can do, as far as it says so itself."""

    version: str | None
    """First line of ``-v``, or None where it has none (older programs on servers)."""
    v3: bool
    static_partitioning: bool | None
    """None where the help text does not mention it, which proves nothing."""


def client_limit(driver: str) -> int:
    """Return how many client contexts MPS takes on one GPU, by the driver's version.

    60 since CUDA 13.1, which came with r590, and 48 before, with two connections for each client
    (When to Use MPS, Limitations). A version that cannot be read counts as an old one.
    """
    major = driver.partition(".")[0]
    return 60 if major.isascii() and major.isdigit() and int(major) >= 590 else 48


def spoken_dialect(control: Speaker) -> Dialect:
    """Return which dialect the living daemon speaks.

    Raises
    ------
    ControlError
        With kind ``no-daemon`` where none listens, ``timeout`` where it hangs.
    MpsError
        Where the daemon answers in neither dialect.
    """
    question = "get_default_active_thread_percentage"
    try:
        replies.percent(control.ask(question), question)
    except ControlError as failed:
        if failed.kind not in {"reply", "status"}:
            raise
        first = failed
    else:
        return "v2"
    try:
        text = control.call("server", "list", "--format=csv,noheader")
        replies.rows(text, V3_FIELDS, "server list")
    except ControlError as failed:
        if failed.kind not in {"reply", "status"}:
            raise
        raise MpsError(
            f"the MPS daemon in {control.pipe} answers in neither dialect: {first.message}; "
            f"{failed.message}",
            advice="check that this is NVIDIA's control program, and look into control.log.",
        ) from None
    return "v3"


def features(control: Control) -> Features:
    """Ask the control program what it can do, without a daemon."""
    version = _first_line(control, "-v")
    help_text = _help(control, "-p", "3", "-h")
    words = set(help_text.replace(",", " ").replace("|", " ").split())
    return Features(
        version=version,
        v3={"server", "namespace"} <= words,
        static_partitioning=True if "static-partitioning" in help_text else None,
    )


def _first_line(control: Control, *argv: str) -> str | None:
    text = _help(control, *argv)
    return text.splitlines()[0] if text else None


def _help(control: Control, *argv: str) -> str:
    try:
        return control.call(*argv)
    except ControlError as failed:
        if failed.kind in {"status", "no-daemon", "reply"}:
            return ""  # it does not know the option, which is an answer
        raise
