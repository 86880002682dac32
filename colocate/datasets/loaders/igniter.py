"""iGniter: inference latency on a V100 (p3.2xlarge, TensorRT) alone and in pairs under MPS.

`solo.csv` has a row for each model, batch and share; `pairs.csv` one for each pair and split.

Only the latency is taken over, not the throughput of `solo.csv`: trtexec overlaps copies with
work, so that its throughput exceeds batch over latency by some per cent, and the pairs have no
throughput. Rates of this table are batch over latency throughout, and a slowdown is a ratio of like
with like. The spread of a pair's latency l, where it has one, becomes that of its rate r = b / l by
std(r) = r std(l) / l.

The source's own `gpulet.config` is read too: JSON lines {model: {"latency": {batch: {share: ms}}}}
and the same with "dram" (per cent), and {"interference": {"latency": [[model a, model b, batch a,
batch b, share a, ms of a, ms of b], ..]}} where b has the rest of the GPU. (`gpulet.config2`, `3`
and `gpulet2.config` beside it are older and wrong.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any

import numpy as np

from colocate.datasets.loaders._json import mapping_in, number_in, read_mappings
from colocate.datasets.loaders._places import file_in
from colocate.errors import InputError
from colocate.io.problems import show_value
from colocate.tables.raw import RawCsv, read_csv
from colocate.tables.table import ProfileTable

__all__ = ["load_gpulet_config", "load_igniter", "load_igniter_pairs", "load_igniter_solo"]

GPU = "V100"
_REST = ("neighbour_share_pct", "latency_ms", "dram_activity_pct")


def load_igniter(folder: str | PathLike[str]) -> ProfileTable:
    """Read both files of a folder, or the source's `gpulet.config`."""
    found = file_in(folder, "solo.csv", "gpulet.config")
    if found.name != "solo.csv" and found.suffix != ".csv":
        return load_gpulet_config(found)
    solo = load_igniter_solo(found)
    return ProfileTable.join([solo, load_igniter_pairs(file_in(found.parent, "pairs.csv"))])


def load_igniter_solo(path: str | PathLike[str]) -> ProfileTable:
    """Read the latencies alone, with the activity of the memory where it was measured."""
    raw = read_csv(path, ["model", "batch", "sm_pct", "latency_ms", "dram_util_pct"])
    return ProfileTable.of(
        workload=raw.text("model"),
        role=["inference"] * len(raw),
        gpu=GPU,
        batch=raw.numbers("batch"),
        share_pct=raw.numbers("sm_pct"),
        latency_ms=raw.numbers("latency_ms"),
        dram_activity_pct=raw.numbers("dram_util_pct"),
    )


def load_igniter_pairs(path: str | PathLike[str]) -> ProfileTable:
    """Read the latencies in pairs: two rows for each row of the file."""
    needed = ("model", "batch", "sm_pct")
    raw = read_csv(path, [f"{n}_{side}" for n in needed for side in "ab"])
    return ProfileTable.join([_side(raw, "a", "b"), _side(raw, "b", "a")])


def _side(raw: RawCsv, own: str, other: str) -> ProfileTable:
    latency = raw.numbers(f"latency_{own}_ms")
    batch = raw.numbers(f"batch_{own}")
    with np.errstate(divide="ignore", invalid="ignore"):
        rate_std = 1000 * batch / latency * raw.numbers(f"std_{own}_ms") / latency
    return ProfileTable.of(
        workload=raw.text(f"model_{own}"),
        role=["inference"] * len(raw),
        gpu=GPU,
        batch=batch,
        share_pct=raw.numbers(f"sm_pct_{own}"),
        neighbour=raw.text(f"model_{other}"),
        neighbour_batch=[f"{b:g}" for b in raw.numbers(f"batch_{other}")],
        neighbour_share_pct=[f"{s:g}" for s in raw.numbers(f"sm_pct_{other}")],
        latency_ms=latency,
        rate_std=rate_std,
    )


def load_gpulet_config(path: str | PathLike[str]) -> ProfileTable:
    """Read the source's own file."""
    objects, label = read_mappings(path)
    found: dict[str, dict[str, Any]] = {}
    for value in objects:
        for name, metrics in value.items():
            found.setdefault(name, {}).update(mapping_in(metrics, name, label))
    pairs = found.pop("interference", {}).get("latency", [])
    solo = [row for model, metrics in found.items() for row in _solo_rows(model, metrics, label)]
    both = [row for pair in pairs for row in _pair_rows(pair, label)]
    names = ("workload", "batch", "share_pct", "neighbour", "neighbour_batch", *_REST)
    columns: dict[str, Any] = dict(zip(names, zip(*solo, *both, strict=True), strict=False))
    rows = len(solo) + len(both)
    return ProfileTable.of(role=["inference"] * rows, gpu=GPU, **columns)


def _solo_rows(model: str, metrics: Mapping[str, Any], label: str) -> Iterator[tuple[Any, ...]]:
    dram = mapping_in(metrics.get("dram", {}), "dram", label)
    for batch, by_share in mapping_in(metrics.get("latency", {}), model, label).items():
        active = mapping_in(dram.get(batch, {}), "dram", label)
        for share, latency in mapping_in(by_share, model, label).items():
            yield (
                model,
                number_in(batch, "the batch", label),
                number_in(share, "the share", label),
                *("", "", ""),
                number_in(latency, "the latency", label),
                number_in(active[share], "dram", label) if share in active else np.nan,
            )


def _pair_rows(pair: object, label: str) -> Iterator[tuple[Any, ...]]:
    if not isinstance(pair, list) or len(pair) != 7:
        raise InputError(
            f"a pair must be a list of 7 values, not {show_value(pair)}",
            source=label,
            advice="give i-Gniter/Profile/tools/gpulet.config of the source.",
        )
    one, two = str(pair[0]), str(pair[1])
    b1, b2, share, l1, l2 = (number_in(value, "a pair's value", label) for value in pair[2:])
    yield one, b1, share, two, f"{b2:g}", f"{100 - share:g}", l1, np.nan
    yield two, b2, 100 - share, one, f"{b1:g}", f"{share:g}", l2, np.nan
