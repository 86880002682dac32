"""A stand-in for nvidia-ml-py: the functions that colocate uses, for a machine of several GPUs.

As a file it is used through ``COLOCATE_FAKE_NVML``; then ``COLOCATE_FAKE_NVML_STATE`` may name a
JSON file with what the GPUs say, which is read again at each question. In a test, `fresh` gives a
module of its own whose `STATE` can be changed.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

NVML_CLOCK_SM = 1
NVML_TEMPERATURE_GPU = 0
nvmlEventTypeXidCriticalError = 8
NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NOT_FOUND = 6
NVML_ERROR_TIMEOUT = 10
NVML_ERROR_GPU_IS_LOST = 15
NVML_ERROR_DRIVER_NOT_LOADED = 9

MIB = 1024 * 1024

STATE: dict[str, Any] = {
    "driver": "615.71.09",
    "init": True,
    "gpus": [
        {"uuid": f"GPU-{n:08x}-0000-4000-8000-{n:012x}", "name": "NVIDIA H100 80GB HBM3"}
        for n in (1, 2)
    ],
    "events": [],
}
"""Of each GPU, besides: memory_mib, used_mib, util, power_w, clock, max_clock, temperature,
compute_mode, mig, mps_pids, unsupported (names of functions), lost."""

_inits = 0


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


def fresh(**state: Any) -> ModuleType:
    """Return a module of its own, with this state."""
    spec = importlib.util.spec_from_file_location("fresh_fake_nvml", Path(__file__))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.STATE.update(state)
    return module


def _state() -> dict[str, Any]:
    path = os.environ.get("COLOCATE_FAKE_NVML_STATE")
    if path:
        STATE.update(json.loads(Path(path).read_text()))
    return STATE


def _gpu(handle: Any, function: str) -> dict[str, Any]:
    gpu: dict[str, Any] = next(g for g in _state()["gpus"] if g["uuid"] == handle)
    if gpu.get("lost"):
        raise NVMLError(NVML_ERROR_GPU_IS_LOST)
    if function in gpu.get("unsupported", ()):
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return gpu


def nvmlInit() -> None:
    global _inits
    if not _state()["init"]:
        raise NVMLError(NVML_ERROR_DRIVER_NOT_LOADED)
    _inits += 1


def nvmlShutdown() -> None:
    global _inits
    _inits -= 1


def nvmlSystemGetDriverVersion() -> str:
    return str(_state()["driver"])


def nvmlDeviceGetCount() -> int:
    return len(_state()["gpus"])


def nvmlDeviceGetHandleByIndex(index: int) -> Any:
    return _state()["gpus"][index]["uuid"]


def nvmlDeviceGetHandleByUUID(uuid: str) -> Any:
    if all(gpu["uuid"] != uuid or gpu.get("lost") for gpu in _state()["gpus"]):
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return uuid


def nvmlDeviceGetUUID(handle: Any) -> str:
    return str(_gpu(handle, "nvmlDeviceGetUUID")["uuid"])


def nvmlDeviceGetName(handle: Any) -> str:
    return str(_gpu(handle, "nvmlDeviceGetName")["name"])


def nvmlDeviceGetMemoryInfo(handle: Any) -> Any:
    gpu = _gpu(handle, "nvmlDeviceGetMemoryInfo")
    total, used = gpu.get("memory_mib", 81559) * MIB, gpu.get("used_mib", 1024) * MIB
    return SimpleNamespace(total=total, used=used, free=total - used)


def nvmlDeviceGetComputeMode(handle: Any) -> int:
    return int(_gpu(handle, "nvmlDeviceGetComputeMode").get("compute_mode", 0))


def nvmlDeviceGetMigMode(handle: Any) -> list[int]:
    gpu = _gpu(handle, "nvmlDeviceGetMigMode")
    return [int(gpu.get("mig", 0)), int(gpu.get("mig", 0))]


def nvmlDeviceGetUtilizationRates(handle: Any) -> Any:
    gpu = _gpu(handle, "nvmlDeviceGetUtilizationRates")
    return SimpleNamespace(gpu=gpu.get("util", 37), memory=gpu.get("memory_util", 12))


def nvmlDeviceGetPowerUsage(handle: Any) -> int:
    return int(1000 * _gpu(handle, "nvmlDeviceGetPowerUsage").get("power_w", 250))


def nvmlDeviceGetClockInfo(handle: Any, kind: int) -> int:
    return int(_gpu(handle, "nvmlDeviceGetClockInfo").get("clock", 1755))


def nvmlDeviceGetMaxClockInfo(handle: Any, kind: int) -> int:
    return int(_gpu(handle, "nvmlDeviceGetMaxClockInfo").get("max_clock", 1980))


def nvmlDeviceGetTemperature(handle: Any, sensor: int) -> int:
    return int(_gpu(handle, "nvmlDeviceGetTemperature").get("temperature", 41))


def nvmlDeviceGetMPSComputeRunningProcesses_v3(handle: Any) -> list[Any]:
    gpu = _gpu(handle, "nvmlDeviceGetMPSComputeRunningProcesses_v3")
    return [SimpleNamespace(pid=pid, usedGpuMemory=None) for pid in gpu.get("mps_pids", ())]


def nvmlDeviceGetMPSComputeRunningProcesses(handle: Any) -> list[Any]:
    gpu = _gpu(handle, "nvmlDeviceGetMPSComputeRunningProcesses")
    return [SimpleNamespace(pid=pid, usedGpuMemory=None) for pid in gpu.get("mps_pids", ())]


def nvmlEventSetCreate() -> Any:
    return []


def nvmlDeviceRegisterEvents(handle: Any, kinds: int, events: Any) -> None:
    _gpu(handle, "nvmlDeviceRegisterEvents")
    events.append(handle)


def nvmlEventSetWait_v2(events: Any, timeout_ms: int) -> Any:
    waiting = _state()["events"]
    for event in waiting:
        if event["uuid"] in events:
            waiting.remove(event)
            return SimpleNamespace(device=event["uuid"], eventData=event["xid"])
    raise NVMLError(NVML_ERROR_TIMEOUT)


def nvmlEventSetFree(events: Any) -> None:
    events.clear()
