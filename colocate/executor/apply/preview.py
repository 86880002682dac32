"""What an apply would do, as something to look at, to keep in a file and to apply as it is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from colocate.errors import InputError, clean_text
from colocate.executor.apply.actions import Step
from colocate.executor.apply.records import Origin
from colocate.executor.apply.target import Target
from colocate.io.files import MAX_BYTES, Source, read_source
from colocate.io.json_read import read_json
from colocate.launch import LaunchFile
from colocate.schema import Frozen, ListOf

__all__ = ["Preview", "read_preview"]

_MEMORY_PER_BYTE = 40


class Preview(Frozen):
    """What an apply would do, and what it rests on."""

    schema_: Literal["colocate/preview/v1"] = Field(
        default="colocate/preview/v1", alias="schema", validate_default=False
    )
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hash of everything that was true: where it is another one, nothing is applied."""
    origin: Origin
    target: Target
    steps: Annotated[tuple[Step, ...], ListOf]
    left_out_units: int = 0
    """Units of the plan that are for other nodes."""
    left_out_gpus: int = 0
    launch: LaunchFile
    """How the units are started."""

    @property
    def downtimes(self) -> tuple[Step, ...]:
        """The steps from which a service does not answer for a while."""
        return tuple(step for step in self.steps if step.downtime)

    def text(self) -> str:
        """Return the file."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def read_preview(source: Source, *, max_bytes: int = MAX_BYTES) -> Preview:
    """Read a saved preview; everything in it is checked as if it came from a stranger.

    Raises
    ------
    InputError
        When it cannot be read, or is not a preview of this version.
    """
    data, label, _ = read_source(source, max_bytes, InputError)
    read_json(data, label, InputError, _MEMORY_PER_BYTE * max_bytes)
    try:
        return Preview.model_validate_json(data)
    except ValidationError as broken:
        first = broken.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"not a preview of this version: {clean_text(first['msg'], 300)}",
            path=f"$.{clean_text(place, 200)}",
            advice="make a new one with 'colocate preview -o'.",
            source=label,
        ) from None
