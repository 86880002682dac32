"""XID events: what the driver reports when a GPU, or a program on it, does something fatal."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from types import ModuleType

__all__ = ["XidEvents"]

_MOST = 256
"""How many are kept for one GPU until they are read."""


class XidEvents:
    """Collects critical XIDs of every GPU that can report them, and never waits for one.

    Parameters
    ----------
    nvml
        nvidia-ml-py, initialised.
    """

    def __init__(self, nvml: ModuleType) -> None:
        self._nvml = nvml
        self._set: object | None = None
        self._found: defaultdict[str, list[int]] = defaultdict(list)
        try:
            self._set = nvml.nvmlEventSetCreate()
        except (nvml.NVMLError, AttributeError):
            return  # not on this platform; readings then carry no XIDs
        kind = getattr(nvml, "nvmlEventTypeXidCriticalError", 8)
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                nvml.nvmlDeviceRegisterEvents(handle, kind, self._set)
            except nvml.NVMLError:
                continue

    def since_last(self, gpu: str) -> tuple[int, ...]:
        """Return the XIDs of a GPU since they were last asked for."""
        self._collect()
        return tuple(self._found.pop(gpu, ()))

    def close(self) -> None:
        """Give the event set back."""
        if self._set is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlEventSetFree(self._set)
            self._set = None

    def _collect(self) -> None:
        if self._set is None:
            return
        nvml = self._nvml
        for _ in range(_MOST):
            try:
                event = nvml.nvmlEventSetWait_v2(self._set, 0)
            except nvml.NVMLError:
                return  # a timeout says that there are no more
            try:
                uuid = nvml.nvmlDeviceGetUUID(event.device)
            except nvml.NVMLError:
                continue  # it fell off the bus; the XID before said so
            name = uuid.decode("ascii", "replace") if isinstance(uuid, bytes) else uuid
            if len(self._found[name]) < _MOST:
                self._found[name].append(int(event.eventData))
