"""`colocate models fit`: what was used, what was left out and why, and models that read back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colocate.io import load_models, parse_models
from colocate.profile.fitted import FittedModels

SHARES = (10, 20, 40, 70, 100)


def rate(workload: str, batch: int, share: float) -> float:
    """Return a saturating rate."""
    slow = {"net": 1.0, "big": 2.5, "train": 4.0}[workload]
    return 1000.0 / (slow * max(0.8, 40.0 * math.pow(batch, 0.2) / (share + 5)))


def rows() -> Iterator[str]:
    for workload, role in (("net", "inference"), ("big", "inference"), ("train", "training")):
        for batch in (8, 16) if role == "inference" else (32,):
            for share in SHARES:
                alone = rate(workload, batch, share)
                yield f"{workload},{role},V100,{batch},{share},,,,{alone:.6g}"
    for victim, other in (("net", "train"), ("big", "train")):
        for share in (30, 50):
            own = rate(victim, 8, share) / 1.1
            theirs = rate("train", 32, 100 - share) / 1.2
            yield f"{victim},inference,V100,8,{share},{other},32,{100 - share},{own:.6g}"
            yield f"{other},training,V100,32,{100 - share},{victim},8,{share},{theirs:.6g}"


HEAD = "workload,role,gpu,batch,share_pct,neighbour,neighbour_batch,neighbour_share_pct,rate"
NONSENSE = (
    "net,inference,V100,8,140,,,,5",
    "net,inference,V100,8,160,,,,5",
    "net,inference,V100,eight,10,,,,5",
    "net,inference",
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("\n".join((HEAD, *rows(), *NONSENSE)) + "\n", encoding="utf-8")
    return path


def test_models_and_page_are_written(cli: Any, table: Path, tmp_path: Path) -> None:
    target, page = tmp_path / "models.json", tmp_path / "page.html"
    done = cli("models", "fit", table, "-o", target, "--report", page)
    assert (done.code, done.err) == (0, "")
    models = load_models(target)
    assert {(p.workload, p.role) for p in models.profiles} == {
        ("net", "inference"),
        ("big", "inference"),
        ("train", "training"),
    }
    assert models.report.rows == len(list(rows())) + len(NONSENSE)
    left_out = {r.reason: r.rows for r in models.report.left_out}
    assert sum(left_out.values()) >= len(NONSENSE)
    assert left_out["share_pct must be above 0 and at most 100"] == 2
    assert left_out["batch must be a number"] == 1
    for words in (f"Models     {target}", f"Report     {page}", "batch must be a number", "net"):
        assert words in done.out
    assert models.sha256 in done.out
    assert models.sha256 in page.read_text()
    shown = cli("models", "show", target)
    assert shown.out.splitlines()[0] in done.out


def test_predictions_come_close_to_what_was_measured(cli: Any, table: Path, tmp_path: Path) -> None:
    target = tmp_path / "models.json"
    assert cli("models", "fit", table, "-o", target, "--quiet").out == ""
    good = "\n".join((HEAD, *rows())) + "\n"
    done = cli("models", "predict", target, "-", "--json", stdin=good).json
    assert done["predicted"] == done["rows"] == len(list(rows()))
    assert done["compared"]["mean_error"] < 0.05


def test_equal_tables_give_equal_models(cli: Any, table: Path) -> None:
    first = cli("models", "fit", table, "-o", "-", "--quiet")
    again = cli("models", "fit", "-", "-o", "-", stdin=table.read_bytes())
    assert first.out == again.out
    assert "Curves" in again.err


def test_more_tenants_need_slowdowns_at_every_share(cli: Any, table: Path) -> None:
    def fitted(*more: str) -> FittedModels:
        return parse_models(cli("models", "fit", table, "-o", "-", "--quiet", *more).out)

    def with_axis(models: FittedModels) -> int:
        assert models.interference is not None
        tables = [p.table for p in models.interference.pairs if p.table is not None]
        return sum(len(t.neighbour_share_pct) > 1 for t in tables)

    two, three = fitted(), fitted("--tenants", "3")
    assert fitted("--tenants", "2") == two
    assert with_axis(three) > with_axis(two)
    for wrong in ("0", "9", "2.5", "many"):
        done = cli("models", "fit", table, "--tenants", wrong)
        assert (done.code, done.out) == (2, "")
        assert "--tenants" in done.err


def company(activity: bool = True) -> str:
    """Return a table in which three services met a task, and a fourth was only run alone."""
    lines = [HEAD + ",sm_activity_pct,dram_activity_pct"]
    for k, name in enumerate(("a", "b", "c", "d", "task")):
        role = "training" if name == "task" else "inference"
        for share in SHARES:
            r = 100.0 * (k + 1) * min(1.0, share / (40 + 10 * k))
            seen = f"{r / (6 * (k + 1)):.4g},{3 + 9 * k}" if activity and name != "d" else ","
            lines.append(f"{name},{role},V100,8,{share},,,,{r:.6g},{seen}")
    for k, name in enumerate(("a", "b", "c")):
        for share in (30, 50, 70):
            r = 100.0 * (k + 1) * min(1.0, share / (40 + 10 * k)) / (1.05 + 0.05 * k)
            t = 500.0 * min(1.0, (100 - share) / 80) / (1.04 + 0.08 * k)
            lines.append(f"{name},inference,V100,8,{share},task,8,{100 - share},{r:.6g},,")
            lines.append(f"task,training,V100,8,{100 - share},{name},8,{share},{t:.6g},,")
    return "\n".join(lines) + "\n"


LAYERS = "workload,conv,linear\na,10,2\nb,20,4\nc,40,8\nd,30,6\ntask,80,16\n"


def test_layers_tell_of_workloads_that_met_nobody(cli: Any, tmp_path: Path) -> None:
    table, layers = tmp_path / "table.csv", tmp_path / "layers.csv"
    table.write_text(company(), encoding="utf-8")
    layers.write_text(LAYERS, encoding="utf-8")
    target, page = tmp_path / "models.json", tmp_path / "page.html"
    done = cli("models", "fit", table, "--layers", layers, "-o", target, "--report", page)
    assert (done.code, done.err) == (0, "")
    (found,) = load_models(target).company
    assert found.structure is not None
    assert found.structure.workloads == ("a", "b", "c", "task")
    guessed = [t.workload for t in found.telemetry if t.guessed]
    assert guessed == ["d"]
    shown = cli("models", "show", target)
    for said in (done.out, shown.out, page.read_text(encoding="utf-8")):
        assert "guessed from 4 networks with layers" in " ".join(said.split())
    (told,) = cli("models", "show", target, "--json").json["structure"]
    assert (told["guessed"], told["known"]) == (guessed, ["a", "b", "c", "task"])
    piped = cli("models", "fit", table, "--layers", "-", "-o", "-", "-q", stdin=LAYERS)
    assert piped.out == target.read_text(encoding="utf-8")
    asked = "workload,role,gpu,batch,share_pct,neighbour,neighbour_batch,neighbour_share_pct\n"
    asked += "d,inference,V100,8,50,task,8,50\n"
    answer = cli("models", "predict", target, "-", "--json", stdin=asked).json
    assert answer["predicted"] == 1
    assert answer["evidence"] == {"constant": 1}
    facts = cli("models", "show", target, "--json").json["pairs"]
    told_by_layers = {(p["victim"], p["neighbour"]) for p in facts if p["by_layers"]}
    # two services never met: what is said of them is the constant of all
    assert told_by_layers == {("d", "task"), ("task", "d")}
    detail = cli("models", "show", target, "-w", "d").out.splitlines()
    assert sum("constant (layers)" in line for line in detail) == 2


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ("workload,convs\na,1\n", "write 'conv'"),
        ("workload,conv\na,-1\n", "layers.csv:2"),
        ("workload,role,conv\nnet,training,3\n", "'net' is a workload of training"),
        ("workload,role,conv\nbig,training,3\n", "layers.csv"),
        (None, "layers.csv"),
    ],
)
def test_layers_that_cannot_be_used(
    cli: Any, table: Path, tmp_path: Path, layers: str | None, said: str
) -> None:
    path, target = tmp_path / "layers.csv", tmp_path / "models.json"
    if layers is not None:
        path.write_text(layers, encoding="utf-8")
    done = cli("models", "fit", table, "--layers", path, "-o", target)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "\n  Maybe " in done.err
    assert not target.exists()


def test_layers_are_neither_standard_input_twice_nor_replaced(
    cli: Any, table: Path, tmp_path: Path
) -> None:
    layers = tmp_path / "layers.csv"
    layers.write_text(LAYERS, encoding="utf-8")
    assert "only one" in cli("models", "fit", "-", "--layers", "-", stdin=b"").err
    done = cli("models", "fit", table, "--layers", layers, "-o", layers, "--force")
    assert (done.code, "same file" in done.err) == (2, True)
    assert layers.read_text(encoding="utf-8") == LAYERS


def test_without_output_nothing_is_kept(cli: Any, table: Path) -> None:
    before = sorted(table.parent.iterdir())
    done = cli("models", "fit", table)
    assert done.code == 0
    assert "Nothing was kept" in done.out
    assert sorted(table.parent.iterdir()) == before


def test_json(cli: Any, table: Path) -> None:
    found = cli("models", "fit", table, "--json").json
    assert {c["workload"] for c in found["curves"]} == {"net", "big", "train"}
    assert all(c["method"] and c["points"] for c in found["curves"])
    assert found["rows"] == len(list(rows())) + len(NONSENSE)


def test_nothing_is_replaced_unasked(cli: Any, table: Path, tmp_path: Path) -> None:
    for name in ("-o", "--report"):
        mine = tmp_path / "mine"
        mine.write_text("mine", encoding="utf-8")
        done = cli("models", "fit", table, name, mine)
        assert (done.code, done.out) == (2, "")
        assert "--force" in done.err
        assert mine.read_text() == "mine"
    other = tmp_path / "other"
    assert "same file" in cli("models", "fit", table, "-o", other, "--report", other).err
    assert "same file" in cli("models", "fit", table, "-o", table, "--force").err
    assert cli("models", "fit", table, "-o", mine, "--force", "-q").code == 0
    assert load_models(mine).profiles


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (HEAD + "\n", "no rows"),
        ("\n".join((HEAD, *NONSENSE)), "none of the 4 rows can be used"),
        (HEAD.replace("rate", "speed") + "\n", "'speed'"),
        ("workload,role,gpu,share_pct,memory_gib\na,inference,V100,5,2\n", "there is none of"),
        ("%PDF-1.7\n\x00", "character"),
    ],
)
def test_tables_that_cannot_be_fitted(cli: Any, tmp_path: Path, text: str, said: str) -> None:
    target = tmp_path / "models.json"
    done = cli("models", "fit", "-", "-o", target, stdin=text)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "\n  Maybe " in done.err
    assert not target.exists()


@pytest.mark.parametrize(
    "options", [["-o", "-", "--json"], ["--report", "-"], ["--max-input", "0"]]
)
def test_wrong_usage(cli: Any, table: Path, options: list[str]) -> None:
    done = cli("models", "fit", table, *options)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1] == "  Maybe see 'colocate models fit --help'."
