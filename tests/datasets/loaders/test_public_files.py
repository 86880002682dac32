"""The loaders on the public files, where somebody has them.

Set COLOCATE_DATA to a folder with one folder for each data set to run these.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from colocate.datasets import loaders
from colocate.tables.clean import clean
from colocate.tables.read import read_table
from colocate.tables.write import dumps_csv

FOLDER = os.environ.get("COLOCATE_DATA")
pytestmark = pytest.mark.skipif(
    FOLDER is None, reason="public data sets: set COLOCATE_DATA to the folder that holds them"
)
TABLES = [
    (loaders.load_peace, "peace_v100_batch2_mps", 110 + 66 * 10 * 2, 11),
    (loaders.load_igniter, "igniter_v100_mps", 648 + 1000, 4),
    (loaders.load_spread, "spread_2080ti_train_mps", 1642, 11),
    (loaders.load_muxserve, "muxserve_a100_llm_mps", 6216, 80),
    (loaders.load_rapp, "rapp_hasgpu_v100_mps", 836, 47),
    (loaders.load_hasgpu, "rapp_hasgpu_v100_mps", 240, 3),
    (loaders.load_gavel, "gavel_train_pairs", 1277, 7),
    (loaders.load_parvagpu, "parvagpu_a100_mig_mps", 1300, 8),
    (loaders.load_splitwise, "splitwise_llm_perf", 1260, 60),
]
TRACES = [
    (loaders.load_azure_llm, "azure_llm_2023", 19_366),
    (loaders.load_servegen, "servegen_client_rates", 86_688),
    (loaders.load_philly, "philly_jobs", 23_062),
    (loaders.load_openb_pods, "alibaba_openb_gpu2023", 8_152),
    (loaders.load_openb_nodes, "alibaba_openb_gpu2023", 1_213),
    (loaders.load_muri, "muri_stage_profiles", 48),
]


def folder(name: str) -> Path:
    found = Path(str(FOLDER)) / name
    if not found.is_dir():
        pytest.skip(f"{name} is not among the data sets")
    return found


@pytest.mark.parametrize(("loader", "name", "rows", "workloads"), TABLES)
def test_a_public_file_is_a_table_without_faults(loader, name, rows, workloads):
    table = loader(folder(name))
    assert len(table) == rows
    assert len(set(table["workload"])) == workloads
    assert np.isfinite(table.rates).all()
    assert read_table(dumps_csv(table).encode()).dropped == ()
    assert {doubt.kind for doubt in clean(table).doubts} <= {"contradiction", "outlier"}


@pytest.mark.parametrize(("loader", "name", "rows"), TRACES)
def test_a_public_file_is_a_trace(loader, name, rows):
    assert len(loader(folder(name))) == rows
