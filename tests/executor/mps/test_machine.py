"""Both dialects against a model, over starts, limits, clients, faults, resets and crashes.

The model knows what was promised: limits that were set read back until the daemon ends, a client
of somebody else is never ended, and a failure in the middle is mended by setting things again.
"""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from colocate.executor.errors import ForeignError
from colocate.executor.mps import space_of
from colocate.executor.ports import Dialect, Limits
from tests.executor.mps.test_double import GPU, unit
from tests.fakes.core_daemons import CoreDaemons

SHARES = st.integers(1, 100)
MEMORY = st.none() | st.integers(1, 80_000)
UNITS = st.sampled_from(["a", "b", "c"])


class CrashError(Exception):
    """The process that changes things ends here."""


class Daemon(RuleBasedStateMachine):
    dialect: Dialect = "v2"

    def __init__(self) -> None:
        super().__init__()
        self.daemons = CoreDaemons([GPU], self.dialect)
        self.limits: Limits | None = None
        """What was promised; None while a failure left it open, or no daemon is there."""
        self.running = False
        self.clients: dict[int, str | None] = {}
        self.faulty: set[int] = set()
        self.pids = iter(range(1000, 100_000))

    def wanted(self, share: int, memory: int | None, names: set[str]) -> Limits:
        used = {key for key in self.clients.values() if key is not None}
        keep = names | used | ({"b"} if None in self.clients.values() else set())
        units = [unit(name, share_pct=share, memory_limit_mib=memory) for name in sorted(keep)]
        spaces = tuple(space_of(one) for one in units) if self.dialect == "v3" else ()
        return Limits(
            share_pct=share,
            memory_limit_mib=memory,
            spaces=tuple(sorted(spaces, key=lambda space: space.name)),
        )

    @initialize()
    def begin(self) -> None:
        self.start()

    @rule()
    def start(self) -> None:
        fresh = not self.running
        self.daemons.start(GPU)
        self.running = True
        if fresh:
            self.limits = Limits()

    @precondition(lambda self: self.running)
    @rule()
    def stop(self) -> None:
        if self.clients:
            with pytest.raises(ForeignError):
                self.daemons.stop(GPU)
        else:
            self.daemons.stop(GPU)
            self.running, self.limits = False, None

    @precondition(lambda self: self.running)
    @rule(share=SHARES, memory=MEMORY, names=st.sets(UNITS))
    def set_limits(self, share: int, memory: int | None, names: set[str]) -> None:
        self.limits = self.wanted(share, memory, names)
        self.daemons.set_limits(GPU, self.limits)

    @precondition(lambda self: self.running)
    @rule(share=SHARES, memory=MEMORY, names=st.sets(UNITS), after=st.integers(0, 14))
    def crash_while_setting(
        self, share: int, memory: int | None, names: set[str], after: int
    ) -> None:
        left = [after]

        def count(said: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise CrashError

        wanted = self.wanted(share, memory, names)
        self.daemons.before = count
        try:
            self.daemons.set_limits(GPU, wanted)
            self.limits = wanted
        except CrashError:
            self.limits = None
        finally:
            self.daemons.before = lambda said: None

    @precondition(lambda self: self.running and self.limits is not None and not self.faulty)
    @rule(name=UNITS, stranger=st.booleans(), share=SHARES)
    def client_comes(self, name: str, stranger: bool, share: int) -> None:
        assert self.limits is not None
        name = "b" if stranger else name
        one = unit(name, share_pct=share)
        space = space_of(one).name
        if self.dialect == "v3" and all(known.name != space for known in self.limits.spaces):
            return  # its namespace is made before it is started
        pid = next(self.pids)
        got = self.daemons.connect(self.daemons.environment(one), pid)
        if got.error is not None:
            assert got.error == "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED"
            return
        if self.dialect == "v2":
            assert got.share == min(share, self.limits.share_pct)
        else:
            assert got.share == next(
                known.share_pct for known in self.limits.spaces if known.name == space
            )
        self.clients[pid] = None if stranger else name
        self.tell_units()

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), graceful=st.booleans())
    def client_leaves(self, data: st.DataObject, graceful: bool) -> None:
        pid = data.draw(st.sampled_from(sorted(self.clients)))
        self.daemons.leave(pid, graceful=graceful)
        self.forget(pid)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def client_faults(self, data: st.DataObject) -> None:
        pid = data.draw(st.sampled_from(sorted(self.clients)))
        self.daemons.fault(pid)
        self.faulty.add(pid)
        assert self.daemons.connect(self.daemons.environment(unit("zz")), 999).error is not None

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def client_is_ended(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.daemons.observe(GPU).clients))
        if self.clients[client.pid] is None:
            with pytest.raises(ForeignError):
                self.daemons.terminate(GPU, client)
        else:
            self.daemons.terminate(GPU, client)
            self.forget(client.pid)

    @precondition(lambda self: self.running)
    @rule()
    def reset(self) -> None:
        before = self.daemons.observe(GPU).limits
        if None in self.clients.values():
            with pytest.raises(ForeignError):
                self.daemons.reset(GPU)
            return
        self.daemons.reset(GPU)
        for pid in list(self.clients):
            self.forget(pid)
        assert self.daemons.observe(GPU).limits == before

    @invariant()
    def what_is_seen_is_what_was_promised(self) -> None:
        state = self.daemons.observe(GPU)
        assert state.alive == self.running
        if not self.running:
            return
        assert {client.pid: client.unit for client in state.clients} == self.clients
        assert (state.server == "fault") == bool(self.faulty)
        if self.limits is not None:
            assert state.limits == self.limits
            assert state.settled

    def forget(self, pid: int) -> None:
        del self.clients[pid]
        self.faulty.discard(pid)
        self.tell_units()

    def tell_units(self) -> None:
        units: dict[str, list[int]] = {}
        for pid, key in self.clients.items():
            if key is not None:
                units.setdefault(key, []).append(pid)
        self.daemons.units = units


class DaemonV3(Daemon):
    dialect: Dialect = "v3"


@pytest.mark.parametrize("machine", [Daemon, DaemonV3], ids=["v2", "v3"])
def test_what_is_promised_holds(machine: type[Daemon]) -> None:
    run_state_machine_as_test(machine)
