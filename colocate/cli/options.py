"""The options that several verbs share, each with its environment variable."""

from __future__ import annotations

from typing import Any

import typer

__all__ = [
    "ALL",
    "DEBUG",
    "FORCE",
    "JSON",
    "MAX_INPUT",
    "OUTPUT",
    "PLUGIN",
    "QUIET",
    "VERSION",
    "flag",
    "verb",
]


def flag(default: Any, *names: str, help: str, **more: Any) -> Any:  # noqa: A002, ANN401 - typer's
    """Return a typer option that can also be set as `COLOCATE_<LONG_NAME>`."""
    long_name = next(name for name in names if name.startswith("--"))
    variable = "COLOCATE_" + long_name.removeprefix("--").replace("-", "_").upper()
    return typer.Option(default, *names, help=help, envvar=variable, **more)


def verb(**settings: Any) -> typer.Typer:  # noqa: ANN401 - typer's
    """Return an application for one verb: plain help, no completion options of its own."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


def _set_debug(context: typer.Context, value: bool) -> bool:
    settings = context.find_root().obj
    if settings is not None:
        settings.debug = value
    if value:
        _log_everything(context)
    return value


def _log_everything(context: typer.Context) -> None:
    """Send the library's log to standard error until the command line has been dealt with."""
    import logging

    logger = logging.getLogger("colocate")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)

    def undo() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)

    context.call_on_close(undo)


VERSION = typer.Option(False, "--version", help="Print the version and exit.")
DEBUG = flag(
    False,
    "--debug",
    help="Log details, and show the traceback of an error.",
    callback=_set_debug,
    is_eager=True,
)
JSON = flag(False, "--json", help="Print one JSON object instead of text.")
QUIET = flag(False, "--quiet", "-q", help="Print no progress and no summary.")
ALL = flag(False, "--all", help="Show every row of long tables.")
MAX_INPUT = flag(
    16 * 1024 * 1024, "--max-input", help="Refuse larger input files.", metavar="BYTES", min=1
)
OUTPUT = flag(
    None, "--output", "-o", help="File to write; - writes to standard output.", metavar="FILE"
)
FORCE = flag(False, "--force", "-f", help="Replace the file if it exists.")
PLUGIN = flag(
    None,
    "--plugin",
    help="Load a component from a Python file. It runs with your rights. May be repeated.",
    metavar="FILE.py:NAME",
)
