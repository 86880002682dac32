"""What `colocate doctor` says about MPS, NVML and DCGM on this node. It changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from colocate.executor.errors import MpsError
from colocate.executor.mps.binary import PLACES, resolve_binary
from colocate.executor.mps.control import Control, ControlError
from colocate.executor.mps.identity import daemon_process, is_control_program
from colocate.executor.mps.others import OTHER_PIPES
from colocate.executor.mps.probe import client_limit, features
from colocate.executor.nvml.dcgm import find_dcgm
from colocate.executor.ports import GpuFacts, Gpus

__all__ = ["Finding", "examine"]

_NOWHERE = Path("/nonexistent/colocate")
_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "note", "failed"]
    """`note` is worth knowing and no fault."""
    detail: str


def examine(
    gpus: Gpus | None = None,
    places: Sequence[Path] = PLACES,
    other_pipes: Sequence[Path] = OTHER_PIPES,
) -> list[Finding]:
    """Return what there is, and what an operator should know about it.

    Parameters
    ----------
    gpus
        The GPUs; None asks the driver.
    places
        Where the control program is looked for.
    other_pipes
        Where daemons of others are looked for.
    """
    facts, about_gpus = _gpus(gpus)
    return [
        *about_gpus,
        *_program(places, other_pipes),
        *(_limits(facts) if facts else ()),
        _dcgm(),
        *_user(),
    ]


def _gpus(gpus: Gpus | None) -> tuple[Sequence[GpuFacts], list[Finding]]:
    if gpus is None:
        from colocate.executor.nvml import NvmlGpus

        gpus = NvmlGpus()
    try:
        facts = gpus.facts()
    except MpsError as failed:
        return (), [Finding("NVML", "note", failed.message)]
    found = [Finding("NVML", "ok", f"{len(facts)} GPUs, driver {facts[0].driver}")] if facts else []
    for fact in facts:
        if fact.mig:
            found.append(Finding(fact.uuid, "note", "MIG is on; plans are for whole GPUs"))
        elif fact.compute_mode != "exclusive_process":
            detail = (
                f"compute mode {fact.compute_mode}: a process that misses its MPS daemon runs "
                "beside it, without limits; in exclusive-process mode it would fail"
            )
            found.append(Finding(fact.uuid, "note", detail))
    return facts, found


def _program(places: Sequence[Path], other_pipes: Sequence[Path]) -> Iterator[Finding]:
    try:
        binary = resolve_binary(None, places)
    except ControlError as failed:
        yield Finding("MPS", "note", f"{failed.message}; planning needs none")
        return
    except MpsError as failed:
        yield Finding("MPS", "failed", failed.message)
        return
    control = Control(binary=binary, pipe=_NOWHERE, log=_NOWHERE, deadline_s=_DEADLINE_S)
    try:
        able = features(control)
    except ControlError as failed:
        yield Finding("MPS", "failed", failed.message)
        return
    dialects = "v2 and v3" if able.v3 else "v2"
    version = f" ({able.version})" if able.version else ""
    others = list(_daemons(other_pipes, binary))
    where = (
        "" if others or not other_pipes else f"; no daemon in {' or '.join(map(str, other_pipes))}"
    )
    yield Finding("MPS", "ok", f"{binary}{version}; speaks {dialects}{where}")
    yield from others


def _daemons(pipes: Sequence[Path], binary: Path) -> Iterator[Finding]:
    """Tell of daemons that were started without colocate."""
    for pipe in pipes:
        try:
            process = daemon_process(pipe)
        except MpsError:
            continue
        if process is not None and is_control_program(process.pid, binary):
            detail = (
                f"process {process.pid} serves {pipe} and was not started by colocate; GPUs that "
                "it serves are left alone unless it is adopted"
            )
            yield Finding("MPS daemon", "note", detail)


def _limits(facts: Sequence[GpuFacts]) -> Iterator[Finding]:
    driver = facts[0].driver
    yield Finding("MPS clients", "ok", f"at most {client_limit(driver)} for each GPU ({driver})")


def _dcgm() -> Finding:
    if find_dcgm() is None:
        return Finding(
            "DCGM", "note", "not used: no dcgmi here, so SM and DRAM activity stay unknown"
        )
    return Finding("DCGM", "ok", "used for SM and DRAM activity")


def _user() -> Iterator[Finding]:
    if os.geteuid() == 0:
        detail = "this is root: apply and rollback refuse to change anything without --allow-root"
        yield Finding("user", "note", detail)
