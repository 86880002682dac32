"""Rows that make no sense are dropped one by one; a file that is no table is refused whole."""

from __future__ import annotations

import gzip
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.tables import COLUMNS, ProfileTable
from colocate.tables.read import MAX_DROPPED, SCHEMA, TableFile, read_table
from colocate.tables.write import dumps_csv, dumps_json
from tests.tables.strategies import same, tables

HEADER = "workload,role,gpu,batch,share_pct,neighbour,neighbour_batch,neighbour_share_pct,rate"
GOOD = "net,inference,A100,4,50,,,,12.5"

BAD_CELLS = {
    "workload": ["", "-net", "a b", "x" * 64, "é", "a/b", "=1+1"],
    "role": ["", "Inference", "train", "both"],
    "gpu": ["", "A 100", "_"],
    "batch": ["0", "-1", "1.5", "four", "1e7", "inf", "0x10", "1_0", "nan"],
    "share_pct": ["", "0", "-5", "100.01", "120", "50%", "NaN", "١", "1e999"],
    "neighbour": ["a b", "x++y", "+", "x+"],
    "rate": ["-1", "0", "fast", "1,5", "1e16", "nan", "Infinity", "1e999", "--1", "1e"],
    "rate_std": ["-0.1", "low"],
    "latency_ms": ["0", "-3", "1e13"],
    "latency_p99_ms": ["0"],
    "arrival_rps": ["0", "-1"],
    "memory_gib": ["0", "-1", "2e6", "8GB"],
    "sm_activity_pct": ["-1", "100.5"],
    "dram_activity_pct": ["101"],
    "processes": ["0", "1.5"],
    "driver": ["d" * 101],
    "repeat": ["-1", "0.5"],
}


def csv_of(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


@pytest.mark.parametrize(
    ("column", "cell"), [(column, cell) for column in BAD_CELLS for cell in BAD_CELLS[column]]
)
@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_bad_cell_drops_its_row_and_no_other(column: str, cell: str, form: str):
    good = {"workload": "net", "role": "inference", "gpu": "A100", "share_pct": "50", "rate": "2"}
    rows = [dict(good), {**good, column: cell}, dict(good)]
    names = list(dict.fromkeys([*good, column]))
    if form == "csv":
        lines = [",".join(f'"{row.get(name, "")}"' for name in names) for row in rows]
        found = read_table(csv_of(*lines, header=",".join(names)))
    else:
        found = read_table(json.dumps({"schema": SCHEMA, "rows": rows}).encode())
    assert found.rows.tolist() == [1, 3]
    [dropped] = found.dropped
    assert (dropped.row, dropped.column, found.n_dropped) == (2, column, 1)
    assert dropped.line == (3 if form == "csv" else None)
    assert dropped.reason
    if cell:
        assert cell[:10] in dropped.value


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, False])
@pytest.mark.parametrize("column", ["workload", "rate", "neighbour_batch", "share_pct"])
def test_json_cells_of_another_kind_drop_their_row(column, value):
    good = {"workload": "net", "role": "inference", "gpu": "A100", "share_pct": 50, "rate": 2}
    text = json.dumps({"schema": SCHEMA, "rows": [good, {**good, column: value}]})
    found = read_table(text.encode())
    assert found.rows.tolist() == [1]
    assert found.dropped[0].column == column


@pytest.mark.parametrize(
    ("company", "column"),
    [
        ("x+y,1+2+3,", "neighbour_batch"),
        ("x+y,,10+20+30", "neighbour_share_pct"),
        ("x+y+z,1+2,", "neighbour_batch"),
        (",8,", "neighbour_batch"),
        (",,50", "neighbour_share_pct"),
        ("x,one,", "neighbour_batch"),
        ("x,2.5,", "neighbour_batch"),
        ("x,0,", "neighbour_batch"),
        ("x,,0", "neighbour_share_pct"),
        ("x,,101", "neighbour_share_pct"),
        ("x+y,,50+nan", "neighbour_share_pct"),
        ("+".join(["x"] * 65) + ",,", "neighbour"),
    ],
)
def test_neighbours_that_do_not_fit_together_drop_their_row(company, column):
    found = read_table(csv_of(GOOD, f"net,inference,A100,4,50,{company},12.5"))
    assert found.rows.tolist() == [1]
    assert found.dropped[0].column == column


@pytest.mark.parametrize(
    ("company", "batches", "shares"),
    [
        ("x,8,50", [8], [50]),
        ("x+y,8+16,20+30", [8, 16], [20, 30]),
        ("x+y,8,20", [8, 8], [20, 20]),
        ("x+y,8+,", [8, np.nan], [np.nan, np.nan]),
        ("x,,", [np.nan], [np.nan]),
    ],
)
def test_neighbours_are_read(company, batches, shares):
    table = read_table(csv_of(f"net,inference,A100,4,50,{company},12.5")).table
    beside = table.neighbours(0)
    np.testing.assert_array_equal([n.batch for n in beside], batches)
    np.testing.assert_array_equal([n.share_pct for n in beside], shares)


