"""What `colocate doctor` looks at. Everything heavy is tried in a process of its own."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import colocate
from colocate.errors import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Check", "all_checks"]

Status = Literal["ok", "note", "failed"]
TIMEOUT_S = 60.0

PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy.optimize",
    "pydantic": "pydantic",
    "ortools": "ortools.graph.python.min_cost_flow",
    "pulp": "pulp",
    "networkx": "networkx",
}
"""What colocate needs, and the module that shows whether it really loads."""

_SOLVERS = """
import json, sys
from colocate import registry
found = {}
for name in registry.names("solver"):
    try:
        answer = registry.get("solver", name).availability()
        found[name] = [bool(answer.available), str(answer.note)]
    except Exception as error:
        found[name] = [False, f"{type(error).__name__}: {error}"]
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    about: Literal["python", "packages", "solvers", "gpu", "mps"]
    name: str
    status: Status
    """`note` is worth knowing and no fault."""
    detail: str


def _run(argv: list[str]) -> tuple[int, str, str]:
    """Run a program without a shell; return code, output and errors. A failure to run is -1."""
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, "", str(error)
    return done.returncode, done.stdout, done.stderr


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return clean_text(lines[-1].strip(), 160) if lines else ""


def _package(name: str) -> Check:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check("packages", name, "failed", "not installed")
    code, _, errors = _run([sys.executable, "-c", f"import {PACKAGES[name]}"])
    if code != 0:
        return Check("packages", name, "failed", f"{version} does not load: {_last_line(errors)}")
    return Check("packages", name, "ok", version)


def _solvers() -> list[Check]:
    code, output, errors = _run([sys.executable, "-c", _SOLVERS])
    if code != 0:
        return [Check("solvers", "solvers", "failed", _last_line(errors))]
    found: dict[str, tuple[bool, str]] = json.loads(output.splitlines()[-1])
    return [
        Check(
            "solvers",
            clean_text(name),
            "ok" if usable else "note",
            clean_text(note or ("available" if usable else "not available")),
        )
        for name, (usable, note) in found.items()
    ]


def _highspy() -> Iterator[Check]:
    if importlib.util.find_spec("highspy") is not None:
        yield Check(
            "packages",
            "highspy",
            "note",
            "installed: it cannot be loaded into one process with ortools; colocate never loads it",
        )


def _gpus() -> list[Check]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return [Check("gpu", "driver", "note", "no nvidia-smi here; planning needs none")]
    fields = "name,driver_version,memory.total"
    code, output, errors = _run([program, f"--query-gpu={fields}", "--format=csv,noheader"])
    if code != 0:
        return [Check("gpu", "driver", "note", f"nvidia-smi: {_last_line(errors or output)}")]
    return [
        Check("gpu", f"GPU {i}", "ok", clean_text(line.strip()))
        for i, line in enumerate(output.splitlines())
        if line.strip()
    ]


def _mps() -> list[Check]:
    from colocate.executor.mps.binary import PLACES
    from colocate.executor.mps.doctor import examine
    from colocate.executor.mps.others import OTHER_PIPES

    # The executor itself looks neither into PATH nor at this variable; doctor tells what is there.
    named = os.environ.get("CUDA_MPS_PIPE_DIRECTORY")
    pipes = OTHER_PIPES if named is None else (Path(named),)
    found = shutil.which("nvidia-cuda-mps-control")
    places = (*PLACES, *([] if found is None else [Path(found).parent]))
    return [
        Check("mps", finding.name, finding.status, clean_text(finding.detail))
        for finding in examine(places=places, other_pipes=pipes)
    ]


def all_checks() -> list[Check]:
    """Look at everything. Takes a few seconds: every package is loaded once, out of process."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        solvers = pool.submit(_solvers)
        packages = list(pool.map(_package, PACKAGES))
        found = [
            Check("python", "colocate", "ok", colocate.__version__),
            Check("python", "Python", "ok", f"{platform.python_version()} ({sys.executable})"),
            *packages,
            *_highspy(),
            *solvers.result(),
        ]
    return [*found, *_gpus(), *_mps()]
