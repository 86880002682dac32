"""GPUs by UUID, through nvidia-ml-py, which is imported when it is first needed."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from colocate.errors import clean_text
from colocate.executor.errors import MpsError
from colocate.executor.nvml.dcgm import Activity, Dcgm
from colocate.executor.nvml.events import XidEvents
from colocate.executor.ports import GpuFacts, GpuReading

__all__ = ["FAKE_VARIABLE", "NvmlGpus"]

FAKE_VARIABLE = "COLOCATE_FAKE_NVML"
"""Path of a Python file to use in place of nvidia-ml-py. For tests; see `load_nvml`."""
MIB = 1024 * 1024
_COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}

T = TypeVar("T")


def load_nvml() -> ModuleType:
    """Return nvidia-ml-py.

    Only a test run, told by pytest's own variable, may put a file in its place: a variable that
    makes any program run code is no business of a production environment.
    """
    fake = os.environ.get(FAKE_VARIABLE)
    if fake and "PYTEST_CURRENT_TEST" in os.environ:
        return _from_file(Path(fake))
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        raise MpsError(
            "nvidia-ml-py is not installed, and without it the GPUs of this node are unknown",
            advice="install it: pip install 'colocate[gpu]'.",
        ) from None


def _from_file(path: Path) -> ModuleType:
    import importlib.util

    name = f"_colocate_fake_nvml_{abs(hash(str(path)))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MpsError(f"{clean_text(str(path))} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class NvmlGpus:
    """The GPUs of this node, as `colocate.executor.ports.Gpus`.

    Parameters
    ----------
    nvml
        A module with the functions of nvidia-ml-py; None imports that when it is first needed.
    dcgm
        Reads SM and DRAM activity, which NVML does not have; None leaves them unknown.
    """

    def __init__(self, nvml: ModuleType | None = None, dcgm: Dcgm | None = None) -> None:
        self._given = nvml
        self._nvml: ModuleType | None = None
        self._dcgm = dcgm
        self._events: XidEvents | None = None
        self._lock = threading.Lock()

    def facts(self) -> Sequence[GpuFacts]:
        """Return what there is, by UUID.

        One that fell off the bus is not there any more; the others are.
        """
        nvml = self._ready()
        driver = _text(self._ask("the driver's version", nvml.nvmlSystemGetDriverVersion))
        found = []
        for index in range(self._ask("the number of GPUs", nvml.nvmlDeviceGetCount)):
            handle = self._maybe(nvml.nvmlDeviceGetHandleByIndex, index)
            if handle is not None and self._maybe(nvml.nvmlDeviceGetUUID, handle) is not None:
                found.append(self._fact(handle, driver))
        return tuple(sorted(found, key=lambda fact: fact.uuid))

    def read(self, gpu: str) -> GpuReading:
        """Return what one GPU says now; None for what it does not tell."""
        nvml = self._ready()
        handle = self._handle(gpu)
        use = self._maybe(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._maybe(nvml.nvmlDeviceGetMemoryInfo, handle)
        power = self._maybe(nvml.nvmlDeviceGetPowerUsage, handle)
        clock = getattr(nvml, "NVML_CLOCK_SM", 1)
        sensor = getattr(nvml, "NVML_TEMPERATURE_GPU", 0)
        activity = self._dcgm.read(gpu) if self._dcgm is not None else Activity()
        return GpuReading(
            seconds=time.monotonic(),
            gpu_util_pct=None if use is None else float(use.gpu),
            sm_active_pct=activity.sm_pct,
            dram_active_pct=activity.dram_pct,
            memory_used_mib=None if memory is None else memory.used / MIB,
            memory_total_mib=None if memory is None else memory.total / MIB,
            sm_clock_mhz=_number(self._maybe(nvml.nvmlDeviceGetClockInfo, handle, clock)),
            max_sm_clock_mhz=_number(self._maybe(nvml.nvmlDeviceGetMaxClockInfo, handle, clock)),
            temperature_c=_number(self._maybe(nvml.nvmlDeviceGetTemperature, handle, sensor)),
            power_w=None if power is None else power / 1000,
            xids=self._xids(gpu),
        )

    def mps_pids(self, gpu: str) -> tuple[int, ...]:
        """Return the processes that the driver counts as MPS clients on a GPU.

        Empty where the driver cannot tell: then `nvidia-cuda-mps-control` alone says who is there.
        """
        nvml = self._ready()
        handle = self._handle(gpu)
        for name in (
            "nvmlDeviceGetMPSComputeRunningProcesses_v3",
            "nvmlDeviceGetMPSComputeRunningProcesses",
        ):
            ask = getattr(nvml, name, None)
            if ask is None:
                continue
            found = self._maybe(ask, handle)
            if found is not None:
                return tuple(sorted({int(process.pid) for process in found}))
        return ()

    def close(self) -> None:
        """Give back what the driver holds for us; a later call starts again."""
        with self._lock:
            if self._events is not None:
                self._events.close()
                self._events = None
            if self._nvml is not None:
                self._maybe(self._nvml.nvmlShutdown)
                self._nvml = None

    # --- helpers ---------------------------------------------------------------------------------

    def _ready(self) -> ModuleType:
        with self._lock:
            if self._nvml is None:
                nvml = self._given if self._given is not None else load_nvml()
                try:
                    nvml.nvmlInit()
                except nvml.NVMLError as failed:
                    raise MpsError(
                        f"the NVIDIA driver does not answer: {clean_text(str(failed))}",
                        advice="see whether 'nvidia-smi' works here.",
                    ) from None
                self._nvml = nvml
            return self._nvml

    def _handle(self, gpu: str) -> object:
        nvml = self._ready()
        try:
            return nvml.nvmlDeviceGetHandleByUUID(gpu)
        except nvml.NVMLError as failed:
            raise MpsError(
                f"GPU {clean_text(gpu, 60)} is not on this node: {clean_text(str(failed))}",
                advice="see 'nvidia-smi -L'; a GPU that fell off the bus needs a restart.",
            ) from None

    def _fact(self, handle: object, driver: str) -> GpuFacts:
        nvml = self._ready()
        memory = self._ask("the memory of a GPU", nvml.nvmlDeviceGetMemoryInfo, handle)
        mode = self._maybe(nvml.nvmlDeviceGetComputeMode, handle)
        mig = self._maybe(nvml.nvmlDeviceGetMigMode, handle)
        return GpuFacts(
            uuid=_text(self._ask("the UUID of a GPU", nvml.nvmlDeviceGetUUID, handle)),
            name=_text(self._ask("the name of a GPU", nvml.nvmlDeviceGetName, handle)),
            memory_mib=int(memory.total // MIB),
            compute_mode=_COMPUTE_MODES.get(mode, "unknown") if mode is not None else "unknown",
            mig=bool(mig and mig[0]),
            driver=driver,
        )

    def _xids(self, gpu: str) -> tuple[int, ...]:
        with self._lock:
            if self._events is None:
                assert self._nvml is not None
                self._events = XidEvents(self._nvml)
            return self._events.since_last(gpu)

    def _ask(self, what: str, call: Callable[..., T], *words: object) -> T:
        nvml = self._ready()
        try:
            return call(*words)
        except nvml.NVMLError as failed:
            raise MpsError(
                f"the NVIDIA driver does not tell {what}: {clean_text(str(failed))}",
                advice="see whether 'nvidia-smi' works here.",
            ) from None

    def _maybe(self, call: Callable[..., T], *words: object) -> T | None:
        """Return an answer, or None where this GPU or driver has none."""
        assert self._nvml is not None
        try:
            return call(*words)
        except self._nvml.NVMLError:
            return None


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
