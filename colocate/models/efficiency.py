"""How much a training batch is worth: statistical efficiency with the gradient noise scale.

A larger batch gives more samples per second and less progress per sample (Pollux, OSDI'21). With
the gradient noise scale g, in samples, and the reference batch m0 that progress is counted in,

    e(m) = (g + m0) / (g + m),      goodput(m) = rate(m) * e(m)

1 at m = m0, below 1 above it. IADeep's measure of a co-location divides by e; its released code
multiplies. With g = 0 only steps count, with a large g every sample does.

There are two faces: `efficiencies` over arrays, and `efficiency_at` in plain arithmetic. The batch
is what all workers of a gang take together, gang size times batch of a worker; `efficiency_of_task`
does that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from colocate.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from colocate.instance import Task

__all__ = ["best_batch", "efficiencies", "efficiency_at", "efficiency_of_task"]


def efficiencies(
    batch: ArrayLike, reference_batch: float, noise_scale: float
) -> NDArray[np.float64]:
    """Return progress per sample at each batch, relative to the reference batch."""
    import numpy as np

    m = np.asarray(batch, dtype=np.float64)
    for value in (m.min(), m.max()) if m.size else ():
        _check(float(value), reference_batch, noise_scale)
    found: NDArray[np.float64] = np.divide(noise_scale + reference_batch, noise_scale + m)
    return found


def efficiency_at(batch: float, reference_batch: float, noise_scale: float) -> float:
    """Return progress per sample at one batch, relative to the reference batch."""
    _check(batch, reference_batch, noise_scale)
    return (noise_scale + reference_batch) / (noise_scale + batch)


def efficiency_of_task(task: Task, batch: int) -> float:
    """Return progress per sample of a task whose workers each train at this batch."""
    if task.noise_scale is None:
        return 1.0
    workers = task.gang_size
    return efficiency_at(workers * batch, workers * task.batch, task.noise_scale)


def best_batch(
    batches: Sequence[int], rates: Sequence[float], reference_batch: float, noise_scale: float
) -> tuple[int, float]:
    """Return the batch with the largest goodput, and that goodput; the smallest of equals.

    Parameters
    ----------
    batches, rates
        Samples per second at each batch, at the share and in the company in question.
    reference_batch
        The batch that progress is counted in.
    noise_scale
        Gradient noise scale, in samples.

    Raises
    ------
    InputError
        When there is nothing to choose from, or not a rate for every batch.
    """
    if not batches or len(batches) != len(rates):
        raise InputError(
            f"there are {len(batches)} batches and {len(rates)} rates to choose from",
            advice="give one rate for each of at least one batch.",
        )
    goodputs = [
        (rate * efficiency_at(batch, reference_batch, noise_scale), batch)
        for batch, rate in zip(batches, rates, strict=True)
    ]
    goodput, batch = min(goodputs, key=lambda found: (-found[0], found[1]))
    return batch, goodput


def _check(batch: float, reference_batch: float, noise_scale: float) -> None:
    fine = all(math.isfinite(x) for x in (batch, reference_batch, noise_scale))
    if not fine or batch <= 0 or reference_batch <= 0 or noise_scale < 0:
        raise InputError(
            f"no efficiency for batch {batch:g}, reference batch {reference_batch:g} "
            f"and gradient noise scale {noise_scale:g}",
            advice="give batches above 0 and a noise scale of at least 0.",
        )
