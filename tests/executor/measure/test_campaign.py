"""The file of a campaign: strict, with the place of every problem."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from colocate.errors import InputError
from colocate.executor.measure.builtin import builtin_campaign
from colocate.executor.measure.campaign import (
    Campaign,
    CampaignEffort,
    CampaignWorkload,
    Companies,
    load_campaign,
)
from colocate.executor.measure.effort import Effort
from colocate.executor.measure.workloads import BUILTIN


def document(**changes):
    made = {
        "schema": "colocate/campaign/v1",
        "name": "mine",
        "workloads": [
            {"name": "a", "role": "inference", "builtin": "synthetic", "batches": [1, 8]},
            {"name": "b", "role": "training", "command": ["/usr/bin/env", "x"], "batches": [4]},
        ],
        "companies": [{"of": ["a"], "beside": ["b"]}],
    }
    return {**made, **changes}


def load(value) -> Campaign:
    return load_campaign(json.dumps(value).encode())


def refused(value) -> InputError:
    with pytest.raises(InputError) as caught:
        load(value)
    assert caught.value.exit_code == 2
    return caught.value


def test_a_campaign_says_what_is_started():
    found = load(document()).programs("/usr/bin/python3")
    module = "colocate.executor.measure.workloads"
    assert found["a"].command == ("/usr/bin/python3", "-m", module, "synthetic")
    assert found["b"].command == ("/usr/bin/env", "x")
    assert load(document()).programs()["a"].command[0] == sys.executable


def test_effort_left_out_is_the_library_s():
    assert load(document()).effort.plain() == Effort()
    assert load(document(effort={"window_s": 3})).effort.plain() == Effort(window_s=3.0)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": "a b"}, "$.name"),
        ({"more": 1}, "$.more"),
        ({"effort": {"window_s": "1"}}, "$.effort.window_s"),
        ({"effort": {"window_s": float("nan")}}, "$.effort.window_s"),
        ({"companies": [{"of": ["a"], "beside": ["b"], "shares_pct": [[1]]}]}, "$.companies[0]"),
        ({"workloads": []}, "$.workloads"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(changes, path):
    assert (refused(document(**changes)).path or "").startswith(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"builtin": "synthetic", "command": ["/bin/true"]}, "either 'builtin' or 'command'"),
        ({}, "either 'builtin' or 'command'"),
        ({"command": ["true"]}, "absolute"),
        ({"command": ["/bin/true"], "directory": "here"}, "absolute"),
        ({"command": ["/bin/true"], "role": "training", "loads": [0.5]}, "nothing arrives"),
        ({"builtin": "synthetic", "environment": {"A B": "1"}}, "pattern"),
        ({"builtin": "synthetc"}, "synthetic"),
        ({"builtin": "resnet50-training", "role": "inference"}, "training"),
    ],
)
def test_workloads_that_contradict_themselves_are_refused(changes, words):
    workload = {"name": "a", "role": "inference", "batches": [1], **changes}
    assert words in str(refused(document(workloads=[workload], companies=[])))


def test_names_are_there_once_and_known():
    one = {"name": "a", "role": "inference", "builtin": "synthetic", "batches": [1]}
    assert "twice" in refused(document(workloads=[one, one], companies=[])).message
    assert "'c'" in refused(document(companies=[{"of": ["a"], "beside": ["c"]}])).message
    effort = {"least_windows": 9, "most_windows": 8}
    assert "below" in refused(document(effort=effort)).message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"schema": "colocate/plan/v1"}',
        b'{"schema": "colocate/campaign/v1", "name": "x", "name": "y"}',
        b'{"schema": "colocate/campaign/v1", "name": "a\\u0000b", "workloads": []}',
    ],
)
def test_other_files_are_refused(data):
    with pytest.raises(InputError):
        load_campaign(data)


def test_the_built_in_campaign_uses_every_network_once_and_is_as_a_file_would_be():
    plan = builtin_campaign()
    used = {w.builtin for w in plan.workloads}
    assert used == set(BUILTIN) - {"matmul", "synthetic"}
    for w in plan.workloads:
        assert w.builtin is not None
        assert BUILTIN[w.builtin].role == w.role
    again = load(json.loads(plan.model_dump_json(by_alias=True, exclude_none=True)))
    assert again == plan


def test_the_page_names_every_field_and_every_workload():
    page = Path(__file__).parents[3] / "docs" / "measuring-gpus.md"
    if not page.exists():
        pytest.skip("the tests were copied away from the source tree")
    text = page.read_text(encoding="utf-8")
    models = (Campaign, CampaignWorkload, Companies, CampaignEffort)
    fields = {f.alias or name for model in models for name, f in model.model_fields.items()}
    missing = {name for name in {*fields, *BUILTIN} if f"`{name}`" not in text}
    assert not missing
