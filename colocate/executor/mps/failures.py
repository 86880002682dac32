"""In which ways the control program fails; each has a name, so that callers need no messages."""

from __future__ import annotations

from typing import Literal

from colocate.executor.errors import MpsError

__all__ = ["ControlError", "FailureKind"]

FailureKind = Literal["missing", "timeout", "no-daemon", "refused", "status", "reply", "system"]
"""Missing program; no answer in time; no daemon behind it; the daemon was busy with another caller;
non-zero exit; an answer that does not mean anything; the system would not start the program."""


class ControlError(MpsError):
    """The control program did not do what it was told, or did not answer."""

    def __init__(self, message: str, *, kind: FailureKind, advice: str | None = None) -> None:
        super().__init__(message, advice=advice)
        self.kind: FailureKind = kind