@pytest.mark.parametrize("n", [1, 5])
def test_rows_of_another_width_are_dropped(n):
    found = read_table(csv_of(GOOD, ",".join(["net"] * n), GOOD))
    assert found.rows.tolist() == [1, 3]
    assert str(found.dropped[0]) == f"row 2 (line 3) has {n} cells, and the header has 9"


def test_a_row_needs_a_rate_or_a_latency_unless_it_is_a_query():
    text = csv_of("net,inference,A100,4,50,,,,")
    found = read_table(text)
    assert len(found.table) == 0
    assert found.dropped[0].column == "rate"
    assert len(read_table(text, queries=True).table) == 1


@pytest.mark.parametrize("column", ["latency_ms", "latency_p99_ms"])
def test_a_latency_is_enough(column):
    header = f"workload,role,gpu,share_pct,{column}"
    assert len(read_table(csv_of("net,inference,A100,50,3", header=header)).table) == 1


def test_spaces_line_ends_quotes_and_a_mark_are_read():
    text = "\ufeff" + HEADER + "\r\n" + ' net ,"inference", A100 ,4, 50 ,,,, 12.5 \r\n\r\n' + GOOD
    found = read_table(text.encode())
    assert found.n_dropped == 0
    assert found.table["workload"].tolist() == ["net", "net"]
    assert found.table["share_pct"].tolist() == [50.0, 50.0]


def test_lines_are_counted_where_cells_have_line_breaks():
    header = HEADER + ",driver"
    found = read_table(csv_of(GOOD + ',"a\nb"', "", "bad name" + GOOD + ",", header=header))
    assert [(d.row, d.line) for d in found.dropped] == [(2, 5)]


REFUSED = {
    "empty": (b"", "the table is empty"),
    "only blank lines": (b"\n\n", "the table is empty"),
    "unknown column": (csv_of(header=HEADER + ",speed"), "unknown column 'speed'"),
    "misspelt column": (csv_of(header=HEADER.replace("rate", "rates")), "'rate'"),
    "column twice": (csv_of(header=HEADER + ",rate"), "column 'rate' is there twice"),
    "unnamed columns": (csv_of(header=HEADER + ",,"), "two columns have no name"),
    "semicolons": (csv_of(header=HEADER.replace(",", ";")), "commas"),
    "required column missing": (csv_of(header=HEADER.replace("gpu,", "")), "'gpu' is missing"),
    "nothing measured": (csv_of(header="workload,role,gpu,share_pct"), "none of the columns"),
    "open quote": (csv_of('"net,inference'), "cut into cells"),
    "text after a quote": (csv_of('"net"x,inference'), "cut into cells"),
    "not UTF-8": (csv_of() + b"\xff\xfe", "not UTF-8"),
    "NUL": (csv_of("net\0"), "U+0000"),
    "escape": (csv_of("\x1b[31m"), "U+001B"),
    "right to left": (csv_of("a\u202eb"), "U+202E"),
    "broken gzip": (b"\x1f\x8b\x08\x00broken", "gzip"),
    "cut gzip": (gzip.compress(csv_of(GOOD))[:-9], "gzip"),
    "huge field": (csv_of('"' + "x" * 200_000 + '"'), "field larger"),
    "JSON list": (b"[]", "must hold an object"),
    "JSON without schema": (b'{"columns": {}}', "'schema' must be"),
    "JSON of another schema": (b'{"schema": "colocate/plan/v1"}', "'schema' must be"),
    "JSON with neither form": (b'{"schema": "%s"}' % SCHEMA.encode(), "either"),
    "broken JSON": (b'{"schema": ', "not valid JSON"),
    "deep JSON": (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "nested"),
}


def json_of(body: str) -> bytes:
    return f'{{"schema": "{SCHEMA}", {body}}}'.encode()


