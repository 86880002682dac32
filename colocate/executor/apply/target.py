"""A state of the node that can be asked for: which units run, and what each daemon enforces.

The same noun serves for what a plan wants and for what was there before, to go back to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from colocate.executor.apply.checks import CheckedLimits, CheckedUnit, GpuUuid
from colocate.schema import Frozen, ListOf

if TYPE_CHECKING:
    from colocate.executor.ports import Limits
    from colocate.executor.unit import Unit

__all__ = ["GpuTarget", "Target"]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class GpuTarget(Frozen):
    """What is asked of one GPU's daemon."""

    gpu: GpuUuid
    limits: CheckedLimits | None
    """None asks for no daemon of ours."""


class Target(Frozen):
    """What is to be true of the node."""

    gpus: Annotated[tuple[GpuTarget, ...], ListOf] = ()
    """By UUID. GPUs that are not listed are left alone."""
    units: Annotated[tuple[CheckedUnit, ...], ListOf] = ()
    """By key; all on the GPUs listed."""
    unready: Annotated[tuple[str, ...], ListOf] = ()
    """Keys of units that need not be ready: they were not when this state was taken down."""
    launch_sha256: Sha256 | None = None
    """Hash of the launch file that the units come from."""

    @property
    def scope(self) -> tuple[str, ...]:
        """The GPUs that may be touched."""
        return tuple(target.gpu for target in self.gpus)

    def limits(self, gpu: str) -> Limits | None:
        """Return the limits asked of a GPU."""
        return next((t.limits for t in self.gpus if t.gpu == gpu), None)

    def units_on(self, gpu: str) -> tuple[Unit, ...]:
        """Return the units asked of a GPU."""
        return tuple(unit for unit in self.units if unit.gpu == gpu)

    @property
    def services(self) -> frozenset[str]:
        """Keys of the units that requests are sent to."""
        return frozenset(unit.key for unit in self.units if unit.role == "service")
