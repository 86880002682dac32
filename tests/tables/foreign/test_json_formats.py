"""Results of `vllm bench serve` and AIPerf: closed loops, open loads, requests and tokens."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.tables.foreign import aiperf, reader, vllm_bench

VLLM = {
    "date": "20250530-203806",
    "backend": "vllm",
    "model_id": "meta-llama/Llama-3.2-3B-Instruct",
    "num_prompts": 300,
    "request_rate": "inf",
    "burstiness": 1.0,
    "max_concurrency": 16,
    "duration": 36.0,
    "completed": 300,
    "request_throughput": 8.0,
    "request_goodput": None,
    "output_throughput": 1200.0,
    "total_token_throughput": 9000.0,
    "mean_ttft_ms": 54.5,
    "p99_ttft_ms": 90.0,
    "mean_tpot_ms": 13.0,
    "p99_tpot_ms": 18.0,
    "mean_e2el_ms": 2000.0,
    "p99_e2el_ms": 2500.0,
    "generated_texts": ["odd \u0007 text\n"],
}
AIPERF = {
    "schema_version": "1.0",
    "aiperf_version": "0.3.0",
    "request_throughput": {"unit": "requests/sec", "avg": 8.0},
    "request_latency": {"unit": "ms", "avg": 2000.0, "p99": 2500.0, "std": 10.0},
    "inter_token_latency": {"unit": "ms", "avg": 13.0, "p99": 18.0},
    "output_token_throughput": {"unit": "tokens/sec", "avg": 1200.0},
    "input_config": {
        "endpoint": {"model_names": ["Qwen/Qwen3-0.6B"]},
        "loadgen": {"concurrency": 16},
    },
}


def data(value) -> bytes:
    return json.dumps(value).encode()


def values(table, *names):
    return [table[name][0] for name in names]


@pytest.mark.parametrize(
    ("module", "result", "name"),
    [(vllm_bench, VLLM, "Llama-3.2-3B-Instruct"), (aiperf, AIPERF, "Qwen3-0.6B")],
)
def test_a_closed_loop_has_a_batch_and_no_load(module, result, name):
    table = module.read(data(result), gpu="H100", share_pct=60).table
    assert table["workload"].tolist() == [name]
    columns = ("batch", "rate", "latency_ms", "latency_p99_ms", "share_pct")
    assert values(table, *columns) == [16, 8, 2000, 2500, 60]
    assert np.isnan(table["arrival_rps"][0])
    table = module.read(data(result), gpu="H100", phase="decode").table
    assert values(table, *columns) == [16, 1200, 13, 18, 100]


@pytest.mark.parametrize(
    ("module", "result"),
    [
        (vllm_bench, {**VLLM, "request_rate": 7.5}),
        (aiperf, {**AIPERF, "input_config": {"loadgen": {"concurrency": 16, "request_rate": 7.5}}}),
    ],
)
def test_an_open_load_has_a_load_and_no_batch(module, result):
    table = module.read(data(result), gpu="H100", workload="llm").table
    assert values(table, "workload", "arrival_rps", "rate") == ["llm", 7.5, 8.0]
    assert np.isnan(table["batch"][0])
    table = module.read(data(result), gpu="H100", workload="llm", batch=4).table
    assert table["batch"].tolist() == [4]


@pytest.mark.parametrize("module", [vllm_bench, aiperf])
def test_an_open_load_counts_in_the_unit_of_the_rate(module):
    def run(load, requests=8.0):
        if module is vllm_bench:
            return {**VLLM, "request_rate": load, "request_throughput": requests}
        config = {"loadgen": {"concurrency": 16, "request_rate": load}}
        reached = {"unit": "requests/sec", "avg": requests}
        return {**AIPERF, "input_config": config, "request_throughput": reached}

    def decode(*runs):
        return module.read(data(runs), gpu="H100", workload="llm", phase="decode")

    # 1200 tokens/s at 8 requests/s are 150 tokens each
    table = decode(run(7.5), run(4)).table
    assert table["arrival_rps"].tolist() == [7.5 * 150, 4 * 150]
    assert np.isnan(table["batch"]).all()
    # without the length of an answer the load is unknown, but open for all that
    for load, requests in ((7.5, 0), (7.5, None), (7.5, True), (10**400, 8.0), ("many", 8.0)):
        found = decode(run(load, requests), run(7.5))
        assert len(found.table) == 1
        assert [(d.row, "open load" in d.reason) for d in found.dropped] == [(1, True)]


def test_a_stated_load_is_one_of_requests():
    asked: dict[str, Any] = {"gpu": "H100", "workload": "llm", "arrival_rps": 2.0}
    assert aiperf.read(data(AIPERF), **asked).table["arrival_rps"].tolist() == [2]
    table = aiperf.read(data(AIPERF), **asked, phase="decode").table
    assert table["arrival_rps"].tolist() == [300]


SCHEDULES = {
    "asked for": {"input": {"fixed_schedule": True}, "loadgen": {"concurrency": 16}},
    "of a trace": {"input": {"custom_dataset_type": "mooncake_trace"}, "loadgen": {}},
    "before a rate": {"input": {"fixed_schedule": True}, "loadgen": {"request_rate": 7.5}},
    "as a phase": {"phases": [{"name": "profiling", "type": "fixed_schedule"}]},
    "as phases": {"phases": [{"type": "concurrency", "concurrency": c} for c in (1, 2)]},
    "a rate that changes": {"phases": [{"type": "poisson", "rate_series": {}}]},
    "of agents": {"phases": [{"type": "concurrency", "timing_mode": "agentic_replay"}]},
}


@pytest.mark.parametrize("config", SCHEDULES.values(), ids=SCHEDULES.keys())
@pytest.mark.parametrize("phase", ["request", "decode"])
def test_a_replayed_schedule_is_no_closed_loop(config, phase):
    """8 requests per second were reached; the trace may have asked for no more."""
    run = data({**AIPERF, "input_config": config})
    asked: dict[str, Any] = {"gpu": "H100", "workload": "llm", "phase": phase}
    found = aiperf.read(run, **asked)
    assert len(found.table) == 0
    assert "arrival_rps" in found.dropped[0].reason
    table = aiperf.read(run, **asked, arrival_rps=7.5).table
    assert table["arrival_rps"].tolist() == [7.5 if phase == "request" else 7.5 * 150]
    assert np.isnan(table["batch"][0])


@pytest.mark.parametrize(
    ("config", "batch", "load"),
    [
        ({"input": {"fixed_schedule": False}, "loadgen": {"concurrency": 4}}, 4, None),
        (
            {
                "input": {"custom_dataset_type": "mooncake_trace"},
                "loadgen": {"concurrency": 4, "arrival_pattern": "concurrency_burst"},
            },
            4,
            None,
        ),
        (
            {
                "input": {
                    "custom_dataset_type": "bailian_trace",
                    "disable_auto_fixed_schedule": True,
                },
                "loadgen": {"request_rate": 7.5, "concurrency": 4},
            },
            None,
            7.5,
        ),
        ({"loadgen": {"user_centric_rate": 2.0, "num_users": 9}}, None, 2.0),
        ({"loadgen": {"request_rate": float("inf"), "concurrency": 4}}, 4, None),
        (
            {
                "phases": [
                    {"name": "warmup", "type": "poisson", "rate": 1.0},
                    {"name": "profiling", "kind": "profiling", "type": "concurrency"},
                ]
            },
            1,
            None,
        ),
        (
            {"phases": [{"name": "profiling", "type": "gamma", "rate": 7.5, "concurrency": 4}]},
            None,
            7.5,
        ),
        ({"perf_analyzer": {"stimulus": {"concurrency": 4}}}, 4, None),
        ({"perf_analyzer": {"stimulus": {"request_rate": 7.5}}}, None, 7.5),
    ],
)
def test_the_load_is_the_one_that_was_chosen(config, batch, load):
    run = data({**AIPERF, "input_config": config})
    table = aiperf.read(run, gpu="H100", workload="llm").table
    found = [None if np.isnan(v) else v for v in values(table, "batch", "arrival_rps")]
    assert found == [batch, load]


@pytest.mark.parametrize("huge", [10**400, -(10**400)], ids=["plus", "minus"])
def test_numbers_beyond_all_floats_drop_their_run(huge):
    for key, column in (
        ("request_throughput", "rate"),
        ("mean_e2el_ms", "latency_ms"),
        ("max_concurrency", "batch"),
        ("request_rate", "arrival_rps"),
    ):
        found = vllm_bench.read(data({**VLLM, key: huge}), gpu="H100")
        assert [d.column for d in found.dropped] == [column]
    latency = {"unit": "ms", "avg": huge}
    found = aiperf.read(data({**AIPERF, "request_latency": latency}), gpu="H100")
    assert [d.column for d in found.dropped] == ["latency_ms"]
    config = {"loadgen": {"request_rate": huge}}
    found = aiperf.read(data({**AIPERF, "input_config": config}), gpu="H100", workload="llm")
    assert [d.column for d in found.dropped] == ["arrival_rps"]


@pytest.mark.parametrize("unit", [["ms"], {"ms": 1}, None, 1, True])
def test_units_that_are_no_text_are_refused(unit):
    odd = {**AIPERF, "request_latency": {"unit": unit, "avg": 2.0}}
    with pytest.raises(InputError, match="gives latencies in") as caught:
        aiperf.read(data(odd), gpu="H100")
    assert caught.value.advice is not None
    assert "ms" in caught.value.advice


def test_appended_results_are_one_row_each():
    text = data(VLLM) + b"\n" + data({**VLLM, "max_concurrency": 32, "request_throughput": 12.0})
    for many in (text, data([VLLM, {**VLLM, "max_concurrency": 32, "request_throughput": 12.0}])):
        table = vllm_bench.read(many, gpu="H100").table
        assert table["batch"].tolist() == [16, 32]
        assert table["rate"].tolist() == [8, 12]


def test_latencies_that_were_not_recorded_stay_empty():
    short = {key: value for key, value in VLLM.items() if "e2el" not in key}
    table = vllm_bench.read(data(short), gpu="H100").table
    assert np.isnan(values(table, "latency_ms", "latency_p99_ms")).all()


def test_the_first_layout_and_other_units_of_aiperf_are_read():
    old = {"records": {**AIPERF, "request_latency": {"unit": "sec", "avg": 2.0, "p99": 2.5}}}
    table = aiperf.read(data(old), gpu="H100", workload="llm", batch=16).table
    assert values(table, "batch", "latency_ms", "latency_p99_ms") == [16, 2000, 2500]
    odd = {**AIPERF, "request_latency": {"unit": "hours", "avg": 2.0}}
    with pytest.raises(InputError, match="hours"):
        aiperf.read(data(odd), gpu="H100")


def test_models_are_found_in_the_later_configuration():
    later = {**AIPERF, "input_config": {"models": {"items": [{"name": "org/llm-7b"}]}}}
    assert aiperf.read(data(later), gpu="H100").table["workload"].tolist() == ["llm-7b"]


@pytest.mark.parametrize("module", [vllm_bench, aiperf])
@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b"[1]", b"{", b"[" * 100_000, b'{"a": 1}\n{', b"\xff"]
)
def test_other_files_are_refused(module, text):
    with pytest.raises(InputError) as caught:
        module.read(text, gpu="H100", workload="llm")
    assert caught.value.advice


@pytest.mark.parametrize("wrong", [0, -1, [8], True, {"a": 1}, "fast", 1e300])
def test_rates_that_make_no_sense_are_dropped(wrong):
    found = vllm_bench.read(data({**VLLM, "request_throughput": wrong}), gpu="H100")
    assert [d.column for d in found.dropped] == ["rate"]
    assert len(found.table) == 0


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_without_a_rate_the_latency_is_left(unknown):
    table = vllm_bench.read(data({**VLLM, "request_throughput": unknown}), gpu="H100").table
    assert table.rates.tolist() == [1000 * 16 / 2000]


@given(
    st.dictionaries(
        st.sampled_from(list(VLLM)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]),
    ),
    st.sampled_from(["request", "decode"]),
)
def test_any_change_gives_rows_or_an_input_error(changes, phase):
    try:
        found = vllm_bench.read(data({**VLLM, **changes}), gpu="H100", phase=phase)
    except InputError:
        return
    assert len(found.table) + found.n_dropped == 1


def test_readers_are_found_by_name():
    assert reader("vllm-bench") is vllm_bench.read
    with pytest.raises(InputError, match=r"known: aiperf, dcgm, model-analyzer, perf-analyzer"):
        reader("vllm")