REFUSED |= {
    "JSON key twice": (json_of('"columns": {"rate": [1], "rate": [2]}'), "given twice"),
    "JSON with NaN": (json_of('"columns": {"rate": [NaN]}'), "not a number"),
    "JSON giant": (json_of(f'"columns": {{"rate": [{"9" * 5000}]}}'), "beyond 2^53"),
    "JSON unknown key": (json_of('"columns": {}, "more": 1'), "unknown key 'more'"),
    "JSON unknown column": (json_of('"columns": {"speed": []}'), "unknown column 'speed'"),
    "JSON columns no object": (json_of('"columns": []'), "must be an object"),
    "JSON rows no list": (json_of('"rows": {}'), "must be a list"),
    "JSON row no object": (json_of('"rows": [1]'), "row 1 must be an object"),
    "JSON row unknown column": (json_of('"rows": [{"speed": 1}]'), "unknown column 'speed'"),
    "JSON both": (json_of('"rows": [], "columns": {}'), "either"),
    "JSON lengths": (
        json_of(
            '"columns": {"workload": ["a"], "role": ["training"], "gpu": ["g", "h"], '
            '"share_pct": [1], "rate": [1]}'
        ),
        "column 'gpu' has 2 values",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_with_advice(name: str):
    data, words = REFUSED[name]
    with pytest.raises(InputError) as caught:
        read_table(data)
    assert words in str(caught.value)
    assert caught.value.advice
    assert str(caught.value).isprintable() or "\n" in str(caught.value)
    assert caught.value.source


def test_the_place_of_a_problem_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(csv_of(GOOD, GOOD + '"x'))
    with pytest.raises(InputError) as caught:
        read_table(csv_of(GOOD, '"open'))
    assert caught.value.source == "<bytes>:3"
    path.write_bytes(csv_of(header=HEADER + ",sped"))
    with pytest.raises(InputError, match=r"t\.csv:1"):
        read_table(path)


@pytest.mark.parametrize("make", [dumps_csv, dumps_json])
def test_the_size_limit_holds_before_and_after_decompression(make):
    n = 3000
    table = ProfileTable.of(
        workload=["net"] * n, role="training", gpu="g", share_pct=50.0, rate=np.arange(n) + 1.0
    )
    data = make(table).encode()
    packed = gzip.compress(data)
    assert len(packed) < 9000 < len(data)
    for given_data in (data, packed):
        with pytest.raises(InputError, match=r"limit|more than 9000 bytes"):
            read_table(given_data, max_bytes=9000)
        assert len(read_table(given_data, max_bytes=len(data)).table) == n


def test_files_that_are_no_files_are_refused(tmp_path):
    for source in (tmp_path, tmp_path / "absent.csv"):
        with pytest.raises(InputError):
            read_table(source)


def test_dropped_rows_beyond_the_limit_are_counted():
    n = MAX_DROPPED + 5
    found = read_table(csv_of(*["bad name"] * n, GOOD))
    assert len(found.dropped) == MAX_DROPPED
    assert found.n_dropped == n
    assert found.rows.tolist() == [n + 1]


@given(tables(), st.data())
def test_a_fault_put_into_a_table_is_found_where_it_is(table: ProfileTable, data: st.DataObject):
    if not len(table):
        return
    text = dumps_csv(table)
    header = text.splitlines()[0].split(",")
    at = data.draw(st.integers(0, len(table) - 1))
    column = data.draw(st.sampled_from([name for name in header if name in BAD_CELLS]))
    cell = data.draw(st.sampled_from(BAD_CELLS[column]))
    columns = {
        name: [f'"{c}"' for c in map(str, table[name])]
        if table[name].dtype == object
        else ["" if np.isnan(v) else repr(float(v)) for v in table[name]]
        for name in header
    }
    columns["driver"] = ['""'] * len(table) if "driver" in columns else []
    if column != "driver" and not columns["driver"]:
        del columns["driver"]
    columns[column][at] = f'"{cell}"'
    lines = [",".join(row) for row in zip(*columns.values(), strict=True)]
    found = read_table(csv_of(*lines, header=",".join(columns)))
    assert [d.row for d in found.dropped] == [at + 1]
    assert found.dropped[0].column == column
    kept = table.replace(driver="").take(np.arange(len(table)) != at)
    assert same(found.table, kept)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.booleans())
def test_any_bytes_are_a_table_or_an_input_error(noise: bytes, with_header: bool):
    found = read_or_refused(csv_of(GOOD) + noise if with_header else noise)
    if found is None:
        return
    assert len(found.table) + found.n_dropped == max([*found.rows, *(d.row for d in found.dropped)])
    _check_sense(found.table)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([c.name for c in COLUMNS]), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(JSON_VALUES, st.sampled_from(["rows", "columns"]))
def test_any_json_is_a_table_or_an_input_error(value, form):
    found = read_or_refused(json.dumps({"schema": SCHEMA, form: value}).encode())
    if found is not None:
        _check_sense(found.table)


def read_or_refused(data: bytes) -> TableFile | None:
    """Return what a file holds, or None where it is refused with advice."""
    refused = None
    try:
        return read_table(data)
    except InputError as error:
        refused = error
    assert refused.advice
    return None


def _check_sense(table: ProfileTable) -> None:
    """Say in plain words what a row that is kept must be."""
    for i in range(len(table)):
        row = {c.name: table[c.name][i] for c in COLUMNS}
        assert row["role"] in ("inference", "training")
        assert 0 < row["share_pct"] <= 100
        assert any(row[name] > 0 for name in ("rate", "latency_ms", "latency_p99_ms"))
        for column in COLUMNS:
            value = row[column.name]
            if column.kind == "number" and not np.isnan(value):
                assert column.low <= value <= column.high
        for beside in table.neighbours(i):
            assert beside.workload
            assert np.isnan(beside.share_pct) or 0 < beside.share_pct <= 100


def test_a_large_table_is_read_in_seconds():
    n = 50_000
    table = ProfileTable.of(
        workload=[f"net-{i % 200}" for i in range(n)],
        role="inference",
        gpu="A100",
        batch=2.0 ** (np.arange(n) % 7),
        share_pct=1.0 + np.arange(n) % 100,
        rate=np.random.default_rng(1).gamma(2, 100, n),
        latency_ms=np.random.default_rng(2).gamma(2, 100, n),
    )
    data = dumps_csv(table).encode()
    start = time.process_time()
    assert len(read_table(data).table) == n
    # about 0.2 s where nothing else runs; ten times slower than that is a loop gone wrong
    assert time.process_time() - start < 2
