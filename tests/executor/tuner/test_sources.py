"""Where rates and latencies come from: pages, files, callbacks, good and bad."""

from __future__ import annotations

import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from colocate.errors import ColocateError, InputError
from colocate.executor.tuner.fetch import SourceError, check_url, get
from colocate.executor.tuner.settings import SourceSpec, TunerSettings, sources_of
from colocate.executor.tuner.sources import (
    TRITON,
    VLLM,
    CallbackSource,
    FileSource,
    Names,
    PrometheusSource,
    Signal,
)

NAMES = Names(requests="requests_total", failures="failed_total", buckets="latency_seconds")


class Page:
    """A server's counters, as text."""

    def __init__(self) -> None:
        self.requests = 0
        self.failed = 0
        self.buckets = {"0.05": 0, "0.1": 0, "0.2": 0, "+Inf": 0}

    def serve(self, fast: int = 0, slow: int = 0, failed: int = 0) -> None:
        self.requests += fast + slow
        self.failed += failed
        self.buckets["0.05"] += fast
        self.buckets["0.1"] += fast
        self.buckets["0.2"] += fast + slow
        self.buckets["+Inf"] += fast + slow

    def restart(self) -> None:
        self.__init__()  # type: ignore[misc]

    def text(self) -> str:
        lines = [f'requests_total{{model="a"}} {self.requests}', f"failed_total {self.failed}"]
        lines += [f'latency_seconds_bucket{{le="{b}"}} {n}' for b, n in self.buckets.items()]
        return "\n".join(lines)


def test_the_first_look_knows_nothing_and_the_next_what_came_since():
    page = Page()
    page.serve(fast=1000)
    source = PrometheusSource(page.text, NAMES, window_s=10)
    first = source.read(0.0)
    assert (first.rate_rps, first.p99_ms) == (None, None)
    page.serve(fast=90, slow=10, failed=20)
    signal = source.read(1.0)
    assert signal.rate_rps == 120
    assert signal.p99_ms == pytest.approx(100 + 100 * 9 / 10)
    assert signal.samples == 100


def test_rates_are_over_the_window():
    page = Page()
    source = PrometheusSource(page.text, NAMES, window_s=4)
    source.read(0.0)
    for i in range(1, 20):
        page.serve(fast=10 if i <= 10 else 20)
        signal = source.read(float(i))
        if i in (10, 19):
            assert signal.rate_rps == pytest.approx(10 if i == 10 else 20)
    assert signal.samples == pytest.approx(80, abs=20)


def test_a_burst_is_told_at_once_and_chance_is_not():
    page = Page()
    source = PrometheusSource(page.text, NAMES, window_s=10)
    for i in range(11):
        page.serve(fast=100)
        source.read(float(i))
    page.serve(fast=120)
    assert source.read(11.0).rate_rps == pytest.approx(102, abs=1)
    page.serve(fast=300)
    assert source.read(12.0).rate_rps == 300


def test_a_restarted_server_counts_from_nothing():
    page = Page()
    page.serve(fast=1000)
    source = PrometheusSource(page.text, NAMES, window_s=1)
    source.read(0.0)
    page.restart()
    page.serve(fast=40)
    signal = source.read(1.0)
    assert signal.rate_rps == 40
    assert signal.samples == 40


def test_a_service_without_requests_has_a_rate_and_no_latency():
    page = Page()
    source = PrometheusSource(page.text, NAMES, window_s=1)
    source.read(0.0)
    signal = source.read(1.0)
    assert (signal.rate_rps, signal.p99_ms) == (0.0, None)


def test_beyond_the_last_bound_a_latency_is_infinite():
    text = (
        'requests_total 0\nlatency_seconds_bucket{le="0.1"} 0\nlatency_seconds_bucket{le="+Inf"} 0'
    )
    later = text.replace(" 0", " 50", 1).replace('"+Inf"} 0', '"+Inf"} 50')
    pages = iter([text, later])
    source = PrometheusSource(lambda: next(pages), NAMES)
    source.read(0.0)
    assert source.read(1.0).p99_ms == math.inf


def test_only_series_with_the_labels_count():
    page = Page()
    source = PrometheusSource(page.text, Names(requests="requests_total"), labels={"model": "b"})
    with pytest.raises(SourceError, match="requests_total"):
        source.read(0.0)
    source = PrometheusSource(page.text, Names(requests="requests_total"), labels={"model": "a"})
    source.read(0.0)
    page.serve(fast=7)
    assert source.read(1.0).rate_rps == 7


