"""The tuner's changes as applies: locked, journalled, and taken back when they fail."""

from __future__ import annotations

from collections.abc import Sequence

from colocate.executor.apply.desired import target_of_now, target_of_units
from colocate.executor.apply.engine import Engine
from colocate.executor.apply.situation import Situation
from colocate.executor.apply.target import Target
from colocate.executor.errors import UnitError
from colocate.executor.unit import Unit

__all__ = ["EngineChange"]


class EngineChange:
    """Brings one GPU to other units through the engine of `apply`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, gpu: str, wanted: Sequence[Unit]) -> None:
        """Apply what is there now, with the units of one GPU exchanged."""

        def target(situation: Situation) -> Target:
            applied = situation.applied
            scope = {gpu} if applied is None else {gpu, *applied.target.scope}
            launch = None if applied is None else applied.target.launch_sha256
            # What the guard has evicted elsewhere stays away: the rest is asked for as it is.
            now = target_of_now(situation.observed, sorted(scope), launch)
            units = [*(u for u in now.units if u.gpu != gpu), *wanted]
            keys = {u.key for u in units}
            found, _ = target_of_units(
                units,
                situation.observed,
                gpus=scope,
                known=situation.known,
                launch_sha256=launch,
            )
            wish = found.model_copy(update={"unready": tuple(k for k in now.unready if k in keys)})
            self._refuse_downtime(gpu, situation, wish)
            return wish

        self.engine.apply(target)

    def _refuse_downtime(self, gpu: str, situation: Situation, target: Target) -> None:
        """Refuse what an apply may do and a tuner must not: stop a service to start it anew."""
        for step in self.engine.steps(situation, target):
            if step.downtime:
                raise UnitError(
                    f"GPU {gpu} has no memory for a second process of a service",
                    advice="leave room for one, or apply the new share in a quiet hour.",
                )
