"""SM and DRAM activity through the driver itself, where DCGM is not installed.

GPUs from Hopper on count it for NVML ("GPU performance monitoring"): `NVML_GPM_METRIC_SM_UTIL`,
the percentage of multiprocessors that were busy, and `NVML_GPM_METRIC_DRAM_BW_UTIL`, the percentage
of the memory's bandwidth that was used, each between two samples. What the one before saw and this
one did not is the mean over the time in between. Names and units: NVML's header, as in nvidia-ml-py
13.615.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from colocate.executor.ports import GpuFacts, GpuReading, Gpus

__all__ = ["WithActivity"]

SM_UTIL = 2
DRAM_BW_UTIL = 10
LEAST_S = 0.15
"""Samples closer together than this are refused by the driver."""


class WithActivity:
    """The GPUs of a node, with activities where they do not tell any themselves.

    Parameters
    ----------
    gpus
        Asked for everything else.
    nvml
        A module with the functions of nvidia-ml-py, initialised by `gpus`; None imports it.
    """

    def __init__(self, gpus: Gpus, nvml: Any | None = None) -> None:  # noqa: ANN401 - a module
        self._gpus, self._nvml = gpus, nvml
        self._last: dict[str, tuple[float, Any]] = {}
        self._without: set[str] = set()
        """GPUs that do not count it."""

    def facts(self) -> Sequence[GpuFacts]:
        """Return what there is."""
        return self._gpus.facts()

    def mps_pids(self, gpu: str) -> tuple[int, ...]:
        """Return the MPS clients that the driver knows."""
        return self._gpus.mps_pids(gpu)

    def read(self, gpu: str) -> GpuReading:
        """Return what a GPU says now; activities are the means since it was last read."""
        reading = self._gpus.read(gpu)
        if reading.sm_active_pct is not None or gpu in self._without:
            return reading
        try:
            sm, dram = self._activity(gpu, reading.seconds)
        except Exception:  # noqa: BLE001 - what this rests on differs by driver, GPU and user
            self._without.add(gpu)
            return reading
        return replace(reading, sm_active_pct=sm, dram_active_pct=dram)

    def _activity(self, gpu: str, now: float) -> tuple[float | None, float | None]:
        nvml = self._nvml
        if nvml is None:
            import pynvml

            nvml = self._nvml = pynvml
        handle = nvml.nvmlDeviceGetHandleByUUID(gpu)
        before = self._last.get(gpu)
        if before is None:
            if not nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
                self._without.add(gpu)
                return None, None
        elif now - before[0] < LEAST_S:
            return None, None
        sample = nvml.nvmlGpmSampleGet(handle, nvml.nvmlGpmSampleAlloc())
        self._last[gpu] = (now, sample)
        if before is None:
            return None, None
        try:
            return self._between(nvml, before[1], sample)
        finally:
            nvml.nvmlGpmSampleFree(before[1])

    @staticmethod
    def _between(nvml: Any, first: Any, second: Any) -> tuple[float | None, float | None]:  # noqa: ANN401
        question = nvml.c_nvmlGpmMetricsGet_t()
        question.version = nvml.NVML_GPM_METRICS_GET_VERSION
        question.numMetrics = 2
        question.sample1, question.sample2 = first, second
        question.metrics[0].metricId = SM_UTIL
        question.metrics[1].metricId = DRAM_BW_UTIL
        nvml.nvmlGpmMetricsGet(question)
        found = [
            min(100.0, max(0.0, float(metric.value))) if metric.nvmlReturn == 0 else None
            for metric in (question.metrics[0], question.metrics[1])
        ]
        return found[0], found[1]
