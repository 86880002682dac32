"""Splitwise: prompt and token time of a large language model over batch, prompt and GPUs.

Workloads are phases as in the loader of MuxServe, on the whole GPU: `llama2-70b-tp2-len512-prefill`
with the prompt time of a batch as its latency, and `llama2-70b-tp2-len512-out128-decode`, after the
length of the prompt and of the output, with the time of one step. Each setting has five repeats.
"""

from __future__ import annotations

from os import PathLike

import numpy as np

from colocate.datasets.loaders._places import file_in, repeat_numbers
from colocate.tables.raw import read_csv
from colocate.tables.table import ProfileTable

__all__ = ["load_splitwise"]


def load_splitwise(folder: str | PathLike[str]) -> ProfileTable:
    """Read `perf_model.csv`."""
    sizes = ("prompt_size", "batch_size", "token_size", "tensor_parallel")
    needed = ["model", "hardware", *sizes, "prompt_time", "token_time"]
    raw = read_csv(file_in(folder, "perf_model.csv"), needed)
    prompt, batch, output, tp = (raw.numbers(name) for name in sizes)
    gpu = np.array([name.upper() for name in raw.text("hardware")], dtype=object)
    model = raw.text("model")
    parts = []
    for phase, time in (("prefill", "prompt_time"), ("decode", "token_time")):
        names = [
            f"{model[i]}-tp{tp[i]:g}-len{prompt[i]:g}"
            + (f"-out{output[i]:g}" if phase == "decode" else "")
            + f"-{phase}"
            for i in range(len(raw))
        ]
        parts.append(
            ProfileTable.of(
                workload=names,
                role=["inference"] * len(raw),
                gpu=gpu,
                batch=batch,
                share_pct=np.full(len(raw), 100.0),
                latency_ms=raw.numbers(time),
                repeat=repeat_numbers(names, gpu, batch),
            )
        )
    return ProfileTable.join(parts)
