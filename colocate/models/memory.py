"""Device memory: by batch, times processes. Unknown memory is never zero."""

from __future__ import annotations

from colocate.profile import Profile

__all__ = ["memory_per_process"]


def memory_per_process(profile: Profile, batch: int) -> float | None:
    """Return GiB of one process: that of the smallest listed batch of at least this size.

    None when no listed batch is that large.
    """
    for point in profile.memory:
        if point.batch >= batch:
            return point.memory_gib
    return None
