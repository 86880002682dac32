"""The networks, in plain PyTorch: ResNet-50, VGG-16, BERT-base, a decoder as large as GPT-2, LSTM.

Shapes follow the papers: He et al. 2015 (arXiv 1512.03385; the stride is in the 3 x 3 convolution,
as is usual today), Simonyan and Zisserman 2014 (arXiv 1409.1556), Devlin et al. 2018 (arXiv
1810.04805), Radford et al. 2019, and the LSTM language model of Zaremba et al. 2014 (arXiv
1409.2329, medium). Weights are random.
"""

from __future__ import annotations

from typing import Any

from colocate.executor.measure.workloads.on_torch import import_torch

__all__ = ["bert", "decoder", "lstm", "resnet50", "vgg16"]


def resnet50(*, tiny: bool = False) -> Any:  # noqa: ANN401 - a module of PyTorch
    """Return ResNet-50 for a thousand classes."""
    nn = import_torch().nn
    width = 4 if tiny else 64
    depths = (1, 1, 1, 1) if tiny else (3, 4, 6, 3)

    class Bottleneck(nn.Module):  # type: ignore[name-defined,misc]
        """1 x 1, 3 x 3, 1 x 1, with a shortcut."""

        def __init__(self, inside: int, middle: int, stride: int) -> None:
            super().__init__()
            outside = 4 * middle
            self.body = nn.Sequential(
                nn.Conv2d(inside, middle, 1, bias=False),
                nn.BatchNorm2d(middle),
                nn.ReLU(inplace=True),
                nn.Conv2d(middle, middle, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(middle),
                nn.ReLU(inplace=True),
                nn.Conv2d(middle, outside, 1, bias=False),
                nn.BatchNorm2d(outside),
            )
            self.short = nn.Identity()
            if stride != 1 or inside != outside:
                self.short = nn.Sequential(
                    nn.Conv2d(inside, outside, 1, stride=stride, bias=False),
                    nn.BatchNorm2d(outside),
                )
            self.end = nn.ReLU(inplace=True)

        def forward(self, x: Any) -> Any:  # noqa: ANN401 - a tensor
            return self.end(self.body(x) + self.short(x))

    layers = [
        nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    inside = width
    for i, depth in enumerate(depths):
        middle = width * 2**i
        for j in range(depth):
            layers.append(Bottleneck(inside, middle, 2 if i and not j else 1))
            inside = 4 * middle
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 1000))


