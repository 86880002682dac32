"""What the CUDA driver does when a process first uses CUDA: becomes a client of MPS, or does not.

Standard library only. A process that finds no daemon goes on without MPS and without limits, and
nothing tells it: that is how the driver behaves, so the double behaves so too.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Attachment:
    """What a process got."""

    mps: bool
    """Whether it is a client; False when it runs without MPS."""
    error: str | None = None
    server_pid: int = 0
    sms: int = 0
    share: float = 100.0
    memory_mib: int | None = None
    channel: socket.socket | None = None

    def event(self) -> str | None:
        """Return what the server has told since, if anything."""
        if self.channel is None or not select.select([self.channel], [], [], 0)[0]:
            return None
        data = self.channel.recv(4096)
        return str(json.loads(data.split(b"\n")[0])["event"]) if data else "gone"

    def close(self) -> None:
        """Leave in an orderly way, as a process does that has finished its GPU work."""
        if self.channel is not None:
            with contextlib.suppress(OSError):
                self.channel.sendall(b"bye\n")
            self.channel.close()
            self.channel = None


def attach(environment: Mapping[str, str] | None = None, as_uid: int | None = None) -> Attachment:
    """Become a client of the daemon that the environment names."""
    values = os.environ if environment is None else environment
    pipe = Path(values.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))
    message: dict[str, object] = {
        "kind": "attach",
        "environment": {name: text for name, text in values.items() if name.startswith("CUDA_")},
        "command": Path(sys.argv[0]).name or "?",
    }
    if as_uid is not None:
        message["as_uid"] = as_uid
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.settimeout(20)
        channel.connect(str(pipe / "control"))
        channel.sendall(json.dumps(message).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            part = channel.recv(65536)
            if not part:
                raise ConnectionResetError
            data += part
    except OSError:
        channel.close()
        return Attachment(mps=False)
    answer = json.loads(data)
    if answer["error"] is not None:
        channel.close()
        return Attachment(mps=False, error=answer["error"])
    return Attachment(
        mps=True,
        server_pid=answer["server_pid"],
        sms=answer["sms"],
        share=answer["share"],
        memory_mib=answer["memory_mib"],
        channel=channel,
    )
