"""Activity through dcgmi: read where it is told, unknown and explained where it is not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from colocate.errors import InputError
from colocate.executor.nvml.dcgm import Activity, Dcgm, find_dcgm
from tests.fakes.double import uuid

# As `dcgmi discovery -l` and `dcgmi dmon -e 1002,1005` print them (DCGM user guide).
DISCOVERY = f"""\
2 GPUs found.
+--------+----------------------------------------------------------------------+
| GPU ID | Device Information                                                   |
+--------+----------------------------------------------------------------------+
| 0      | Name: NVIDIA H100 80GB HBM3                                          |
|        | PCI Bus ID: 00000000:0F:00.0                                         |
|        | Device UUID: {uuid(1)}                |
+--------+----------------------------------------------------------------------+
| 1      | Name: NVIDIA H100 80GB HBM3                                          |
|        | PCI Bus ID: 00000000:2D:00.0                                         |
|        | Device UUID: {uuid(2)}                |
+--------+----------------------------------------------------------------------+
"""
SAMPLES = """\
#Entity   SMACT        DRAMA
ID
GPU 1     N/A          N/A
GPU 1     0.625        0.310
"""


def tool(tmp_path: Path, samples: str = SAMPLES, more: str = "") -> Path:
    (tmp_path / "discovery").write_text(DISCOVERY)
    (tmp_path / "samples").write_text(samples)
    path = tmp_path / "dcgmi"
    path.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/said\n{more}\n'
        f'[ "$1" = discovery ] && exec cat {tmp_path}/discovery\n'
        f"exec cat {tmp_path}/samples\n"
    )
    path.chmod(0o755)
    return path


def test_the_last_sample_counts_in_percent(tmp_path: Path) -> None:
    dcgm = Dcgm(tool(tmp_path))
    assert dcgm.read(uuid(2)) == Activity(sm_pct=62.5, dram_pct=31.0)
    assert dcgm.trouble is None
    dcgm.read(uuid(2))
    said = (tmp_path / "said").read_text().splitlines()
    assert said == ["discovery -l", *["dmon -i 1 -e 1002,1005 -c 2 -d 100"] * 2]


@pytest.mark.parametrize(
    "samples", ["", "error\n", "GPU 1  N/A  N/A\n", "GPU 1  1.5  -1\n", "GPU 1 0.5\n"]
)
def test_what_it_does_not_tell_is_unknown(tmp_path: Path, samples: str) -> None:
    assert Dcgm(tool(tmp_path, samples)).read(uuid(2)) == Activity()


def test_a_gpu_that_it_does_not_know(tmp_path: Path) -> None:
    dcgm = Dcgm(tool(tmp_path))
    assert dcgm.read(uuid(5)) == Activity()
    assert "does not know" in (dcgm.trouble or "")


def test_a_tool_that_fails_or_hangs_is_no_error(tmp_path: Path) -> None:
    failing = Dcgm(tool(tmp_path, more="exit 3"))
    assert failing.read(uuid(1)) == Activity()
    assert "status 3" in (failing.trouble or "")
    began = time.monotonic()
    hanging = Dcgm(tool(tmp_path, more="exec sleep 60"), deadline_s=0.3)
    assert hanging.read(uuid(1)) == Activity()
    assert "TimeoutExpired" in (hanging.trouble or "")
    assert time.monotonic() - began < 30
    missing = Dcgm(tmp_path / "none")
    assert missing.read(uuid(1)) == Activity()


def test_nothing_but_a_uuid_is_looked_up(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Dcgm(tool(tmp_path)).read("0; reboot")
    assert not (tmp_path / "said").exists()


def test_where_it_is_not_installed_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colocate.executor.nvml.dcgm._PLACES", (Path("/nonexistent/dcgmi"),))
    assert find_dcgm() is None
