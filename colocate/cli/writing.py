"""Where results go: a file, atomically, or standard output."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from colocate.errors import InputError

__all__ = ["check_free", "check_targets", "write_text"]


def write_text(target: str, text: str, *, force: bool = True) -> None:
    """Write text to a file that is then whole, or to standard output for `-`."""
    if target == "-":
        sys.stdout.write(text)
        return
    from colocate.io import write_atomic

    write_atomic(target, text, force=force)


def check_targets(sources: list[str], targets: list[str]) -> None:
    """Refuse outputs that could not be written or would replace an input, before work is spent."""
    named = [t for t in targets if t != "-"]
    for i, target in enumerate(named):
        folder = Path(target).parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise InputError(
                f"cannot write {target!r}: {str(folder)!r} is not a folder that can be written to",
                advice="make the folder first, or choose another.",
            )
        for other in [*(s for s in sources if s != "-"), *named[:i]]:
            if _same(target, other):
                raise InputError(
                    f"{target!r} and {other!r} are the same file",
                    advice="give every input and output a name of its own.",
                )


def check_free(targets: list[str], *, force: bool) -> None:
    """Refuse to replace files unless that was asked for, before work is spent."""
    for target in targets:
        if target != "-" and not force and os.path.lexists(target):
            raise InputError(
                f"{target!r} exists",
                advice="choose another name, or ask to overwrite it (--force).",
            )


def _same(a: str, b: str) -> bool:
    try:
        return Path(a).samefile(b)
    except OSError:
        return Path(a).absolute() == Path(b).absolute()
