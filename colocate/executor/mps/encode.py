r"""The only way a value reaches argv, standard input or the environment of an MPS process.

`nvidia-cuda-mps-control` reads one command a line from standard input, so that an id such as
``"a\nquit"`` would end the daemon. Every function here refuses what does not have the expected
form and returns the text otherwise; none repairs anything.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from colocate.errors import InputError, clean_text

__all__ = [
    "DEFAULT_NAMESPACE",
    "SERVER_NAME",
    "gpu_uuid",
    "memory_limit",
    "namespace",
    "path_text",
    "percentage",
    "priority",
    "process_id",
    "short_uuid",
    "space_name",
    "stdin_line",
    "unit_key",
    "user_id",
]

SERVER_NAME = "gpu"
"""Name of the one server of each daemon in the v3 dialect."""
DEFAULT_NAMESPACE = "default"
"""The namespace that every v3 server has; its limits are those of the server."""

_UUID = re.compile(r"(GPU|MIG)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# MPS v3 Interface, CLI Command Structure: lowercase letters, digits and underscores, up to 64.
_NAMESPACE = re.compile(r"[a-z0-9_]{1,64}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,159}")
_PATH = re.compile(r"/[A-Za-z0-9_./+@=~-]*")
_WORD = re.compile(r"[A-Za-z0-9_./-]+")
_MOST_MIB = 1 << 30
_MOST_PID = 1 << 22  # PID_MAX_LIMIT of Linux
_MOST_UID = (1 << 32) - 2


def _refused(value: object, what: str, advice: str) -> InputError:
    return InputError(f"{clean_text(repr(value), 100)} is not {what}", advice=advice)


def _whole(value: object, least: int, most: int, what: str, advice: str) -> str:
    # bool is an int for Python, but True is no share.
    if type(value) is not int or not least <= value <= most:
        raise _refused(value, f"{what} ({least} to {most})", advice)
    return str(value)


def gpu_uuid(value: str) -> str:
    """Return the UUID of a GPU, or of a MIG device, as the driver writes it."""
    if type(value) is not str or not _UUID.fullmatch(value):
        raise _refused(value, "the UUID of a GPU", "copy it from 'nvidia-smi -L'.")
    return value


def short_uuid(value: str) -> str:
    """Return the first eight digits, which name a GPU's folder."""
    return gpu_uuid(value)[4:12]


def percentage(value: int) -> str:
    """Return an active thread percentage: MPS takes 1 to 100."""
    return _whole(value, 1, 100, "a share in percent", "give a whole number.")


def memory_limit(mib: int) -> str:
    """Return a memory limit; MPS takes an integer followed by G or M (v2 also in the shell)."""
    return _whole(mib, 1, _MOST_MIB, "a memory limit in MiB", "give a whole number.") + "M"


def process_id(value: int) -> str:
    """Return a process id."""
    return _whole(value, 1, _MOST_PID, "a process id", "give the number that the system shows.")


def user_id(value: int) -> str:
    """Return a user id."""
    return _whole(value, 0, _MOST_UID, "a user id", "give the number that 'id -u' shows.")


def priority(*, low: bool) -> str:
    """Return a client priority: 0 is normal, 1 is below normal."""
    return "1" if low else "0"


def namespace(value: str) -> str:
    """Return the name of a v3 namespace or server."""
    if type(value) is not str or not _NAMESPACE.fullmatch(value):
        raise _refused(
            value,
            "a namespace of MPS",
            "use lowercase letters, digits and underscores, at most 64 of them.",
        )
    return value


def unit_key(value: str) -> str:
    """Return the key of a unit."""
    if type(value) is not str or not _KEY.fullmatch(value):
        raise _refused(value, "the key of a unit", "use letters, digits, dots, dashes, _ only.")
    return value


def space_name(key: str) -> str:
    """Return the namespace of a unit: readable at its start, distinct by a hash of the whole key.

    A key may hold what a namespace may not (capitals, dots, dashes), so the two cannot be equal;
    the hash keeps keys apart that differ only there. It is short because it is part of a socket's
    path.
    """
    readable = re.sub(r"[^a-z0-9]+", "_", unit_key(key).lower())[:8].strip("_")
    digest = hashlib.sha256(key.encode("ascii")).hexdigest()[:10]
    return namespace(f"{readable}_{digest}" if readable else digest)


def path_text(path: Path) -> str:
    """Return an absolute path that is safe in an environment and in a comma-separated reply."""
    text = str(path)
    if not _PATH.fullmatch(text) or "/../" in f"{text}/":
        raise _refused(
            text,
            "a folder that MPS can be given",
            "choose another --root: an absolute path of letters, digits and . _ - + @ = ~ only.",
        )
    return text


def stdin_line(*words: str) -> str:
    """Return one command for the shell of the v2 dialect, as a line.

    The last net: words come from the functions above, and nothing else gets through.
    """
    for word in words:
        if not _WORD.fullmatch(word):
            raise _refused(word, "a word of an MPS command", "report this as a bug.")
    return " ".join(words) + "\n"
