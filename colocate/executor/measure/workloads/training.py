"""Training loops: forward, backward, a step of the optimiser, on made-up data from the host."""

from __future__ import annotations

from typing import Any

from colocate.executor.measure.workloads import networks
from colocate.executor.measure.workloads.on_torch import TorchLoad

__all__ = ["make"]

TEXT = 128
LSTM_TEXT = 35


class _Training(TorchLoad):
    """One network and its optimiser; matrix products in half precision where the GPU has bf16."""

    def __init__(self, kind: str, device: str, *, tiny: bool) -> None:
        super().__init__(device)
        torch = self.torch
        self.kind, self.tiny = kind, tiny
        build = {
            "resnet50-training": networks.resnet50,
            "vgg16-training": networks.vgg16,
            "bert-training": networks.bert,
            "lstm-training": networks.lstm,
        }[kind]
        self.images = kind in ("resnet50-training", "vgg16-training")
        network = build(tiny=tiny).train().to(self.device)
        if self.images:
            network = network.to(memory_format=torch.channels_last)
        self.network = network
        parameters = network.parameters()
        if kind == "bert-training":
            self.optimiser = torch.optim.AdamW(parameters, lr=1e-5)
        else:
            self.optimiser = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)
        # fp16 would need its losses scaled; without bf16 it stays at single precision
        bf16 = self.on_gpu and self.half == torch.bfloat16
        self.mixed = bf16 and kind != "lstm-training"  # not every cuDNN has LSTMs in bf16
        self.given: list[Any] = []
        self.turn = 0

    def build(self, batch: int) -> None:
        """Make two batches on the host, to take turns."""
        torch = self.torch
        self.given = []
        for _ in range(2):
            if self.images:
                side = 32 if self.tiny else 224
                x = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
                y = torch.randint(0, 1000, (batch,))
            else:
                length = LSTM_TEXT if self.kind == "lstm-training" else TEXT
                x = torch.randint(0, self.network.words, (batch, length))
                y = torch.randint(0, self.network.words, (batch, length))
            self.given.append((x.pin_memory(), y.pin_memory()) if self.on_gpu else (x, y))

    def forget(self) -> None:
        """Drop the batches, and what is left of the last step."""
        self.given = []
        self.optimiser.zero_grad(set_to_none=True)

    def once(self) -> None:
        """Make one step."""
        torch = self.torch
        x, y = (t.to(self.device, non_blocking=True) for t in self.given[self.turn])
        self.turn = 1 - self.turn
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            scores = self.network(x)
            loss = torch.nn.functional.cross_entropy(
                scores.reshape(-1, scores.shape[-1]), y.reshape(-1)
            )
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


def make(name: str, *, device: str, size: str) -> TorchLoad:
    """Return a training loop."""
    return _Training(name, device, tiny=size == "tiny")
