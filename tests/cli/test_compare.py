"""`colocate compare`."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

SOLVERS = ("-s", "greedy", "-s", "matching")


def test_a_table_of_all_solvers(cli: Any, quickstart: Path) -> None:
    done = cli("compare", quickstart, *SOLVERS)
    assert done.code == 0, done.err
    assert "quickstart (best bound 8.8" in done.out
    lines = [line.split() for line in done.out.splitlines()]
    assert [line[0] for line in lines if line and line[0] in SOLVERS] == ["greedy", "matching"]
    assert "100 %" in done.out


def test_csv_holds_every_row_and_the_drawing_every_solver(
    cli: Any, quickstart: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "c.svg"
    done = cli("compare", quickstart, *SOLVERS, "--csv", "-", "--plot", picture)
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["solver"] for row in rows] == ["greedy", "matching"]
    assert (
        float(rows[0]["objective"]) <= float(rows[1]["objective"]) <= float(rows[0]["best_bound"])
    )
    words = " ".join(ET.parse(picture).getroot().itertext())
    assert "greedy" in words
    assert "matching" in words


def test_a_folder_is_all_its_instances(cli: Any, quickstart: Path, tmp_path: Path) -> None:
    for name in ("b.json", "a.json"):
        shutil.copy(quickstart, tmp_path / name)
    done = cli("compare", tmp_path, "-s", "greedy", "--json")
    assert done.code == 0
    assert [row["solver"] for row in done.json["rows"]] == ["greedy", "greedy"]


def test_nonsense_is_refused_before_any_work(cli: Any, quickstart: Path, tmp_path: Path) -> None:
    assert cli("compare", quickstart, "-s", "gready").code == 2
    assert "no .json file" in cli("compare", tmp_path).err
    assert cli("compare", quickstart, "--csv", "-", "--json").code == 2
    assert cli("compare", quickstart, "--plot", "-").code == 2
    taken = tmp_path / "taken.csv"
    taken.write_text("mine", encoding="utf-8")
    assert cli("compare", quickstart, "--csv", taken).code == 2
    assert taken.read_text(encoding="utf-8") == "mine"


def test_a_refusal_is_no_failure(cli: Any, quickstart: Path) -> None:
    done = cli("compare", quickstart, "-s", "pairing")
    assert done.code == 0
    assert "refused" in done.out
