"""MuxServe: prefill and decode of LLaMA on A100-80GB, over share, batch, length and GPUs.

A workload is one phase of one model, on a number of GPUs, at one length of the sequences:
`llama-13b-tp2-len128-prefill`. Its batch is the number of sequences. So the latency of a prefill is
that of batch x length tokens of input, and its rate counts sequences; the latency of a decode is
that of one step with batch x length tokens in the cache, and its rate counts tokens, one for each
sequence in each step. `phase_of` takes a name apart again.

Reads `llama_prefill_decode.csv`, or the source's own `llama.json`: {model: {GPUs: {share: {batch:
{length: {"prefill": ms, "decoding": ms}}}}}} with -1 for what ran out of memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from colocate.datasets.loaders._json import mapping_in, number_in, read_mapping
from colocate.datasets.loaders._places import file_in
from colocate.errors import InputError, clean_text
from colocate.tables.raw import read_csv
from colocate.tables.table import ProfileTable

__all__ = ["LlmPhase", "load_muxserve", "phase_of"]

GPU = "A100-80GB"
_NAME = re.compile(r"(.+)-tp(\d+)-len(\d+)-(prefill|decode)")


class LlmPhase(NamedTuple):
    """What the name of a workload says."""

    model: str
    tp: int
    """GPUs that the model is spread over."""
    length: int
    """Tokens of a sequence: its prompt when filling, its cache when decoding."""
    phase: str
    """`prefill` or `decode`."""

    @property
    def workload(self) -> str:
        """The name."""
        return f"{self.model}-tp{self.tp}-len{self.length}-{self.phase}"


def phase_of(workload: str) -> LlmPhase:
    """Take the name of a workload apart."""
    found = _NAME.fullmatch(workload)
    if found is None:
        raise InputError(
            f"{clean_text(workload, 80)!r} is no phase of a language model",
            advice="give a name such as 'llama-13b-tp2-len128-prefill'.",
        )
    return LlmPhase(found[1], int(found[2]), int(found[3]), found[4])


def load_muxserve(folder: str | PathLike[str], *, gpu: str = GPU) -> ProfileTable:
    """Read the latencies of both phases; settings that ran out of memory are left out."""
    path = file_in(folder, "llama_prefill_decode.csv", "llama.json")
    cells = list(_from_json(path) if path.suffix == ".json" else _from_csv(path))
    parts = []
    for phase, of in (("prefill", 0), ("decode", 1)):
        rows = [cell for cell in cells if cell.latencies_ms[of] > 0]
        parts.append(
            ProfileTable.of(
                workload=[LlmPhase(c.model, c.tp, c.length, phase).workload for c in rows],
                role=["inference"] * len(rows),
                gpu=gpu,
                batch=np.array([cell.batch for cell in rows]),
                share_pct=np.array([cell.share for cell in rows]),
                latency_ms=np.array([cell.latencies_ms[of] for cell in rows]),
            )
        )
    return ProfileTable.join(parts)


class _Cell(NamedTuple):
    model: str
    tp: int
    share: float
    batch: float
    length: int
    latencies_ms: tuple[float, float]


def _from_csv(path: Path) -> Iterator[_Cell]:
    numbers = ("tp", "sm_pct", "batch", "seq_len", "prefill_ms", "decode_ms")
    raw = read_csv(path, ["model", *numbers])
    columns = (raw.numbers(name) for name in numbers)
    for model, tp, share, batch, length, *times in zip(raw.text("model"), *columns, strict=True):
        yield _Cell(model, int(tp), share, batch, int(length), (times[0], times[1]))


def _from_json(path: Path) -> Iterator[_Cell]:
    value, label = read_mapping(path)

    def inside(value: object, what: str) -> Iterator[tuple[float, object]]:
        for key, inner in mapping_in(value, what, label).items():
            yield number_in(key, f"{what} {key!r}", label), inner

    for model, by_tp in value.items():
        for tp, by_share in inside(by_tp, "the number of GPUs"):
            for share, by_batch in inside(by_share, "the share"):
                for batch, by_length in inside(by_batch, "the batch"):
                    for length, pair in inside(by_length, "the length"):
                        times = mapping_in(pair, "the latencies", label)
                        prefill, decode = (
                            number_in(times.get(name, -1), name, label)
                            for name in ("prefill", "decoding")
                        )
                        yield _Cell(model, int(tp), share, batch, int(length), (prefill, decode))
