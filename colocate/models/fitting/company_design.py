"""The columns of a large regression, of which each row uses only a few.

    X = [D S],   D full,   S with the same small number of entries in each row

A row has the knots of its victim, those of its neighbour and one number for its pair; with 160
workloads that is a hundredth of all columns. Products cost what there is, not what there could be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

__all__ = ["Design"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Design(NamedTuple):
    """The rows of X."""

    full: Floats
    """D: [row, column]."""
    at: Ints
    """[row, entry]: the column of S that an entry is in."""
    entries: Floats
    """[row, entry]."""
    width: int
    """Columns of S."""

    @classmethod
    def of(cls, full: Floats) -> Design:
        """Return a design without any S."""
        nothing = np.zeros((len(full), 0))
        return cls(full, nothing.astype(np.int64), nothing, 0)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.full), self.full.shape[1] + self.width

    def dense(self, rows: Ints) -> tuple[Floats, Ints]:
        """Return some rows without the columns that none of them uses, and which columns stay."""
        split = self.full.shape[1]
        used, place = np.unique(self.at[rows], return_inverse=True)
        found = np.zeros((rows.size, split + used.size))
        found[:, :split] = self.full[rows]
        place = split + place.reshape(rows.size, self.at.shape[1])
        found[np.arange(rows.size)[:, None], place] = self.entries[rows]
        return found, np.concatenate([np.arange(split), split + used])

    def scaled(self, by: Floats) -> Design:
        """Return the rows, each times a number."""
        return self._replace(full=self.full * by[:, None], entries=self.entries * by[:, None])

    def __matmul__(self, right: ArrayLike) -> Floats:
        """Return X r, for a column or several."""
        r = np.asarray(right, dtype=np.float64)
        split = self.full.shape[1]
        found: Floats = self.full @ r[:split] + self._sparse() @ r[split:]
        return found

    def moments(self, y: Floats) -> Floats:
        """Return X' y."""
        return np.concatenate([self.full.T @ y, self._sparse().T @ y])

    def gram(self) -> Floats:
        """Return the lower half of X' X; what is above is not to be used."""
        n, split = self.shape[1], self.full.shape[1]
        found = np.zeros((n, n))
        found[:split, :split] = self.full.T @ self.full
        if self.width:
            sparse = self._sparse()
            found[split:, :split] = sparse.T @ self.full
            found[split:, split:] = (sparse.T @ sparse).toarray()
        return found

    def _sparse(self) -> csr_array:
        rows, entries = self.at.shape
        starts = np.arange(0, rows * entries + 1, entries) if entries else np.zeros(rows + 1, int)
        return csr_array((self.entries.ravel(), self.at.ravel(), starts), shape=(rows, self.width))