def vgg16(*, tiny: bool = False) -> Any:  # noqa: ANN401 - a module of PyTorch
    """Return VGG-16 for a thousand classes."""
    nn = import_torch().nn
    part = 16 if tiny else 1
    layers: list[Any] = []
    inside = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(inside, width // part, 3, padding=1), nn.ReLU(inplace=True)]
            inside = width // part
        layers.append(nn.MaxPool2d(2))
    hidden = 4096 // part
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(7),
        nn.Flatten(),
        nn.Linear(inside * 49, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(hidden, 1000),
    )


def _block(width: int, heads: int, *, first_normalised: bool) -> Any:  # noqa: ANN401
    """Return one layer of a transformer: attention and two dense layers, with shortcuts."""
    torch = import_torch()
    nn, functional = torch.nn, torch.nn.functional

    class Block(nn.Module):  # type: ignore[name-defined,misc]
        """Attention over what is given, and over a cache of what came before."""

        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)
            self.dense = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

        def forward(self, x: Any, cache: Any = None, at: int = 0, causal: bool = False) -> Any:  # noqa: ANN401
            if first_normalised:
                x = x + self.attend(self.norm1(x), cache, at, causal=causal)
                return x + self.dense(self.norm2(x))
            x = self.norm1(x + self.attend(x, cache, at, causal=causal))
            return self.norm2(x + self.dense(x))

        def attend(self, x: Any, cache: Any, at: int, *, causal: bool) -> Any:  # noqa: ANN401
            n, length, _ = x.shape
            shaped = self.qkv(x).view(n, length, 3, heads, width // heads)
            q, k, v = shaped.permute(2, 0, 3, 1, 4)
            if cache is not None:
                cache[0][:, :, at : at + length] = k
                cache[1][:, :, at : at + length] = v
                k, v = cache[0][:, :, : at + length], cache[1][:, :, : at + length]
            # one token may look at all that came before it, so only several need the triangle
            found = functional.scaled_dot_product_attention(
                q, k, v, is_causal=causal and length > 1
            )
            return self.out(found.transpose(1, 2).reshape(n, length, width))

    return Block()


def bert(*, tiny: bool = False) -> Any:  # noqa: ANN401 - a module of PyTorch
    """Return BERT-base with a word to guess at every place."""
    torch = import_torch()
    nn = torch.nn
    layers, width, heads, words = (2, 32, 4, 100) if tiny else (12, 768, 12, 30522)

    class Bert(nn.Module):  # type: ignore[name-defined,misc]
        """Words and places in, scores of words out."""

        def __init__(self) -> None:
            super().__init__()
            self.words = words
            self.word = nn.Embedding(words, width)
            self.place = nn.Embedding(512, width)
            self.norm = nn.LayerNorm(width)
            blocks = [_block(width, heads, first_normalised=False) for _ in range(layers)]
            self.blocks = nn.ModuleList(blocks)
            self.head = nn.Linear(width, words)

        def encode(self, tokens: Any) -> Any:  # noqa: ANN401
            places = torch.arange(tokens.shape[1], device=tokens.device)
            x = self.norm(self.word(tokens) + self.place(places))
            for block in self.blocks:
                x = block(x)
            return x

        def forward(self, tokens: Any) -> Any:  # noqa: ANN401
            return self.head(self.encode(tokens))

    return Bert()


def decoder(*, tiny: bool = False) -> Any:  # noqa: ANN401 - a module of PyTorch
    """Return a decoder of GPT-2's smallest size."""
    torch = import_torch()
    nn = torch.nn
    layers, width, heads, words = (2, 32, 4, 100) if tiny else (12, 768, 12, 50257)

    class Decoder(nn.Module):  # type: ignore[name-defined,misc]
        """Tokens in, the most likely next ones out, with a cache of keys and values."""

        def __init__(self) -> None:
            super().__init__()
            self.words, self.layers, self.heads, self.width = words, layers, heads, width
            self.word = nn.Embedding(words, width)
            self.place = nn.Embedding(1024, width)
            blocks = [_block(width, heads, first_normalised=True) for _ in range(layers)]
            self.blocks = nn.ModuleList(blocks)
            self.norm = nn.LayerNorm(width)

        def caches(self, batch: int, length: int) -> list[Any]:
            """Return an empty cache for each layer: keys and values."""
            like = self.word.weight
            shape = (2, batch, heads, length, width // heads)
            return [torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in self.blocks]

        def forward(self, tokens: Any, caches: list[Any], at: int) -> Any:  # noqa: ANN401
            places = torch.arange(at, at + tokens.shape[1], device=tokens.device)
            x = self.word(tokens) + self.place(places)
            for block, cache in zip(self.blocks, caches, strict=True):
                x = block(x, cache, at, causal=True)
            # the head shares its weights with the words
            return (self.norm(x[:, -1]) @ self.word.weight.t()).argmax(-1, keepdim=True)

    return Decoder()


def lstm(*, tiny: bool = False) -> Any:  # noqa: ANN401 - a module of PyTorch
    """Return a language model of two LSTM layers."""
    nn = import_torch().nn
    width, words = (16, 100) if tiny else (650, 10_000)

    class Lstm(nn.Module):  # type: ignore[name-defined,misc]
        """Tokens in, scores of next tokens out."""

        def __init__(self) -> None:
            super().__init__()
            self.words = words
            self.word = nn.Embedding(words, width)
            self.body = nn.LSTM(width, width, num_layers=2, dropout=0.5, batch_first=True)
            self.head = nn.Linear(width, words)

        def forward(self, tokens: Any) -> Any:  # noqa: ANN401
            return self.head(self.body(self.word(tokens))[0])

    return Lstm()
