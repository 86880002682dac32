"""The only ways for a text into a file of a launcher. Each refuses what it cannot write."""

from __future__ import annotations

import re
import shlex

from colocate.errors import InputError, clean_text

__all__ = [
    "compose_text",
    "env_line",
    "file_name",
    "plain",
    "shell_program",
    "shell_word",
    "systemd_argument",
    "systemd_assignment",
    "systemd_path",
    "variable",
]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_PATH = re.compile(r"/[A-Za-z0-9_./+@=~,:-]{0,1000}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,159}(/[A-Za-z0-9][A-Za-z0-9._-]{0,159})?")
_ENV_VALUE = re.compile(r"[A-Za-z0-9_./+@=~,:-]{0,1000}")


def _refused(value: object, what: str, advice: str) -> InputError:
    return InputError(f"{clean_text(repr(value), 100)} is not {what}", advice=advice)


def plain(text: str) -> str:
    """Return a text of one line: letters, digits, punctuation and spaces, of any language."""
    if type(text) is not str or not text.isprintable():
        raise _refused(text, "a line of plain text", "take control and invisible characters out.")
    return text


def variable(name: str) -> str:
    """Return the name of an environment variable."""
    if type(name) is not str or not _VARIABLE.fullmatch(name):
        raise _refused(name, "a variable's name", "use letters, digits and underscores.")
    return name


def file_name(name: str) -> str:
    """Return the relative path of a file: at most one folder, and no way out of it."""
    if type(name) is not str or not _FILE.fullmatch(name):
        raise _refused(name, "a file's name", "use letters, digits, dots, dashes, underscores.")
    return name


def shell_word(text: str) -> str:
    """Return one word of a POSIX shell's command."""
    return shlex.quote(plain(text))


def shell_program(text: str) -> str:
    """Return the program that `env` is to run; with an equals sign it would be a variable."""
    if "=" in text or text.startswith("-"):
        raise _refused(text, "a program that env(1) can run", "give it a name without '='.")
    return shell_word(text)


def env_line(name: str, value: str) -> str:
    """Return a line that shells, Docker and systemd read alike: no quotes, and no need for any."""
    if not _ENV_VALUE.fullmatch(value):
        raise _refused(value, "a plain value", "report this as a bug.")
    return f"{variable(name)}={value}\n"


def systemd_argument(text: str) -> str:
    """Return one word of ``ExecStart=`` (systemd.service(5), Command Lines).

    Between double quotes a backslash escapes (systemd.syntax(7), Quoting); ``%`` starts a specifier
    (systemd.unit(5)) and ``$`` a variable, each unless doubled.
    """
    return systemd_assignment(text).replace("$", "$$")


def systemd_assignment(text: str) -> str:
    """Return one word of ``Environment=``, where ``$`` means itself."""
    escaped = plain(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def systemd_path(path: str) -> str:
    """Return a path as a setting that takes the rest of its line."""
    if type(path) is not str or not _PATH.fullmatch(path):
        raise _refused(
            path,
            "a folder that a unit file can name",
            "use a path of letters, digits and . _ - + @ = ~ , : only.",
        )
    return path


def compose_text(text: str) -> str:
    """Return a text for a compose file, where ``$`` starts a variable unless doubled."""
    return plain(text).replace("$", "$$")
