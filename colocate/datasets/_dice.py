"""Random numbers that are the same on every platform and NumPy version.

Everything is made from `Generator.random`, whose stream is fixed, with arithmetic that IEEE 754
defines exactly; the library's own distributions and libm's exp and log are left alone, because they
may change or differ in the last digit.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Dice"]

Item = TypeVar("Item")


class Dice:
    """A seeded source of the few kinds of random choices that the generator makes."""

    def __init__(self, family: str, seed: int) -> None:
        import numpy as np

        sequence = np.random.SeedSequence([seed, zlib.crc32(family.encode())])
        self._generator = np.random.Generator(np.random.PCG64(sequence))

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * float(self._generator.random())

    def whole(self, n: int) -> int:
        """Return one of 0 ... n - 1."""
        return min(n - 1, int(n * float(self._generator.random())))

    def pick(self, items: Sequence[Item]) -> Item:
        """Return one of the items."""
        return items[self.whole(len(items))]

    def split(self, total: int, parts: int) -> list[int]:
        """Return whole parts of a total, each at least 1, of uneven size."""
        weights = [50 + self.whole(150) for _ in range(parts)]
        counts = [1 + (total - parts) * w // sum(weights) for w in weights]
        for i in range(total - sum(counts)):
            counts[i % parts] += 1
        return counts

    def wholes(self, n: int, size: int) -> NDArray[np.int64]:
        """Return an array of numbers out of 0 ... n - 1."""
        import numpy as np

        return np.minimum(n - 1, (n * self._generator.random(size)).astype(np.int64))

    def distinct(self, low: float, high: float, size: int) -> NDArray[np.float64]:
        """Return numbers in [low, high), no two alike, in random order.

        Each lies in a stratum of its own, and away from its edges.
        """
        import numpy as np

        strata = np.argsort(self._generator.random(size), kind="stable")
        inside = 0.25 + 0.5 * self._generator.random(size)
        return low + (high - low) * ((strata + inside) / size)
