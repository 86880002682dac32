"""The JSON Schemas are those of the code, take what is right, and refuse most of what is wrong."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any, get_args

import pytest

from colocate.io import Kind, dumps_instance, dumps_plan, json_schema, parse_instance, parse_plan
from tests.corpus.fields import generated_cases
from tests.corpus.valid import FILES, to_bytes
from tests.schema_check import SchemaChecker

KINDS: tuple[Kind, ...] = get_args(Kind)
CHECKED_IN = Path(__file__).parent.parent / "docs" / "schemas"
CHECKERS = {kind: SchemaChecker(json_schema(kind)) for kind in KINDS}


@pytest.mark.skipif(not CHECKED_IN.is_dir(), reason="the wheel's tests run without docs/")
@pytest.mark.parametrize("kind", KINDS)
def test_checked_in_schemas_are_those_of_the_code(kind: Kind) -> None:
    written = json.loads((CHECKED_IN / f"{kind}-v1.json").read_text(encoding="utf-8"))
    assert written == json_schema(kind), (
        f"renew it: colocate schema {kind} -o docs/schemas/{kind}-v1.json"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_valid_files_satisfy_their_schema(kind: Kind) -> None:
    assert CHECKERS[kind].complaints(FILES[kind]) == []


def test_bundled_instances_satisfy_the_schema() -> None:
    folder = importlib.resources.files("colocate.datasets") / "data"
    files = [f for f in folder.iterdir() if f.name.endswith(".json")]
    kinds = [json.loads(f.read_text(encoding="utf-8")) for f in files]
    instances = [f for f in kinds if f.get("schema") == "colocate/instance/v1"]
    assert len(instances) >= 10
    for instance in instances:
        assert CHECKERS["instance"].complaints(instance) == [], instance["name"]


def test_what_is_written_satisfies_the_schema() -> None:
    instance = json.loads(dumps_instance(parse_instance(to_bytes(FILES["instance"]))))
    assert CHECKERS["instance"].complaints(instance) == []
    plan = json.loads(dumps_plan(parse_plan(to_bytes(FILES["plan"]))))
    assert CHECKERS["plan"].complaints(plan) == []


def _constant(text: str) -> float:
    return float(text)


def test_schemas_refuse_what_the_reader_refuses() -> None:
    """All but what a schema cannot say: how large runs are, and the spelling of numbers."""
    accepted = []
    for case in generated_cases(every=3):
        value = json.loads(case.data, parse_constant=_constant)
        if not CHECKERS[case.kind].complaints(value):  # type: ignore[index]
            accepted.append(case.name)
    runs = ('"3-1"', '"0-100000000"', '"1099511627777"')
    control = ("\\u0000b", "\\u001b[2Jb")
    # Counts have no limit of their own, only that of whole numbers in JSON.
    counts = (".budget = 1", ".budget = 9", ".totals.")
    # Launch files: what is reserved, what leads upwards, and control characters.
    launch = ("CUDA_", "COLOCATE_", "/a/../b", '{"A B"', '["a\\nb"]', '"\\n"', '"\\u0000"]')
    unsaid = (*runs, *control, *counts, *launch, "NaN")
    assert [name for name in accepted if not any(words in name for words in unsaid)] == []
    assert len(accepted) < 90


def test_every_field_is_described_or_named_plainly() -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object" and "properties" in node:
                assert node["additionalProperties"] is False
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    for kind in KINDS:
        schema = json_schema(kind)
        walk(schema)
        assert schema["required"][0] == "schema"
        assert schema["properties"]["schema"]["const"] == f"colocate/{kind}/v1"


def test_a_schema_is_the_callers_to_change() -> None:
    json_schema("plan").clear()
    assert json_schema("plan")


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match=r"'recipe'.*instance, plan, profiles"):
        json_schema("recipe")  # type: ignore[arg-type]
