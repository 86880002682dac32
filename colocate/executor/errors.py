"""What can go wrong while a plan is put on GPUs; each class knows its exit code."""

from __future__ import annotations

from colocate.errors import ColocateError

__all__ = [
    "AttentionError",
    "DriftError",
    "ForeignError",
    "HeldError",
    "MpsError",
    "RolledBackError",
    "UnitError",
]


class MpsError(ColocateError):
    """An MPS daemon, or the driver, does not answer as documented."""

    exit_code = 5


class UnitError(ColocateError):
    """A workload's process does not start, get ready or stop."""

    exit_code = 5


class ForeignError(ColocateError):
    """Something that is not ours is in the way; it is never touched unless asked to."""

    exit_code = 1


class DriftError(ColocateError):
    """What is true now is not what the preview saw; nothing was changed."""

    exit_code = 1


class RolledBackError(ColocateError):
    """A change failed and everything was put back."""

    exit_code = 6


class AttentionError(ColocateError):
    """A change failed and could not be put back; a person must look."""

    exit_code = 7


class HeldError(ColocateError):
    """Another apply or rollback holds the lock."""

    exit_code = 8