def test_triton_tells_its_p99_as_a_summary_in_microseconds():
    text = (
        'nv_inference_count{{model="m",version="1"}} {count}\n'
        'nv_inference_request_failure{{model="m",version="1"}} 0\n'
        'nv_inference_request_summary_us{{model="m",version="1",quantile="0.5"}} 5500\n'
        'nv_inference_request_summary_us{{model="m",version="1",quantile="0.99"}} 10100\n'
        'nv_inference_request_summary_us_count{{model="m",version="1"}} 161\n'
        'nv_inference_pending_request_count{{model="m",version="1"}} 3\n'
    )
    pages = iter([text.format(count=100), text.format(count=300)])
    source = PrometheusSource(lambda: next(pages), TRITON, labels={"model": "m"})
    source.read(0.0)
    signal = source.read(2.0)
    assert signal.rate_rps == 100
    assert signal.p99_ms == pytest.approx(10.1)
    assert signal.queue == 3


def test_vllm_tells_requests_by_reason_and_a_histogram():
    def text(stop: int, length: int, quick: int) -> str:
        return (
            f'vllm:request_success_total{{finished_reason="stop",model_name="m"}} {stop}\n'
            f'vllm:request_success_total{{finished_reason="length",model_name="m"}} {length}\n'
            f'vllm:e2e_request_latency_seconds_bucket{{le="1.0",model_name="m"}} {quick}\n'
            f'vllm:e2e_request_latency_seconds_bucket{{le="2.5",model_name="m"}} {stop + length}\n'
            f'vllm:e2e_request_latency_seconds_bucket{{le="+Inf",model_name="m"}} {stop + length}\n'
            'vllm:num_requests_waiting{model_name="m"} 2.0\n'
        )

    pages = iter([text(0, 0, 0), text(30, 10, 20)])
    source = PrometheusSource(lambda: next(pages), VLLM)
    source.read(0.0)
    signal = source.read(2.0)
    assert signal.rate_rps == 20
    assert signal.p99_ms == pytest.approx(1000 + 1500 * 19.6 / 20)
    assert signal.queue == 2


def test_a_request_may_stand_for_several_samples():
    page = Page()
    source = PrometheusSource(page.text, NAMES, samples_per_request=8)
    source.read(0.0)
    page.serve(fast=10)
    assert source.read(1.0).rate_rps == 80


# -- files and callbacks -----------------------------------------------------------------------


def test_a_file_is_read_until_it_is_stale(tmp_path):
    path = tmp_path / "web.json"
    path.write_text('{"rate_rps": 120, "p99_ms": 40.5}')
    source = FileSource(path, stale_s=10)
    assert source.read(3.0) == Signal(seconds=3.0, rate_rps=120.0, p99_ms=40.5)
    os.utime(path, (0, 0))
    with pytest.raises(SourceError, match="old"):
        source.read(4.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"rate_rps": "12"}',
        '{"rate_rps": true}',
        '{"rate_rps": NaN}',
        '{"rate_rps": 1e999}',
        '{"rate_rps": -1}',
        '{"rate_rps": 1, "rate_rps": 2}',
        '{"rps": 1}',
        '{"rate_rps": ' + "9" * 5000 + "}",
        '{"rate_rps": [1]}',
        '{"rate_rps": 1}' + " " * 70000,
        '{"a":' * 5000,
    ],
)
def test_a_bad_file_is_no_answer(tmp_path, text):
    path = tmp_path / "web.json"
    path.write_text(text)
    with pytest.raises(ColocateError) as caught:
        FileSource(path).read(0.0)
    assert isinstance(caught.value, SourceError | InputError)
    assert len(str(caught.value)) < 2000


def test_a_pipe_or_nothing_is_no_answer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "nothing", "."):
        with pytest.raises(SourceError):
            FileSource(tmp_path / name).read(0.0)


def signal_of(p99_ms: float, now: float) -> Signal:
    return Signal(seconds=now, p99_ms=p99_ms)


def test_a_callback_must_make_sense():
    assert CallbackSource(lambda now: Signal(seconds=now, rate_rps=1.0)).read(5.0).rate_rps == 1.0
    for bad in (math.nan, -1.0):
        with pytest.raises(SourceError):
            CallbackSource(partial(signal_of, bad)).read(0.0)


