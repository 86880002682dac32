"""From an exception to a plain message on standard error and an exit code.

Messages may quote the input, so every line is cleaned of control characters before it is shown.
"""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

from colocate.cli.exit_codes import ExitCode
from colocate.errors import ColocateError, clean_text

if TYPE_CHECKING:
    from colocate.cli.settings import Settings

__all__ = ["SolveInterruptedError", "report", "say", "say_json"]

_LONGEST_LINE = 1000
_MOST_LINES = 200


class SolveInterruptedError(Exception):
    """The user ended a solve before there was a plan."""


def say(text: str) -> None:
    """Write text to standard error, cleaned line by line; a closed standard error is no error."""
    lines = text.split("\n")
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"... and {len(lines) - _MOST_LINES} more lines"]
    _write("".join(clean_text(line, _LONGEST_LINE) + "\n" for line in lines))


def say_json(event: str, **values: object) -> None:
    """Write one JSON object as one line to standard error."""
    import json

    _write(json.dumps({"event": event, **values}) + "\n")


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def report(error: BaseException, settings: Settings) -> int:
    """Tell what went wrong and return the exit code."""
    if isinstance(error, BrokenPipeError):
        return ExitCode.BROKEN_PIPE
    code, message = _explain(error)
    if settings.log_json:
        first, _, rest = message.partition("\n")
        say_json("error", message=first, more=rest.split("\n") if rest else [], exit_code=int(code))
        return code
    if settings.debug:
        say("".join(traceback.format_exception(error)).rstrip())
    say(f"colocate: {message}")
    return code


def _explain(error: BaseException) -> tuple[int, str]:
    if isinstance(error, SolveInterruptedError):
        return ExitCode.INTERRUPTED, "interrupted before there was a plan"
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return ExitCode.INTERRUPTED, "interrupted"
    if isinstance(error, ColocateError):
        return error.exit_code, str(error)
    if hasattr(error, "format_message"):
        # a usage error; which package its class comes from depends on the version of typer
        context = getattr(error, "ctx", None)
        command = "colocate" if context is None else context.command_path
        advice = f"  Maybe see '{command} --help'."
        return ExitCode.BAD_INPUT, f"{error.format_message()}\n{advice}"
    if isinstance(error, OSError):
        where = "" if error.filename is None else f" {error.filename!r}"
        return ExitCode.BAD_INPUT, (
            f"cannot use{where}: {error.strerror or error}\n"
            "  Maybe check that the path exists and that you may read and write there."
        )
    if isinstance(error, MemoryError):
        return ExitCode.BACKEND, (
            "out of memory\n  Maybe use a smaller instance, or a machine with more memory."
        )
    return ExitCode.BACKEND, (
        f"unexpected {type(error).__name__}: {error}\n"
        "  Maybe run it again with --debug and report what it prints: this is a bug."
    )
