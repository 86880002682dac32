"""Files of layer counts: CSV and JSON say the same, and everything wrong is told with its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.profile.company import LAYER_KINDS
from colocate.tables.layers import Layers, read_layers

CSV = "workload,role,conv,linear\nresnet50,inference,53,1\n\nbert,,,73.0\n"
KNOWN = Layers(
    {"resnet50": {"conv": 53, "linear": 1}, "bert": {"conv": 0, "linear": 73}},
    {"resnet50": "inference"},
)


def test_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    path.write_text(CSV, encoding="utf-8")
    assert read_layers(path) == KNOWN
    assert read_layers(gzip.compress(CSV.encode())) == KNOWN
    assert read_layers(b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode()) == KNOWN


def document(*rows: object) -> bytes:
    return json.dumps({"schema": "colocate/layers/v1", "rows": rows}).encode()


COUNTS = st.dictionaries(st.sampled_from(LAYER_KINDS), st.integers(0, 10**6), min_size=1)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
        st.tuples(st.sampled_from(["", "inference", "training"]), COUNTS),
        min_size=1,
        max_size=5,
    ).filter(lambda nets: all(any(c.values()) for _, c in nets.values()))
)
def test_both_formats_say_the_same(networks: dict[str, tuple[str, dict[str, int]]]) -> None:
    lines = [",".join(["workload", "role", *LAYER_KINDS])]
    rows = []
    for name, (role, counts) in networks.items():
        lines.append(",".join([name, role, *(str(counts.get(k, "")) for k in LAYER_KINDS)]))
        rows.append({"workload": name, **({"role": role} if role else {}), **counts})
    from_csv = read_layers("\n".join(lines).encode())
    from_json = read_layers(document(*rows))
    assert from_csv.roles == from_json.roles == {n: r for n, (r, _) in networks.items() if r}
    for name, (_, counts) in networks.items():
        for found in (from_csv.counts[name], from_json.counts[name]):
            assert {k: v for k, v in found.items() if v} == {k: v for k, v in counts.items() if v}


@pytest.mark.parametrize(
    ("text", "where", "message", "advice"),
    [
        ("", "", "", "Maybe"),
        ("workload,conv\n", "", "no layers in the file", "add a row"),
        ("workload,convs\na,1\n", ":1", "'convs' is no kind of layer", "write 'conv'"),
        ("workload,attention\na,1\n", ":1", "'attention' is no kind", "count others as 'other'"),
        ("workload;conv\na;1\n", ":1", "no kind of layer", "commas"),
        ("conv,fc\n1,2\n", ":1", "'workload' is missing", "add it"),
        ("workload,role\na,training\n", ":1", "no column of a kind", "conv"),
        ("workload,conv\na,1\nb,-2\n", ":3", "conv of 'b' must be a number", "leave the cell"),
        ("workload,conv\na,many\n", ":2", "not 'many'", "count the layers"),
        ("workload,conv\na,nan\n", ":2", "not 'nan'", "count the layers"),
        ("workload,conv\na,1e12\n", ":2", "not '1e12'", "count the layers"),
        ("workload,conv,fc\na,0,\n", ":2", "'a' has no layer", "by kind"),
        ("workload,conv\na,1\na,2\n", ":3", "'a' is listed twice", "keep one"),
        ("workload,conv\n../a,1\n", ":2", "must be a name, not '../a'", "letters"),
        ("workload,role,conv\na,serving,1\n", ":2", "role of 'a'", "one of the two"),
        ("workload,conv\na,1,2\n", ":2", "3 cells", "every row"),
        ('{"rows": []}', "$", "'schema' and 'rows'", "colocate/layers/v1"),
        ('{"schema": "v0", "rows": []}', "$.schema", "not 'v0'", "colocate/layers/v1"),
        ('{"schema": "colocate/layers/v1", "rows": {}}', "$.rows", "must be a list", "workload"),
        ('{"schema": "colocate/layers/v1", "rows": [1]}', "$.rows[0]", "an object", "workload"),
    ],
)
def test_what_is_wrong_is_told(text: str, where: str, message: str, advice: str) -> None:
    with pytest.raises(InputError) as told:
        read_layers(text.encode())
    assert told.value.exit_code == 2
    assert where in told.value.where
    assert message in told.value.message
    assert advice in str(told.value)


@pytest.mark.parametrize("value", [True, "x", [1], {"a": 1}, -1, 1e300])
def test_json_values_that_are_no_counts(value: object) -> None:
    rows = [{"workload": "a", "conv": 1}, {"workload": "b", "conv": value}]
    with pytest.raises(InputError, match="conv of 'b'") as told:
        read_layers(document(*rows))
    assert told.value.path == "$.rows[1]"


def test_several_problems_are_told_at_once() -> None:
    rows = "".join(f"w{i},-1\n" for i in range(50))
    with pytest.raises(InputError, match="conv of 'w0'") as told:
        read_layers(f"workload,conv\n{rows}".encode())
    assert len(told.value.more) == 19
    with pytest.raises(InputError, match="limit"):
        read_layers(CSV.encode(), max_bytes=10)


@given(st.binary(max_size=60))
def test_any_bytes_are_layers_or_an_error(data: bytes) -> None:
    try:
        found = read_layers(data)
    except InputError:
        return
    assert found.counts
