"""One tree of exceptions. Every message carries the values and ends with advice.

A user who reads an error should know what was wrong, where, and what to try. Therefore each
exception takes the sentence, an optional JSON path, and a piece of advice that is printed as a
last line starting with "Maybe". Each class knows the exit code that the command line uses for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ColocateError",
    "InputError",
    "InstanceError",
    "LimitError",
    "PlanError",
    "PluginError",
    "SolverError",
    "TooLargeError",
    "UnsupportedError",
    "clean_text",
]


def clean_text(text: str, limit: int = 200) -> str:
    """Make foreign text safe to print: no control characters, bounded length."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text[: limit + 1])
    return shown[:limit] + "..." if len(text) > limit else shown


class ColocateError(Exception):
    """Base of everything that this library raises on purpose.

    Parameters
    ----------
    message
        What is wrong, with the values.
    path
        Where in the input, as a JSON path such as ``$.services[3].slo_ms``.
    advice
        What to try; printed as "Maybe <advice>".
    """

    exit_code = 1

    def __init__(self, message: str, *, path: str | None = None, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.advice = advice

    def __str__(self) -> str:
        """Return the message, its place and its advice, a line each."""
        lines = [self.message]
        if self.path is not None:
            lines.append(f"  at: {self.path}")
        if self.advice is not None:
            lines.append(f"  Maybe {self.advice}")
        return "\n".join(lines)


class InputError(ColocateError):
    """The input cannot be used. Holds one or more problems, each with its own path.

    Parameters
    ----------
    message, path, advice
        The first problem.
    source
        Which file, and which line when that is known: ``instance.json:41``.
    more
        Further problems of the same input.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        advice: str | None = None,
        source: str | None = None,
        more: Sequence[InputError] = (),
    ) -> None:
        super().__init__(message, path=path, advice=advice)
        self.source = source
        self.more = tuple(more)

    def __str__(self) -> str:
        """Return the first problem as every error does, then one line for each further one."""
        lines = [self.message]
        if self.path is not None or self.source is not None:
            lines.append(f"  at: {self.where}")
        if self.advice is not None:
            lines.append(f"  Maybe {self.advice}")
        if self.more:
            lines.append(f"and {len(self.more)} more:")
            lines += [f"  {problem.where}: {problem.message}" for problem in self.more]
        return "\n".join(lines)

    @property
    def where(self) -> str:
        """Path and source together, such as ``$.services[3].slo_ms  (instance.json:41)``."""
        if self.path is None:
            return self.source or "?"
        return self.path if self.source is None else f"{self.path}  ({self.source})"


class InstanceError(InputError):
    """An instance (or a profile it refers to) is malformed or contradicts itself."""


class PlanError(InputError):
    """A plan file is malformed, or belongs to another instance."""


class UnsupportedError(InputError):
    """A solver, model or version does not support what the instance asks for."""


class TooLargeError(UnsupportedError):
    """The instance is well-formed but beyond a stated size for the method asked for."""


class PluginError(InputError):
    """A component named in the instance or on the command line cannot be loaded."""


class LimitError(ColocateError):
    """A limit was reached before there was anything to return."""

    exit_code = 4


class SolverError(ColocateError):
    """A solver or its backend failed, or answered with something invalid."""

    exit_code = 5
