"""What the documentation says is so: its examples run, and its tables are those of the code."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
import typer

import colocate
from colocate import registry
from colocate.plan import Reason
from colocate.violation import ViolationKind

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(
    not DOCS.is_dir(), reason="the tests were copied away from the source tree"
)

PAGES = [Path("README.md"), *sorted(p.relative_to(ROOT) for p in DOCS.glob("*.md"))]
NOT_RUN = {"README.md": 2, "docs/start.md": 1, "docs/testing-kit.md": 2}
"""How many blocks of each page are not run: they install from the net, or are for pytest."""


@pytest.fixture(scope="module")
def renewal() -> Iterator[Any]:
    """Return the package that renews the documentation; it lies beside the pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        for name in ("blocks", "examples", "fields", "made", "meanings", "measurements", "pages"):
            importlib.import_module(f"renewal.{name}")
        yield importlib.import_module("renewal")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renewal: Any) -> None:
    """Examples run in a folder of their own, and what they register is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(renewal.examples.COLUMNS))
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(registry, "_ADDED", {k: dict(a) for k, a in registry._ADDED.items()})


def text_of(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


# -- examples --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_examples_print_what_the_page_says(page: Path, renewal: Any) -> None:
    wrong = list(renewal.examples.run_page(text_of(page), str(page), ROOT))
    assert not wrong, "\n\n".join(map(str, wrong))


def test_few_blocks_are_not_run(renewal: Any) -> None:
    found = Counter(
        str(page)
        for page in PAGES
        for block in renewal.examples.blocks(text_of(page))
        if block.kind == "not run"
    )
    assert found == NOT_RUN


def test_every_block_is_run_or_for_reading(renewal: Any) -> None:
    # `toml` and the directives of Sphinx are read; a shell block would be skipped unnoticed
    read = {"text", "toml", "math", "{toctree}", "{eval-rst}", "{literalinclude}", "{include}"}
    for page in PAGES:
        for block in renewal.examples.blocks(text_of(page)):
            kind = block.kind.split()[0] if block.kind.startswith("{") else block.kind
            assert kind in {"python", "console", "file", "not run", *read}, (page, block.line)


def test_every_script_is_shown_and_run() -> None:
    page = text_of(Path("docs/examples.md"))
    for script in sorted((ROOT / "examples").glob("*.py")):
        assert f"$ python examples/{script.name}\n" in page
        assert f"{{literalinclude}} ../examples/{script.name}\n" in page


@pytest.mark.usefixtures("stage")
def test_outputs_are_compared(renewal: Any) -> None:
    page = '```python\nprint("one\\ntwo")\n```\n\n```text\none\n{}\n```\n'
    for said, right in (("two", True), ("t...", True), ("three", False), ("", False)):
        assert (not list(renewal.examples.run_page(page.format(said), "page", ROOT))) is right
    shell = "```console\n$ colocate --version\n{}\n```\n"
    for said, right in ((f"colocate {colocate.__version__}", True), ("colocate 9", False)):
        assert (not list(renewal.examples.run_page(shell.format(said), "page", ROOT))) is right
    with pytest.raises(AssertionError, match="ends with 2"):
        list(renewal.examples.run_page("```console\n$ colocate no-verb\n```\n", "page", ROOT))
    with pytest.raises(ZeroDivisionError):
        list(renewal.examples.run_page("```python\n1 / 0\n```\n", "page", ROOT))


# -- generated parts -------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_generated_parts_are_up_to_date(page: Path, renewal: Any) -> None:
    renewed = renewal.pages.renewed(text_of(page))
    assert renewed == text_of(page), "run: python docs/renew.py"


def test_pictures_and_measurements_are_up_to_date(renewal: Any) -> None:
    for path, made in renewal.made.files(ROOT):
        old = path.read_text(encoding="utf-8")
        assert renewal.made.same(old, made, path), f"{path}: run: python docs/renew.py"


def test_every_picture_is_shown(renewal: Any) -> None:
    shown = {
        f"docs/{file}"
        for page in PAGES
        for file in re.findall(r"!\[[^\]]+\]\((?:docs/)?(_static/[^)]+)\)", text_of(page))
    }
    assert shown == {name for name in renewal.made.FILES if name.endswith(".svg")}
    kept = {f"docs/{path.relative_to(DOCS)}" for path in (DOCS / "_static").iterdir()}
    assert kept == shown


def test_a_drawing_may_differ_in_last_digits_only(renewal: Any) -> None:
    same = renewal.made.pictures.same_drawing
    assert same('<line x="10.1" y="-3"/>a 5', '<line x="10.2" y="-3"/>a 5')
    assert not same('<line x="10.1"/>', '<line x="11.1"/>')
    assert not same('<line x="10.1"/>', '<rect x="10.1"/>')
    assert not same("1 2", "1 2 3")


def test_the_measurements_have_what_the_page_tells_of(renewal: Any) -> None:
    from colocate.tables.clean import clean
    from colocate.tables.read import read_table

    file = read_table(ROOT / renewal.measurements.FILE)
    assert [(d.column, d.value) for d in file.dropped] == [("share_pct", "'400'")]
    doubts = clean(file.table).doubts
    assert [(d.kind, d.dropped) for d in doubts] == [("outlier", 1)]
    assert doubts[0].workload == renewal.measurements.WRONG[0]
    beside = set(zip(file.table["workload"], file.table["neighbour"], strict=True))
    assert not beside & {p for a, b in renewal.measurements.NOT_RUN for p in ((a, b), (b, a))}


def test_figures_are_rendered_as_measured(
    renewal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal.blocks, "FIGURES", tmp_path / "models.csv")
    assert "Nothing was measured" in renewal.blocks.figures()
    (tmp_path / "models.csv").write_text(
        "name,value,target,unit,baseline,baseline_value,note\n"
        "solo,1.43219,1.5,%,linear,3.2,on a grid\nspeed,2e6,,/s,,,\n",
        encoding="utf-8",
    )
    table = renewal.blocks.figures()
    assert "| solo | 1.43 % | 1.5 % | 3.2 % (linear) | on a grid |" in table
    assert "| speed | 2,000,000 /s |  |  |  |" in table


def generated(page: str, renewal: Any) -> set[str]:
    return set(renewal.pages.generated_names(text_of(Path(page))))


def test_every_object_of_the_formats_has_its_fields(renewal: Any) -> None:
    shown = generated("docs/instance-format.md", renewal) | generated("docs/launch.md", renewal)
    assert {f"fields {name}" for name in renewal.fields.models()} <= shown
    for kind in ("objective", "slo_model"):
        assert f"components {kind}" in shown


def test_inner_objects_of_models_are_no_others(renewal: Any) -> None:
    # a new object of the format must be shown, or said to be read by `predict` alone
    from colocate.io import json_schema

    assert set(json_schema("models")["$defs"]) >= renewal.fields.INNER


def test_measuring_and_models_have_their_tables(renewal: Any) -> None:
    assert generated("docs/measuring.md", renewal) == {"profile-table"}
    assert generated("docs/models.md", renewal) == {"model-figures"}
    assert "loaders" in generated("docs/datasets.md", renewal)


def test_no_words_are_left_over(renewal: Any) -> None:
    meanings = renewal.meanings
    assert set(meanings.REASONS) == set(get_args(Reason))
    assert set(meanings.VIOLATIONS) == set(get_args(ViolationKind))
    assert set(meanings.METHODS) | set(meanings.POLICIES) == set(registry._BUILT_IN["solver"])


def test_the_glossary_has_all_reasons_and_violations(renewal: Any) -> None:
    assert {"reasons", "violations"} <= generated("docs/glossary.md", renewal)
    text = text_of(Path("docs/glossary.md"))
    for word in (*get_args(Reason), *get_args(ViolationKind)):
        assert f"| `{word}` |" in text


def test_the_solver_tables_are_shown(renewal: Any) -> None:
    assert {"solvers", "capabilities"} <= generated("docs/solvers.md", renewal)
    assert "solvers" in generated("README.md", renewal)


def test_the_policies_are_shown(renewal: Any) -> None:
    assert generated("docs/policies.md", renewal) == {"policies", "policy-values"}


def test_every_public_name_is_in_the_api() -> None:
    text = text_of(Path("docs/api.md"))
    fields = text_of(Path("docs/instance-format.md"))
    for name in colocate.__all__:
        assert f"| `{name}` |" in text
        documented = re.search(rf"(auto\w+|py:data):: colocate\.{name}$", text, re.MULTILINE)
        linked = f"instance-format.md#{name.lower()})" in text and f"\n### {name}\n" in fields
        assert documented or linked, name


def test_the_whole_test_kit_is_described(renewal: Any) -> None:
    from colocate import testing

    assert {"strategies", "conformance"} <= generated("docs/testing-kit.md", renewal)
    text = text_of(Path("docs/testing-kit.md"))
    for name in set(testing.__all__) - {"InstanceKind"}:
        assert name in text


# -- the command line ------------------------------------------------------------------------------


def verbs() -> Iterator[str]:
    from colocate.cli.main import VERBS

    for verb in VERBS:
        module = importlib.import_module(f"colocate.cli.{verb.replace('-', '_')}")
        app: Any = typer.main.get_command(module.app)
        inner = getattr(app, "commands", None)
        yield from [verb] if inner is None else [f"{verb}.{name}" for name in inner]


def test_every_verb_is_on_the_page(renewal: Any) -> None:
    assert {f"flags {verb}" for verb in verbs()} <= generated("docs/cli.md", renewal)
    assert "exit-codes" in generated("docs/cli.md", renewal)


@pytest.mark.parametrize("verb", sorted(verbs()) if DOCS.is_dir() else [])
def test_the_flags_are_those_of_the_help(
    verb: str, renewal: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from colocate.cli.main import run

    monkeypatch.setenv("COLUMNS", "200")
    assert run([*verb.split("."), "--help"]) == 0
    helped = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", capsys.readouterr().out))
    table = renewal.blocks.BLOCKS["flags"](verb)
    listed = set(re.findall(r"`(--[a-z][a-z-]*)", table))
    assert listed == helped - {"--help"}
