"""From a unit and its entry in the launch file to what its keeper needs to know: plain JSON.

The places of all texts are filled, but for `{batch}`: that one the keeper fills at each start.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from colocate.executor.errors import UnitError
from colocate.executor.unit import Unit
from colocate.launch import (
    AliveProbe,
    BatchCommand,
    BatchRequest,
    BatchTriton,
    BatchVariable,
    CommandProbe,
    FileProbe,
    HttpProbe,
    Program,
    SwitchCommand,
    TcpProbe,
)
from colocate.launch.template import fill

__all__ = ["FORMAT", "places", "resolved", "spec_of", "unit_of"]

FORMAT = 1
MIB = 1024 * 1024


def places(unit: Unit, port: int | None) -> dict[str, str]:
    """Return the value of each place but `{batch}`."""
    values = {
        "gpu_uuid": unit.gpu,
        "key": unit.key,
        "memory_limit_mib": str(unit.memory_limit_mib or 0),
        "ordinal": str(unit.ordinal),
        "share_pct": str(unit.share_pct),
        "workload": unit.workload,
    }
    return values if port is None else {**values, "port": str(port)}


def spec_of(
    unit: Unit,
    program: Program,
    port: int | None,
    environment: Mapping[str, str],
    outer: Mapping[str, str],
) -> dict[str, Any]:
    """Return all that a keeper needs.

    Parameters
    ----------
    unit, program
        What is to run, and how.
    port
        Its port, if it has one.
    environment
        What makes it a client of its MPS daemon; nothing overrides it.
    outer
        The environment that `pass_env` picks from.
    """
    filler = _Filler(places(unit, port), outer.get("PATH", os.defpath))
    env = {name: outer[name] for name in program.pass_env if name in outer}
    env |= {name: filler.text(text) for name, text in program.env.items()}
    if isinstance(program.batch, BatchVariable):
        env[program.batch.variable] = "{batch}"
    env |= {"COLOCATE_UNIT": unit.key, **environment}
    restart = program.restart.model_dump(mode="json")
    if restart["when"] is None:
        restart["when"] = "always" if unit.role == "service" else "failure"
    return {
        "format": FORMAT,
        "unit": asdict(unit),
        "argv": filler.argv(program.argv),
        "env": env,
        "directory": program.directory,
        "port": port,
        "ready": _probe(program, filler, port),
        "batch": _setter(program, filler),
        "switch": _switch(program, filler),
        "checkpoint": None
        if program.checkpoint is None
        else {
            "argv": filler.argv(program.checkpoint.argv),
            "deadline_s": program.checkpoint.deadline_s,
        },
        "stop": program.stop.model_dump(mode="json"),
        "restart": restart,
        "pausable": program.pausable,
        "log_bytes": program.log_mib * MIB,
    }


def unit_of(spec: Mapping[str, Any], batch: int | None = None) -> Unit:
    """Return the unit of a spec, at the batch size that it has now; raise `UnitError`."""
    try:
        if spec["format"] != FORMAT:
            raise UnitError(
                f"its state is in format {spec['format']!r}, this version knows {FORMAT}",
                advice="use the version of colocate that started it.",
            )
        unit = Unit(**spec["unit"])
    except (KeyError, TypeError) as error:
        raise UnitError(
            f"its state is not as it was written ({error})",
            advice="stop its processes by hand, and remove the folder.",
        ) from None
    values = asdict(unit)
    if batch is not None and spec.get("batch") is not None:
        values["batch"] = batch
    return Unit(**values)


class _Filler:
    def __init__(self, values: Mapping[str, str], search: str) -> None:
        self._values = values
        self._search = search

    def text(self, text: str) -> str:
        return fill(text, self._values)

    def argv(self, argv: Sequence[str]) -> list[str]:
        return [resolved(argv[0], self._search), *(self.text(a) for a in argv[1:])]


def _probe(program: Program, filler: _Filler, port: int | None) -> dict[str, Any]:
    probe = program.ready
    made = probe.model_dump(mode="json")
    if isinstance(probe, AliveProbe):
        made["deadline_s"] = max(probe.deadline_s, probe.settle_s + probe.interval_s + 1)
    elif isinstance(probe, TcpProbe):
        made["port"] = port if probe.port is None else probe.port
    elif isinstance(probe, HttpProbe):
        made["url"] = filler.text(probe.url)
    elif isinstance(probe, FileProbe):
        made["path"] = filler.text(probe.path)
    elif isinstance(probe, CommandProbe):
        made["argv"] = filler.argv(probe.argv)
    return made


def _setter(program: Program, filler: _Filler) -> dict[str, Any] | None:
    """Return how the batch size of a running process is set, or None when it cannot be."""
    batch = program.batch
    made = batch.model_dump(mode="json")
    if isinstance(batch, BatchCommand):
        made["argv"] = filler.argv(batch.argv)
    elif isinstance(batch, BatchRequest):
        made["url"] = filler.text(batch.url)
        made["body"] = None if batch.body is None else filler.text(batch.body)
    elif isinstance(batch, BatchTriton):
        made["url"] = filler.text(batch.url)
        made["config"] = filler.text(batch.config)
    else:
        return None
    return made


def _switch(program: Program, filler: _Filler) -> dict[str, Any] | None:
    """Return the switch's call; its own places are filled when both sides are known."""
    if program.switch is None:
        return None
    made = program.switch.model_dump(mode="json")
    if isinstance(program.switch, SwitchCommand):
        made["argv"] = filler.argv(program.switch.argv)
    return made


def resolved(name: str, search: str) -> str:
    """Return the absolute path of a program, or raise `UnitError`."""
    found = name if name.startswith("/") else shutil.which(name, path=search)
    if found is None:
        raise UnitError(
            f"program {name!r} is not in PATH",
            advice="give its absolute path in the launch file.",
        )
    path = os.path.abspath(found)  # noqa: PTH100 - links are kept: a virtual environment is one
    try:
        about = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise UnitError(
            f"program {path!r} cannot be used: {error.strerror}",
            advice="correct the launch file, or install the program.",
        ) from None
    if not stat.S_ISREG(about.st_mode) or not os.access(path, os.X_OK):
        raise UnitError(
            f"program {path!r} is no file that may be run",
            advice="correct the launch file, or the file's permissions.",
        )
    if about.st_mode & stat.S_IWOTH:
        raise UnitError(
            f"program {path!r} may be changed by everybody",
            advice=f"take that right away: chmod o-w {path!r}.",
        )
    return path
