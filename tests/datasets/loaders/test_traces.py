"""Loaders that make traces, on invented rows in the layouts of the public files."""

from __future__ import annotations

import numpy as np
import pytest

from colocate.datasets import loaders
from colocate.errors import InputError
from tests.datasets.loaders import samples
from tests.datasets.loaders.samples import put


def test_requests_are_in_seconds_after_the_first(tmp_path):
    put(tmp_path, "AzureLLMInferenceTrace_conv.csv.gz", samples.AZURE)
    found = loaders.load_azure_llm(tmp_path)
    np.testing.assert_allclose(found.time_s, [0.0, 4.314579], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.gaps_s, [4.314579])
    assert found.prompt_tokens.tolist() == [374, 396]
    assert found.output_tokens.tolist() == [44, 109]
    with pytest.raises(InputError, match="holds no"):
        loaders.load_azure_llm(tmp_path, kind="code")


@pytest.mark.parametrize("time", ["", "now", "NaT", "2023-11-16", "2023-13-40 00:00:00", "٢٠٢٣"])
def test_a_time_that_is_none_is_refused(tmp_path, time):
    text = samples.AZURE.replace("2023-11-16 18:15:50.9951690", time)
    put(tmp_path, "AzureLLMInferenceTrace_conv.csv", text)
    with pytest.raises(InputError, match="TIMESTAMP"):
        loaders.load_azure_llm(tmp_path)


def test_rates_of_clients(tmp_path):
    found = loaders.load_servegen(put(tmp_path, "client_rates_10min.csv.gz", samples.SERVEGEN))
    assert found.window_start_s.tolist() == [600, 1200]
    assert found.rate_rps.tolist() == [0.5, 0]
    assert found.gap_variation.tolist() == [1.5, 0]
    assert found.pattern.tolist() == ["Gamma", ""]


def test_jobs_are_in_the_order_of_their_submission(tmp_path):
    found = loaders.load_philly(put(tmp_path, "philly.csv.gz", samples.PHILLY))
    assert found.submit_s.tolist() == [0.0, 30.0]
    assert found.duration_s.tolist() == [50, 100]
    assert found.gpus.tolist() == [1, 8]
    assert found.tenant.tolist() == ["6c71a0", "ee9e8c"]


def test_pods_and_nodes(tmp_path):
    put(tmp_path, "openb_pod_list_default.csv.gz", samples.PODS)
    put(tmp_path, "openb_node_list_gpu_node.csv", samples.NODES)
    pods = loaders.load_openb_pods(tmp_path)
    assert pods.name.tolist() == ["p-0", "p-1"]
    assert pods.created_s.tolist() == [0, 40]
    assert pods.deleted_s.tolist() == [490, 890]
    np.testing.assert_array_equal(pods.scheduled_s, [np.nan, 50])
    assert pods.gpu_share_pct.tolist() == [46, 100]
    assert pods.gpu_types.tolist() == ["V100M16|V100M32", ""]
    assert pods.memory_gib.tolist() == [1, 16]
    nodes = loaders.load_openb_nodes(tmp_path)
    assert (nodes.gpu[0], nodes.gpus[0], nodes.cpu[0]) == ("P100", 2, 64)
    with pytest.raises(InputError, match="holds no"):
        loaders.load_openb_pods(tmp_path, variant="gpushare100")
    with pytest.raises(InputError, match="no variant"):
        loaders.load_openb_pods(tmp_path, variant="../default")


def test_stages(tmp_path):
    found = loaders.load_muri(put(tmp_path, "stage_profiles.csv", samples.MURI))
    assert found.workload.tolist() == ["a2c"]
    assert found.stages_ms.tolist() == [[504, 14, 0.5]]
    assert found.iteration_ms.tolist() == [525]


def test_traces_cannot_be_written_to(tmp_path):
    found = loaders.load_muri(put(tmp_path, "stage_profiles.csv", samples.MURI))
    with pytest.raises(ValueError, match="read-only"):
        found.batch[0] = 1
    assert len(found.take([])) == 0


@pytest.mark.parametrize(
    ("loader", "name", "text"),
    [
        (loaders.load_philly, "philly.csv", samples.PHILLY),
        (loaders.load_servegen, "client_rates_10min.csv", samples.SERVEGEN),
        (loaders.load_muri, "stage_profiles.csv", samples.MURI),
    ],
)
def test_broken_numbers_and_columns_are_refused_with_their_place(tmp_path, loader, name, text):
    for broken in (text.replace("0", "o"), text.replace(",", ";"), text.partition("\n")[2]):
        put(tmp_path, name, broken)
        with pytest.raises(InputError) as caught:
            loader(tmp_path)
        assert name in str(caught.value)
