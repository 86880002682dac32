"""DCGM's telemetry in its three layouts."""

from __future__ import annotations

import numpy as np
import pytest

from colocate.errors import InputError
from colocate.tables import ProfileTable
from colocate.tables.foreign.dcgm import read, read_telemetry, with_telemetry

DMON = b"""\
#Entity   SMACT        DRAMA        POWER
ID                                  W
GPU 0     N/A          N/A          60.1
GPU 0     0.500        0.200        210.4
GPU 0     0.700        N/A          211.0
#Entity   SMACT        DRAMA        POWER
ID                                  W
GPU 0     0.600        0.300        211.2
"""
EXPORTER = b"""\
# HELP DCGM_FI_PROF_SM_ACTIVE The ratio of cycles an SM has at least 1 warp assigned.
# TYPE DCGM_FI_PROF_SM_ACTIVE gauge
DCGM_FI_PROF_SM_ACTIVE{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA A100"} 0.5
DCGM_FI_PROF_DRAM_ACTIVE{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA A100"} 0.2
DCGM_FI_PROF_SM_ACTIVE{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA A100"} 0.7
DCGM_FI_PROF_DRAM_ACTIVE{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA A100"} 0.3
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",device="nvidia0"} 99
DCGM_FI_PROF_SM_ACTIVE{gpu="1",UUID="GPU-b",device="nvidia1"} 0.9 1700000000000
DCGM_FI_PROF_SM_ACTIVE{gpu="1",UUID="GPU-b",GPU_I_ID="7"} 0.1
"""
CSV = b"""\
timestamp,gpu,DCGM_FI_PROF_SM_ACTIVE,DCGM_FI_PROF_DRAM_ACTIVE
1,0,0.4,0.2
2,0,0.6,
"""


def test_dmon_is_averaged_over_the_samples_there_are():
    found = read_telemetry(DMON)
    assert (found.device, found.samples) == ("GPU 0", 3)
    assert found.sm_activity_pct == pytest.approx(60.0)
    assert found.dram_activity_pct == pytest.approx(25.0)
    assert read_telemetry(DMON, skip=2).sm_activity_pct == pytest.approx(65.0)


def test_scrapes_are_averaged_for_one_device_or_instance():
    found = read_telemetry(EXPORTER, device="0")
    assert found.samples == 2
    assert found.sm_activity_pct == pytest.approx(60.0)
    assert found.dram_activity_pct == pytest.approx(25.0)
    assert read_telemetry(EXPORTER, device="0", skip=1).dram_activity_pct == pytest.approx(30.0)
    other = read_telemetry(EXPORTER, device="1")
    assert other.sm_activity_pct == pytest.approx(90.0)
    assert np.isnan(other.dram_activity_pct)
    assert read_telemetry(EXPORTER, device="1/7").sm_activity_pct == pytest.approx(10.0)
    with pytest.raises(InputError, match="several devices: '0', '1', '1/7'"):
        read_telemetry(EXPORTER)


@pytest.mark.parametrize(
    "names", [("DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_PROF_DRAM_ACTIVE"), ("1002", "1005")]
)
def test_csv_columns_may_have_names_or_numbers(names):
    text = CSV
    old = ("DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_PROF_DRAM_ACTIVE")
    for before, after in zip(old, names, strict=True):
        text = text.replace(before.encode(), after.encode())
    found = read_telemetry(text)
    assert (found.device, found.samples) == ("0", 2)
    assert found.sm_activity_pct == pytest.approx(50.0)
    assert found.dram_activity_pct == pytest.approx(20.0)


def test_a_row_needs_the_rate_of_the_run():
    with pytest.raises(InputError, match="how fast"):
        read(DMON, workload="net", gpu="A100")
    table = read(DMON, workload="net", gpu="A100", rate=12.5, batch=4).table
    assert table["rate"].tolist() == [12.5]
    assert table["sm_activity_pct"][0] == pytest.approx(60.0)


def test_telemetry_joins_the_rows_of_a_workload_alone():
    table = ProfileTable.of(
        workload=["net", "net", "net", "job"],
        role="inference",
        gpu="A100",
        share_pct=[100.0, 50.0, 100.0, 100.0],
        neighbour=["", "", "job", ""],
        rate=1.0,
    )
    made = with_telemetry(table, read_telemetry(DMON), workload="net")
    assert np.isfinite(made["sm_activity_pct"]).tolist() == [True, False, False, False]
    assert np.isnan(table["sm_activity_pct"]).all()
    with pytest.raises(InputError, match="no row of 'other'"):
        with_telemetry(table, read_telemetry(DMON), workload="other")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "empty"),
        (b"a,b\n1,2\n", "no column for SM"),
        (CSV.replace(b"0.4", b"40"), "fraction"),
        (CSV.replace(b"0.4", b"-0.1"), "fraction"),
        (CSV.replace(b"0.4", b"busy"), "fraction"),
        (DMON.replace(b"0.500", b""), "2 values"),
        (b"GPU 0   0.5  0.2\n", "header 0"),
        (b"#Entity SMACT DRAMA\nGPU 0 N/A N/A\n", "no sample"),
        (b"#Entity GPUTL\nGPU 0 99\n", "no sample"),
    ],
)
def test_what_tells_no_activity_is_refused(text, words):
    with pytest.raises(InputError, match=words) as caught:
        read_telemetry(text)
    assert caught.value.advice


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="for 'GPU 9'"):
        read_telemetry(DMON, device="GPU 9")
