"""All that is known before something is done: what is true, was applied, and is unfinished."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from colocate.executor.apply.applied import Applied, advanced, read_applied
from colocate.executor.apply.journal import read_journal
from colocate.executor.apply.observed import Observed, observe
from colocate.executor.apply.serving import Serving
from colocate.executor.apply.story import Change, Story, story_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from colocate.executor.apply.perform import Ports
    from colocate.executor.apply.records import Entry
    from colocate.executor.apply.target import Target

__all__ = ["Situation", "fingerprint", "look"]


@dataclass(frozen=True, slots=True)
class Situation:
    """What `apply` and `rollback` start from."""

    observed: Observed
    applied: Applied | None
    story: Story

    @property
    def unfinished(self) -> Change | None:
        """The change that did not come to its end, if there is one."""
        return self.story.unfinished

    @property
    def serving(self) -> Serving:
        """Which units requests are sent to."""
        return self.story.serving

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every state that was asked for, or can be gone back to."""
        found = []
        if self.applied is not None:
            found += [self.applied.target, *(e.target for e in self.applied.earlier)]
        if self.story.last is not None:
            found += [self.story.last.prepared.target, self.story.last.prepared.before]
        return tuple(found)

    @property
    def known(self) -> frozenset[str]:
        """Keys of the units that are ours, or were not long ago."""
        return frozenset(unit.key for target in self.targets for unit in target.units)


def look(root: Path, ports: Ports, entries: Iterable[Entry] | None = None) -> Situation:
    """Look at the node and at the state folder.

    Parameters
    ----------
    root
        The state folder.
    ports
        The world.
    entries
        The journal, when it was read already.
    """
    if entries is None:
        entries = read_journal(root).entries
    applied = read_applied(root)
    story = story_of(entries, applied)
    for number, prepared in story.committed:
        # A crash may have come between the commit and this file.
        if applied is None or applied.change < number:
            applied = advanced(applied, number, prepared)
    return Situation(observe(ports.daemons, ports.processes, ports.gpus), applied, story)


def fingerprint(situation: Situation, target: Target) -> str:
    """Return a hash of everything that the steps towards a target depend on."""
    observed = situation.observed
    told: dict[str, Any] = {
        "change": None if situation.applied is None else situation.applied.change,
        "unfinished": None if situation.unfinished is None else situation.unfinished.number,
        "serving": sorted(situation.serving.sure),
        "maybe_serving": sorted(situation.serving.maybe),
        "gpus": {},
        "units": {},
    }
    for gpu in target.scope:
        daemon = observed.daemons.get(gpu)
        if daemon is None:
            continue
        told["gpus"][gpu] = {
            "memory_mib": observed.facts[gpu].memory_mib,
            "alive": daemon.alive,
            "ours": daemon.ours,
            "dialect": daemon.dialect,
            "fault": daemon.server == "fault",
            "settled": daemon.settled,
            "limits": None if daemon.limits is None else asdict(daemon.limits),
            "strangers": bool(observed.foreign(gpu)),
        }
        for seen in observed.units_on(gpu):
            told["units"][seen.state.unit.key] = {
                "unit": asdict(seen.state.unit),
                "phase": seen.state.phase,
                "member": seen.member,
            }
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()
