"""Who may import whom: rooms in one order, no circles, and a judge that stands by itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import colocate

PACKAGE = Path(colocate.__file__).parent

ROOMS = (
    ("errors", "schema", "runs"),
    ("registry", "components"),
    ("profile",),
    ("placement", "instance", "launch"),
    ("certificate",),
    ("plan", "result", "violation", "entries"),
    ("io", "versions"),
    ("tables",),
    ("builder",),
    ("simulator",),
    ("models",),
    ("task_facts", "objectives"),
    ("locked", "forecast"),
    ("constraints",),
    ("classes", "configure"),
    ("problem", "capability", "columns", "predict", "reasons", "prices"),
    ("boxes",),
    ("gangs", "dealing", "expand"),
    ("judge",),
    ("verify",),
    ("solvers",),
    ("worst", "putting_back"),
    ("solve",),
    ("explain", "advice", "compare"),
    ("datasets",),
    ("executor",),
    ("export", "report", "testing"),
    ("cli", "__main__"),
)
"""Each room imports only rooms above it, and itself."""

RANK = {name: rank for rank, room in enumerate(ROOMS) for name in room}

COMPILED = {
    *("configure", "problem", "capability", "classes", "columns", "predict", "reasons"),
    *("prices", "gangs", "dealing", "expand", "solvers", "worst", "putting_back", "solve"),
    "testing",
}
"""What the judge must not look at."""


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(("colocate", *(p for p in parts if p != "__init__")))
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(name: str, *, only_at_import: bool = False) -> set[str]:
    """Return the modules of the package that a module imports when it runs."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if only_at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return
        if isinstance(node, ast.Import):
            found.update(a.name for a in node.names)
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for a in node.names:
                inner = f"{node.module}.{a.name}"
                found.add(inner if inner in modules() else node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(modules()[name])
    return {m for m in found if m in modules()}


def room_of(module: str) -> str:
    """Return the first name below the package."""
    return module.split(".")[1]


@pytest.mark.parametrize("name", [m for m in modules() if m != "colocate"])
def test_a_room_imports_only_rooms_above_it(name: str):
    assert room_of(name) in RANK, f"give {name} a room"
    below = {m for m in imports(name) if m != "colocate" and RANK[room_of(m)] > RANK[room_of(name)]}
    assert not below, f"{name} imports {sorted(below)}"


def test_there_is_no_circle_of_imports():
    done: set[str] = set()

    def follow(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for other in imports(name, only_at_import=True):
                follow(other, (*path, name))
            done.add(name)

    for name in modules():
        follow(name, ())


def everything_behind(name: str) -> set[str]:
    """Return all modules of the package that a module imports, directly or not."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for other in imports(todo.pop()) - found:
            found.add(other)
            todo.append(other)
    return found


def judges_rooms() -> list[str]:
    """Return the judge, and what objectives and constraints say for it."""
    names = [m for m in modules() if room_of(f"{m}.") in ("verify", "judge", "entries")]
    return [*names, "colocate.objectives._gangs", "colocate.constraints._residents"]


@pytest.mark.parametrize("name", judges_rooms())
def test_the_judge_looks_at_nothing_that_plans(name: str):
    assert not {room_of(m) for m in everything_behind(name) if m != "colocate"} & COMPILED


def test_the_judge_loads_nothing_that_plans():
    code = "import sys, colocate.verify; print(*(m for m in sys.modules if 'colocate.' in m))"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {room_of(m) for m in shown.stdout.split()}
    assert "verify" in loaded
    assert not loaded & COMPILED


@pytest.mark.parametrize("name", judges_rooms())
def test_the_judge_uses_the_plain_faces_of_the_models(name: str):
    """The faces over arrays are the compiler's: a mistake there must not hide here."""
    used = {
        a.name
        for node in ast.walk(modules()[name])
        if isinstance(node, ast.ImportFrom)
        for a in node.names
    }
    assert not used & {"rates_alone", "pair_table", "PairTable", "task_facts"}


def test_the_rooms_are_those_of_the_package():
    """Nothing in the list is left over from a module that is gone."""
    there = {room_of(m) for m in modules() if m != "colocate"}
    planned = {"explain", "executor", "export"}
    assert set(RANK) - planned <= there
