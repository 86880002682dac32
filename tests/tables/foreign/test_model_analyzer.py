"""Results of Triton Model Analyzer, with and without the files about memory."""

from __future__ import annotations

import numpy as np
import pytest

from colocate.errors import InputError
from colocate.tables.foreign.model_analyzer import read

INFERENCE = b"""\
Model,Batch,Concurrency,Model Config Path,Instance Group,Max Batch Size,Satisfies Constraints,\
Throughput (infer/sec),p99 Latency (ms)
resnet50,1,1,resnet50_config_0,1:GPU,8,Yes,164.0,8.1
resnet50,1,2,resnet50_config_0,1:GPU,8,Yes,195.0,11.0
resnet50,4,2,resnet50_config_0,1:GPU,8,Yes,400.0,21.0
resnet50,1,2,resnet50_config_1,2:GPU,8,No,230.0,10.0
bert,1,1,bert_config_default,1:GPU,4,Yes,50.0,21.0

"""
GPU = b"""\
Model,GPU UUID,Batch,Concurrency,Model Config Path,Instance Group,Satisfies Constraints,\
GPU Memory Usage (MB),GPU Utilization (%),GPU Power Usage (W)
resnet50,GPU-1,1,1,resnet50_config_0,1:GPU,Yes,1277.0,14.4,82.2
resnet50,GPU-1,1,2,resnet50_config_1,2:GPU,Yes,2301.0,16.2,85.3
resnet50,GPU-2,1,2,resnet50_config_1,2:GPU,Yes,2200.0,16.2,85.3
bert,GPU-1,1,1,bert_config_default,1:GPU,Yes,277.0,16.2,85.3
"""
SERVER = b"""\
Model,GPU UUID,GPU Memory Usage (MB),GPU Utilization (%),GPU Power Usage (W)
triton-server,GPU-1,253.0,0.0,56.5
triton-server,GPU-2,0.0,0.0,56.5
"""


def test_the_fastest_row_of_each_model_and_batch_is_kept():
    found = read(INFERENCE, gpu="A100", share_pct=30)
    table = found.table
    assert table["workload"].tolist() == ["resnet50", "resnet50", "bert"]
    assert table["batch"].tolist() == [4, 1, 1]
    assert table["rate"].tolist() == [400, 230, 50]
    assert [d.line for d in found.dropped] == [2, 3]
    np.testing.assert_array_equal(table["latency_p99_ms"], [np.nan, np.nan, 21.0])
    assert np.isnan(table["memory_gib"]).all()
    assert table["share_pct"].tolist() == [30, 30, 30]


def test_one_configuration_can_be_chosen():
    found = read(INFERENCE, gpu="A100", config="resnet50_config_0")
    assert found.table["rate"].tolist() == [195, 400]
    assert found.n_dropped == 3
    with pytest.raises(InputError, match="no row"):
        read(INFERENCE, gpu="A100", config="resnet50_config_9")


def test_every_row_can_be_kept():
    assert len(read(INFERENCE, gpu="A100", every_concurrency=True).table) == 5


def test_memory_is_the_largest_over_gpus_less_that_of_the_server():
    table = read(INFERENCE, gpu="A100", gpu_path=GPU, server_path=SERVER).table
    # 2301 - 253 on one, 2200 - 0 on the other
    np.testing.assert_allclose(table["memory_gib"], [np.nan, 2200 / 1024, 24 / 1024])
    table = read(INFERENCE, gpu="A100", gpu_path=GPU).table
    np.testing.assert_allclose(table["memory_gib"], [np.nan, 2301 / 1024, 277 / 1024])


def test_an_open_load_is_kept_apart():
    text = b"Model,Batch,Request Rate,Throughput (infer/sec),Avg Latency (ms),p99 Latency (ms)\n"
    table = read(text + b"net,2,10,19.8,5,9\nnet,2,30,59,6,20\n", gpu="A100").table
    assert table["arrival_rps"].tolist() == [20, 60]
    assert table["latency_p99_ms"].tolist() == [9, 20]
    assert np.isnan(table["latency_ms"]).all()


def test_several_models_in_one_row_are_dropped():
    header = b"Model,Batch,Concurrency,Throughput (infer/sec)\n"
    with pytest.raises(InputError, match="Batch"):
        read(header + b'"a,b","1,1",1,20\n', gpu="A100", workload="net")


@pytest.mark.parametrize(
    ("data", "more"),
    [
        (GPU, {}),
        (b"", {}),
        (INFERENCE, {"gpu_path": b"Model,Batch\nresnet50,1\n"}),
        (INFERENCE, {"gpu": None}),
        (INFERENCE.replace(b"resnet50,1,1", b"res net,1,1"), {}),
    ],
)
def test_other_files_and_missing_settings_are_refused(data, more):
    with pytest.raises(InputError) as caught:
        read(data, **{"gpu": "A100", **more})
    assert caught.value.advice
