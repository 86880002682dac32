"""Built-in workloads: networks with random weights and made-up data, so that nothing is fetched.

PyTorch is imported only when one of them runs. `synthetic` needs nothing and no GPU: its rate is a
formula, which makes it possible to test whoever measures.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from colocate.executor.measure.worker import Load

__all__ = ["BUILTIN", "Builtin", "make"]


class Builtin(NamedTuple):
    """A built-in workload."""

    role: Literal["inference", "training"] | None
    """None stands for either."""
    module: str
    what: str
    """What one sample is."""


BUILTIN: Final = {
    "resnet50-inference": Builtin("inference", "inference", "an image of 224 x 224, classified"),
    "bert-inference": Builtin("inference", "inference", "a text of 128 tokens, through BERT-base"),
    "gpt2-inference": Builtin("inference", "inference", "16 tokens after a prompt of 128"),
    "resnet50-training": Builtin("training", "training", "an image of 224 x 224"),
    "vgg16-training": Builtin("training", "training", "an image of 224 x 224"),
    "bert-training": Builtin("training", "training", "a text of 128 tokens, through BERT-base"),
    "lstm-training": Builtin("training", "training", "35 tokens, through two layers of 650"),
    "matmul": Builtin(None, "matmul", "a product of two square matrices"),
    "synthetic": Builtin(None, "synthetic", "a while, by a formula"),
}


def make(name: str, *, device: str = "cuda", size: str = "full") -> Load:
    """Return a built-in workload, ready to be told its batch size.

    Parameters
    ----------
    name
        One of `BUILTIN`.
    device
        Where PyTorch runs it; `cpu` is for tests.
    size
        `full`, or `tiny`: the same network with so few channels that a CPU can do it.
    """
    module = importlib.import_module(f"colocate.executor.measure.workloads.{BUILTIN[name].module}")
    load: Load = module.make(name, device=device, size=size)
    return load
