"""Products of two matrices, one after the other: what multiprocessors are for.

The batch size is the number of products in a step. Nothing but arithmetic limits it, so its rate
tells how many multiprocessors a process really gets.
"""

from __future__ import annotations

from typing import Any

from colocate.executor.measure.workloads.on_torch import TorchLoad, cannot_for_memory

__all__ = ["make"]


class _Matmul(TorchLoad):
    def __init__(self, device: str, *, tiny: bool) -> None:
        super().__init__(device)
        n = 64 if tiny else 4096
        torch = self.torch
        self.left = torch.randn(n, n, device=self.device, dtype=self.half)
        self.right = torch.randn(n, n, device=self.device, dtype=self.half)
        self.taken: list[Any] = []
        self.out: Any = torch.empty(n, n, device=self.device, dtype=self.half)

    def build(self, batch: int) -> None:
        """Need nothing more."""
        del batch

    def forget(self) -> None:
        """Keep the matrices: they do not depend on the batch."""

    def take(self, mib: int) -> None:
        """Take device memory and keep it, to see whether a limit holds."""
        torch = self.torch
        try:
            taken = torch.empty(mib * 2**20, dtype=torch.uint8, device=self.device)
            taken.fill_(1)  # not only asked for: there
            self.finish()
        except RuntimeError as failed:
            raise cannot_for_memory(torch, failed, lambda: None) from None
        self.taken.append(taken)

    def once(self) -> None:
        """Multiply."""
        for _ in range(self.batch):
            self.torch.matmul(self.left, self.right, out=self.out)


def make(name: str, *, device: str, size: str) -> TorchLoad:
    """Return the products."""
    del name
    return _Matmul(device, tiny=size == "tiny")
