"""What was applied last, and what was there before it: the way back."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError

from colocate.errors import InputError
from colocate.executor.apply.records import Origin, Prepared
from colocate.executor.apply.state_error import StateError
from colocate.executor.apply.target import Target
from colocate.executor.errors import AttentionError
from colocate.io import write_atomic
from colocate.schema import Frozen, ListOf

if TYPE_CHECKING:
    from pathlib import Path

    from colocate.executor.ports import Limits

__all__ = ["Applied", "Earlier", "advanced", "read_applied", "write_applied"]

NAME = "applied.json"
MOST_EARLIER = 20
_MAX_BYTES = 64 << 20


class Earlier(Frozen):
    """A state that can be rolled back to."""

    origin: Origin | None
    target: Target


class Applied(Frozen):
    """The state that the node was brought to last."""

    schema_: Literal["colocate/applied/v1"] = Field(
        default="colocate/applied/v1", alias="schema", validate_default=False
    )
    change: Annotated[int, Field(ge=1)]
    """Number of the change that brought it."""
    origin: Origin | None
    target: Target
    earlier: Annotated[tuple[Earlier, ...], ListOf] = ()
    """Newest first."""


def read_applied(root: Path) -> Applied | None:
    """Read it from a state folder; None when nothing was applied there.

    Raises
    ------
    AttentionError
        When the file is not as it was written.
    """
    path = root / NAME
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as failed:
        raise StateError.of(failed, "read", path) from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
            raise StateError(
                f"{str(path)!r} is not a regular file of this user's",
                advice="choose another --root.",
            )
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(_MAX_BYTES)
    except OSError as failed:
        raise StateError.of(failed, "read", path) from None
    finally:
        os.close(handle)
    try:
        return Applied.model_validate_json(data)
    except ValidationError as broken:
        first = broken.errors(include_url=False, include_input=False)[0]
        raise AttentionError(
            f"{str(path)!r} is not as it was written: {first['msg']}",
            advice="keep a copy, move the file away and run 'colocate apply'.",
        ) from None


def write_applied(root: Path, applied: Applied) -> None:
    """Write it, atomically."""
    text = applied.model_dump_json(by_alias=True, indent=1) + "\n"
    try:
        write_atomic(root / NAME, text)
    except InputError as failed:
        raise StateError(failed.message, advice=failed.advice) from None


def advanced(before: Applied | None, change: int, prepared: Prepared) -> Applied:
    """Return what is applied once a change is committed."""
    earlier = () if before is None else before.earlier
    if prepared.verb == "rollback":
        earlier = earlier[1:]
    elif not _alike(prepared.before, prepared.target):
        there = Earlier(origin=prepared.before_origin, target=prepared.before)
        earlier = (there, *earlier)[:MOST_EARLIER]
    return Applied(change=change, origin=prepared.origin, target=prepared.target, earlier=earlier)


def _alike(before: Target, after: Target) -> bool:
    """Tell whether going back from one to the other would change nothing.

    What was looked at holds the limits that the daemon's dialect has; what is asked for holds those
    of both. Spaces follow from the units, so they need no look.
    """
    if (before.units, before.unready) != (after.units, after.unready):
        return False
    return all(
        _caps(before.limits(gpu)) == _caps(after.limits(gpu))
        for gpu in {*before.scope, *after.scope}
    )


def _caps(limits: Limits | None) -> tuple[int, int | None] | None:
    return None if limits is None else (limits.share_pct, limits.memory_limit_mib)
