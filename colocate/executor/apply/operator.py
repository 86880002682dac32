"""What an operator asks of a node, put together from a plan, a launch file and the real ports."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from colocate.errors import InputError, PlanError
from colocate.executor.apply.desired import LeftOut, target_of_units
from colocate.executor.apply.differences import Difference, differences, foreign_clients
from colocate.executor.apply.engine import Engine, Expected, Outcome
from colocate.executor.apply.launches import (
    RoutedProcesses,
    forget_launches,
    keep_launch,
    kept_launches,
    launch_sha256,
)
from colocate.executor.apply.perform import Ports
from colocate.executor.apply.preview import Preview
from colocate.executor.apply.records import Origin
from colocate.executor.apply.situation import Situation, fingerprint, look
from colocate.executor.mps import NodeDaemons
from colocate.executor.nvml import NvmlGpus
from colocate.executor.workloads.units import gpu_uuids, units_of
from colocate.io import dumps_plan

if TYPE_CHECKING:
    from colocate.executor.apply.target import Target
    from colocate.executor.ports import Daemons, Dialect, Gpus
    from colocate.executor.unit import Unit
    from colocate.instance import Instance
    from colocate.launch import LaunchFile
    from colocate.plan import Plan

__all__ = ["NodeSettings", "Operator", "Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """How the node is to be treated."""

    root: Path
    binary: Path | None = None
    adopt: bool = False
    allow_root: bool = False
    dialect: Dialect = "v2"
    lock_timeout_s: float = 0.0
    member_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A plan with all that it takes to start it."""

    units: tuple[Unit, ...]
    gpus: frozenset[str]
    """All GPUs of the instance."""
    origin: Origin
    launch: LaunchFile

    @classmethod
    def of(cls, instance: Instance, plan: Plan, launch: LaunchFile) -> Request:
        """Put it together.

        Raises
        ------
        PlanError
            When the plan is for another instance.
        """
        if plan.instance_sha256 != instance.sha256:
            raise PlanError(
                f"the plan is for the instance with hash {plan.instance_sha256[:12]}..., "
                f"this one has {instance.sha256[:12]}...",
                path="$.instance_sha256",
                advice="give the instance that the plan was made for.",
            )
        uuids = gpu_uuids(instance)
        return cls(
            units=units_of(instance, plan, launch, uuids),
            gpus=frozenset(uuids.values()),
            origin=Origin(
                plan_sha256=sha256(dumps_plan(plan).encode()).hexdigest(),
                instance_name=plan.instance_name,
                instance_sha256=plan.instance_sha256,
                solver=plan.solver,
            ),
            launch=launch,
        )

    def target(self, situation: Situation) -> tuple[Target, LeftOut]:
        """Return what is asked of this node."""
        return target_of_units(
            self.units,
            situation.observed,
            gpus=self.gpus,
            known=situation.known,
            launch_sha256=launch_sha256(self.launch),
        )


class Operator:
    """A node, ready to be looked at and changed.

    Parameters
    ----------
    settings
        How it is to be treated.
    launch
        The launch file of what is to be applied, when there is one.
    gpus, daemons
        Other GPUs and daemons than those of this machine, for tests.
    stop
        Asked between steps whether to put everything back.
    notice
        Told in words what is about to be done.
    hook
        Called at every moment at which a crash could come.
    """

    def __init__(
        self,
        settings: NodeSettings,
        launch: LaunchFile | None = None,
        *,
        gpus: Gpus | None = None,
        daemons: Daemons | None = None,
        stop: Callable[[], bool] | None = None,
        notice: Callable[[str], None] | None = None,
        hook: Callable[[str], None] | None = None,
    ) -> None:
        self._settings, self._launch = settings, launch
        launches = kept_launches(settings.root)
        if launch is not None and launch not in launches:
            launches.insert(0, launch)
        processes = RoutedProcesses(settings.root, launches)
        gpus = gpus or NvmlGpus()
        self.ports = Ports(
            daemons=daemons
            or NodeDaemons(
                settings.root,
                settings.binary,
                settings.adopt,
                allow_root=settings.allow_root,
                gpus=gpus,
                dialect=settings.dialect,
                unit_pids=lambda: {s.unit.key: s.pids for s in processes.observe()},
            ),
            processes=processes,
            gpus=gpus,
            member_timeout_s=settings.member_timeout_s,
        )
        self.engine = Engine(
            settings.root,
            self.ports,
            lock_timeout_s=settings.lock_timeout_s,
            stop=stop,
            notice=notice,
            hook=hook,
        )

    def look(self) -> Situation:
        """Look at the node and at the state folder."""
        return look(self._settings.root, self.ports)

    def preview(self, request: Request) -> Preview:
        """Say what an apply would do; changes nothing."""
        situation = self.look()
        target, left_out = request.target(situation)
        return Preview(
            fingerprint=fingerprint(situation, target),
            origin=request.origin,
            target=target,
            steps=self.engine.steps(situation, target),
            left_out_units=left_out.units,
            left_out_gpus=left_out.gpus,
            launch=request.launch,
        )

    def apply(self, request: Request) -> Outcome:
        """Make a plan true on this node."""

        def target(now: Situation) -> Target:
            self._keep(now, request.launch)
            return request.target(now)[0]

        return self.engine.apply(target, request.origin)

    def apply_preview(self, preview: Preview) -> Outcome:
        """Do what a preview says, if what it saw is still true."""
        if preview.target.launch_sha256 != launch_sha256(preview.launch):
            raise InputError(
                "the preview's launch file is not the one that its steps are for",
                path="$.launch",
                advice="make a new preview; nothing in one is to be edited.",
            )

        def target(now: Situation) -> Target:
            self._keep(now, preview.launch)
            return preview.target

        expected = Expected(fingerprint=preview.fingerprint, steps=preview.steps)
        return self.engine.apply(target, preview.origin, expected)

    def rollback(self) -> Outcome:
        """Bring back what was there before the last change."""
        return self.engine.rollback()

    def check(
        self, request: Request | None = None, situation: Situation | None = None
    ) -> tuple[Difference, ...]:
        """Compare what is true with a plan, or with what was applied last."""
        situation = situation or self.look()
        if request is not None:
            target = request.target(situation)[0]
        elif situation.applied is not None:
            target = situation.applied.target
        else:
            return ()
        return (
            *differences(situation.observed, target, situation.serving),
            *foreign_clients(situation.observed, target),
        )

    def _keep(self, now: Situation, launch: LaunchFile) -> None:
        """Keep the launch file, and none that nothing can need; the lock is held."""
        root = self._settings.root
        needed = {target.launch_sha256 for target in now.targets}
        needed.add(keep_launch(root, launch))
        with contextlib.suppress(OSError):
            forget_launches(root, {digest for digest in needed if digest is not None})
