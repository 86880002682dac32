"""What all workloads of PyTorch share: the device, its memory, and honest ends of batches."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from colocate.executor.measure.worker import CannotError

__all__ = ["TorchLoad", "cannot_for_memory", "import_torch"]

IN_FLIGHT = 2
"""Steps of a training loop that the GPU may lag behind the program."""
MULTIPROCESSOR_COUNT = 16
"""CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT of the CUDA driver API."""


def import_torch() -> Any:  # noqa: ANN401 - PyTorch has types of its own, and is not always there
    """Return PyTorch."""
    try:
        import torch  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        msg = "PyTorch is not installed for this Python"
        raise CannotError(msg) from None
    return torch


class TorchLoad(ABC):
    """A network on one device; what it does in a step is up to those that build on it.

    Parameters
    ----------
    device
        `cuda` or `cpu`.
    """

    def __init__(self, device: str) -> None:
        self.torch = torch = import_torch()
        self.on_gpu = device.startswith("cuda")
        if self.on_gpu and not torch.cuda.is_available():
            msg = "PyTorch sees no GPU"
            raise CannotError(msg)
        self.device = torch.device(device)
        torch.manual_seed(1)
        torch.set_num_threads(1)
        if self.on_gpu:
            torch.backends.cudnn.benchmark = True
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.backends.cudnn.allow_tf32 = True
            bf16 = torch.cuda.get_device_capability(self.device)[0] >= 8
            self.half = torch.bfloat16 if bf16 else torch.float16
            torch.zeros(1, device=self.device)  # makes the context: from here on MPS serves it
            torch.cuda.synchronize(self.device)
        else:
            self.half = torch.float32
        self.batch = 0
        self._events: deque[Any] = deque()

    # -- for those that build on it ------------------------------------------------------------

    @abstractmethod
    def build(self, batch: int) -> None:
        """Make inputs, and whatever else depends on the batch size."""

    @abstractmethod
    def forget(self) -> None:
        """Drop what `build` made."""

    @abstractmethod
    def once(self) -> None:
        """Work on one batch, without waiting for the GPU."""

    # -- what a worker needs -------------------------------------------------------------------

    def prepare(self, batch: int) -> None:
        """Make room, build for the batch size and run a few batches."""
        torch = self.torch
        self.finish()
        if batch == self.batch:
            if self.on_gpu:
                torch.cuda.reset_peak_memory_stats(self.device)
            return
        self.batch = 0
        self.forget()
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            self.batch = batch
            self.build(batch)
            for _ in range(3):
                self.once()
            self.finish()
        except RuntimeError as failed:
            raise cannot_for_memory(torch, failed, self._drop) from None

    def step(self) -> None:
        """Work on one batch, and let the GPU lag behind by a few at most."""
        self.once()
        if not self.on_gpu:
            return
        event = self.torch.cuda.Event()
        event.record()
        self._events.append(event)
        if len(self._events) > IN_FLIGHT:
            self._events.popleft().synchronize()

    def facts(self) -> Mapping[str, Any]:
        """Return what the device says of itself, to this process."""
        torch = self.torch
        found: dict[str, Any] = {"torch": str(torch.__version__), "device": "cpu"}
        if self.on_gpu:
            about = torch.cuda.get_device_properties(self.device)
            found["device"] = str(about.name)
            found["sm_count"] = int(about.multi_processor_count)
            found["sm_count_driver"] = _asked_of_the_driver()
            found["memory_mib"] = float(about.total_memory) / 2**20
            found["cuda"] = str(torch.version.cuda)
        return found

    def memory_mib(self) -> float | None:
        """Return the most that PyTorch has reserved since `prepare`; the context is not in it."""
        if not self.on_gpu:
            return None
        return float(self.torch.cuda.max_memory_reserved(self.device)) / 2**20

    def finish(self) -> None:
        """Wait until nothing is on the device."""
        self._events.clear()
        if self.on_gpu:
            self.torch.cuda.synchronize(self.device)

    def _drop(self) -> None:
        self.batch = 0
        self._events.clear()
        self.forget()
        gc.collect()
        if self.on_gpu:
            with contextlib.suppress(RuntimeError):
                self.torch.cuda.empty_cache()


def cannot_for_memory(
    torch: Any,  # noqa: ANN401 - see above
    failed: RuntimeError,
    drop: Callable[[], None],
) -> Exception:
    """Return what to raise: for want of memory it cannot run; anything else stays what it was.

    Not every such error has a type of its own: cuBLAS and cuDNN report theirs as text.
    """
    text = str(failed)
    is_memory = isinstance(failed, torch.cuda.OutOfMemoryError) or any(
        word in text.lower() for word in ("out of memory", "alloc_failed")
    )
    if not is_memory:
        return failed
    drop()
    return CannotError(f"out of memory: {text.splitlines()[0][:200]}")


def _asked_of_the_driver() -> int | None:
    """Return the multiprocessors as the driver tells them, past PyTorch."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        found = ctypes.c_int()
        code = driver.cuDeviceGetAttribute(ctypes.byref(found), MULTIPROCESSOR_COUNT, 0)
    except (OSError, AttributeError):
        return None
    return found.value if code == 0 else None
