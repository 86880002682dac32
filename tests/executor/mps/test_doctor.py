"""What doctor says of a node, with and without MPS."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from colocate.executor.mps.doctor import Finding, examine
from colocate.executor.mps.probe import client_limit
from colocate.executor.nvml import NvmlGpus
from tests.fakes import fake_nvml
from tests.fakes.double import Double, short_folder


def named(found: list[Finding], name: str) -> Finding:
    return next(finding for finding in found if finding.name == name)


def test_a_node_without_anything(tmp_path: Path) -> None:
    nvml = fake_nvml.fresh(init=False)
    found = examine(NvmlGpus(nvml), [tmp_path], [])
    assert "planning needs none" in named(found, "MPS").detail
    assert {finding.status for finding in found} == {"note"}


def test_a_node_with_mps(tmp_path: Path) -> None:
    double = Double(tmp_path / "bin")
    found = examine(double.gpus, [tmp_path / "bin"], [tmp_path / "none"])
    assert named(found, "MPS").status == "ok"
    assert "speaks v2 and v3" in named(found, "MPS").detail
    assert "at most 60" in named(found, "MPS clients").detail
    assert "exclusive" in named(found, double.uuids[0]).detail
    assert double.changes() == []


def test_an_older_driver(tmp_path: Path) -> None:
    double = Double(tmp_path / "bin", driver="575.57.08", version=12090)
    found = examine(double.gpus, [tmp_path / "bin"], [])
    assert named(found, "MPS").detail.endswith("speaks v2")
    assert "at most 48" in named(found, "MPS clients").detail


def test_a_daemon_of_somebody_else_is_told() -> None:
    with short_folder() as folder, Double(folder / "bin") as double:
        pipe = folder / "pipe"
        environment = {
            "CUDA_MPS_PIPE_DIRECTORY": str(pipe),
            "CUDA_MPS_LOG_DIRECTORY": str(folder / "log"),
        }
        process = subprocess.Popen([str(double.binary), "-f"], env=environment)
        try:
            while not (pipe / "nvidia-cuda-mps-control.pid").exists():
                assert process.poll() is None
            found = examine(double.gpus, [folder / "bin"], [pipe])
            assert f"process {process.pid}" in named(found, "MPS daemon").detail
        finally:
            process.kill()
            process.wait()


def test_a_program_that_hangs_or_may_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colocate.executor.mps.doctor._DEADLINE_S", 0.3)
    double = Double(tmp_path / "bin")
    double.fail("*", "hang")
    assert named(examine(double.gpus, [tmp_path / "bin"], []), "MPS").status == "failed"
    double.binary.chmod(0o777)
    found = named(examine(double.gpus, [tmp_path / "bin"], []), "MPS")
    assert (found.status, "anybody may write" in found.detail) == ("failed", True)


@pytest.mark.parametrize(
    ("driver", "limit"),
    [("615.71.09", 60), ("590.10", 60), ("580.105.08", 48), ("", 48), ("x.1", 48), ("٦١٥", 48)],
)
def test_the_number_of_clients_follows_the_driver(driver: str, limit: int) -> None:
    assert client_limit(driver) == limit
