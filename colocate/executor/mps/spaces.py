"""The namespace of a unit: what the v3 daemon enforces for its processes."""

from __future__ import annotations

from colocate.executor.mps import encode
from colocate.executor.ports import Space
from colocate.executor.unit import Unit

__all__ = ["space_of"]


def space_of(unit: Unit, *, low_priority: bool = False) -> Space:
    """Return the namespace that a unit's processes connect through in the v3 dialect.

    `colocate.executor.mps.NodeDaemons.environment` leads them there.
    """
    return Space(
        name=encode.space_name(unit.key),
        share_pct=unit.share_pct,
        memory_limit_mib=unit.memory_limit_mib,
        low_priority=low_priority,
    )
