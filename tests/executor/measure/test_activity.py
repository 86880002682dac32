"""Activities from the driver: means between two readings, or nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from colocate.executor.measure.activity import DRAM_BW_UTIL, SM_UTIL, WithActivity
from colocate.executor.ports import GpuReading

GPU = "GPU-1"


class Gpus:
    def __init__(self) -> None:
        self.now = 0.0
        self.own: float | None = None

    def facts(self) -> tuple[()]:
        return ()

    def mps_pids(self, gpu: str) -> tuple[int, ...]:
        return (7,)

    def read(self, gpu: str) -> GpuReading:
        return GpuReading(seconds=self.now, sm_active_pct=self.own, power_w=300.0)


class Nvml:
    """Counts busy time; a sample is what the counters show at that moment."""

    NVML_GPM_METRICS_GET_VERSION = 1

    def __init__(self, gpus: Gpus) -> None:
        self.gpus, self.supported, self.alive = gpus, True, 0
        self.bad: set[int] = set()

    def nvmlDeviceGetHandleByUUID(self, gpu: str) -> str:
        assert gpu == GPU
        return gpu

    def nvmlGpmQueryDeviceSupport(self, handle: str) -> Any:
        return SimpleNamespace(isSupportedDevice=int(self.supported))

    def nvmlGpmSampleAlloc(self) -> Any:
        self.alive += 1
        return SimpleNamespace()

    def nvmlGpmSampleGet(self, handle: str, sample: Any) -> Any:
        sample.at = self.gpus.now
        return sample

    def nvmlGpmSampleFree(self, sample: Any) -> None:
        self.alive -= 1

    def c_nvmlGpmMetricsGet_t(self) -> Any:
        return SimpleNamespace(metrics=[SimpleNamespace(nvmlReturn=0) for _ in range(4)])

    def nvmlGpmMetricsGet(self, question: Any) -> None:
        passed = question.sample2.at - question.sample1.at
        assert question.numMetrics == 2
        for metric in question.metrics[:2]:
            metric.value = {SM_UTIL: 10.0, DRAM_BW_UTIL: 1.0}[metric.metricId] * passed
            metric.nvmlReturn = int(metric.metricId in self.bad)


@pytest.fixture
def gpus() -> Gpus:
    return Gpus()


@pytest.fixture
def nvml(gpus: Gpus) -> Nvml:
    return Nvml(gpus)


def activities(world: WithActivity, gpus: Gpus, now: float) -> tuple[float | None, float | None]:
    gpus.now = now
    reading = world.read(GPU)
    assert reading.power_w == 300.0
    return reading.sm_active_pct, reading.dram_active_pct


def test_an_activity_is_the_mean_since_the_last_reading(gpus: Gpus, nvml: Nvml):
    world = WithActivity(gpus, nvml)
    assert activities(world, gpus, 0.0) == (None, None)
    assert activities(world, gpus, 2.0) == (20.0, 2.0)
    assert activities(world, gpus, 2.1) == (None, None)  # too soon: the sample before stays
    assert activities(world, gpus, 5.0) == (30.0, 3.0)
    assert activities(world, gpus, 25.0) == (100.0, 20.0)
    assert nvml.alive == 1
    assert world.mps_pids(GPU) == (7,)


def test_one_that_cannot_be_told_leaves_the_other(gpus: Gpus, nvml: Nvml):
    nvml.bad = {DRAM_BW_UTIL}
    world = WithActivity(gpus, nvml)
    activities(world, gpus, 0.0)
    assert activities(world, gpus, 2.0) == (20.0, None)


def test_a_gpu_that_does_not_count_is_not_asked_again(gpus: Gpus, nvml: Nvml):
    nvml.supported = False
    world = WithActivity(gpus, nvml)
    assert activities(world, gpus, 0.0) == (None, None)
    nvml.supported = True
    assert activities(world, gpus, 5.0) == (None, None)
    assert nvml.alive == 0


def test_a_driver_that_refuses_costs_the_activity_and_nothing_else(
    gpus: Gpus, nvml: Nvml, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*given: Any) -> Any:
        raise RuntimeError("not permitted")

    monkeypatch.setattr(nvml, "nvmlGpmSampleGet", refuse)
    world = WithActivity(gpus, nvml)
    assert activities(world, gpus, 0.0) == (None, None)
    assert activities(world, gpus, 5.0) == (None, None)


def test_what_the_gpus_tell_themselves_stays(gpus: Gpus, nvml: Nvml):
    gpus.own = 55.0
    world = WithActivity(gpus, nvml)
    assert activities(world, gpus, 0.0) == (55.0, None)
    assert nvml.alive == 0
