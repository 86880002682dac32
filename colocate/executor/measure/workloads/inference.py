"""Inference servers: a batch goes to the GPU, through a network, and the answer comes back.

Every batch is computed as a full one, whatever is in it, as servers with fixed shapes do; the model
of the batching queue assumes the same.
"""

from __future__ import annotations

from typing import Any

from colocate.executor.measure.workloads import networks
from colocate.executor.measure.workloads.on_torch import TorchLoad

__all__ = ["make"]

LENGTH = 128
NEW_TOKENS = 16


class _Server(TorchLoad):
    """One network; the answer of each batch is on the host before the next one starts."""

    def __init__(self, kind: str, device: str, *, tiny: bool) -> None:
        super().__init__(device)
        self.kind, self.tiny = kind, tiny
        build = {
            "resnet50-inference": networks.resnet50,
            "bert-inference": networks.bert,
            "gpt2-inference": networks.decoder,
        }[kind]
        network = build(tiny=tiny).eval().to(device=self.device, dtype=self.half)
        if kind == "resnet50-inference":
            network = network.to(memory_format=self.torch.channels_last)
        self.network = network.requires_grad_(False)
        self.given: Any = None
        self.there: Any = None
        self.caches: list[Any] = []

    def build(self, batch: int) -> None:
        """Make a batch on the host, and room for it on the device."""
        torch = self.torch
        if self.kind == "resnet50-inference":
            side = 32 if self.tiny else 224
            given = torch.randn(batch, 3, side, side).to(self.half)
            given = given.contiguous(memory_format=torch.channels_last)
        else:
            given = torch.randint(0, self.network.words, (batch, LENGTH))
        self.given = given.pin_memory() if self.on_gpu else given
        self.there = torch.empty_like(self.given, device=self.device)
        if self.kind == "gpt2-inference":
            self.caches = self.network.caches(batch, LENGTH + NEW_TOKENS)

    def forget(self) -> None:
        """Drop the batch."""
        self.given = self.there = None
        self.caches = []

    def once(self) -> None:
        """Answer one batch."""
        with self.torch.inference_mode():
            self.there.copy_(self.given, non_blocking=True)
            self._answer().cpu()

    def step(self) -> None:
        """Answer one batch; `cpu` has waited for it."""
        self.once()

    def _answer(self) -> Any:  # noqa: ANN401 - a tensor
        if self.kind == "resnet50-inference":
            return self.network(self.there).argmax(-1)
        if self.kind == "bert-inference":
            return self.network.encode(self.there)[:, 0]
        tokens = self.network(self.there, self.caches, 0)
        answer = [tokens]
        for i in range(NEW_TOKENS - 1):
            tokens = self.network(tokens, self.caches, LENGTH + i)
            answer.append(tokens)
        return self.torch.cat(answer, 1)


def make(name: str, *, device: str, size: str) -> TorchLoad:
    """Return an inference server."""
    return _Server(name, device, tiny=size == "tiny")
