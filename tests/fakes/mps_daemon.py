"""The daemon of the double: sockets in the pipe directory, a process for each server."""

from __future__ import annotations

import json
import marshal
import os
import selectors
import signal
import socket
import struct
import time
import tomllib
from pathlib import Path
from typing import Any

from tests.fakes import mps_core_v2, mps_core_v3
from tests.fakes.mps_core import Core, Machine, Reply
from tests.fakes.mps_main import PID_FILE


class Daemon:
    """Serves one pipe directory until it is told to quit."""

    def __init__(
        self,
        machine: Machine,
        pipe: Path,
        log: Path,
        protocol: int,
        config: Path | None,
    ) -> None:
        self.machine, self.pipe, self.log = machine, pipe, log
        self.protocol, self.config = protocol, config
        every = ",".join(gpu.uuid for gpu in machine.gpus)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", every).split(",")
        names = [machine.gpus[int(word)].uuid if word.isdigit() else word for word in visible]
        self.core = Core(machine, tuple(names), os.geteuid(), self._spawn, self._end)
        self.core.default_share = float(os.environ.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", 100))
        self.selector = selectors.DefaultSelector()
        self.listeners: dict[str, socket.socket] = {}
        self.clients: dict[socket.socket, int] = {}
        self.keep: dict[int, int] = {}
        """Write ends of the pipes whose end ends a server process."""

    def run(self) -> int:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._write(f"Starting control daemon using socket {self.pipe}/control")
        (self.pipe / "control_lock").touch()
        try:
            self._listen("")
        except OSError as failed:
            self._write(f"bind failed: {failed}")
            return 1
        partial = self.pipe / f"{PID_FILE}.part"  # so that a test never sees it empty
        partial.write_text(f"{os.getpid()}\n")
        partial.replace(self.pipe / PID_FILE)
        if self.config is not None:
            try:
                wrong = mps_core_v3.apply_file(
                    self.core, tomllib.loads(self.config.read_text()), os.geteuid()
                )
            except (OSError, ValueError) as failed:
                wrong = str(failed)
            if wrong is not None:
                self._write(f"configuration error: {wrong}")
                (self.pipe / PID_FILE).unlink()
                return 1
            self._sockets()
        while not self.core.quitting or self.core.servers:
            self._turn()
            if self.core.quitting and not self.clients:
                for server in list(self.core.servers.values()):
                    self.core.end_server(server)
        (self.pipe / PID_FILE).unlink(missing_ok=True)
        (self.pipe / "control").unlink(missing_ok=True)
        self._write("Exit")
        return 0

    def _turn(self) -> None:
        for key, _ in self.selector.select(timeout=0.2):
            channel = key.fileobj
            assert isinstance(channel, socket.socket)
            if channel in self.clients:
                self._from_client(channel)
            else:
                self._accept(channel, str(key.data))
        for server in list(self.core.servers.values()):
            try:
                os.kill(server.pid, 0)
            except ProcessLookupError:
                self.core.lost_server(server.pid)
        self._tell_terminated()

    # --- sockets ---------------------------------------------------------------------------------

    def _listen(self, where: str) -> None:
        folder = self.pipe / where if where else self.pipe
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "control"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(64)
        self.listeners[where] = listener
        self.selector.register(listener, selectors.EVENT_READ, where)

    def _sockets(self) -> None:
        """Let the sockets of servers and namespaces follow what there is."""
        if self.protocol != 3:
            return
        wanted = {""}
        for server in self.core.servers.values():
            wanted.add(server.name)
            wanted |= {f"{server.name}/{space}" for space in server.spaces}
        for where in wanted - self.listeners.keys():
            self._listen(where)
        for where in self.listeners.keys() - wanted:
            listener = self.listeners.pop(where)
            self.selector.unregister(listener)
            listener.close()
            (self.pipe / where / "control").unlink(missing_ok=True)

    def _accept(self, listener: socket.socket, where: str) -> None:
        channel, _ = listener.accept()
        channel.settimeout(5)
        try:
            channel.sendall(self._do(channel, self._read(channel), where) + b"\n")
        except (OSError, ValueError, AssertionError):
            if channel in self.clients:
                self.selector.unregister(channel)
            self._gone(channel)
            return
        if channel not in self.clients:
            channel.close()

    def _read(self, channel: socket.socket) -> bytes:
        data = b""
        while not data.endswith(b"\n"):
            part = channel.recv(65536)
            if not part:
                raise ConnectionResetError
            data += part
        return data

    def _do(self, channel: socket.socket, data: bytes, where: str) -> bytes:
        if data.startswith(b"marshal "):  # a command, from the control program
            argv, line = marshal.loads(bytes.fromhex(data[8:].decode()))
            reply = self._command(argv, line, self._peer(channel)[1])
            try:
                self._sockets()
            except OSError as failed:
                reply = Reply(f"Error: {failed}", "v3.error", 1)
            return marshal.dumps((reply.text, reply.source, reply.code)).hex().encode()
        message: dict[str, Any] = json.loads(data)
        if message["kind"] == "attach":
            return json.dumps(self._attach(channel, message, where)).encode()
        assert message["kind"] == "fault"  # a test lets a client meet a fatal error
        self.core.fault(int(message["pid"]))
        return b"{}"

    def _command(self, argv: list[str], line: str, uid: int) -> Reply:
        if uid not in (self.core.uid, 0):
            return Reply("User did not send valid credentials", "control.other_user", 1)
        if self.protocol == 3:
            if not argv:
                return Reply("Interactive mode is not available", "v3.shell", 1)
            return mps_core_v3.answer(self.core, argv, uid, str(self.pipe))
        return mps_core_v2.answer(self.core, line or " ".join(argv), uid)

    def _attach(
        self, channel: socket.socket, message: dict[str, Any], where: str
    ) -> dict[str, Any]:
        pid, uid = self._peer(channel)
        uid = message.get("as_uid", uid)
        names = where.split("/")
        attached = self.core.attach(
            pid,
            uid,
            message["environment"],
            server_name=names[0] or None,
            space=names[1] if len(names) > 1 else "default",
            command=message.get("command", "?"),
        )
        self._sockets()
        if attached.error is None:
            self.clients[channel] = pid
            channel.settimeout(1)
            self.selector.register(channel, selectors.EVENT_READ, "client")
        return {
            "error": attached.error,
            "server_pid": attached.server_pid,
            "sms": attached.sms,
            "share": attached.share,
            "memory_mib": attached.memory_mib,
        }

    def _from_client(self, channel: socket.socket) -> None:
        try:
            data = channel.recv(4096)
        except OSError:
            data = b""
        self.selector.unregister(channel)
        self._gone(channel, graceful=b"bye" in data)

    def _gone(self, channel: socket.socket, *, graceful: bool = False) -> None:
        pid = self.clients.pop(channel, None)
        channel.close()
        if pid is not None:
            self.core.detach(pid, graceful=graceful)

    def _tell_terminated(self) -> None:
        for pid in self.core.terminated:
            for channel, owner in self.clients.items():
                if owner == pid:
                    try:
                        channel.sendall(b'{"event": "CUDA_ERROR_MPS_CLIENT_TERMINATED"}\n')
                    except OSError:
                        continue
        self.core.terminated.clear()

    def _peer(self, channel: socket.socket) -> tuple[int, int]:
        data = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", data)
        return pid, uid

    # --- servers ---------------------------------------------------------------------------------

    def _spawn(self, name: str, uid: int) -> int:
        """Start a process that stands for a server; it ends with this one, however that ends."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(read, 0)
            os.closerange(1, 4096)
            os.read(0, 1)
            os._exit(0)
        os.close(read)
        self.keep[pid] = write
        self._write(f"Starting new server {pid} for user {uid}")
        return pid

    def _end(self, pid: int) -> None:
        handle = self.keep.pop(pid, None)
        if handle is not None:
            os.close(handle)
        self._write(f"Server {pid} exited")

    def _write(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S.000")
        try:
            with (self.log / "control.log").open("a") as file:
                file.write(f"[{stamp} Control {os.getpid():5d}] {text}\n")
        except OSError:
            return
