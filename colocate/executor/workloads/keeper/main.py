"""Starts the keeper of one unit: ``python -I -S main.py FOLDER``.

The process that is started waits until the keeper proper, its grandchild, has taken the lock and
written its first status, and ends with 0; or prints why not and ends with 1. The keeper is then
nobody's child and in a session of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

HELD = "it has a keeper already"


def main() -> int:
    """Start the keeper and return the exit code of the process that was started."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: main.py FOLDER\n")
        return 2
    # Started by path, without site packages: the rest of the package lies four folders up. Last
    # in the list, so that nothing beside it can stand in for a standard module.
    sys.path.append(str(Path(__file__).resolve().parents[4]))
    from colocate.executor.workloads.keeper.files import FileError

    read_end, write_end = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(read_end)
        os.setsid()
        if os.fork():
            os._exit(0)
        _keep(Path(sys.argv[1]), write_end, FileError)
    os.close(write_end)
    os.waitpid(first, 0)
    with os.fdopen(read_end, "rb") as pipe:
        said = pipe.read(4096).decode("utf-8", "replace")
    if said == "ok":
        return 0
    sys.stderr.write((said or "the keeper ended at once") + "\n")
    return 1


def _keep(folder: Path, write_end: int, expected: type[Exception]) -> None:
    """Be the keeper; never returns."""
    code = 1
    try:
        keeper = _begin(folder)
        os.write(write_end, b"ok")
        os.close(write_end)
        write_end = -1
        keeper.run()
        code = 0
    except BaseException as error:  # noqa: BLE001 - the last word of this process
        if write_end >= 0:
            words = str(error) if isinstance(error, OSError | expected) else repr(error)
            os.write(write_end, words.encode("utf-8", "replace")[:2000])
        else:
            traceback.print_exc()  # goes to keeper.log
    finally:
        os._exit(code)


def _begin(folder: Path):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from colocate.executor.workloads.keeper.files import FileError, read_json
    from colocate.executor.workloads.keeper.keeping import Keeper
    from colocate.executor.workloads.keeper.status import UNIT, lock

    os.chdir("/")
    umask = os.umask(0o077)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # they wake the keeper from its sleep, and that is all
    for number in (signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    if lock(folder) is None:
        raise FileError(HELD)
    spec = read_json(folder / UNIT)
    if spec is None:
        msg = f"{folder / UNIT} is missing"
        raise FileError(msg)
    _reap_orphans()
    _redirect(folder)
    keeper = Keeper(folder, spec, wake_read, umask)

    def stop(*_: object) -> None:
        keeper.told_to_stop = True

    signal.signal(signal.SIGTERM, stop)
    keeper.begin()
    return keeper


def _redirect(folder: Path) -> None:
    """Let go of what the command that started us had open; a traceback goes to a file."""
    nothing = os.open(os.devnull, os.O_RDWR)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    errors = os.open(folder / "keeper.log", flags, 0o600)
    for target, source in ((0, nothing), (1, nothing), (2, errors)):
        os.dup2(source, target)


def _reap_orphans() -> None:
    """Become the parent of descendants that lose theirs, so that none is out of sight."""
    import ctypes

    set_child_subreaper = 36
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(set_child_subreaper, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main())
