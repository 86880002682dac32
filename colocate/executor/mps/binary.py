"""Which program controls MPS: found once, by absolute path, not replaceable by anybody."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from colocate.errors import clean_text
from colocate.executor.errors import MpsError
from colocate.executor.mps.failures import ControlError

__all__ = ["NAME", "PLACES", "library_path", "resolve_binary"]

NAME = "nvidia-cuda-mps-control"
# Common Tasks, nvidia-cuda-mps-control: "typically stored under /usr/bin".
PLACES = (Path("/usr/bin"), Path("/usr/local/bin"), Path("/usr/local/nvidia/bin"), Path("/bin"))


def library_path(text: str | None) -> str | None:
    """Return what of ``LD_LIBRARY_PATH`` the driver's programs may be given.

    In containers the driver's libraries are often found by it alone. Folders that anybody may write
    are left out, and so is everything that is not an absolute path.
    """
    kept = []
    for entry in (text or "").split(":"):
        try:
            if entry.startswith("/") and not Path(entry).stat().st_mode & stat.S_IWOTH:
                kept.append(entry)
        except (OSError, ValueError):
            continue
    return ":".join(kept) or None


def resolve_binary(given: Path | str | None = None, places: Sequence[Path] = PLACES) -> Path:
    """Return the absolute path of the control program.

    Parameters
    ----------
    given
        A path, which must then exist; None looks into `places`, never into ``PATH``.
    places
        Folders to look into.

    Raises
    ------
    ControlError
        When there is none.
    MpsError
        When others than its owner may write it, or the folder it lies in.
    """
    if given is None:
        candidates = [folder / NAME for folder in places]
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            looked = ", ".join(str(folder) for folder in places)
            raise ControlError(
                f"{NAME} is not there (looked in {looked})",
                kind="missing",
                advice="install the compute part of the NVIDIA driver, or give --mps-control PATH.",
            )
    else:
        found = Path(given)
        if not found.is_absolute():
            raise MpsError(
                f"{clean_text(str(given))!r} is not an absolute path",
                advice=f"give it in full, such as /usr/bin/{NAME}.",
            )
    shown = clean_text(str(found))
    try:
        about = found.stat()
        above = found.resolve().parent.stat()
    except OSError as failed:
        raise ControlError(
            f"{shown} cannot be used: {failed.strerror}",
            kind="missing",
            advice="install the compute part of the NVIDIA driver, or give --mps-control PATH.",
        ) from None
    if not stat.S_ISREG(about.st_mode) or not os.access(found, os.X_OK):
        raise ControlError(
            f"{shown} is not a program that this user may run",
            kind="missing",
            advice="give the path of the control program with --mps-control.",
        )
    if about.st_mode & stat.S_IWOTH:
        raise MpsError(f"anybody may write {shown}", advice="remove that permission (chmod o-w).")
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        raise MpsError(
            f"anybody may replace {shown}: its folder is writable by all",
            advice="remove that permission (chmod o-w), or use another folder.",
        )
    return found
