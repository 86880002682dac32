"""The data of slowdowns in company: what a pair and a table may say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import colocate as co
from colocate.builder import InstanceBuilder
from colocate.errors import InstanceError
from colocate.io import parse_instance
from colocate.profile import Interference, PairSlowdown, SlowdownTable
from tests.helpers import instance

TABLE: dict[str, Any] = {
    "victim_batch": [1, 4],
    "neighbour_batch": [8],
    "victim_share_pct": [25.0, 50, 100],
    "neighbour_share_pct": [100],
    "slowdown": [1, 1.1, 1.2, 1.3, 1.4, 1.5],
}
PAIR: dict[str, Any] = {"gpu_type": "A", "victim": "net", "neighbour": "train"}


def test_a_pair_is_a_number_or_a_table() -> None:
    """Exactly one of the two."""
    assert PairSlowdown.model_validate({**PAIR, "slowdown": 1.5}).table is None
    assert PairSlowdown.model_validate({**PAIR, "table": TABLE}).slowdown is None
    with pytest.raises(ValidationError, match="give one of slowdown and table"):
        PairSlowdown.model_validate(PAIR)
    with pytest.raises(ValidationError, match="give only one of slowdown and table"):
        PairSlowdown.model_validate({**PAIR, "slowdown": 1.5, "table": TABLE})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slowdown": [1.0] * 5}, r"slowdown has 5 values, but the axes make 2 x 1 x 3 x 1 = 6"),
        ({"victim_batch": [4, 1]}, r"victim_batch must ascend without repeats, but 1 follows 4"),
        ({"neighbour_batch": [8, 8]}, r"neighbour_batch must ascend"),
        ({"victim_share_pct": [50, 25, 100]}, r"victim_share_pct must ascend"),
        ({"neighbour_share_pct": [50, 25]}, r"neighbour_share_pct must ascend"),
        ({"neighbour_share_pct": []}, r"neighbour_share_pct"),
        ({"neighbour_share_pct": [0]}, r"greater than 0"),
        ({"neighbour_share_pct": [101]}, r"less than or equal to 100"),
        ({"slowdown": [1, 1, 1, 1, 1, 0.4]}, r"greater than or equal to 0.5"),
        ({"slowdown": [1, 1, 1, 1, 1, 101]}, r"less than or equal to 100"),
        ({"slowdown": [1, 1, 1, 1, 1, float("nan")]}, r"finite"),
    ],
)
def test_what_a_table_may_not_say(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SlowdownTable.model_validate({**TABLE, **change})


def test_a_table_is_bounded() -> None:
    """The axes are looked at before the values: 1.5 million of them are not asked for."""
    axes = {
        **TABLE,
        "victim_batch": list(range(1, 51)),
        "victim_share_pct": list(range(1, 101)),
        "neighbour_share_pct": list(range(1, 4)),
    }
    with pytest.raises(
        ValidationError, match=r"make 50 x 1 x 100 x 3 = 15000 values; at most 10000"
    ):
        SlowdownTable.model_validate(axes)


def test_the_place_of_a_mistake_is_named() -> None:
    """As everywhere in files."""
    broken = {**TABLE, "slowdown": [1.0]}
    data = json.loads(instance().model_dump_json(by_alias=True, exclude_none=True))
    data["interference"]["pairs"] = [{**PAIR, "table": broken}]
    with pytest.raises(InstanceError, match="slowdown has 1 values") as caught:
        parse_instance(json.dumps(data))
    assert caught.value.path == "$.interference.pairs[0].table"


def test_files_keep_tables(tmp_path: Any) -> None:
    """What is written is read again, and two tables are two questions."""
    asked = instance(interference={"pairs": [{**PAIR, "table": TABLE}]})
    co.save_instance(asked, tmp_path / "a.json")
    again = co.load_instance(tmp_path / "a.json")
    assert again == asked
    assert again.interference == asked.interference
    (pair,) = asked.interference.pairs
    other = instance(interference={"pairs": [{**PAIR, "table": {**TABLE, "slowdown": [1.0] * 6}}]})
    assert other != asked
    assert pair.table is not None
    assert pair.table.shape == (2, 1, 3, 1)


def test_pairs_without_tables_are_written_as_before() -> None:
    """Neither their text nor the hash of an instance knows of tables."""
    model = Interference.model_validate({"pairs": [{**PAIR, "slowdown": 1.5}]})
    assert "table" not in model.model_dump_json(exclude_none=True)
    assert instance(interference=model).sha256 == (
        "cb18c9fc0f094a49c95342557bd5fc4c4761e0590cda796dda5824e83a209e53"
    )


def test_the_builder_fills_in_the_axes_that_do_not_matter() -> None:
    """A table over the neighbour's share alone."""
    built = (
        InstanceBuilder("b")
        .gpus("a", "A", count=1, memory_gib=8, sm_count=4)
        .inference("net", "A", {1: {100: 10}}, memory_gib={1: 1})
        .training("train", "A", {8: {100: 10}}, memory_gib={8: 1})
        .service("web", "net", rate_rps=1, slo_ms=5000)
        .task("job", "train", batch=8)
        .slowdown(
            "net",
            "train",
            gpu_type="A",
            table={"neighbour_share_pct": [25, 75], "slowdown": [1.1, 1.4]},
            error=[{"confidence": 0.9, "relative": 0.1}],
        )
        .build()
    )
    (pair,) = built.interference.pairs
    assert pair.table is not None
    assert pair.table.shape == (1, 1, 1, 2)
    assert np.allclose(pair.table.slowdown, [1.1, 1.4])
    assert pair.error[0].relative == 0.1
