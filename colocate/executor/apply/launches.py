"""The launch files of the units that run, and of those that a rollback would start again."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

from colocate.errors import InputError
from colocate.executor.apply.state_error import StateError
from colocate.executor.workloads.kept import KeptProcesses
from colocate.executor.workloads.units import key_of
from colocate.io import dumps_launch, load_launch, write_atomic

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from colocate.executor.ports import UnitState
    from colocate.executor.unit import Unit
    from colocate.launch import LaunchFile

__all__ = ["RoutedProcesses", "forget_launches", "keep_launch", "kept_launches", "launch_sha256"]

FOLDER = "launches"
_NAME = re.compile(r"([0-9a-f]{64})\.json")


def launch_sha256(launch: LaunchFile) -> str:
    """Return the hash of a launch file: of what it says, not of how it is written."""
    return sha256(dumps_launch(launch).encode()).hexdigest()


def keep_launch(root: Path, launch: LaunchFile) -> str:
    """Keep a launch file in the state folder, and return its hash."""
    digest = launch_sha256(launch)
    path = root / FOLDER / f"{digest}.json"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as failed:
        raise StateError.of(failed, "make", path.parent) from None
    if not path.exists():
        try:
            write_atomic(path, dumps_launch(launch))
        except InputError as failed:
            raise StateError(failed.message, advice=failed.advice) from None
    return digest


def kept_launches(root: Path) -> list[LaunchFile]:
    """Return the launch files that are kept; one that was changed since is left out."""
    found = []
    for digest in _digests(root):
        try:
            launch = load_launch(root / FOLDER / f"{digest}.json")
        except InputError:
            continue
        if launch_sha256(launch) == digest:
            found.append(launch)
    return found


def forget_launches(root: Path, needed: Collection[str]) -> None:
    """Remove the launch files that nothing can need any more."""
    for digest in set(_digests(root)) - set(needed):
        (root / FOLDER / f"{digest}.json").unlink(missing_ok=True)


def _digests(root: Path) -> list[str]:
    try:
        names = [path.name for path in (root / FOLDER).iterdir()]
    except OSError:
        return []
    matches = (_NAME.fullmatch(name) for name in sorted(names))
    return [match[1] for match in matches if match is not None]


class RoutedProcesses:
    """`Processes` over several launch files: each unit starts by the one that its key belongs to.

    While a plan with a new launch file is applied, the old one must be at hand, or what it started
    could not be started again.
    """

    def __init__(self, root: Path, launches: Sequence[LaunchFile]) -> None:
        self._routes = [(launch, KeptProcesses(root, launch)) for launch in launches]
        self._any = self._routes[0][1] if self._routes else KeptProcesses(root, None)

    def _for(self, unit: Unit) -> KeptProcesses:
        for launch, processes in self._routes:
            try:
                program = launch.program(unit.launch)
            except KeyError:
                continue
            if key_of(unit, program) == unit.key:
                return processes
        return self._any

    def observe(self) -> tuple[UnitState, ...]:
        """Return every unit, by key."""
        return self._any.observe()

    def start(self, unit: Unit, environment: Mapping[str, str]) -> None:
        """Start a unit."""
        self._for(unit).start(unit, environment)

    def can_set_batch(self, unit: Unit) -> bool:
        """Tell whether its batch size can change while it runs."""
        return self._for(unit).can_set_batch(unit)

    def wait_ready(self, key: str) -> None:
        """Wait until it is ready."""
        self._any.wait_ready(key)

    def switch(self, old: str | None, new: str | None) -> None:
        """Send requests to `new` instead of `old`."""
        self._any.switch(old, new)

    def stop(self, key: str) -> None:
        """Stop a unit."""
        self._any.stop(key)

    def pause(self, key: str) -> None:
        """Halt a unit."""
        self._any.pause(key)

    def resume(self, key: str) -> None:
        """Let it go on."""
        self._any.resume(key)

    def set_batch(self, key: str, batch: int) -> None:
        """Change its batch size."""
        self._any.set_batch(key, batch)
