"""`colocate models import`: files of other tools into one profile table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colocate.tables.foreign import READERS
from colocate.tables.read import read_table

RESULT = {
    "model_id": "meta/llama-7b",
    "request_rate": "inf",
    "max_concurrency": 8,
    "request_throughput": 4.0,
    "output_throughput": 800.0,
    "mean_tpot_ms": 9.5,
    "p99_tpot_ms": 12.0,
}
PERF = "Concurrency,Inferences/Second,Client Send,p99 latency\n1,100.5,5,9900\n4,250,5,20000\n"


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Return three results that differ in their rates."""
    files = []
    for i, tokens in enumerate((300.0, 550.0, 800.0)):
        file = tmp_path / f"run-{i}.json"
        file.write_text(json.dumps({**RESULT, "output_throughput": tokens}), encoding="utf-8")
        files.append(file)
    return files


def test_each_file_has_its_own_setting(cli: Any, runs: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    shares = [x for p in (30, 60, 100) for x in ("--share-pct", p)]
    done = cli(
        *("models", "import", "vllm-bench", *runs, "--gpu", "A100", *shares),
        *("--phase", "decode", "-o", target),
    )
    assert (done.code, done.err) == (0, "")
    assert "3 rows: llama-7b on A100" in done.out
    table = read_table(target).table
    assert table["share_pct"].tolist() == [30, 60, 100]
    assert table["rate"].tolist() == [300, 550, 800]
    assert set(table["gpu"]) == {"A100"}
    assert set(table["workload"]) == {"llama-7b"}


def test_standard_streams_and_json(cli: Any, runs: list[Path], tmp_path: Path) -> None:
    common = ("--gpu", "A100", "--workload", "mine", "--phase", "decode")
    shown = cli("models", "import", "vllm-bench", "-", *common, stdin=runs[0].read_bytes())
    assert shown.code == 0
    assert shown.out.startswith("workload,role,gpu,batch,share_pct,rate")
    assert "1 row: mine on A100" in shown.err
    target = tmp_path / "table.json"
    assert cli("models", "import", "vllm-bench", runs[0], *common, "-o", target, "-q").out == ""
    by_file, by_stream = read_table(target).table, read_table(shown.out.encode()).table
    assert all(
        np.array_equal(by_file[n], by_stream[n], equal_nan=by_file[n].dtype != object)
        for n in by_file.columns
    )


def test_tables_are_joined(cli: Any, tmp_path: Path) -> None:
    """Their columns may differ."""
    for name, text in {
        "a.csv": "workload,role,gpu,share_pct,rate\na,inference,V100,50,1.5\n",
        "b.csv": "gpu,workload,role,share_pct,latency_ms,batch\nV100,b,training,60,9,32\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = cli("models", "import", "table", tmp_path / "a.csv", tmp_path / "b.csv", "-q")
    assert done.out.splitlines() == [
        "workload,role,gpu,batch,share_pct,rate,latency_ms",
        "a,inference,V100,,50,1.5,",
        "b,training,V100,32,60,,9",
    ]


def test_rows_that_are_left_out_are_told(cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "perf.csv"
    file.write_text(PERF, encoding="utf-8")
    common = ("models", "import", "perf-analyzer", file, "-w", "net", "-g", "T4", "--batch", "4")
    done = cli(*common)
    assert done.code == 0
    assert "Left out   1 row: is slower than another row" in done.err
    assert len(done.out.splitlines()) == 2
    assert len(cli(*common, "--every-concurrency").out.splitlines()) == 3


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_format_is_in_the_help_and_refuses_other_files(
    cli: Any, tmp_path: Path, name: str
) -> None:
    assert name in "".join(cli("models", "import", "--help").out.split())
    for i, content in enumerate((b"", b"{}", b"a,b\n1,2\n", b"\x00\xff\x80", b"<html></html>")):
        file = tmp_path / f"file-{i}"
        file.write_bytes(content)
        done = cli("models", "import", name, file, "--gpu", "T4", "-w", "x", "-o", tmp_path / "out")
        assert (done.code, done.out) == (2, ""), content
        assert "\n  Maybe " in done.err
        assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--share-pct", "50", "--share-pct", "60"], "given 2 times for 3 files"),
        (["--device", "0"], "--device means nothing to vllm-bench"),
        (["--gpu-file", "x"], "--gpu-file means nothing to vllm-bench"),
        (["--share-pct", "150", "--gpu", "T4"], "share_pct"),
        (["--role", "gaming", "--gpu", "T4"], "role"),
        (["--phase", "warm", "--gpu", "T4"], "phase"),
        (["--workload", "a b", "--gpu", "T4"], "workload"),
        ([], "--gpu"),
        (["-o", "no/such/folder.csv"], "folder"),
    ],
)
def test_wrong_settings(cli: Any, runs: list[Path], options: list[str], said: str) -> None:
    done = cli("models", "import", "vllm-bench", *runs, *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "\n  Maybe " in done.err


def test_wrong_formats_and_files(cli: Any, runs: list[Path], tmp_path: Path) -> None:
    assert "'excel' is not one of" in cli("models", "import", "excel", runs[0]).err
    assert cli("models", "import", "table", runs[0]).code == 2
    assert "standard input" in cli("models", "import", "table", "-", "-").err
    settled = cli("models", "import", "table", runs[0], "--gpu", "T4")
    assert "--gpu means nothing to table files" in settled.err
    assert cli("models", "import", "vllm-bench").code == 2
    before = runs[0].read_bytes()
    done = cli("models", "import", "vllm-bench", runs[0], "-o", runs[0], "--force")
    assert "same file" in done.err
    done = cli("models", "import", "vllm-bench", runs[0], "-o", runs[1], "--gpu", "T4")
    assert "--force" in done.err
    assert runs[0].read_bytes() == before
    small = cli("models", "import", "vllm-bench", runs[0], "--gpu", "T4", "--max-input", "10")
    assert small.code == 2
    assert "limit 10" in small.err
