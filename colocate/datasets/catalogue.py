"""The bundled instances, and what is known about each.

Beside every `<name>.json` lies `<name>.facts.json`: the optimum, or that there is none, with the
methods that found it. A fact is bound to the hash of its instance, so it cannot outlive a change.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from colocate.errors import InputError, clean_text

if TYPE_CHECKING:
    from colocate.instance import Instance

__all__ = ["Dataset", "Facts", "describe", "get", "names", "path"]

_INSTANCE = ".json"
_FACTS = ".facts.json"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a bundled instance."""

    instance_sha256: str
    """Hash of the instance that the facts are about."""
    status: Literal["optimal", "infeasible"]
    objective: float | None
    """Optimal value; None when there is no plan."""
    certified_by: tuple[str, ...]
    """Methods that agree on it, at least two."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One bundled instance, described without loading it whole."""

    name: str
    description: str
    gpus: int
    replicas: int
    tasks: int
    facts: Facts | None
    """None while nobody has certified it."""


def _folder() -> Path:
    # Wheels are unpacked on installation, so package data are files.
    return Path(str(resources.files("colocate.datasets"))) / "data"


def names() -> list[str]:
    """Return the names of all bundled instances."""
    return sorted(
        file.name.removesuffix(_INSTANCE)
        for file in _folder().glob(f"*{_INSTANCE}")
        if not file.name.endswith(_FACTS)
    )


def path(name: str) -> Path:
    """Return the file of a bundled instance.

    Raises
    ------
    InputError
        When there is no bundled instance of this name.
    """
    known = names()
    if name not in known:
        raise InputError(
            f"there is no bundled instance named {clean_text(name, 60)!r} "
            f"(known: {', '.join(known)})",
            advice="correct the name; `colocate datasets list` shows what each one is.",
        )
    return _folder() / f"{name}{_INSTANCE}"


def get(name: str) -> Instance:
    """Load a bundled instance."""
    from colocate.io import load_instance

    return load_instance(path(name))


def describe(name: str) -> Dataset:
    """Return what a bundled instance is about, its size, and what is known about its optimum."""
    file = path(name)
    raw = json.loads(file.read_text(encoding="utf-8"))
    services, tasks = raw.get("services", []), raw.get("tasks", [])
    return Dataset(
        name=name,
        description=raw["description"],
        gpus=sum(p["count"] if "count" in p else len(p["uuids"]) for p in raw["gpu_pools"]),
        replicas=sum(s.get("replicas", 1) for s in services),
        tasks=sum(t.get("count", 1) for t in tasks),
        facts=_facts(file.with_name(f"{name}{_FACTS}")),
    )


def _facts(file: Path) -> Facts | None:
    if not file.is_file():
        return None
    raw: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return Facts(
        instance_sha256=raw["instance_sha256"],
        status=raw["status"],
        objective=raw["objective"],
        certified_by=tuple(raw["certified_by"]),
    )
