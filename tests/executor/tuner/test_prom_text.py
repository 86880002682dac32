"""Reading metrics pages of anybody, and turning counters into rates and quantiles."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.executor.tuner.counters import Counters, quantile
from colocate.executor.tuner.prom_text import MAX_BYTES, MAX_SAMPLES, Sample, samples

PAGE = """\
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

file_seconds{path="C:\\\\DIR\\\\FILE.TXT",error="Cannot find file:\\n\\"FILE.TXT\\""} 1.458255915e9
metric_without_timestamp_and_labels 12.47
something_weird{problem="division by zero"} +Inf -3982045
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="+Inf"} 144320
"""
"""Lines in the manner of the format's own example."""


def test_the_formats_own_example_is_read():
    found = samples(PAGE, ["http_requests_total", "metric_without_timestamp_and_labels"])
    assert found == [
        Sample("http_requests_total", (("code", "200"), ("method", "post")), 1027.0),
        Sample("http_requests_total", (("code", "400"), ("method", "post")), 3.0),
        Sample("metric_without_timestamp_and_labels", (), 12.47),
    ]


def test_escapes_and_infinities_are_read():
    (one,) = samples(PAGE, ["file_seconds"])
    assert one.label("path") == "C:\\DIR\\FILE.TXT"
    assert one.label("error") == 'Cannot find file:\n"FILE.TXT"'
    (two,) = samples(PAGE, ["something_weird"])
    assert math.isinf(two.value)
    assert two.label("nothing") is None


@pytest.mark.parametrize(
    "line",
    [
        "requests NaN",
        "requests",
        "requests 1 2 3",
        "requests 1_000",
        "requests 0x10",
        'requests{a="1" 5',
        'requests{a="1"b="2"} 5',
        "requests{a=1} 5",
        'requests{a="1",a="2"} 5',
        'requests{="1"} 5',
        'requests{a="1} 5',
        "requests{" + ",".join(f'l{i}="x"' for i in range(100)) + "} 5",
        "requests " + "9" * 100,
        "requests_total 5",
        "xrequests 5",
        " requests 5",
        "requests 5" + " " * 9000,
    ],
)
def test_a_malformed_line_is_passed_over(line):
    assert samples(f"{line}\nrequests 7\n", ["requests"]) == [Sample("requests", (), 7.0)]


def test_a_trailing_comma_and_spaces_are_fine():
    assert samples('requests{ a="1" , b="2", } 5', ["requests"])[0].value == 5


def test_too_much_is_refused():
    with pytest.raises(InputError, match="limit"):
        samples("x" * (MAX_BYTES + 1), ["x"])
    with pytest.raises(InputError, match="samples"):
        samples("x 1\n" * (MAX_SAMPLES + 1), ["x"])


@pytest.mark.parametrize("hostile", ['x{a="' + "\\" * 8000, "x{" * 4000, 'x{a="",' * 1000])
def test_hostile_lines_take_no_time(hostile):
    begin = time.process_time()
    samples((hostile + "\n") * 200, ["x"])
    assert time.process_time() - begin < 5


@given(st.text(max_size=300))
def test_any_text_gives_samples_or_nothing(text):
    for sample in samples(text, ["a", "requests"]):
        assert sample.name in ("a", "requests")
        assert not math.isnan(sample.value)


LABELS = st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), st.text(max_size=20), max_size=4
)


@given(st.lists(st.tuples(LABELS, st.floats(allow_nan=False)), max_size=8))
def test_what_is_written_is_read(series):
    def quoted(value: str) -> str:
        plain = value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
        return f'"{plain}"'

    lines = [
        "m{" + ",".join(f"{k}={quoted(v)}" for k, v in labels.items()) + f"}} {value!r}"
        for labels, value in series
    ]
    found = samples("\n".join(lines), ["m"])
    assert found == [Sample("m", tuple(sorted(labels.items())), v) for labels, v in series]


# -- counters ----------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 50), max_size=6), min_size=1, max_size=6))
def test_growth_adds_up_whatever_is_reset(lives):
    """Each life of a process counts from 0; nothing is lost but what came before the first look."""
    counters, total, first = Counters(), 0.0, None
    for life in lives:
        count = 0
        for step in life:
            count += step
            grown = counters.grown({(("a", "b"),): float(count)}).get((("a", "b"),), 0.0)
            if first is None:
                first = count
            total += grown
    seen = [sum(life) for life in lives if life]
    truth = sum(seen) - (first or 0)
    assert total <= truth
    # What is lost is what grew back beyond the old value between two looks.
    rises = all(
        not a or not b or b[0] < sum(a)
        for a, b in zip([x for x in lives if x], [x for x in lives if x][1:], strict=False)
    )
    if rises:
        assert total == truth


def test_numbers_that_are_none_do_not_count():
    counters = Counters()
    counters.grown({(): 5.0})
    assert counters.grown({(): math.inf}) == {}
    assert counters.grown({(): 3.0}) == {(): 3.0}
    assert counters.grown({(): -1.0}) == {}


@given(
    st.lists(st.floats(0.001, 20), min_size=1, max_size=200),
    st.floats(0.01, 0.999),
)
def test_a_quantile_is_in_the_bucket_of_the_true_one(values, part):
    bounds = [0.01, 0.1, 0.5, 1, 2, 5, 10, math.inf]
    buckets = [(b, float(sum(v <= b for v in values))) for b in bounds]
    found = quantile(buckets, part)
    assert found is not None
    truth = float(np.quantile(values, part, method="inverted_cdf"))
    assert truth <= found.upper
    assert found.count == len(values)
    lower = max([0.0, *(b for b in bounds if b < found.upper)])
    assert lower <= found.value <= found.upper
    if math.isfinite(found.upper):
        assert truth > lower or math.isclose(found.value, lower)


def test_in_the_endless_bucket_the_value_is_the_largest_bound_known():
    found = quantile([(1.0, 10.0), (math.inf, 1000.0)], 0.99)
    assert found is not None
    assert (found.value, found.upper) == (1.0, math.inf)


@pytest.mark.parametrize("buckets", [[], [(1.0, 0.0)], [(math.nan, 5.0)], [(1.0, math.inf)]])
def test_without_observations_there_is_no_quantile(buckets):
    assert quantile(buckets, 0.99) is None


def test_buckets_that_are_not_cumulative_are_made_so():
    found = quantile([(1.0, 50.0), (2.0, 20.0), (3.0, 100.0)], 0.5)
    assert found is not None
    assert found.value == pytest.approx(1.0)
