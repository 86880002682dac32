"""The double's core in process: the real dialects, no processes, thousands of steps a second.

    daemons = CoreDaemons(uuids, "v2")
    daemons.connect(daemons.environment(unit), pid=4711)

What `NodeDaemons` does around the dialects (folders, pid files, ownership) is kept as plain state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from colocate.executor.errors import ForeignError, MpsError
from colocate.executor.mps import encode
from colocate.executor.mps.control import ControlError
from colocate.executor.mps.dialect import ClientSeen, Dialect
from colocate.executor.mps.v2 import V2
from colocate.executor.mps.v3 import V3
from colocate.executor.ports import Client, DaemonState, Limits
from colocate.executor.ports import Dialect as DialectName
from colocate.executor.unit import Unit
from tests.fakes import mps_core_v2, mps_core_v3
from tests.fakes.double import READING, READING_V3, uuid
from tests.fakes.mps_core import Attached, Core, Gpu, Machine, Reply

UID = 1000


class CoreControl:
    """Speaks to a core as `colocate.executor.mps.control.Control` does to a daemon."""

    def __init__(self, core: Core, gpu: str, before: Callable[[str], None]) -> None:
        self.core, self.before = core, before
        self.pipe = Path("/run/colocate/mps") / encode.short_uuid(gpu) / "pipe"

    def ask(self, *words: str, deadline_s: float | None = None) -> str:
        line = encode.stdin_line(*words)
        return self._said(line.strip(), lambda: mps_core_v2.answer(self.core, line, UID))

    def call(self, *argv: str, deadline_s: float | None = None) -> str:
        text = " ".join(argv)
        return self._said(
            text, lambda: mps_core_v3.answer(self.core, list(argv), UID, str(self.pipe))
        )

    def _said(self, text: str, answer: Callable[[], Reply]) -> str:
        self.before(text)
        reply = answer()
        self.core.terminated.clear()
        if reply.code:
            raise ControlError(f"{text}: {reply.text}", kind="status")
        return reply.text


class CoreDaemons:
    """The daemons of a node, as `colocate.executor.ports.Daemons`, in memory.

    Parameters
    ----------
    gpus
        UUIDs, or how many.
    dialect
        What daemons speak.
    before
        Called with every command before it is done; may raise, which is a crash or a fault there.
    """

    def __init__(
        self,
        gpus: Sequence[str] | int = 1,
        dialect: DialectName = "v2",
        before: Callable[[str], None] = lambda said: None,
        **options: object,
    ) -> None:
        names = [uuid(n + 1) for n in range(gpus)] if isinstance(gpus, int) else list(gpus)
        found = tuple(Gpu(name) for name in names)
        self.machine = Machine(gpus=found, **options)  # type: ignore[arg-type]
        self.dialect: DialectName = dialect
        self.before = before
        self.cores: dict[str, Core] = {}
        self.ours: set[str] = set()
        self.units: Mapping[str, Sequence[int]] = {}
        self.said: list[str] = []

    def changes(self) -> list[str]:
        """Return the commands so far that change something."""
        return [text for text in self.said if not text.startswith((*READING, *READING_V3))]

    def connect(self, environment: Mapping[str, str], pid: int, *, uid: int = UID) -> Attached:
        """Let a process become a client, where its environment leads it."""
        for gpu, core in self.cores.items():
            pipe = self._control(gpu).pipe
            path = Path(environment["CUDA_MPS_PIPE_DIRECTORY"])
            if path.is_relative_to(pipe):
                names = path.relative_to(pipe).parts
                space = names[1] if len(names) > 1 else "default"
                name = names[0] if names else None
                return core.attach(pid, uid, environment, server_name=name, space=space)
        return Attached("CUDA_ERROR_MPS_CONNECTION_FAILED")

    def leave(self, pid: int, *, graceful: bool = True) -> None:
        """Let a process end."""
        for core in self.cores.values():
            core.detach(pid, graceful=graceful)

    def fault(self, pid: int) -> None:
        for core in self.cores.values():
            core.fault(pid)

    # --- the port --------------------------------------------------------------------------------

    def observe(self, gpu: str) -> DaemonState:
        if gpu not in self.cores:
            return DaemonState(
                gpu=gpu, alive=False, ours=False, dialect=None, server="none", limits=None
            )
        spoken = self._speak(gpu)
        servers = spoken.servers()
        seen = spoken.limits(servers)
        status = servers[0].status if servers else "none"
        return DaemonState(
            gpu=gpu,
            alive=True,
            ours=gpu in self.ours,
            dialect=spoken.name,
            server=status,
            limits=seen.limits,
            settled=seen.settled,
            clients=self._clients(spoken),
        )

    def start(self, gpu: str) -> None:
        if gpu in self.cores:
            self._own(gpu)
        else:
            self._note(f"-d {gpu}")
            self.cores[gpu] = Core(self.machine, (gpu,), UID)
            self.ours.add(gpu)
        self._speak(gpu).prepare()

    def stop(self, gpu: str) -> None:
        if gpu not in self.cores:
            return
        self._own(gpu)
        spoken = self._speak(gpu)
        if spoken.clients(spoken.servers()):
            raise ForeignError(f"the MPS daemon of {gpu} still has clients")
        spoken.quit()
        del self.cores[gpu]
        self.ours.discard(gpu)

    def set_limits(self, gpu: str, limits: Limits) -> None:
        self._own(gpu)
        self._speak(gpu).set_limits(limits)

    def reset(self, gpu: str) -> None:
        self._own(gpu)
        spoken = self._speak(gpu)
        clients = self._clients(spoken)
        if any(client.unit is None for client in clients):
            raise ForeignError(f"the MPS server of {gpu} serves processes that are not ours")
        spoken.shut_servers(force=bool(clients))

    def environment(self, unit: Unit) -> Mapping[str, str]:
        pipe = self._control(unit.gpu).pipe
        if self.dialect == "v3":
            pipe = pipe / encode.SERVER_NAME / encode.space_name(unit.key)
        values = {
            "CUDA_VISIBLE_DEVICES": encode.gpu_uuid(unit.gpu),
            "CUDA_MPS_PIPE_DIRECTORY": encode.path_text(pipe),
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": encode.percentage(unit.share_pct),
        }
        if unit.memory_limit_mib is not None:
            limit = encode.memory_limit(unit.memory_limit_mib)
            values["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"{unit.gpu}={limit}"
        return values

    def terminate(self, gpu: str, client: Client) -> None:
        self._own(gpu)
        spoken = self._speak(gpu)
        wanted = ClientSeen(client.pid, client.server_pid)
        if wanted not in spoken.clients(spoken.servers()):
            return
        if client.pid not in self._owners():
            raise ForeignError(f"process {client.pid} on {gpu} is not one of ours")
        spoken.terminate(wanted)

    # --- helpers ---------------------------------------------------------------------------------

    def _note(self, text: str) -> None:
        self.before(text)
        self.said.append(text)

    def _control(self, gpu: str) -> CoreControl:
        core = self.cores.get(gpu) or Core(self.machine, (gpu,), UID)
        return CoreControl(core, gpu, self._note)

    def _speak(self, gpu: str) -> Dialect:
        maker = V2 if self.dialect == "v2" else V3
        memory = next(known.memory_mib for known in self.machine.gpus if known.uuid == gpu)
        return maker(self._control(gpu), gpu, memory, 0.0)

    def _own(self, gpu: str) -> None:
        if gpu not in self.cores:
            raise MpsError(f"no MPS daemon serves {gpu}")
        if gpu not in self.ours:
            raise ForeignError(f"the MPS daemon of {gpu} is not ours")

    def _owners(self) -> dict[int, str]:
        return {pid: key for key, pids in self.units.items() for pid in pids}

    def _clients(self, spoken: Dialect) -> tuple[Client, ...]:
        owners = self._owners()
        return tuple(
            Client(pid=seen.pid, server_pid=seen.server_pid, unit=owners.get(seen.pid))
            for seen in sorted(spoken.clients(spoken.servers()), key=lambda seen: seen.pid)
        )
