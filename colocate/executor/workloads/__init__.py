"""How processes start, get ready, change their batch size and stop.

Each unit has a keeper: a small process of its own that survives the command which started it. What
both tell each other lies in files below ``units/`` of the state folder.

The keeper is started without the dependencies of the library, so nothing is imported here before it
is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colocate.executor.workloads.kept import KeptProcesses
    from colocate.executor.workloads.units import gpu_uuids, keyed, units_of

__all__ = ["KeptProcesses", "gpu_uuids", "keyed", "units_of"]

_WHERE = {"KeptProcesses": "kept", "gpu_uuids": "units", "keyed": "units", "units_of": "units"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever it is
    if name not in _WHERE:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
