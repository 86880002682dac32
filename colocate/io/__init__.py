"""Hardened JSON in, atomic JSON out.

Everything that is wrong with a file is an `InstanceError` or a `PlanError` with the JSON path, the
value and advice. Reading takes bounded memory and time, whatever the file holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from colocate.errors import InputError, InstanceError, PlanError, clean_text
from colocate.io.files import MAX_BYTES, Source, read_source, write_atomic
from colocate.io.json_path import read_path
from colocate.io.json_read import Document, read_json
from colocate.io.json_schema import Kind, json_schema
from colocate.io.json_write import json_text, plain_data
from colocate.io.problems import Problem, error_of, show_value
from colocate.io.profile_files import Merged, check_names, merge
from colocate.io.wording import all_problems

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from colocate.instance import Instance
    from colocate.launch import LaunchFile
    from colocate.plan import Plan
    from colocate.profile import ProfileFile
    from colocate.profile.fitted import FittedModels

__all__ = [
    "MAX_BYTES",
    "Kind",
    "build_instance",
    "dumps_instance",
    "dumps_launch",
    "dumps_models",
    "dumps_plan",
    "json_schema",
    "load_instance",
    "load_launch",
    "load_models",
    "load_plan",
    "parse_instance",
    "parse_launch",
    "parse_models",
    "parse_plan",
    "save_instance",
    "save_models",
    "save_plan",
    "write_atomic",
]

MEMORY_PER_BYTE = 5
"""How many bytes of objects a file may make for each byte that it may have."""
LEAST_MEMORY = 8 * 1024 * 1024
"""What a file may always make: small files are denser than large ones."""
MANY_ITEMS = 5000
"""Beyond this many values only the first problem of each list is looked for."""

Model = TypeVar("Model", bound=BaseModel)


def load_instance(source: Source, *, max_bytes: int = MAX_BYTES) -> Instance:
    """Read an instance from a file.

    Parameters
    ----------
    source
        A path, ``"-"`` for standard input, an open file, or the bytes of a file.
    max_bytes
        Refuse larger files. Memory is limited in proportion, profile files included.

    Raises
    ------
    InstanceError
        When the file cannot be read or is not a valid instance.
    """
    data, label, folder = read_source(source, max_bytes, InstanceError)
    return _instance(data, label, folder, max_bytes)


def parse_instance(
    data: bytes | str,
    *,
    base_dir: str | PathLike[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Instance:
    """Read an instance from text. Profile files are looked for in `base_dir`, if there is one."""
    return _instance(
        _as_bytes(data, max_bytes, InstanceError),
        "<text>",
        None if base_dir is None else Path(base_dir),
        max_bytes,
    )


def build_instance(data: Mapping[str, Any]) -> Instance:
    """Make an instance from plain dictionaries and lists, with the errors of a file."""
    from colocate.instance import Instance

    value = {"schema": "colocate/instance/v1", **data}
    return _validated(Instance, "instance", Document(value, "<data>", None), InstanceError)


def load_plan(source: Source, *, max_bytes: int = MAX_BYTES) -> Plan:
    """Read a plan from a file; `source` as in `load_instance`.

    Raises
    ------
    PlanError
        When the file cannot be read or is not a valid plan.
    """
    data, label, _ = read_source(source, max_bytes, PlanError)
    return _plan(data, label, max_bytes)


def parse_plan(data: bytes | str, *, max_bytes: int = MAX_BYTES) -> Plan:
    """Read a plan from text."""
    return _plan(_as_bytes(data, max_bytes, PlanError), "<text>", max_bytes)


def load_models(source: Source, *, max_bytes: int = MAX_BYTES) -> FittedModels:
    """Read fitted models from a file; `source` as in `load_instance`.

    Raises
    ------
    InputError
        When the file cannot be read or holds no valid models.
    """
    data, label, _ = read_source(source, max_bytes, InputError)
    return _models(data, label, max_bytes)


def parse_models(data: bytes | str, *, max_bytes: int = MAX_BYTES) -> FittedModels:
    """Read fitted models from text."""
    return _models(_as_bytes(data, max_bytes, InputError), "<text>", max_bytes)


def load_launch(source: Source, *, max_bytes: int = MAX_BYTES) -> LaunchFile:
    """Read a launch file; `source` as in `load_instance`.

    Raises
    ------
    InputError
        When the file cannot be read or is not a valid launch file.
    """
    data, label, _ = read_source(source, max_bytes, InputError)
    return _launch(data, label, max_bytes)


def parse_launch(data: bytes | str, *, max_bytes: int = MAX_BYTES) -> LaunchFile:
    """Read a launch file from text."""
    return _launch(_as_bytes(data, max_bytes, InputError), "<text>", max_bytes)


def dumps_instance(instance: Instance) -> str:
    """Return an instance as text. Equal instances give equal text; defaults are left out."""
    return json_text(plain_data(instance, defaults=False))


def dumps_plan(plan: Plan) -> str:
    """Return a plan as text. Equal plans give equal text."""
    return json_text(plain_data(plan, defaults=True))


def dumps_models(models: FittedModels) -> str:
    """Return fitted models as text. Equal models give equal text; defaults are left out."""
    return json_text(plain_data(models, defaults=False))


def dumps_launch(launch: LaunchFile) -> str:
    """Return a launch file as text. Equal ones give equal text; defaults are left out."""
    return json_text(plain_data(launch, defaults=False))


def save_instance(instance: Instance, path: str | PathLike[str], *, force: bool = False) -> None:
    """Write an instance to a file, atomically; `force` allows it to replace one."""
    write_atomic(path, dumps_instance(instance), force=force)


def save_plan(plan: Plan, path: str | PathLike[str], *, force: bool = True) -> None:
    """Write a plan to a file, atomically; `force` allows it to replace one."""
    write_atomic(path, dumps_plan(plan), force=force)


def save_models(models: FittedModels, path: str | PathLike[str], *, force: bool = True) -> None:
    """Write fitted models to a file, atomically; `force` allows it to replace one."""
    write_atomic(path, dumps_models(models), force=force)


def _profiles(
    data: bytes, label: str, max_memory: int
) -> tuple[Document, ProfileFile | FittedModels]:
    """Return the profiles of a file that holds them, on their own or as fitted models."""
    from colocate.profile import ProfileFile
    from colocate.profile.fitted import FittedModels

    document = read_json(data, label, InstanceError, max_memory)
    value = document.value
    if isinstance(value, dict) and value.get("schema") == "colocate/models/v1":
        return document, _validated(FittedModels, "models", document, InstanceError)
    return document, _validated(ProfileFile, "profiles", document, InstanceError)


def _models(data: bytes, label: str, max_bytes: int) -> FittedModels:
    from colocate.profile.fitted import FittedModels

    max_memory = max(LEAST_MEMORY, MEMORY_PER_BYTE * max_bytes)
    document = read_json(data, label, InputError, max_memory)
    del data
    return _validated(FittedModels, "models", document, InputError)


def _launch(data: bytes, label: str, max_bytes: int) -> LaunchFile:
    from colocate.launch import LaunchFile

    max_memory = max(LEAST_MEMORY, MEMORY_PER_BYTE * max_bytes)
    document = read_json(data, label, InputError, max_memory)
    del data
    return _validated(LaunchFile, "launch", document, InputError)


def _instance(data: bytes, label: str, folder: Path | None, max_bytes: int) -> Instance:
    from colocate.instance import Instance

    max_memory = max(LEAST_MEMORY, MEMORY_PER_BYTE * max_bytes)
    left = max_bytes - len(data)
    document = read_json(data, label, InstanceError, max_memory)
    del data
    merged = None
    if isinstance(document.value, dict) and "profile_files" in document.value:
        names = check_names(document.value["profile_files"], label)
        if names and folder is None:
            raise InstanceError(
                "profile files are named, but there is no folder to look for them in",
                path="$.profile_files",
                advice="give the instance by its file name, or put the profiles into it.",
                source=label,
            )
        merged = merge(
            document, names, folder or Path(), _profiles, left, max_memory - document.memory
        )
    return _validated(Instance, "instance", document, InstanceError, merged)


def _plan(data: bytes, label: str, max_bytes: int) -> Plan:
    from colocate.plan import Plan

    max_memory = max(LEAST_MEMORY, MEMORY_PER_BYTE * max_bytes)
    document = read_json(data, label, PlanError, max_memory)
    del data
    return _validated(Plan, "plan", document, PlanError)


def _as_bytes(data: bytes | str, max_bytes: int, error: type[InputError]) -> bytes:
    if isinstance(data, str):
        if len(data) > max_bytes:
            data = data[: max_bytes + 1]
        data = data.encode("utf-8", "surrogatepass")
    return read_source(data, max_bytes, error)[0]


def _validated(
    model: type[Model],
    kind: Kind,
    document: Document,
    error: type[InputError],
    merged: Merged | None = None,
) -> Model:
    """Return the data object of a document, or raise what is wrong with it, each with its place."""
    value = document.value if merged is None else merged.value
    _check_version(value, kind, document, error)
    try:
        return model.model_validate(value)
    except ValidationError as failed:
        thorough = document.items <= MANY_ITEMS
        problems = all_problems(model, value, kind, failed, thorough=thorough)
        place = document.place
    except InputError as failed:
        steps = read_path(failed.path or "$")
        origin, steps = (merged and merged.locate(steps)) or (document, steps)
        problems = [Problem(steps, failed.message, failed.advice)]
        place = origin.place
    raise error_of(problems, place, error)


def _check_version(value: object, kind: Kind, document: Document, error: type[InputError]) -> None:
    expected = f"colocate/{kind}/v1"
    if not isinstance(value, dict):
        raise error(
            f"the file must hold one object, not {show_value(value)}",
            path="$",
            advice=f'start it with {{"schema": "{expected}", ...',
            source=document.source,
        )
    found = value.get("schema")
    if found == expected:
        return
    source = document.place(("schema",))
    if "schema" not in value:
        raise error(
            "'schema' is missing",
            path="$.schema",
            advice=f'add "schema": "{expected}".',
            source=source,
        )
    advice = f'write "{expected}" if the file is in that format.'
    if isinstance(found, str) and found.startswith("colocate/"):
        other = found.split("/")[1]
        if other != kind:
            advice = f"give a file that holds the {kind}: this one says that it is of another kind."
        else:
            advice = "use the version of colocate that wrote this file."
    shown = repr(clean_text(found, 60)) if isinstance(found, str) else show_value(found)
    raise error(
        f"'schema' must be '{expected}', not {shown}", path="$.schema", advice=advice, source=source
    )
