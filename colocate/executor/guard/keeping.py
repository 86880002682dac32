"""What a guard must not forget when its process ends: one small file for each GPU.

Times are on a clock that begins with the machine, so they are not kept; what is owed is.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from colocate.errors import InputError, clean_text
from colocate.executor.apply.checks import CheckedUnit, GpuUuid, check_uuid
from colocate.executor.guard.actions import Owed
from colocate.executor.guard.machine import GuardState
from colocate.io import write_atomic
from colocate.io.files import read_source
from colocate.schema import Frozen

__all__ = ["Kept", "keep", "recall"]

MAX_BYTES = 4 * 1024 * 1024


class Kept(Frozen):
    """What is kept of one GPU."""

    schema_: Literal["colocate/guard-state/v1"] = Field(
        default="colocate/guard-state/v1", alias="schema", validate_default=False
    )
    gpu: GpuUuid
    phase: Literal["init", "healthy", "unhealthy", "overlimit", "calm_down", "disabled"]
    """Where it was; only `disabled` is gone on with."""
    admits: bool
    """Whether further training may start there: for whoever places it."""
    offences: Annotated[int, Field(ge=0, le=1000)]
    evicted: dict[str, CheckedUnit]
    services: dict[str, CheckedUnit]
    batches: dict[str, Annotated[int, Field(ge=1)]]


def _path(folder: Path, gpu: str) -> Path:
    return folder / f"{check_uuid(gpu)}.json"


def keep(folder: Path, gpu: str, state: GuardState, owed: Owed, last: str = "") -> str:
    """Write what must not be forgotten, if it differs from `last`; return what was written."""
    document: dict[str, Any] = {
        "schema": "colocate/guard-state/v1",
        "gpu": gpu,
        "phase": state.phase,
        "admits": state.admits,
        "offences": state.offences,
        "evicted": dict(sorted(owed.evicted.items())),
        "services": dict(sorted(owed.services.items())),
        "batches": dict(sorted(owed.batches.items())),
    }
    text = Kept.model_validate(document).model_dump_json(by_alias=True, indent=1) + "\n"
    if text != last:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(_path(folder, gpu), text)
    return text


def recall(folder: Path, gpu: str, now: float) -> tuple[GuardState, Owed]:
    """Return where an earlier guard of a GPU left off; nothing is owed where there was none.

    Raises
    ------
    InputError
        When the file is not as it was written: a person must say what becomes of what is owed.
    """
    path = _path(folder, gpu)
    fresh = GuardState(since=now, seconds=now, forgiven_at=now)
    with contextlib.suppress(FileNotFoundError):
        path.lstat()
        data, label, _ = read_source(path, MAX_BYTES, InputError)
        try:
            kept = Kept.model_validate_json(data)
        except ValidationError as broken:
            first = broken.errors(include_url=False, include_input=False)[0]
            raise InputError(
                f"{label!r} is not as it was written: {clean_text(first['msg'])}",
                advice="look into it for training that was evicted, then move it away.",
            ) from None
        if kept.gpu != gpu:
            raise InputError(f"{label!r} is about {kept.gpu}", advice="move it away.")
        state = GuardState(
            phase="disabled" if kept.phase == "disabled" else "init",
            since=now,
            seconds=now,
            offences=kept.offences,
            forgiven_at=now,
            held_from=now if kept.phase == "disabled" else None,
        )
        owed = Owed(
            evicted=dict(kept.evicted), services=dict(kept.services), batches=dict(kept.batches)
        )
        return state, owed
    return fresh, Owed()
