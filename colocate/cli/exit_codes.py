"""What the exit code says; exceptions carry the same numbers."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """Exit codes of every verb."""

    OK = 0
    CHECK_FAILED = 1
    BAD_INPUT = 2
    INFEASIBLE = 3
    NO_PLAN = 4
    """A limit was reached, or a heuristic gave up, before there was a plan."""
    BACKEND = 5
    ROLLED_BACK = 6
    """A change of the node failed and everything was put back."""
    ATTENTION = 7
    """A change of the node failed and could not be put back."""
    HELD = 8
    """Another apply holds the lock."""
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    """The reader of the output went away."""
