"""SM and DRAM activity through ``dcgmi dmon``, where DCGM is installed; else they stay unknown.

NVML's own utilisation only says for how much of the time some kernel ran. The fields used here
are DCGM_FI_PROF_SM_ACTIVE (1002) and DCGM_FI_PROF_DRAM_ACTIVE (1005), fractions from 0 to 1.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from colocate.executor.mps import encode

__all__ = ["Activity", "Dcgm", "find_dcgm"]

_SM_ACTIVE, _DRAM_ACTIVE = 1002, 1005
_PLACES = (Path("/usr/bin/dcgmi"), Path("/usr/local/bin/dcgmi"))
_DISCOVERED = re.compile(r"^\|\s*(\d+)\s*\|.*$", re.MULTILINE)
_UUID = re.compile(r"Device UUID:\s*(GPU-[0-9a-f-]{36})")


@dataclass(frozen=True, slots=True)
class Activity:
    """How busy a GPU's SMs and memory are, in percent of time and of all of them."""

    sm_pct: float | None = None
    dram_pct: float | None = None


def find_dcgm() -> Dcgm | None:
    """Return DCGM where its tool is installed, else None."""
    found = next((path for path in _PLACES if os.access(path, os.X_OK)), None)
    return None if found is None else Dcgm(found)


class Dcgm:
    """Reads activity through the tool of DCGM.

    Parameters
    ----------
    tool
        Absolute path of ``dcgmi``.
    deadline_s
        How long one reading may take.
    """

    def __init__(self, tool: Path, deadline_s: float = 5.0) -> None:
        self._tool = tool
        self._deadline_s = deadline_s
        self._indexes: Mapping[str, str] | None = None
        self.trouble: str | None = None
        """Why the last reading had nothing, or None when it had."""

    def read(self, gpu: str) -> Activity:
        """Return the activity of a GPU; unknown where DCGM does not tell it."""
        encode.gpu_uuid(gpu)
        if self._indexes is None:
            self._indexes = self._discover()
        index = self._indexes.get(gpu)
        if index is None:
            self.trouble = self.trouble or f"DCGM does not know {gpu}"
            return Activity()
        fields = f"{_SM_ACTIVE},{_DRAM_ACTIVE}"
        # The first sample of a profiling field has no interval behind it, so two are taken.
        text = self._run("dmon", "-i", index, "-e", fields, "-c", "2", "-d", "100")
        return self._parsed(text or "")

    def _parsed(self, text: str) -> Activity:
        values: list[str] = []
        for line in text.splitlines():
            words = line.split()
            if len(words) == 4 and words[0] == "GPU":
                values = words[2:]
        if not values:
            self.trouble = self.trouble or "dcgmi dmon printed no sample"
            return Activity()
        self.trouble = None
        return Activity(*(_percent(value) for value in values))

    def _discover(self) -> Mapping[str, str]:
        """Return DCGM's own numbers of the GPUs, by UUID."""
        text = self._run("discovery", "-l") or ""
        found: dict[str, str] = {}
        index: str | None = None
        for line in text.splitlines():
            if match := _DISCOVERED.match(line):
                index = match[1]
            if (match := _UUID.search(line)) and index is not None:
                found[match[1]] = index
        return found

    def _run(self, *words: str) -> str | None:
        try:
            done = subprocess.run(
                [str(self._tool), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                cwd="/",
                timeout=self._deadline_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as failed:
            self.trouble = f"dcgmi {words[0]} failed: {type(failed).__name__}"
            return None
        if done.returncode != 0:
            self.trouble = f"dcgmi {words[0]} ended with status {done.returncode}"
            return None
        return done.stdout.decode("utf-8", "replace")


def _percent(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None  # N/A
    return 100 * value if 0 <= value <= 1 else None
