"""What the MPS daemon is told and says, and who comes and leaves, written down as it happens."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from colocate.executor.measure.processes import Group

__all__ = ["Transcript"]


class Transcript:
    """Writes down what a daemon says, once it is known which dialect it speaks.

    What is said before that is kept and written then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._early: list[Any] = []
        self._write: Callable[[Any], None] | None = None
        self._client: Callable[[Any], None] | None = None

    def __call__(self, exchange: Any) -> None:  # noqa: ANN401 - an Exchange, of a heavy module
        """Take one exchange."""
        if self._write is None:
            self._early.append(exchange)
        else:
            self._write(exchange)

    def client(self, event: Literal["came", "left"], group: Group, pid: int) -> None:
        """Take down that a process came or left."""
        from colocate.executor.mps.transcript import ClientEvent

        if self._client is None:
            return
        variables = {k: v for k, v in group.environment.items() if k.startswith("CUDA_")}
        seen = group.links[0].hello.facts.get("sm_count") if group.links else None
        sms = seen if isinstance(seen, int) and not isinstance(seen, bool) else None
        self._client(ClientEvent(pid=pid, event=event, environment=variables, sms=sms))

    def begin(self, *, driver: str, gpu_name: str, gpu: str, dialect: str) -> None:
        """Start the file."""
        from colocate.executor.mps.transcript import Header, Recorder

        header = Header(
            driver=driver,
            date=dt.datetime.now(dt.UTC).date().isoformat(),
            gpu_name=gpu_name,
            gpu=gpu,
            dialect="v3" if dialect == "v3" else "v2",
        )
        recorder = Recorder(self.path, header)
        self._write, self._client = recorder.exchange, recorder.client
        for exchange in self._early:
            self._write(exchange)
        self._early = []
