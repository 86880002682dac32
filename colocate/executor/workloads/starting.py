"""Starting the keeper of a unit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from colocate.executor.errors import UnitError
from colocate.executor.workloads import keeper
from colocate.executor.workloads.keeper.status import keeper_pid

__all__ = ["start_keeper"]

KEEPER = Path(keeper.__file__).with_name("main.py")
START_WITHIN = 60.0
"""Seconds for a keeper to say that it is there. It takes a tenth; machines may be very busy."""


def start_keeper(key: str, folder: Path) -> None:
    """Start a keeper, and wait until it says that it is there; one that is there is fine, too."""
    argv = [sys.executable, "-I", "-S", str(KEEPER), str(folder.absolute())]
    try:
        ended = subprocess.run(
            argv,
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=START_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnitError(
            f"unit {key!r}: its keeper did not start within {START_WITHIN:g} s",
            advice="look whether this machine is overloaded.",
        ) from None
    except OSError as error:
        raise UnitError(
            f"unit {key!r}: its keeper cannot be started: {error.strerror}",
            advice="check the Python that colocate runs with.",
        ) from None
    if ended.returncode != 0 and keeper_pid(folder) is None:
        said = " ".join(ended.stderr.decode("utf-8", "replace").split())[-500:]
        raise UnitError(
            f"unit {key!r}: its keeper cannot work: {said}",
            advice="check the space and the permissions of the state folder.",
        )
