"""The GPUs of this node, as the driver tells of them through NVML; DCGM where it is present."""

from __future__ import annotations

from colocate.executor.nvml.gpus import NvmlGpus

__all__ = ["NvmlGpus"]
