"""Processes that are measured: started with a bare environment, watched, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import colocate
from colocate.errors import clean_text
from colocate.executor.errors import UnitError
from colocate.executor.measure.bench import BadStartError
from colocate.executor.measure.link import Link, Listener
from colocate.executor.measure.protocol import NAME_VARIABLE, SHARE_VARIABLE, SOCKET_VARIABLE
from colocate.executor.measure.tenants import Workload

__all__ = ["GRACE_S", "Group", "bare_environment"]

GRACE_S = 10.0
"""How long a process may take to end, by request and by signal, each."""
PASSED_ON = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ", "XDG_CACHE_HOME"),
    *("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_CACHE_PATH", "CUDA_MODULE_LOADING"),
    *("OMP_NUM_THREADS", "TORCH_HOME", "TRITON_CACHE_DIR"),
)
"""Variables that are passed on; what a workload needs besides stands in the campaign."""


def bare_environment() -> dict[str, str]:
    """Return the environment that every process starts from.

    Python finds this package where this process found it, so that the built-in workloads run where
    it is not installed.
    """
    found = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    package = str(Path(colocate.__file__).resolve().parent.parent)
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    found["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([package, *others]))
    found["PYTHONUNBUFFERED"] = "1"
    return found


class Group:
    """All processes of one workload at one share.

    Parameters
    ----------
    workload, share_pct
        What runs.
    number
        Tells it from others: its processes are to call themselves `<workload>.<number>`.
    environment
        What makes it a client of MPS.
    log
        File for whatever it writes.
    """

    def __init__(
        self,
        workload: Workload,
        share_pct: int,
        number: int,
        environment: Mapping[str, str],
        listener: Listener,
        log: Path,
    ) -> None:
        self.workload, self.share_pct, self.number, self.log = workload, share_pct, number, log
        self.name = f"{workload.name}.{number}"
        self.links: list[Link] = []
        self._asked_to_end = False
        self.is_client = False
        """Whether MPS was seen to serve it; that does not change for as long as it lives."""
        self.environment = dict(environment)
        self._listener = listener
        full = {
            **bare_environment(),
            **workload.environment,
            **environment,
            SOCKET_VARIABLE: listener.address,
            NAME_VARIABLE: self.name,
            SHARE_VARIABLE: str(share_pct),
        }
        with log.open("ab") as output:
            try:
                self._process = subprocess.Popen(
                    list(workload.command),
                    env=full,
                    cwd=workload.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as failed:
                msg = f"{workload.name} does not start: {failed.strerror or failed}"
                raise BadStartError(msg) from None

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the processes that have reported."""
        return tuple(link.peer_pid for link in self.links)

    @property
    def alive(self) -> bool:
        """Whether the command still runs."""
        return self._state() is None

    def wait(self, deadline: float) -> None:
        """Wait until all its processes have reported."""
        while True:
            self.links += self._listener.links(self.name)
            if len(self.links) >= self.workload.processes:
                return
            if not self.alive:
                raise BadStartError(self._ended())
            if time.monotonic() > deadline:
                few = f"{len(self.links)} of {self.workload.processes} processes"
                msg = f"{self.workload.name}: {few} reported in time{self._last_words()}"
                raise BadStartError(msg)
            self._listener.wait(min(0.25, max(0.01, deadline - time.monotonic())))

    def ask_to_end(self) -> None:
        """Ask it to end, and do not wait."""
        for link in self.links if not self._asked_to_end else ():
            with contextlib.suppress(UnitError):
                link.ask({"do": "stop"})
        self._asked_to_end = True

    def end(self) -> str | None:
        """End it: by request, then by SIGTERM, at last by SIGKILL. Return what it took, if much."""
        self.ask_to_end()
        took = None
        if not (self.links and self._gone_within(GRACE_S)):
            self._signal(signal.SIGTERM)
            took = "SIGTERM" if self.links else None
            if not self._gone_within(GRACE_S):
                took = "SIGKILL"
        # also whatever the command left behind in its session
        self._signal(signal.SIGKILL)
        self._process.wait()
        for link in self.links:
            link.close()
        self.links = []
        return took

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _signal(self, number: signal.Signals) -> None:
        # Its session has the process id of the command, which nobody else can have as long as the
        # command was not waited for: `alive` only looks.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _ended(self) -> str:
        found = self._state()
        assert found is not None
        by_signal = found.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
        how = f"signal {found.si_status}" if by_signal else f"exit code {found.si_status}"
        return f"{self.workload.name} ended with {how} before it reported{self._last_words()}"

    def _state(self) -> os.waitid_result | None:
        """Return how it ended, without making an end of it, or None while it runs."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def _last_words(self) -> str:
        """Return the end of what it wrote."""
        try:
            text = self.log.read_bytes()[-2000:].decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f"; it wrote: {clean_text(lines[-1], 300)}" if lines else ""
