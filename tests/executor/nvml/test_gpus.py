"""GPUs through NVML: facts, readings with gaps, XIDs, and a driver that says no."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from colocate.executor.errors import MpsError
from colocate.executor.nvml import NvmlGpus
from colocate.executor.nvml.dcgm import Activity
from tests.fakes import fake_nvml
from tests.fakes.double import uuid


@pytest.fixture
def nvml() -> ModuleType:
    return fake_nvml.fresh()


def test_facts_come_by_uuid(nvml: ModuleType) -> None:
    nvml.STATE["gpus"] = [
        {"uuid": uuid(3), "name": "A", "memory_mib": 40960, "compute_mode": 3},
        {"uuid": uuid(1), "name": "B", "mig": 1, "compute_mode": 77},
    ]
    first, second = NvmlGpus(nvml).facts()
    assert (first.uuid, first.name, first.mig, first.compute_mode) == (
        uuid(1),
        "B",
        True,
        "unknown",
    )
    assert (second.memory_mib, second.compute_mode) == (40960, "exclusive_process")
    assert {first.driver, second.driver} == {"615.71.09"}


def test_a_reading_is_in_the_units_that_its_names_say(nvml: ModuleType) -> None:
    nvml.STATE["gpus"][0].update(used_mib=2048, util=55, power_w=312.5, clock=1410)
    reading = NvmlGpus(nvml).read(uuid(1))
    assert reading.gpu_util_pct == 55
    assert (reading.memory_used_mib, reading.memory_total_mib) == (2048, 81559)
    assert reading.power_w == 312.5
    assert (reading.sm_clock_mhz, reading.max_sm_clock_mhz, reading.temperature_c) == (
        *(1410, 1980, 41),
    )
    assert (reading.sm_active_pct, reading.dram_active_pct, reading.xids) == (None, None, ())


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("nvmlDeviceGetUtilizationRates", "gpu_util_pct"),
        ("nvmlDeviceGetMemoryInfo", "memory_used_mib"),
        ("nvmlDeviceGetPowerUsage", "power_w"),
        ("nvmlDeviceGetClockInfo", "sm_clock_mhz"),
        ("nvmlDeviceGetMaxClockInfo", "max_sm_clock_mhz"),
        ("nvmlDeviceGetTemperature", "temperature_c"),
    ],
)
def test_what_a_gpu_does_not_tell_is_none(nvml: ModuleType, function: str, field: str) -> None:
    nvml.STATE["gpus"][0]["unsupported"] = [function]
    reading = NvmlGpus(nvml).read(uuid(1))
    assert getattr(reading, field) is None
    assert getattr(NvmlGpus(nvml).read(uuid(2)), field) is not None


def test_time_goes_forward(nvml: ModuleType) -> None:
    gpus = NvmlGpus(nvml)
    seconds = [gpus.read(uuid(1)).seconds for _ in range(5)]
    assert seconds == sorted(seconds)


def test_xids_are_reported_once_and_to_their_gpu(nvml: ModuleType) -> None:
    gpus = NvmlGpus(nvml)
    assert gpus.read(uuid(1)).xids == ()
    nvml.STATE["events"] += [{"uuid": uuid(1), "xid": x} for x in (31, 79)]
    nvml.STATE["events"].append({"uuid": uuid(2), "xid": 13})
    assert gpus.read(uuid(1)).xids == (31, 79)
    assert gpus.read(uuid(1)).xids == ()
    assert gpus.read(uuid(2)).xids == (13,)


def test_a_flood_of_xids_is_bounded(nvml: ModuleType) -> None:
    gpus = NvmlGpus(nvml)
    gpus.read(uuid(1))
    nvml.STATE["events"] += [{"uuid": uuid(1), "xid": 43}] * 2000
    assert len(gpus.read(uuid(1)).xids) <= 256


def test_a_gpu_without_events_still_reads(nvml: ModuleType) -> None:
    for gpu in nvml.STATE["gpus"]:
        gpu["unsupported"] = ["nvmlDeviceRegisterEvents"]
    assert NvmlGpus(nvml).read(uuid(1)).xids == ()
    del nvml.nvmlEventSetCreate
    assert NvmlGpus(nvml).read(uuid(1)).xids == ()


def test_mps_pids_with_either_function(nvml: ModuleType) -> None:
    nvml.STATE["gpus"][0]["mps_pids"] = [12, 7, 12]
    assert NvmlGpus(nvml).mps_pids(uuid(1)) == (7, 12)
    del nvml.nvmlDeviceGetMPSComputeRunningProcesses_v3
    assert NvmlGpus(nvml).mps_pids(uuid(1)) == (7, 12)
    del nvml.nvmlDeviceGetMPSComputeRunningProcesses
    assert NvmlGpus(nvml).mps_pids(uuid(1)) == ()


def test_a_lost_gpu_is_an_error_with_advice(nvml: ModuleType) -> None:
    gpus = NvmlGpus(nvml)
    gpus.read(uuid(1))
    nvml.STATE["gpus"][0]["lost"] = True
    with pytest.raises(MpsError, match="is not on this node") as caught:
        gpus.read(uuid(1))
    assert caught.value.advice
    assert [fact.uuid for fact in gpus.facts()] == [uuid(2)]  # the others are still there


def test_a_driver_that_is_not_loaded(nvml: ModuleType) -> None:
    nvml.STATE["init"] = False
    with pytest.raises(MpsError, match="does not answer") as caught:
        NvmlGpus(nvml).facts()
    assert "nvidia-smi" in (caught.value.advice or "")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delenv("COLOCATE_FAKE_NVML", raising=False)
    with pytest.raises(MpsError, match="nvidia-ml-py is not installed") as caught:
        NvmlGpus().facts()
    assert "colocate[gpu]" in (caught.value.advice or "")


def test_closing_gives_everything_back(nvml: ModuleType) -> None:
    gpus = NvmlGpus(nvml)
    gpus.read(uuid(1))
    assert nvml._inits == 1
    gpus.close()
    gpus.close()
    assert nvml._inits == 0
    assert gpus.read(uuid(1)).gpu_util_pct == 37


def test_activity_comes_from_dcgm_where_it_is(nvml: ModuleType) -> None:
    class Known:
        def read(self, gpu: str) -> Activity:
            return Activity(sm_pct=61.0, dram_pct=None)

    reading = NvmlGpus(nvml, Known()).read(uuid(1))  # type: ignore[arg-type]
    assert (reading.sm_active_pct, reading.dram_active_pct) == (61.0, None)


def test_the_stand_in_is_taken_only_in_a_test(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    state.write_text(json.dumps({"gpus": [{"uuid": uuid(9), "name": "X"}], "driver": "1"}))
    monkeypatch.setenv("COLOCATE_FAKE_NVML", fake_nvml.__file__)
    monkeypatch.setenv("COLOCATE_FAKE_NVML_STATE", str(state))
    assert [fact.uuid for fact in NvmlGpus().facts()] == [uuid(9)]
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    with pytest.raises(MpsError, match="not installed"):
        NvmlGpus().facts()


def test_importing_the_adapter_imports_no_driver() -> None:
    code = (
        "import sys, colocate.executor.nvml, colocate.executor.mps; "
        "print([n for n in ('pynvml', 'numpy', 'pydantic') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"
