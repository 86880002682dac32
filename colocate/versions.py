"""What is installed here: asked for in bug reports, and recorded in results.

Nothing is imported or run to find out: versions come from package metadata, and NVIDIA's parts are
looked for by file and by name.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

__all__ = ["show_versions", "versions"]

_PACKAGES = ("networkx", "numpy", "ortools", "pulp", "pydantic", "rich", "scipy", "typer")
_OPTIONAL = ("highspy", "matplotlib", "nvidia-ml-py", "ray")
_DRIVER_FILE = Path("/proc/driver/nvidia/version")


def versions() -> dict[str, str]:
    """Return name to version of colocate, Python, the platform and the packages used."""
    import colocate

    return {
        "colocate": colocate.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        **_package_versions(),
    }


@functools.cache
def _package_versions() -> Mapping[str, str]:
    """Look the packages up once: it takes longer than solving a small instance."""
    found: dict[str, str] = {}
    for name in (*_PACKAGES, *_OPTIONAL):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name in _PACKAGES:
                found[name] = "missing"
    return MappingProxyType(found)


def gpu_software() -> dict[str, str]:
    """Return what there is of NVIDIA's driver and MPS, by looking at files only."""
    return {
        "nvidia-driver": _driver_version() or "not found",
        "nvidia-smi": shutil.which("nvidia-smi") or "not found",
        "nvidia-cuda-mps-control": shutil.which("nvidia-cuda-mps-control") or "not found",
    }


def _driver_version() -> str | None:
    try:
        text = _DRIVER_FILE.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    match = re.search(r"Kernel Module.*?\s([0-9]+(?:\.[0-9]+)+)\s", text)
    return match[1] if match else "present, version unknown"


def show_versions() -> str:
    """Return versions and GPU software as a text of one line each."""
    rows = {**versions(), **gpu_software()}
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {version}" for name, version in rows.items())
