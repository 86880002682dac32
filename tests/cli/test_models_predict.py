"""`colocate models predict`: every row, in order, with bounds; or one plain message."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colocate.io import save_models
from tests.fitted import MODELS, rate

HEAD = "share_pct,workload,role,gpu,batch,neighbour,neighbour_batch,neighbour_share_pct"
KNOWN = "30,resnet,inference,V100,8,,,"
ROWS = (
    KNOWN,
    "30,resnet,inference,V100,8,train,32,50",
    "30,resnet,inference,V100,5,train,32,70",
    "100,bert,inference,V100,,train,32,70",
    "5,bert,inference,V100,8,,,",
    "40,nope,inference,V100,8,,,",
    "100,train,training,V100,,bert+bert,,",
    "100,resnet,inference,A100,,,,",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "models.json"
    save_models(MODELS, path)
    return path


def table(*rows: str, head: str = HEAD) -> str:
    return "\n".join((head, *rows)) + "\n"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_rows_keep_their_order_and_gain_four_columns(cli: Any, models: Path) -> None:
    done = cli("models", "predict", models, "-", stdin=table(*ROWS))
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == f"{HEAD},rate_pred,rate_lo,rate_hi,evidence"
    assert len(lines) == 1 + len(ROWS)
    for line, asked in zip(lines[1:], ROWS, strict=True):
        assert line.startswith(f"{asked},")
    found = rows_of(done.out)
    alone = rate(8, 30)
    assert float(found[0]["rate_pred"]) == pytest.approx(alone, rel=1e-5)
    assert float(found[0]["rate_lo"]) == pytest.approx(alone * 0.92, rel=1e-5)
    assert float(found[0]["rate_hi"]) == math.inf  # the models state 0.9 only
    assert found[0]["evidence"] == "measured"
    assert alone / 1.5 < float(found[1]["rate_pred"]) < alone / 1.3  # between nodes of its table
    for i in (2, 3, 4, 5):
        assert {found[i][k] for k in ("rate_pred", "rate_lo", "rate_hi", "evidence")} == {""}
    assert float(found[6]["rate_pred"]) == pytest.approx(rate(32, 100) / 1.2**2)
    assert found[6]["evidence"] == "constant"
    assert float(found[7]["rate_pred"]) == pytest.approx(rate(1, 100))


def test_it_says_what_is_not_known_and_why(cli: Any, models: Path) -> None:
    done = cli("models", "predict", models, "-", stdin=table(*ROWS))
    assert "Predicted  4 of 8 rows" in done.err
    assert "'nope' has no profile on 'V100'" in done.err
    assert "batch 5" in done.err
    quiet = cli("models", "predict", models, "-", "--quiet", stdin=table(*ROWS))
    assert (quiet.err, quiet.out) == ("", done.out)
    noted = cli("models", "predict", models, "-", "--notes", stdin=table(*ROWS))
    notes = [row["note"] for row in rows_of(noted.out)]
    assert [bool(n) for n in notes] == [False, False, True, True, True, True, False, False]


def test_confidence_decides_the_bounds(cli: Any, models: Path) -> None:
    def bounds(confidence: str) -> list[float]:
        done = cli("models", "predict", models, "-", "--confidence", confidence, stdin=table(KNOWN))
        (row,) = rows_of(done.out)
        return [float(row["rate_lo"]) / rate(8, 30), float(row["rate_hi"]) / rate(8, 30)]

    assert bounds("0.5") == pytest.approx([1, 1], rel=1e-5)
    assert bounds("0.9") == pytest.approx([0.95, 1.04], rel=1e-5)
    assert bounds("0.99") == [0, math.inf]


def test_it_says_up_to_which_confidence_there_are_bounds(cli: Any, models: Path) -> None:
    def said(confidence: str, *rows: str) -> str:
        asked = ("models", "predict", models, "-", "--confidence", confidence)
        done = cli(*asked, stdin=table(*rows))
        facts = cli(*asked, "--json", stdin=table(*rows)).json
        reached = facts["reached"]
        if reached is not None:
            assert 0.5 < reached["confidence"] < float(confidence)
            again = ("models", "predict", models, "-", "--confidence", reached["confidence"])
            less = cli(*again, "--json", stdin=table(*rows)).json
            assert facts["without_bounds"] - less["without_bounds"] == reached["rows"] > 0
        return " ".join(done.err.split())

    # alone the upper bound ends at 0.9 and the lower one at 0.95; in company nothing was held out
    advice = "use --confidence 0.9, with both bounds for"
    assert f"{advice} 1 of 1 such row" in said("0.92", KNOWN)
    assert f"{advice} 1 of 1 such row" in said("0.99", KNOWN)
    assert f"{advice} 2 of 4 such rows" in said("0.95", *ROWS)
    assert "bounds for 1 such row at no confidence" in said("0.9", ROWS[6], KNOWN)
    assert "Bounds" not in said("0.9", KNOWN)


def test_a_file_is_written_whole_and_not_over_another(
    cli: Any, models: Path, tmp_path: Path
) -> None:
    queries, target = tmp_path / "q.csv", tmp_path / "out.csv"
    queries.write_text(table(*ROWS), encoding="utf-8")
    done = cli("models", "predict", models, queries, "-o", target)
    assert (done.code, done.err) == (0, "")
    assert f"Output     {target}" in done.out
    assert target.read_text() == cli("models", "predict", models, queries, "--quiet").out
    target.write_text("mine", encoding="utf-8")
    again = cli("models", "predict", models, queries, "-o", target)
    assert again.code == 2
    assert "--force" in again.err
    assert target.read_text() == "mine"
    assert cli("models", "predict", models, queries, "-o", target, "--force").code == 0
    same = cli("models", "predict", models, queries, "-o", queries, "--force")
    assert same.code == 2
    assert "same file" in same.err
    assert queries.read_text() == table(*ROWS)


def test_json(cli: Any, models: Path, tmp_path: Path) -> None:
    done = cli("models", "predict", models, "-", "--json", stdin=table(*ROWS)).json
    assert (done["rows"], done["predicted"]) == (8, 4)
    assert done["evidence"] == {"measured": 3, "constant": 1}
    assert done["predictions"]["rate_pred"][0] == pytest.approx(rate(8, 30))
    assert done["predictions"]["rate_pred"][5] is None
    assert done["predictions"]["rate_hi"][0] is None
    assert (done["without_low"], done["without_high"]) == (1, 4)
    target = tmp_path / "p.csv"
    done = cli("models", "predict", models, "-", "--json", "-o", target, stdin=table(*ROWS)).json
    assert "predictions" not in done
    assert len(rows_of(target.read_text())) == 8


def test_rates_that_are_known_are_compared(cli: Any, models: Path) -> None:
    measured = [rate(8, 30) / 1.1, rate(8, 30) * 2]
    rows = [f"{KNOWN},{m!r}" for m in measured]
    text = table(*rows, "40,nope,inference,V100,8,,,,5", head=f"{HEAD},rate")
    done = cli("models", "predict", models, "-", "--json", "--confidence", "0.9", stdin=text).json
    assert done["compared"]["rows"] == 2
    assert done["compared"]["mean_error"] == pytest.approx((0.1 + 0.5) / 2)
    assert done["compared"]["below_low"] == 0.5
    assert done["compared"]["above_high"] == 0.5
    said = cli("models", "predict", models, "-", stdin=text)
    assert "mean error 30 %" in said.err
    assert rows_of(said.out)[0]["rate"] == repr(measured[0])


WRONG = {
    "0,resnet,inference,V100,8,,,": "share_pct",
    "101,resnet,inference,V100,8,,,": "share_pct",
    "30,,inference,V100,8,,,": "workload",
    "30,resnet,serving,V100,8,,,": "'inference' or 'training'",
    "30,resnet,inference,V100,8.5,,,": "whole number",
    "30,resnet,inference,V100,many,,,": "(got 'many')",
    "30,resnet,inference,V100,8,a+b,1+2+3,": "neighbour_batch",
    "30,resnet,inference,V100,8": "has 5 cells",
    "30,res\x7fnet,inference,V100,8,,,": "control character",
}


@pytest.mark.parametrize("row", WRONG)
def test_a_query_that_makes_no_sense_is_an_error(
    cli: Any, models: Path, tmp_path: Path, row: str
) -> None:
    queries, target = tmp_path / "q.csv", tmp_path / "out.csv"
    queries.write_text(table(KNOWN, row, KNOWN), encoding="utf-8")
    done = cli("models", "predict", models, queries, "-o", target)
    assert (done.code, done.out) == (2, "")
    assert WRONG[row] in done.err
    assert f"{queries}:3" in done.err
    assert "\n  Maybe " in done.err
    assert not target.exists()


def test_all_wrong_queries_are_told_and_the_rest_counted(cli: Any, models: Path) -> None:
    rows = [f"{150 + i},resnet,inference,V100,8,,," for i in range(100)]
    done = cli("models", "predict", models, "-", stdin=table(KNOWN, *rows))
    assert done.code == 2
    assert "<stdin>:3: row" not in done.err.splitlines()[0]
    assert "at: <stdin>:3" in done.err
    assert "<stdin>:4: row 3 (line 4)" in done.err
    assert "and 79 rows like these" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the table is empty"),
        (HEAD + "\n", "no queries"),
        ("workload,role,gpu,share_pct,colour\na,inference,V100,5,red\n", "'colour'"),
        ("workload,role,gpu\na,inference,V100\n", "'share_pct' is missing"),
        ("\x00\x01", "character"),
        ('{"schema": "colocate/profile-table/v1"}', "columns"),
        ("<html><body>404</body></html>", "html"),
    ],
)
def test_files_that_are_no_queries(cli: Any, models: Path, text: str, said: str) -> None:
    done = cli("models", "predict", models, "-", stdin=text)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_files_that_are_no_models(cli: Any, tmp_path: Path, quickstart: Path) -> None:
    queries = tmp_path / "q.csv"
    queries.write_text(table(KNOWN), encoding="utf-8")
    for wrong in (queries, quickstart, tmp_path, tmp_path / "nothing"):
        done = cli("models", "predict", wrong, queries, "-o", tmp_path / "out.csv")
        assert (done.code, done.out) == (2, ""), done.err
        assert "\n  Maybe " in done.err
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--confidence", "1"],
        ["--confidence", "0.4"],
        ["--confidence", "nan"],
        ["-o", "out.json"],
        ["-o", "-", "--json"],
    ],
)
def test_wrong_usage(
    cli: Any, models: Path, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("models", "predict", models, "-", *options, stdin=table(KNOWN))
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1] == "  Maybe see 'colocate models predict --help'."
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def one_by_one() -> dict[str, dict[str, str]]:
    return {}


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_rows_and_columns(
    cli: Any, models: Path, one_by_one: dict[str, dict[str, str]], data: st.DataObject
) -> None:
    """A row's answer depends on nothing but the row, and stands where the row stands."""
    names = data.draw(st.permutations(HEAD.split(",")))
    chosen = data.draw(st.lists(st.sampled_from(ROWS), min_size=1, max_size=20))
    asked = [dict(zip(HEAD.split(","), row.split(","), strict=True)) for row in chosen]
    text = table(*(",".join(row[n] for n in names) for row in asked), head=",".join(names))
    found = rows_of(cli("models", "predict", models, "-", "--quiet", stdin=text).out)
    for row in set(chosen) - set(one_by_one):
        done = cli("models", "predict", models, "-", "--quiet", stdin=table(row))
        (one_by_one[row],) = rows_of(done.out)
    assert list(found[0]) == [*names, "rate_pred", "rate_lo", "rate_hi", "evidence"]
    assert found == [one_by_one[row] for row in chosen]
