"""JSON Schemas of the file formats, made from the data objects."""

from __future__ import annotations

import functools
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

__all__ = ["Kind", "json_schema", "known_keys", "model_of"]

Kind = Literal["instance", "plan", "profiles", "models", "launch"]

_TITLES = {
    "instance": "colocate instance, version 1",
    "plan": "colocate plan, version 1",
    "profiles": "colocate profiles, version 1",
    "models": "colocate fitted models, version 1",
    "launch": "colocate launch file, version 1",
}
PROFILE_FILES: dict[str, Any] = {
    "description": "Further profiles, in files inside the instance's own folder: relative paths.",
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": 1000},
    "maxItems": 100,
    "default": [],
    "title": "Profile Files",
}


def model_of(kind: str) -> type[BaseModel]:
    """Return the data object of a file format."""
    if kind == "instance":
        from colocate.instance import Instance

        return Instance
    if kind == "plan":
        from colocate.plan import Plan

        return Plan
    if kind == "profiles":
        from colocate.profile import ProfileFile

        return ProfileFile
    if kind == "models":
        from colocate.profile.fitted import FittedModels

        return FittedModels
    if kind == "launch":
        from colocate.launch import LaunchFile

        return LaunchFile
    msg = f"there is no format {kind!r} (known: {', '.join(get_args(Kind))})"
    raise ValueError(msg)


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a file format."""
    return deepcopy(_schema(kind))


@functools.cache
def _schema(kind: Kind) -> dict[str, Any]:
    made = model_of(kind).model_json_schema(by_alias=True, mode="validation")
    made["title"] = _TITLES[kind]
    # In Python the version is implied by the class; a file must state it.
    made["required"] = ["schema", *(k for k in made.get("required", []) if k != "schema")]
    made["properties"]["schema"].pop("default", None)
    for definition in made.get("$defs", {}).values():
        if "family" in definition.get("properties", {}):
            # Which alternative it is: in Python the class says so, in a file nothing else does.
            definition["required"] = ["family", *definition.get("required", [])]
    if kind == "instance":
        made["properties"]["profile_files"] = dict(PROFILE_FILES)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def known_keys(kind: Kind, steps: tuple[str | int, ...]) -> list[str]:
    """Return the keys that an object at this path may have; empty when it may have none."""
    schema = _schema(kind)
    nodes = [schema]
    for step in steps:
        nodes = [inner for node in nodes for inner in _inside(schema, node, step)]
    return sorted(
        {key for node in nodes for n in _plain(schema, node) for key in n.get("properties", {})}
    )


def _plain(schema: dict[str, Any], node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node with references followed and alternatives listed."""
    if "$ref" in node:
        yield from _plain(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
        return
    yield node
    for word in ("anyOf", "oneOf", "allOf"):
        for branch in node.get(word, ()):
            yield from _plain(schema, branch)


def _inside(
    schema: dict[str, Any], node: dict[str, Any], step: str | int
) -> Iterator[dict[str, Any]]:
    for plain in _plain(schema, node):
        if isinstance(step, int):
            if isinstance(plain.get("items"), dict):
                yield plain["items"]
        elif step in plain.get("properties", {}):
            yield plain["properties"][step]
