"""`colocate models show`: tables, lines and pages, and nothing raw."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from colocate.cli.console import console
from colocate.cli.models.plots import residual_bar, sparkline
from colocate.cli.models.view import print_chosen, print_overview
from colocate.io import save_models
from colocate.profile.fitted import FittedModels
from colocate.report import model_facts, models_html
from tests.fitted import MODELS, rate


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "models.json"
    save_models(MODELS, path)
    return path


def test_everything_in_short(cli: Any, models: Path) -> None:
    done = cli("models", "show", models)
    assert (done.code, done.err) == (0, "")
    said = " ".join(done.out.split())
    for words in (
        "90 rows of measurements, 4 of them left out",
        "4 of 3 workloads on 2 GPU types (4 measured)",
        "rate must be above 0",
        "ridge on the neighbour's telemetry",
        "others: constant slowdown 1.2",
        "1 to 1.9",
        "5.0 / 4.0",
        "8.0 / -",
        "2 measurements differ by 31 %",
        MODELS.sha256,
    ):
        assert words in said
    assert cli("models", "show", "-", stdin=models.read_bytes()).out == done.out


def test_one_workload_with_every_point(cli: Any, models: Path) -> None:
    done = cli("models", "show", models, "--workload", "resnet")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    for batch in (1, 4, 8):
        fitted, measured = rate(batch, 60), 0.96 * rate(batch, 60)
        row = [str(batch), "60", f"{measured:.4g}", f"{fitted:.4g}", "+4.17"]
        assert any(line[:5] == row for line in lines), row
    assert "resnet on A100" in done.out
    assert "bert" not in done.out
    tried = [line for line in lines if line[:1] in (["hyperbola"], ["power"], ["joined"])]
    assert tried == [
        ["power", "2.75", "30"],
        ["hyperbola", "3.25", "70"],
        ["joined", "points", "41.5", "0"],
    ]
    assert "resnet on A100" not in cli("models", "show", models, "-w", "resnet", "-g", "V100").out


def test_json(cli: Any, models: Path) -> None:
    found = cli("models", "show", models, "--json").json
    assert found["kind"] == "models"
    assert found["models_sha256"] == MODELS.sha256
    assert [(c["workload"], c["gpu_type"]) for c in found["curves"]] == [
        ("resnet", "A100"),
        ("bert", "V100"),
        ("resnet", "V100"),
        ("train", "V100"),
    ]
    point = found["curves"][1]["points"][0]
    assert point["residual"] == pytest.approx(1 / 0.96 - 1)
    assert {p["victim"]: p["slowdown_most"] for p in found["pairs"]} == {
        "bert": 1.07,
        "resnet": 1.9,
        "train": 1.03,
    }
    assert found["curves"][1]["families"][0] == {
        "family": "power",
        "weight": 0.3,
        "error_pct": 2.75,
    }
    only = cli("models", "show", models, "--json", "--workload", "bert").json
    assert [c["workload"] for c in only["curves"]] == ["bert"]
    assert [p["victim"] for p in only["pairs"]] == ["bert"]


def test_a_page(cli: Any, models: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    done = cli("models", "show", models, "-o", target, "--confidence", "0.9")
    assert (done.code, done.err) == (0, "")
    assert str(target) in done.out
    assert target.read_text() == models_html(MODELS, confidence=0.9)
    assert cli("models", "show", models, "-o", "-", "-w", "bert").out == models_html(
        MODELS, workload="bert"
    )
    target.write_text("mine")
    refused = cli("models", "show", models, "-o", target)
    assert refused.code == 2
    assert "--force" in refused.err
    assert target.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workload", "resnett"], "Maybe write 'resnet'"),
        (["--gpu", "H900"], "Maybe use one of A100, V100"),
        (["--workload", "bert", "--gpu", "A100"], "'bert' on 'A100'"),
        (["--workload", "\x1b[31m"], "there is no curve of a workload"),
        (["--confidence", "2"], "--confidence"),
        (["--json", "-o", "x.html"], "--json"),
        (["-o", "no/such/folder.html"], "folder"),
        (["--max-input", "100"], "100"),
    ],
)
def test_wrong_usage(cli: Any, models: Path, options: list[str], said: str) -> None:
    done = cli("models", "show", models, *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "\x1b" not in done.err


def test_show_says_where_models_are_shown(cli: Any, models: Path) -> None:
    done = cli("show", models)
    assert done.code == 2
    assert "colocate models show" in done.err


def test_models_without_anything(cli: Any, tmp_path: Path) -> None:
    save_models(FittedModels(), tmp_path / "models.json")
    done = cli("models", "show", tmp_path / "models.json")
    assert (done.code, done.err) == (0, "")
    assert "0 rows of measurements" in done.out


def test_a_terminal_without_unicode(command: Any, models: Path) -> None:
    done = command("models", "show", models, "-w", "bert", PYTHONIOENCODING="ascii", COLUMNS="120")
    assert done.code == 0
    assert done.out.isascii()
    assert "####" in done.out


MARKUP = "[bold]b[/bold] [red] :smile: <b>& \\[x]"
NASTY = "a\x1b[31mred\x1b]0;title\x07 \u202egnp.exe\r\nnext \x9b2J " + MARKUP


@given(st.text(max_size=40))
@example(NASTY)
@settings(max_examples=10)
def test_no_foreign_text_reaches_the_terminal_raw(text: str) -> None:
    """Objects can also be made in Python, past the checks of a file."""
    report = MODELS.report
    spoilt = MODELS.model_copy(
        update={
            "description": text,
            "profiles": (MODELS.profiles[0].model_copy(update={"workload": text}),),
            "report": report.model_copy(
                update={
                    "company": text,
                    "notes": (text,),
                    "left_out": (
                        report.left_out[0].model_copy(update={"reason": text, "example": text}),
                    ),
                    "curves": (
                        report.curves[0].model_copy(
                            update={"workload": text, "method": text, "notes": (text,)}
                        ),
                    ),
                }
            ),
        }
    )
    out = io.StringIO()
    print_overview(console(out), spoilt)
    print_chosen(console(out), model_facts.curve_facts(spoilt), model_facts.pair_facts(spoilt))
    printed = out.getvalue()
    assert all(c == "\n" or c.isprintable() for c in printed), ascii(printed)


def test_sparkline() -> None:
    assert sparkline([0, 1, 2, 4, 8], 8, unicode=True) == " ▁▂▄█"
    assert sparkline([8, 9], 8, unicode=False) == "##"
    assert sparkline([0, 0], 0, unicode=True) == "  "


@given(
    st.one_of(st.none(), st.floats(-2, 2)), st.floats(0.01, 1), st.integers(1, 20), st.booleans()
)
def test_residual_bars(value: float | None, reach: float, half: int, unicode: bool) -> None:
    drawn = residual_bar(value, reach, half, unicode=unicode).plain
    bar, middle = ("█", "│") if unicode else ("#", "|")
    assert len(drawn) == 2 * half + 1
    assert drawn[half] == middle
    left, right = drawn[:half].count(bar), drawn[half + 1 :].count(bar)
    length = 0.0 if value is None else half * min(1.0, abs(value) / reach)
    assert left + right == pytest.approx(length, abs=0.5 + 1e-9)
    assert (left == 0) if (value or 0) >= 0 else (right == 0)
