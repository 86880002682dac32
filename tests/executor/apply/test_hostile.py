"""Whatever a plan, a preview or a state file says: only well-formed names get any further."""

from __future__ import annotations

import json
import random
import re
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from colocate.errors import InputError
from colocate.executor.apply.actions import StartUnit, Step, action_of
from colocate.executor.apply.checks import check_limits, check_unit, check_uuid
from colocate.executor.apply.desired import target_of_units
from colocate.executor.apply.observed import Observed
from colocate.executor.ports import Limits, Space
from colocate.executor.unit import Unit
from tests.executor.apply.bench import Bench
from tests.executor.world import World, make_unit, uuid_of

EVIL = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="a.\n\r\0;|&$`'\"\\/ -=%{}[]<>\u2028\u202e", max_size=30),
    st.sampled_from(
        (
            "a\nquit",
            "a;reboot",
            "$(reboot)",
            "../../etc/passwd",
            "..",
            "-rf",
            "a b",
            "a\x00b",
            "[bold]",
            "\x1b[31m",
            "A" * 200,
            "",
            ".",
            "a/b",
            "é",
            "a\u202eb",
            "GPU-\n0000",
        )
    ),
)
NASTY = tuple("\n\r\0\t ;|&$`'\"\\/=%{}[]<>()!*?~#@,:\x1b\x7f\u2028\u202e\u00e9\ud800")
SAFE = re.compile(rf"[{re.escape(string.ascii_letters + string.digits)}][A-Za-z0-9._-]*")


FIELDS = ("key", "workload", "launch", "gpu")


def held(text: str, field: str) -> bool:
    """Refuse a text, or see that it is harmless; say which."""
    unit = _named(field, text)
    try:
        passed = check_unit(unit)
    except InputError as refused:
        said = str(refused)
    else:
        assert passed is unit
        assert SAFE.fullmatch(text)
        assert len(text) <= 160
        assert _through_a_file(unit) == unit
        return False
    assert all(c.isprintable() for line in said.split("\n") for c in line)
    return True


@given(EVIL, st.sampled_from(FIELDS))
def test_no_name_gets_through_that_could_mean_anything(text, field):
    if held(text, field):
        with pytest.raises(ValidationError):
            _through_a_file(_named(field, text))


def test_ten_thousand_hostile_names():
    """Names that are nearly right, with something in them that a shell or a daemon would read."""
    dice = random.Random(5)
    good = (make_unit().key, "web", "live", uuid_of(0))
    refused = 0
    for n in range(10_000):
        text = list(good[n % 4])
        for _ in range(dice.randint(1, 3)):
            text.insert(dice.randint(0, len(text)), dice.choice(NASTY))
        refused += held("".join(text), FIELDS[n % 4])
    assert refused == 10_000


def _named(field: str, text: str) -> Unit:
    change: dict[str, Any] = {field: text}
    return replace(make_unit(), **change)


def _through_a_file(unit):
    from dataclasses import asdict

    text = json.dumps({"do": "start_unit", "unit": asdict(unit)})
    action = action_of(text)
    assert isinstance(action, StartUnit)
    return action.unit


@given(EVIL)
def test_no_uuid_and_no_space_gets_through(text):
    for check in (check_uuid, lambda t: check_limits(Limits(spaces=(Space(name=t, share_pct=1),)))):
        try:
            check(text)
        except InputError:
            continue
        assert re.fullmatch(r"[a-z0-9_]{1,64}|(GPU|MIG)-[0-9a-f-]{36}", text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("share_pct", 0),
        ("share_pct", 101),
        ("share_pct", True),
        ("share_pct", 50.5),
        ("share_pct", "50"),
        ("batch", 0),
        ("batch", -1),
        ("ordinal", -1),
        ("memory_limit_mib", 0),
        ("memory_limit_mib", "1G"),
        ("memory_gib", float("nan")),
        ("memory_gib", float("inf")),
        ("memory_gib", -1.0),
        ("role", "root"),
    ],
)
def test_numbers_out_of_range_are_refused(field, value):
    with pytest.raises(InputError, match=field):
        check_unit(replace(make_unit(), **{field: value}))


@pytest.mark.parametrize(
    "limits",
    [
        Limits(share_pct=0),
        Limits(share_pct=101),
        Limits(memory_limit_mib=0),
        Limits(spaces=(Space(name="b", share_pct=1), Space(name="a", share_pct=1))),
        Limits(spaces=(Space(name="a", share_pct=1), Space(name="a", share_pct=1))),
        Limits(spaces=(Space(name="a", share_pct=0),)),
    ],
)
def test_limits_out_of_range_are_refused(limits):
    with pytest.raises(InputError):
        check_limits(limits)


def test_a_plan_with_one_bad_unit_does_nothing(in_memory):
    bench = Bench(in_memory, World(1))
    with pytest.raises(InputError, match="is refused"):
        bench.apply(make_unit(), replace(make_unit("b"), key="b\nquit"))
    assert bench.world.changes == []
    empty = Observed(facts={}, daemons={}, units={}, others_gib={})
    with pytest.raises(InputError, match="none of the plan's 1 GPUs"):
        target_of_units([make_unit()], empty)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(("action", "do", "unit", "undo", "gpu", "key", "limits")), inner
            )
        ),
        max_leaves=10,
    )
)
def test_no_junk_is_a_step(junk):
    with pytest.raises(ValidationError):
        Step.model_validate_json(json.dumps(junk))


def test_a_step_comes_back_as_it_was(in_memory):
    bench = Bench(in_memory, World(2, dialect="v3"))
    bench.apply(make_unit(), make_unit("train", role="task", gpu=1, memory_limit_mib=4096))
    steps = bench.steps([make_unit(share_pct=20, gpu=uuid_of(1))])
    assert len({step.action.do for step in steps}) > 5
    for step in steps:
        assert Step.model_validate_json(step.model_dump_json()) == step
