"""What is written reads back as the same table, to the last bit."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given

from colocate.errors import InputError
from colocate.tables import ProfileTable
from colocate.tables.read import SCHEMA, read_table
from colocate.tables.write import dumps_csv, dumps_json, write_table
from tests.tables.strategies import same, tables

TABLE = ProfileTable.of(
    workload=["net", "net", "job"],
    role=["inference", "inference", "training"],
    gpu="A100",
    share_pct=[25.0, 100.0, 50.0],
    rate=[0.1, 1 / 3, 1e-9],
)


@given(tables())
def test_a_table_reads_back_as_itself_and_equal_tables_give_equal_bytes(table: ProfileTable):
    for dumps in (dumps_csv, dumps_json):
        text = dumps(table)
        found = read_table(text.encode())
        assert found.n_dropped == 0
        assert same(found.table, table)
        assert dumps(found.table) == text
    columns = json.loads(dumps_json(table))["columns"]
    rows = [
        {name: c[i] if isinstance(c, list) else c for name, c in columns.items()}
        for i in range(len(table))
    ]
    assert same(read_table(json.dumps({"schema": SCHEMA, "rows": rows}).encode()).table, table)


@pytest.mark.parametrize("name", ["t.csv", "t.json", "T.JSON", "t.txt"])
def test_the_name_chooses_the_format(tmp_path, name):
    write_table(TABLE, tmp_path / name)
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert text.startswith("{") == name.lower().endswith(".json")
    assert same(read_table(tmp_path / name).table, TABLE)


def test_a_file_that_exists_is_kept_unless_told_otherwise(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        write_table(TABLE, path)
    assert path.read_text() == "mine"
    write_table(TABLE, path, force=True)
    assert same(read_table(path).table, TABLE)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_empty_columns_are_left_out():
    header = dumps_csv(TABLE).splitlines()[0]
    assert header == "workload,role,gpu,share_pct,rate"


def test_more_columns_come_last_and_nothing_is_an_empty_cell():
    text = dumps_csv(TABLE, {"rate_lo": np.array([1.5, np.nan, -0.0])})
    lines = text.splitlines()
    assert lines[0].endswith(",rate,rate_lo")
    assert [line.rpartition(",")[2] for line in lines[1:]] == ["1.5", "", "-0.0"]


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_gzip_is_undone(tmp_path, suffix):
    text = dumps_csv(TABLE) if suffix == "csv" else dumps_json(TABLE)
    path = tmp_path / f"t.{suffix}.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert same(read_table(path).table, TABLE)
