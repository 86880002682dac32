"""The examples in CONTRIBUTING.md are complete: each is loaded as a plug-in and used."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import colocate as co
from colocate import registry
from colocate.capability import Capability, needed
from colocate.datasets import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
EXAMPLES: dict[registry.Kind, str] = {
    "solver": "HighsExample",
    "objective": "PlacedTasks",
    "constraint": "ProcessLimit",
}
ALL = catalogue.names()
# Enumeration, which the examples are held against, takes too long on these.
LARGE = {"quickstart"}
SMALL = [name for name in ALL if name not in LARGE]

pytestmark = pytest.mark.skipif(
    not GUIDE.is_file(), reason="the tests were copied away from the source tree"
)


@pytest.fixture(scope="module", autouse=True)
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Load every Python block of the guide as a plug-in; forget them afterwards."""
    folder = tmp_path_factory.mktemp("examples")
    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_ADDED", {kind: dict(a) for kind, a in registry._ADDED.items()})
        text = GUIDE.read_text(encoding="utf-8")
        for code in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            (name,) = re.findall(r"^class (\w+)", code, re.MULTILINE)
            file = folder / f"{name}.py"
            file.write_text(code, encoding="utf-8")
            plugin = registry.load_plugin(f"{file}:{name}")
            found[plugin.kind] = plugin
        yield found


def asking(name: str, **changes: Any) -> co.Instance:
    """Return a bundled instance with other components named in it."""
    stated = json.loads(catalogue.path(name).read_text(encoding="utf-8"))
    return co.Instance.model_validate(stated | changes)


def test_there_is_one_example_of_each_kind(examples: dict[str, Any]) -> None:
    assert {kind: plugin.__name__ for kind, plugin in examples.items()} == EXAMPLES
    for kind in EXAMPLES:
        assert examples[kind].name in registry.names(kind)


@pytest.mark.parametrize("name", ALL)
def test_the_solver_finds_the_certified_optimum(name: str) -> None:
    instance, facts = catalogue.get(name), catalogue.describe(name).facts
    assert facts is not None
    if Capability.GANGS in needed(instance):
        with pytest.raises(co.ColocateError, match="gangs of workers"):
            co.solve(instance, "highs_example")
        return
    result = co.solve(instance, "highs_example")
    assert result.termination.reason == facts.status
    if facts.status == "optimal":
        assert result.objective == pytest.approx(facts.objective, rel=1e-6)


@pytest.mark.parametrize("name", [n for n in SMALL if n != "everything"])
def test_the_objective_scores_what_was_maximised(name: str) -> None:
    instance = asking(name, objective={"name": "placed_tasks"})
    result = co.solve(instance, "brute_force")
    assert result.violations == ()
    if result.plan is not None:
        assert result.objective is not None
        assert result.bound_claimed == pytest.approx(result.objective, rel=1e-9, abs=1e-9)
        assert result.bound is None or result.bound >= result.objective - 1e-6


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_the_constraint_prunes_exactly_what_the_judge_rejects(name: str, most: int) -> None:
    free = co.solve(asking(name), "brute_force")
    limit = {"name": "process_limit", "params": {"most": most}}
    limited = asking(name, constraints=[limit])
    result = co.solve(limited, "brute_force")
    assert result.violations == ()
    if free.plan is None:
        assert result.plan is None
        return
    moved = free.plan.model_copy(update={"instance_sha256": limited.sha256})
    broken = {violation.kind for violation in co.verify(limited, moved).violations}
    assert broken <= {"constraint"}
    if not broken:
        assert result.objective == pytest.approx(free.objective, rel=1e-9)


def test_a_wrong_parameter_is_an_input_error() -> None:
    limit = {"name": "process_limit", "params": {"most": 0}}
    with pytest.raises(co.InstanceError, match=r"\$\.constraints\[0\]\.params\.most"):
        co.solve(asking("single-pair", constraints=[limit]))
