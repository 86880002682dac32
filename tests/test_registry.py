"""Names to components: built in, added, by entry point, by file; nothing heavy on the way."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import colocate as co
from colocate import registry
from colocate.errors import InstanceError, PluginError
from colocate.objectives.throughput import Throughput
from tests.helpers import instance

PLUGIN = '''
"""A plug-in: a solver that places nothing beyond what greedy places."""
from colocate.solvers.greedy import GreedySolver


class Mine(GreedySolver):
    kind = "solver"
    name = "{name}"


class Nameless:
    pass
'''


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test adds is gone after it."""
    for kind, added in registry._ADDED.items():
        monkeypatch.setitem(registry._ADDED, kind, dict(added))


def write(tmp_path: Path, text: str, name: str = "plug.py") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_every_built_in_loads_and_carries_its_name() -> None:
    """No entry of the table points to nothing."""
    for kind in ("solver", "objective", "constraint", "slo_model"):
        for name in registry.names(kind):
            assert registry.get(kind, name).name == name


def test_names_import_nothing_heavy() -> None:
    """Listing names loads neither numpy nor any component."""
    code = (
        "import sys; from colocate import registry; registry.names('solver');"
        "bad = [m for m in ('numpy', 'scipy', 'ortools', 'pulp', 'networkx', 'pydantic',"
        " 'colocate.solvers.greedy') if m in sys.modules]; sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_plugin_file_registers_its_component(tmp_path: Path) -> None:
    """A class with a kind and a name can be used at once, also twice."""
    path = write(tmp_path, PLUGIN.format(name="mine"))
    for _ in range(2):
        found = registry.load_plugin(f"{path}:Mine")
        assert found.name == "mine"
    assert "mine" in registry.names("solver")
    assert co.solve(instance(), "mine").ok
    assert registry.load_plugin(f"{path}:Nameless").__name__ == "Nameless"


@pytest.mark.parametrize(
    ("spec", "text", "message"),
    [
        ("nothing.py:X", None, "not an existing file.py:Name"),
        ("plug.py", "", "not an existing file.py:Name"),
        ("plug.py:not a name", "", "not an existing file.py:Name"),
        ("plug.txt:X", "", "not an existing file.py:Name"),
        ("plug.py:X", "", "AttributeError"),
        ("plug.py:X", "raise RuntimeError('boom\\x1b[31m')", "boom"),
        ("plug.py:X", "def", "SyntaxError"),
        ("plug.py:Mine", PLUGIN.format(name="greedy"), "built in"),
    ],
)
def test_a_plugin_that_fails_is_an_input_error(
    tmp_path: Path, spec: str, text: str | None, message: str
) -> None:
    """Whatever the file does wrong, the answer is one clean error with advice."""
    if text is not None:
        write(tmp_path, text, spec.split(":")[0])
    with pytest.raises(PluginError, match=message) as caught:
        registry.load_plugin(f"{tmp_path}/{spec}")
    assert caught.value.exit_code == 2
    assert caught.value.advice
    assert "\x1b" not in str(caught.value)


def test_the_decorator_registers() -> None:
    """A class of one's own can be named in an instance; built-in names cannot be taken."""

    @registry.component("objective", "twice")
    class Twice(Throughput):
        name = "twice"

    assert registry.get("objective", "twice") is Twice
    with pytest.raises(PluginError, match="built in"):
        registry.component("objective", "throughput")(Twice)


def test_an_unknown_name_lists_the_known_ones() -> None:
    """A wrong name in the instance is an input error."""
    with pytest.raises(
        PluginError, match=r"no slo model named 'best' \(known: fill, mudi, queue\)"
    ):
        co.solve(instance(slo_model={"name": "best"}))


class FakeEntry:
    """An installed entry point."""

    name = "installed"
    value = "somewhere:Thing"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def load(self) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_entry_points_are_found_and_their_failures_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed component is used like any other; a broken one says which package to look at."""
    answers: list[object] = [Throughput, ImportError("no module named x")]

    def entry_points(group: str) -> list[FakeEntry]:
        return [FakeEntry(answers[0])] if group == "colocate.objectives" else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert "installed" in registry.names("objective")
    assert registry.get("objective", "installed") is Throughput
    answers.pop(0)
    with pytest.raises(PluginError, match=r"somewhere:Thing.*no module named x"):
        registry.get("objective", "installed")


def test_wrong_parameters_name_the_known_ones() -> None:
    """The advice lists what the component takes."""
    spec = {"name": "fill", "params": {"rho": 0.5}}
    with pytest.raises(InstanceError) as caught:
        co.solve(instance(slo_model=spec))
    assert caught.value.path == "$.slo_model.params.rho"
    assert "rho_max" in (caught.value.advice or "")
