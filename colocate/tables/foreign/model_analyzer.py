"""CSV results of Triton Model Analyzer: `metrics-model-inference.csv` and its companions.

Layout of Model Analyzer 1.2x (`result_table_manager.py`, `docs/config.md`, default output fields):
inference has `Model, Batch, Concurrency, Model Config Path, Instance Group, Max Batch Size,
Satisfies Constraints, Throughput (infer/sec), p99 Latency (ms)` and, where asked for, `Request
Rate` and `Avg Latency (ms)`; gpu has `Model, GPU UUID, Batch, Concurrency, Model Config Path, ..,
GPU Memory Usage (MB)`; server-only has `Model, GPU UUID, GPU Memory Usage (MB)`. In older releases
the GPU's column is `GPU ID`. Rates count inferences.

Of the rows of one model and batch that differ in concurrency or configuration, the fastest is kept:
it is the server's rate when it never lacks work. Latencies are those of clients and include
waiting, so they are taken at concurrency 1, or under an open load (`Request Rate`), only.

Memory: the largest over the GPUs, less what the server alone takes there, where both companions are
given. "MB" are MiB (DCGM's unit). The `GPU Utilization (%)` of these files says whether any kernel
ran, not how many multiprocessors did; it is no SM activity and is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from colocate.errors import InputError, clean_text
from colocate.io.files import Source
from colocate.tables.foreign._made import made, name_from
from colocate.tables.foreign.perf_analyzer import slower_ones
from colocate.tables.raw import RawCsv, read_csv
from colocate.tables.read import TableFile

__all__ = ["read"]

NOTHING = ("", "None", "N/A")
MEMORY = ("GPU Memory Usage (MB)", "Max GPU Memory Usage (MB)")
CONFIG = "Model Config Path"


def read(
    path: Source,
    *,
    workload: str | None = None,
    gpu: str | None = None,
    share_pct: float = 100.0,
    role: str = "inference",
    gpu_path: Source | None = None,
    server_path: Source | None = None,
    config: str | None = None,
    every_concurrency: bool = False,
) -> TableFile:
    """Read the results of a profiling run.

    Parameters
    ----------
    path
        `metrics-model-inference.csv`.
    workload, gpu, share_pct, role
        What was measured where; without `workload` it is the name of the model.
    gpu_path, server_path
        `metrics-model-gpu.csv` and `metrics-server-only.csv`, for the memory.
    config
        Keep one `Model Config Path` only.
    every_concurrency
        Keep all rows, not only the fastest of each batch.
    """
    raw = read_csv(path, ["Model", "Batch", "Throughput (infer/sec)"])
    rate = raw.numbers("Throughput (infer/sec)", nothing=NOTHING)
    batch = raw.numbers("Batch", nothing=NOTHING)
    load = _numbers(raw, "Request Rate")
    concurrency = _numbers(raw, "Concurrency")
    configs = _text(raw, CONFIG)
    left_out: dict[int, str] = {}
    if config is not None:
        left_out = dict.fromkeys(np.flatnonzero(configs != config).tolist(), f"is not of {config}")
        if len(left_out) == len(raw):
            raise InputError(
                f"no row of {raw.label!r} has the configuration {clean_text(config, 60)!r}",
                source=raw.label,
                advice="name one of the column 'Model Config Path'.",
            )
    models = raw.text("Model")
    if not every_concurrency:
        wanted = [i for i in range(len(raw)) if i not in left_out]
        same = [(models[i], batch[i], str(load[i])) for i in wanted]
        slower = slower_ones(rate[wanted], same)
        left_out |= {wanted[i]: reason for i, reason in slower.items()}
    waits = np.where((concurrency == 1) | (load > 0), 1.0, np.nan)
    memory = _memory(raw, gpu_path, server_path)
    return made(
        raw.label,
        len(raw),
        gpu=gpu,
        role=role,
        share_pct=share_pct,
        lines=raw.lines,
        left_out=left_out,
        workload=[name_from(raw.label, workload, model) for model in models],
        batch=batch,
        rate=rate,
        latency_ms=_numbers(raw, "Avg Latency (ms)") * np.where(load > 0, np.nan, waits),
        latency_p99_ms=_numbers(raw, "p99 Latency (ms)") * waits,
        arrival_rps=load * batch,
        memory_gib=memory,
    )


def _text(raw: RawCsv, name: str) -> NDArray[np.object_]:
    return raw.text(name) if name in raw.columns else np.full(len(raw), "", dtype=object)


def _numbers(raw: RawCsv, name: str) -> NDArray[np.float64]:
    if name not in raw.columns:
        return np.full(len(raw), np.nan)
    found = raw.numbers(name, nothing=NOTHING)
    return np.where(found > 0, found, np.nan)


def _memory(
    raw: RawCsv, gpu_path: Source | None, server_path: Source | None
) -> NDArray[np.float64]:
    """Return the memory of the model in each row, in GiB; nan where the files do not tell."""
    found = np.full(len(raw), np.nan)
    if gpu_path is None:
        return found
    used = read_csv(gpu_path, ["Model", "Batch"])
    server = {}
    if server_path is not None:
        alone = read_csv(server_path)
        taken = alone.numbers(_memory_column(alone), nothing=NOTHING)
        server = dict(zip(_device(alone), np.nan_to_num(taken).tolist(), strict=True))
    most: dict[tuple[str, ...], float] = {}
    values = zip(_keys(used), _device(used), _numbers(used, _memory_column(used)), strict=True)
    for key, device, value in values:
        own = value - server.get(device, 0.0)
        most[key] = max(most.get(key, 0.0), own)
    for i, key in enumerate(_keys(raw)):
        own = most.get(key, 0.0)
        found[i] = own / 1024 if own > 0 else np.nan
    return found


def _keys(raw: RawCsv) -> list[tuple[str, ...]]:
    names = ("Model", "Batch", "Concurrency", "Request Rate", CONFIG)
    return list(zip(*(_text(raw, name) for name in names), strict=True))


def _device(raw: RawCsv) -> list[str]:
    return list(_text(raw, "GPU UUID" if "GPU UUID" in raw.columns else "GPU ID"))


def _memory_column(raw: RawCsv) -> str:
    for name in MEMORY:
        if name in raw.columns:
            return name
    raise InputError(
        f"{raw.label!r} has no column {MEMORY[0]!r}",
        source=raw.label,
        advice="let Model Analyzer write gpu_used_memory (--gpu-output-fields).",
    )
