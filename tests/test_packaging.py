"""What the distribution contains, and that its parts agree with each other."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import colocate

ROOT = Path(__file__).resolve().parents[1]
LINKS = ("datasets", "models", "solvers")
LONGEST_MODULE = 500

from_source_tree = pytest.mark.skipif(
    not (ROOT / "colocate" / "__init__.py").is_file(),
    reason="the tests were copied away from the source tree",
)


def run(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed")
    target = tmp_path_factory.mktemp("wheel")
    built = run(
        sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", str(target), cwd=ROOT
    )
    assert built.returncode == 0, built.stderr
    (path,) = target.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@from_source_tree
def test_the_wheel_has_one_import_name(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert top == {"colocate", f"colocate-{colocate.__version__}.dist-info"}


@from_source_tree
def test_the_wheel_holds_every_module_and_data_file(wheel: zipfile.ZipFile) -> None:
    unwanted = {"__pycache__", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
    in_tree = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "colocate").rglob("*")
        if path.is_file() and not unwanted & set(path.parts) and path.suffix != ".pyc"
    }
    in_wheel = {name for name in wheel.namelist() if name.startswith("colocate/")}
    assert in_wheel == in_tree
    assert "colocate/py.typed" in in_wheel


@from_source_tree
def test_the_wheel_carries_the_licence_and_the_command(wheel: zipfile.ZipFile) -> None:
    info = f"colocate-{colocate.__version__}.dist-info"
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    assert "colocate = colocate.cli.main:main" in entry_points


@pytest.mark.parametrize("link", LINKS)
@from_source_tree
def test_the_root_links_lead_into_the_package(link: str) -> None:
    assert (ROOT / link).is_symlink()
    assert (ROOT / link).readlink() == Path("colocate") / link


def test_no_bare_name_is_imported_with_the_package(tmp_path: Path) -> None:
    """Import every module there is, in a process that starts outside the checkout."""
    script = f"""
import importlib, pkgutil, sys, colocate
for module in pkgutil.walk_packages(colocate.__path__, "colocate."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
bare = sorted(set({LINKS!r}) & set(sys.modules))
sys.exit(f"imported bare: {{bare}}" if bare else 0)
"""
    done = run(sys.executable, "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_links_are_not_on_the_import_path(tmp_path: Path) -> None:
    script = f"""
import importlib.util, pathlib, sys
package = pathlib.Path(importlib.util.find_spec("colocate").origin).parent
for name in {LINKS!r}:
    spec = importlib.util.find_spec(name)
    where = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    for place in filter(None, where):
        if pathlib.Path(place).resolve().is_relative_to(package):
            sys.exit(f"{{name}} is {{place}}")
"""
    done = run(sys.executable, "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_is_light(tmp_path: Path) -> None:
    heavy = ("numpy", "scipy", "ortools", "pulp", "networkx", "pydantic", "matplotlib")
    script = f"import sys, colocate; print(*sorted(set({heavy!r}) & set(sys.modules)))"
    done = run(sys.executable, "-c", script, cwd=tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, [])


def test_every_public_name_is_there() -> None:
    for name in colocate.__all__:
        assert getattr(colocate, name) is not None
    assert set(colocate.__all__) <= set(dir(colocate))


@from_source_tree
def test_changelog_and_citation_state_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(\d[^\]]*)\] - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert releases, "CHANGELOG.md names no release"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^(version|date-released): *\"?([^\"\n]+)", citation, re.MULTILINE))
    assert releases[0] == (colocate.__version__, stated["date-released"])
    assert stated["version"] == colocate.__version__


@from_source_tree
def test_the_version_has_one_source(pyproject: dict[str, Any]) -> None:
    assert "version" in pyproject["project"]["dynamic"]
    assert pyproject["tool"]["hatch"]["version"]["path"] == "colocate/__init__.py"


@from_source_tree
def test_constraints_pin_what_the_project_needs_and_nothing_that_clashes(
    pyproject: dict[str, Any],
) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    malformed = [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)]
    assert malformed == []

    def canonical(requirement: str) -> str:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        return re.sub(r"[-_.]+", "-", name).lower()

    pinned = {canonical(line) for line in pins}
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    needed = project["dependencies"] + extras["dev"] + extras["docs"] + extras["testing"]
    needed += extras["plot"] + pyproject["build-system"]["requires"]
    assert {canonical(text) for text in needed} - {"colocate"} <= pinned
    # highspy and OR-Tools cannot be loaded into one process
    assert not pinned & {"highspy", "ray", "torch"}


@from_source_tree
def test_no_module_is_too_long_to_hold_in_the_head() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "colocate").rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_MODULE} == {}


@from_source_tree
def test_lint_leaves_no_room_out(pyproject: dict[str, Any]) -> None:
    """A bare name would leave out every folder of that name, not just the link at the top."""
    for left_out in pyproject["tool"]["ruff"]["extend-exclude"]:
        assert left_out.startswith("./"), left_out


def test_the_distribution_shows_the_readme(pyproject: dict[str, Any]) -> None:
    stated = pyproject["project"].get("readme")
    assert stated == ("README.md" if (ROOT / "README.md").is_file() else None)
