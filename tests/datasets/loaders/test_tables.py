"""Loaders that make profile tables, on invented rows in the layouts of the public files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from colocate.datasets import loaders
from colocate.datasets.loaders.muxserve import LlmPhase, phase_of
from colocate.errors import InputError
from colocate.tables import COLUMNS, ProfileTable
from colocate.tables.read import read_table
from colocate.tables.write import dumps_csv
from tests.datasets.loaders import samples
from tests.datasets.loaders.samples import put
from tests.tables.strategies import same


def listed(table: ProfileTable, *names: str) -> list[tuple[object, ...]]:
    return list(zip(*(table[name].tolist() for name in names), strict=True))


def peace(folder):
    return put(put(folder, "solo.csv", samples.PEACE_SOLO), "pairs.csv", samples.PEACE_PAIRS)


def igniter(folder):
    return put(put(folder, "solo.csv", samples.IGNITER_SOLO), "pairs.csv", samples.IGNITER_PAIRS)


def gavel(folder):
    put(folder, "isolated_throughput.csv", samples.GAVEL_ALONE)
    return put(folder, "pair_throughput.csv", samples.GAVEL_PAIRS)


CASES = {
    "peace": (loaders.load_peace, peace),
    "igniter": (loaders.load_igniter, igniter),
    "igniter source": (
        loaders.load_igniter,
        lambda f: put(f, "gpulet.config", samples.lines(samples.IGNITER_CONFIG)),
    ),
    "spread": (
        loaders.load_spread,
        lambda f: put(f, "training_runs.csv.gz", samples.SPREAD),
    ),
    "muxserve": (
        loaders.load_muxserve,
        lambda f: put(f, "llama_prefill_decode.csv", samples.MUXSERVE),
    ),
    "muxserve source": (
        loaders.load_muxserve,
        lambda f: put(f, "llama.json", json.dumps(samples.MUXSERVE_JSON)),
    ),
    "rapp": (loaders.load_rapp, lambda f: put(f, "rapp_latency_sm_batch.csv", samples.RAPP)),
    "hasgpu": (
        loaders.load_hasgpu,
        lambda f: put(f, "hasgpu_latency_sm_quota_batch.csv", samples.HASGPU),
    ),
    "gavel": (loaders.load_gavel, gavel),
    "gavel source": (
        loaders.load_gavel,
        lambda f: put(f, "simulation_throughputs.json", json.dumps(samples.GAVEL_JSON)),
    ),
    "parvagpu": (loaders.load_parvagpu, lambda f: put(f, "profile.csv", samples.PARVAGPU)),
    "splitwise": (loaders.load_splitwise, lambda f: put(f, "perf_model.csv", samples.SPLITWISE)),
}


@pytest.fixture
def load(tmp_path):
    return lambda name, **options: CASES[name][0](CASES[name][1](tmp_path), **options)


@pytest.mark.parametrize("name", CASES)
def test_every_row_makes_sense_as_a_profile_table(load, name):
    table = load(name)
    assert len(table)
    assert np.isfinite(table.rates).all()
    found = read_table(dumps_csv(table).encode())
    assert found.dropped == ()
    assert same(found.table, table)


@pytest.mark.parametrize("name", CASES)
def test_another_file_is_refused(tmp_path, name):
    loader, place = CASES[name]
    with pytest.raises(InputError, match="holds no"):
        loader(tmp_path)
    place(tmp_path)
    for file in tmp_path.iterdir():
        file.write_text("[]" if file.suffix in (".json", ".config") else "other\n1\n")
    with pytest.raises(InputError) as caught:
        loader(tmp_path)
    assert caught.value.advice


def test_peace_alone(load):
    table = load("peace")
    alone = table.take(table.alone)
    assert len(alone) == 19  # one cell is empty
    row = alone.take((alone["workload"] == "a-train") & (alone["share_pct"] == 30))
    assert listed(row, "role", "gpu", "batch", "rate") == [("training", "V100", 2.0, 3.0)]
    full = alone.take(alone["share_pct"] == 100)
    assert listed(full, "sm_activity_pct", "dram_activity_pct", "memory_gib") == [
        (80.5, 30.5, 2.5),
        (40.0, 20.0, 1.5),
    ]
    assert np.isnan(alone["memory_gib"]).sum() == 17


def test_peace_pairs_give_each_side_its_share(load):
    table = load("peace")
    pairs = table.take(~table.alone)
    columns = ("workload", "role", "share_pct", "neighbour", "neighbour_share_pct", "rate")
    rows = listed(pairs, *columns)
    assert ("a-train", "training", 20.0, "b-inf", "80", 1.9) in rows
    assert ("b-inf", "inference", 80.0, "a-train", "20", 17.0) in rows
    assert ("a-train", "training", 100.0, "b-inf", "100", 5.0) in rows
    assert ("b-inf", "inference", 10.0, "b-inf", "90", 1.0) in rows
    assert ("b-inf", "inference", 90.0, "b-inf", "10", 9.0) in rows
    assert len(rows) == 2 * 19
    assert set(pairs["neighbour_batch"]) == {"2"}
    halves = pairs.take((pairs["neighbour"] == "b-inf") & (pairs["share_pct"] == 50))
    assert listed(halves, "workload", "rate", "repeat") == [
        ("a-train", 4.9, 0.0),
        ("b-inf", 5.0, 0.0),
        ("b-inf", 5.5, 1.0),
    ]


@pytest.mark.parametrize("cell", ["1", "1|2|3", "a|2", "1|", "1;2"])
def test_a_broken_cell_of_peace_is_refused_with_its_place(tmp_path, cell):
    peace(tmp_path)
    put(tmp_path, "pairs.csv", samples.PEACE_PAIRS.replace("0.9|18", cell))
    with pytest.raises(InputError, match=r"s10.*|pairs\.csv:2") as caught:
        loaders.load_peace(tmp_path)
    assert str(caught.value.source).endswith("pairs.csv:2")


def test_igniter_has_latencies_only(load):
    table = load("igniter")
    assert np.isnan(table["rate"]).all()
    alone = table.take(table.alone)
    columns = ("workload", "batch", "share_pct", "latency_ms")
    assert listed(alone, *columns) == [
        ("alexnet", 1, 20, 2.5),
        ("alexnet", 1, 100, 0.75),
        ("vgg19", 2, 40, 10),
    ]
    np.testing.assert_array_equal(alone["dram_activity_pct"], [10.5, np.nan, 8.0])
    pairs = table.take(~table.alone)
    beside = ("neighbour", "neighbour_batch", "neighbour_share_pct")
    assert listed(pairs, *columns, *beside) == [
        ("alexnet", 2, 20, 2.0, "vgg19", "4", "80"),
        ("vgg19", 4, 80, 8.0, "alexnet", "2", "20"),
    ]
    np.testing.assert_allclose(pairs["rate_std"], [1000 * 0.1 / 2, 500 * 0.4 / 8])


def test_igniters_own_file_gives_the_same_latencies(load):
    names = ("workload", "batch", "share_pct", "neighbour", "neighbour_share_pct", "latency_ms")
    rows = listed(load("igniter source"), *names)
    assert ("alexnet", 1, 20, "", "", 2.5) in rows
    assert ("alexnet", 1, 100, "", "", 0.75) in rows
    assert ("vgg19", 2, 40, "", "", 10) in rows
    assert ("alexnet", 2, 20, "vgg19", "80", 2.0) in rows
    assert ("vgg19", 4, 80, "alexnet", "20", 8.0) in rows
    assert len(rows) == 5


def test_spread_reads_single_workers(load):
    table = load("spread")
    columns = ("workload", "role", "batch", "share_pct", "rate", "memory_gib", "repeat")
    assert listed(table, *columns) == [
        ("ResNet18", "training", 64, 50, 1000 * 64 / 200, 2.0, 0),
        ("ResNet18", "training", 64, 50, 1000 * 64 / 220, 2.0, 1),
    ]
    np.testing.assert_allclose(table["rate_std"], table["rate"] / 20)
    assert load("spread", campaign="SC")["latency_ms"].tolist() == [200.0]


def test_spread_reads_workers_beside_themselves(load):
    table = load("spread", beside_itself=True)
    assert listed(table, "workload", "neighbour", "neighbour_share_pct", "latency_ms") == [
        ("ResNet18", "ResNet18", "40", 320.0)
    ]
    assert np.isnan(table["memory_gib"]).all()


def test_muxserve_names_phases(load):
    table = load("muxserve")
    name = "llama-7b-tp2-len128"
    assert listed(table, "workload", "batch", "share_pct", "latency_ms") == [
        (f"{name}-prefill", 4, 30, 40),
        (f"{name}-prefill", 4, 100, 20),
        (f"{name}-decode", 4, 30, 20),
        (f"{name}-decode", 4, 100, 16),
        ("llama-7b-tp2-len512-decode", 2048, 100, 90),
    ]
    assert phase_of(f"{name}-decode") == LlmPhase("llama-7b", 2, 128, "decode")
    assert phase_of(f"{name}-decode").workload == f"{name}-decode"
    with pytest.raises(InputError):
        phase_of("llama-7b")


def test_muxserves_own_file_gives_the_same_table(tmp_path):
    one = loaders.load_muxserve(put(tmp_path, "a.csv", samples.MUXSERVE) / "a.csv")
    two = loaders.load_muxserve(
        put(tmp_path, "llama.json", json.dumps(samples.MUXSERVE_JSON)) / "llama.json"
    )
    assert same(one, two)


def test_rapp_and_hasgpu(load):
    columns = ("workload", "batch", "share_pct", "latency_ms")
    assert listed(load("rapp"), *columns) == [("alexnet", 2, 5, 8), ("alexnet", 2, 100, 4)]
    assert listed(load("hasgpu"), *columns) == [("resnet50", 4, 50, 8)]
    assert load("hasgpu", time_quota_pct=10)["latency_ms"].tolist() == [80]
    with pytest.raises(InputError, match="no quota of 55 %"):
        load("hasgpu", time_quota_pct=55)


@pytest.mark.parametrize("name", ["gavel", "gavel source"])
def test_gavel_counts_samples_where_there_is_a_batch(load, name):
    table = load(name)
    columns = ("workload", "gpu", "neighbour", "neighbour_batch", "neighbour_share_pct", "rate")
    assert set(listed(table, *columns)) == {
        ("ResNet-18", "V100", "", "", "", 5 * 16),
        ("A3C", "V100", "", "", "", 7),
        ("ResNet-18", "V100", "A3C", "", "100", 2.5 * 16),
        ("A3C", "V100", "ResNet-18", "16", "100", 3.5),
        ("A3C", "V100", "A3C", "", "100", 4),
    }
    assert len(table) == 5
    assert set(table["role"]) == {"training"}


@pytest.mark.parametrize(
    "broken",
    [
        {"v100": {"A3C": {"null": 1}}},
        {"v100": {"('A3C', 1)": {"null": "fast"}}},
        {"v100": {"('A3C', 1)": {"('A3C', 1)": [1]}}},
        {"v100": {"('A3C', 1)": {"('A3C', 1)": 1}}},
        {"v100": []},
    ],
)
def test_other_json_is_refused_by_gavel(tmp_path, broken):
    put(tmp_path, "simulation_throughputs.json", json.dumps(broken))
    with pytest.raises(InputError):
        loaders.load_gavel(tmp_path)


def test_parvagpu_counts_all_processes_and_slices_as_shares(load):
    table = load("parvagpu")
    assert listed(table, "rate", "processes", "latency_ms") == [(80, 1, 50), (600, 3, 20)]
    np.testing.assert_allclose(table["share_pct"], [100 / 7, 100])


def test_splitwise_names_phases_and_numbers_repeats(load):
    table = load("splitwise")
    assert listed(table, "workload", "gpu", "batch", "latency_ms", "repeat") == [
        ("llama2-70b-tp4-len512-prefill", "A100-80GB", 2, 200, 0),
        ("llama2-70b-tp4-len512-prefill", "A100-80GB", 2, 210, 1),
        ("llama2-70b-tp4-len512-out128-decode", "A100-80GB", 2, 50, 0),
        ("llama2-70b-tp4-len512-out128-decode", "A100-80GB", 2, 55, 1),
    ]


def test_tables_have_every_column(load):
    assert set(load("rapp").columns) == {column.name for column in COLUMNS}
