"""Reports of perf_analyzer, closed loop and open load."""

from __future__ import annotations

import numpy as np
import pytest

from colocate.errors import InputError
from colocate.tables.foreign.perf_analyzer import read

HEADER = (
    "Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
    "Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,"
    "p99 latency"
)
CLOSED = f"""Concurrency,{HEADER}
1,80,200,2000,60,200,9000,300,10,11700,12000,12500,13000
4,150,210,1700,14000,210,9900,290,12,26000,27000,28000,30000
2,120,210,1700,4000,210,9400,290,12,16000,17000,18000,20000
"""
OPEN = f"""Request Rate,{HEADER},Avg latency,request/response,response wait
10,39.5,200,2000,60,200,9000,300,10,11700,12000,12500,13000,11770,210,11560
"""


def rows(text: str, **settings):
    return read(text.encode(), **{"workload": "net", "gpu": "A100", **settings})


def test_of_a_closed_loop_the_fastest_row_is_kept_and_the_others_are_named():
    found = rows(CLOSED, batch=8, share_pct=40)
    table = found.table
    assert len(table) == 1
    assert (table["rate"][0], table["batch"][0], table["share_pct"][0]) == (150.0, 8.0, 40.0)
    assert table["latency_ms"][0] == pytest.approx((210 + 9900 + 290) / 1000)
    assert np.isnan(table["latency_p99_ms"][0])
    assert np.isnan(table["arrival_rps"][0])
    assert [(d.row, d.line) for d in found.dropped] == [(1, 2), (3, 4)]
    assert "slower" in str(found.dropped[0])


def test_all_rows_are_kept_on_demand_and_percentiles_count_without_waiting_only():
    table = rows(CLOSED, every_concurrency=True).table
    assert table["rate"].tolist() == [80, 150, 120]
    assert table["latency_p99_ms"][0] == 13.0
    assert np.isnan(table["latency_p99_ms"][1:]).all()


def test_an_open_load_keeps_its_load_and_the_percentile_of_clients():
    table = rows(OPEN, batch=4).table
    assert table["arrival_rps"].tolist() == [40.0]
    assert table["rate"].tolist() == [39.5]
    assert table["latency_ms"][0] == pytest.approx(9.5)
    assert table["latency_p99_ms"].tolist() == [13.0]


def test_without_server_times_the_mean_of_clients_stands_for_a_batch_at_concurrency_1():
    text = "Concurrency,Inferences/Second,Client Send,Client Recv,p99 latency,Avg latency\n"
    table = rows(text + "1,90,2,3,12000,11000\n").table
    assert table["latency_ms"].tolist() == [11.0]
    table = rows(text + "2,90,2,3,12000,11000\n").table
    assert np.isnan(table["latency_ms"]).all()


def test_what_the_file_does_not_tell_must_be_given():
    with pytest.raises(InputError, match="GPU"):
        rows(CLOSED, gpu=None)
    with pytest.raises(InputError, match="--workload"):
        rows(CLOSED, workload=None)
    for wrong in ({"workload": "a b"}, {"gpu": "A 100"}, {"share_pct": 0}, {"role": "both"}):
        with pytest.raises(InputError):
            rows(CLOSED, **wrong)


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n1,2\n", f"{HEADER}\n", "Concurrency,Inferences/Second\nx,1\n", CLOSED[:-8]],
)
def test_other_files_are_refused(text):
    with pytest.raises(InputError):
        rows(text)


def test_rows_without_a_rate_are_dropped():
    text = "Request Rate,Inferences/Second\n10,0\n20,19\n"
    found = rows(text)
    assert found.table["rate"].tolist() == [19.0]
    assert found.dropped[0].column == "rate"
