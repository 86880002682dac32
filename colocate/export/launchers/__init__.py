"""A plan for launchers that exist already: files, and a report of what they cannot say.

A target is a function from an `Order` to an `ExportResult`; one file each. Targets of others, such
as Kubernetes ones, are added with `register`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from colocate.errors import ColocateError, InputError, clean_text

if TYPE_CHECKING:
    from pathlib import Path

    from colocate.export.launchers.job import Order
    from colocate.export.launchers.result import ExportResult
    from colocate.instance import Instance
    from colocate.launch import LaunchFile
    from colocate.plan import Plan

__all__ = ["LossError", "Target", "export", "names", "register", "write"]

Target = Callable[["Order"], "ExportResult"]

_BUILT_IN = {
    "compose": "compose",
    "env": "env",
    "mps-v3": "mps_v3",
    "slurm": "slurm",
    "systemd": "systemd",
}
_ADDED: dict[str, Target] = {}


class LossError(ColocateError):
    """The target cannot express all of the plan, and that was asked for."""

    exit_code = 1


def names() -> list[str]:
    """Return the targets there are."""
    return sorted({*_BUILT_IN, *_ADDED})


def register(name: str, target: Target) -> None:
    """Add a target. Built-in names cannot be taken."""
    if name in _BUILT_IN:
        raise InputError(
            f"export target {name!r} is built in", advice="register it under a name of its own."
        )
    _ADDED[name] = target


def _target(name: str) -> Target:
    if name in _ADDED:
        return _ADDED[name]
    if name not in _BUILT_IN:
        raise InputError(
            f"there is no export target {clean_text(name)!r} (known: {', '.join(names())})",
            advice="correct --to.",
        )
    module = importlib.import_module(f"{__name__}.{_BUILT_IN[name]}")
    found: Target = module.export
    return found


def export(
    name: str,
    instance: Instance,
    plan: Plan,
    launches: LaunchFile,
    root: Path,
    *,
    strict: bool = False,
) -> ExportResult:
    """Return the files of a target, and what they do not say.

    Parameters
    ----------
    name
        The target.
    instance, plan, launches
        What was asked, the answer, and how each workload is started.
    root
        State folder on the machines that the files are for; the MPS daemons' folders lie there.
    strict
        Whether a loss is an error.

    Raises
    ------
    InputError
        When something cannot be written for this target at all.
    LossError
        When `strict` and something is lost.
    """
    from colocate.export.launchers.job import order_of

    target = _target(name)
    result = target(order_of(instance, plan, launches, root))
    if strict and result.losses:
        first = result.losses[0]
        more = f", and {len(result.losses) - 1} more losses" if len(result.losses) > 1 else ""
        of = f" of program {first.program!r}" if first.program else ""
        raise LossError(
            f"{name} cannot express {first.what!r}{of}: {first.detail}{more}",
            advice="see the whole list without --strict, or choose another target.",
        )
    return result


def write(result: ExportResult, folder: Path, *, force: bool = False) -> list[Path]:
    """Write the files below a folder, which is made; return their names.

    Nothing is written when a file is there already, unless `force` is given.
    """
    from colocate.io import write_atomic

    paths = [folder / file.name for file in result.files]
    for path in paths:
        if not force and (path.exists() or path.is_symlink()):
            raise InputError(
                f"{str(path)!r} exists",
                advice="choose another folder, or ask to overwrite it (--force).",
            )
    for path, file in zip(paths, result.files, strict=True):
        if path.parent != folder and path.parent.is_symlink():
            raise InputError(
                f"{str(path.parent)!r} is a symbolic link", advice="remove it, or choose another."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, file.text, force=force)
        if file.runs:
            path.chmod(path.stat().st_mode | (path.stat().st_mode & 0o444) >> 2)
    return paths
