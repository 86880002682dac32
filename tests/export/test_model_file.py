"""LP and MPS files: another program reads them and finds our optimum; comments say what is what."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings

from colocate import datasets
from colocate.cli.main import run
from colocate.errors import TooLargeError
from colocate.export.model_file import ModelFormat, model_text
from colocate.instance import Instance
from colocate.io import dumps_instance
from colocate.problem import compile_problem
from colocate.solvers.base import Context
from colocate.solvers.brute_force import BruteForceSolver
from colocate.testing import any_instance
from tests.helpers import instance

TASK = {"profile": "train", "batch": 8}
FORMATS: tuple[ModelFormat, ...] = ("lp", "mps")


def cbc(text: str, form: str, folder: Path) -> float | None:
    """What CBC makes of a file: the value that it optimises, or None when it says infeasible."""
    from pulp.apis.coin_api import pulp_cbc_path

    model, solution = folder / f"model.{form}", folder / "solution"
    model.write_text(text, encoding="ascii")
    solution.unlink(missing_ok=True)
    done = subprocess.run(
        [pulp_cbc_path, str(model), "-ratio", "0", "-solve", "-solution", str(solution)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "There were" not in done.stdout, done.stdout  # errors on input
    first = solution.read_text().split("\n", 1)[0]
    if "nfeasible" in first:
        return None
    assert first.startswith("Optimal"), done.stdout
    value = float(first.rpartition(" ")[2])
    return value if form == "lp" else -value


def both_formats(drawn: Instance, folder: Path) -> None:
    """CBC reads the files as they stand and finds what brute force finds."""
    problem = compile_problem(drawn)
    try:
        truth = BruteForceSolver(max_nodes=20_000).solve(problem, Context())
    except TooLargeError:
        return
    if not problem.n_variables:
        return
    for form in FORMATS:
        found = cbc(model_text(problem, form), form, folder)
        if truth.counts is None or truth.gangs is None:
            assert found is None
            continue
        expected = problem.value_of(truth.counts, truth.gangs)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6 * problem.scale)


def test_another_program_finds_the_same_optimum(tmp_path: Path) -> None:
    """Thirty drawn instances, both formats; many more in a deep run."""
    examples = 30 if settings.default and settings.default.max_examples < 100 else 1000

    @settings(max_examples=examples)
    @given(any_instance())
    def check(drawn: Instance) -> None:
        both_formats(drawn, tmp_path)

    check()


@pytest.mark.parametrize("form", FORMATS)
def test_comments_are_words_of_the_instance(form: ModelFormat) -> None:
    """Rows and variables are explained; names are numbers, whatever the user's names are."""
    rules = {
        "tasks_per_gpu": 2,
        "quotas": [{"tenant": "team-x", "unit": "gpu_share", "maximum": 1.5}],
    }
    tasks = [
        {"id": "job-a", **TASK, "count": 3, "tenant": "team-x"},
        {"id": "gang", **TASK, "gang_size": 2, "count": 2},
    ]
    text = model_text(compile_problem(instance(tasks=tasks, rules=rules)), form)
    mark = "\\" if form == "lp" else "*"
    comments = [line for line in text.split("\n") if line.startswith(mark)]
    together = "\n".join(comments)
    for words in (
        "the master problem of instance small",
        "(C1) 2 A GPUs of a",
        "(C2) all 1 replicas of web",
        "(C3) at most 3 of job-a",
        "(C3) 2 workers make one of the gangs of gang at",
        "(C3) at most 2 gangs of gang",
        "(C4) GPU share of tenant team-x: at most 1.5 (in units of 1/100)",
        "1 if there are at least 2 gangs of gang at",
    ):
        assert words in together, words
    rest = [line for line in text.split("\n") if not line.startswith(mark)]
    assert not re.search(r"job|web|team|\bgang\b", "\n".join(rest))
    assert text.isascii()
    assert max(map(len, text.split("\n"))) <= 255


def test_nothing_to_decide_is_a_file_too() -> None:
    """Without columns the formats still have all their sections."""
    pool = {"id": "a", "gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 4}
    asked = instance(gpu_pools=[{**pool, "schedulable": False}], services=[], tasks=[])
    problem = compile_problem(asked)
    assert model_text(problem, "lp").endswith("End\n")
    assert model_text(problem, "mps").endswith("ENDATA\n")


class TestCommand:
    """`colocate export-model`."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "instance.json"
        file.write_text(dumps_instance(datasets.get("single-pair")))
        return file

    @pytest.mark.parametrize("form", FORMATS)
    def test_the_name_of_the_file_says_the_format(
        self, file: Path, tmp_path: Path, form: ModelFormat
    ) -> None:
        target = tmp_path / f"model.{form}"
        assert run(["export-model", str(file), "-o", str(target)]) == 0
        expected = model_text(compile_problem(datasets.get("single-pair")), form)
        assert target.read_text() == expected

    def test_standard_output_takes_either_format(
        self, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["export-model", str(file)]) == 0
        assert capsys.readouterr().out.endswith("End\n")
        assert run(["export-model", str(file), "--format", "mps"]) == 0
        assert capsys.readouterr().out.endswith("ENDATA\n")

    def test_other_formats_and_existing_files_are_refused(
        self, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        target = tmp_path / "model.xlsx"
        assert run(["export-model", str(file), "-o", str(target)]) == 2
        assert "the format is lp or mps" in capsys.readouterr().err
        target = tmp_path / "model.lp"
        target.write_text("mine")
        assert run(["export-model", str(file), "-o", str(target)]) == 2
        assert target.read_text() == "mine"
        assert run(["export-model", str(file), "-o", str(target), "--force"]) == 0
        assert target.read_text() != "mine"
