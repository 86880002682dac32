"""Measurements in other tools' files, as profile tables.

Every reader is called as `read(path, *, workload=None, gpu=None, share_pct=100.0, role="inference",
...)` and returns a `TableFile`. What the file does not say comes from these arguments; where one is
needed and missing, the error says which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from colocate.errors import InputError, clean_text
from colocate.tables.foreign import aiperf, dcgm, model_analyzer, perf_analyzer, vllm_bench
from colocate.tables.read import TableFile

__all__ = ["READERS", "reader"]

READERS: Final[dict[str, Callable[..., TableFile]]] = {
    "aiperf": aiperf.read,
    "dcgm": dcgm.read,
    "model-analyzer": model_analyzer.read,
    "perf-analyzer": perf_analyzer.read,
    "vllm-bench": vllm_bench.read,
}
"""From the name of a format to its reader."""


def reader(name: str) -> Callable[..., TableFile]:
    """Return the reader of a format."""
    if name not in READERS:
        raise InputError(
            f"there is no format named {clean_text(name, 60)!r} (known: {', '.join(READERS)})",
            advice="write one of these names.",
        )
    return READERS[name]