# -- HTTP --------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Serve one connection at a time with a function; return the address."""
    listening: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def begin(answer: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(60)
        listening.append(listener)

        def work() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(60)
                try:
                    connection.recv(4096)
                    answer(connection)
                except OSError:
                    pass

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        threads.append(thread)
        return f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"

    yield begin
    for listener in listening:
        listener.close()
    for thread in threads:
        thread.join(10)


def says(raw: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(raw)


def test_a_page_is_fetched(server):
    url = server(says(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nx 1\n"))
    assert get(url, timeout_s=30) == "x 1\n"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "speak HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", "speak HTTP"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", "302"),
        (b"HTTP/1.1 500 No\r\n\r\n", "500"),
        (b"HTTP/1.0 200 OK\r\nX: y", "without an end"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\nshort", "5 of 100"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "pieces"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 5000, "more than 4096"),
        (b"HTTP/1.0 200 OK\r\n" + b"A: b\r\n" * 20000 + b"\r\nx 1", "without an end"),
    ],
)
def test_a_bad_answer_is_told_apart(server, raw, why):
    with pytest.raises(SourceError, match=why):
        get(server(says(raw)), timeout_s=30, max_bytes=4096)


def test_a_server_that_drips_does_not_hold_us_up(server):
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        while not stop.wait(0.05):
            connection.sendall(b"x")

    begin = time.monotonic()
    try:
        with pytest.raises(SourceError, match="within"):
            get(server(drip), timeout_s=0.5)
    finally:
        stop.set()
    assert time.monotonic() - begin < 20


def test_nobody_there_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SourceError, match=r"reached|within"):
        get(f"http://127.0.0.1:{port}/metrics", timeout_s=5)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a/b",
        "file:///etc/passwd",
        "http://",
        "http://a b/",
        "http://user:secret@host/metrics",
        "http://host:99999/",
        "http://host:x/",
        "http://host/a\r\nX: y",
        "http://host/a b",
        "http://ho\nst/",
        "http://host/#part",
        "http://[::1/metrics",
        "http://-host/",
    ],
)
def test_an_address_that_is_not_plain_is_refused(url):
    with pytest.raises(InputError):
        check_url(url)


def test_plain_addresses_are_taken_apart():
    assert check_url("http://localhost:8002/metrics?a=b") == (
        False,
        "localhost",
        8002,
        "/metrics?a=b",
    )
    assert check_url("https://[::1]/m") == (True, "::1", 443, "/m")


# -- settings ----------------------------------------------------------------------------------


def test_sources_come_from_a_settings_file(tmp_path: Path):
    settings = TunerSettings.model_validate_json(
        json.dumps(
            {
                "schema": "colocate/tuner/v1",
                "sources": [
                    {"service": "a", "kind": "triton", "url": "http://127.0.0.1:8002/metrics"},
                    {"service": "b", "kind": "vllm", "path": str(tmp_path / "page")},
                    {"service": "c", "kind": "file", "path": str(tmp_path / "c.json")},
                    {
                        "service": "d",
                        "replica": 3,
                        "kind": "prometheus",
                        "url": "http://127.0.0.1:9/metrics",
                        "requests": "requests_total",
                        "latency": "latency_ms",
                        "latency_unit": "ms",
                    },
                ],
            }
        )
    )
    found = sources_of(settings)
    assert list(found) == [("a", 0), ("b", 0), ("c", 0), ("d", 3)]
    last = found["d", 3]
    assert isinstance(last, PrometheusSource)
    assert last.names.unit_ms == 1.0


@pytest.mark.parametrize(
    "source",
    [
        {"service": "a", "kind": "triton"},
        {"service": "a", "kind": "triton", "url": "http://h/", "path": "x"},
        {"service": "a", "kind": "file", "url": "http://h/"},
        {"service": "a", "kind": "prometheus", "url": "http://h/"},
        {"service": "a", "kind": "triton", "url": "gopher://h/"},
        {"service": "a\nquit", "kind": "triton", "url": "http://h/"},
        {"service": "a", "kind": "triton", "url": "http://h/", "timeout_s": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(source):
    with pytest.raises(ValueError, match="validation error"):
        TunerSettings.model_validate_json(json.dumps({"sources": [source]}))


def test_two_sources_for_one_service_are_refused():
    one = {"service": "a", "kind": "file", "path": "x"}
    with pytest.raises(ValueError, match="two sources"):
        TunerSettings.model_validate_json(json.dumps({"sources": [one, one]}))
    SourceSpec.model_validate_json(json.dumps(one))
