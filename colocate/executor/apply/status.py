"""Where a node stands: what was applied, what is unfinished, and who is at work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from colocate.executor.apply.actions import words
from colocate.executor.apply.differences import Difference, differences, foreign_clients
from colocate.executor.apply.lock import Holder, holder_of

if TYPE_CHECKING:
    from pathlib import Path

    from colocate.executor.apply.situation import Situation

__all__ = ["Standing", "standing_of"]

Word = Literal["empty", "applied", "drifted", "changing", "cut_off", "needs_attention"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the node stands."""

    word: Word
    """``empty``: nothing was applied. ``applied``: all is as asked for. ``drifted``: it was, and
    is not any more. ``changing``: a change is under way. ``cut_off``: a change did not come to its
    end. ``needs_attention``: a change failed and could not be put back."""
    situation: Situation
    holder: Holder | None
    differences: tuple[Difference, ...]

    @property
    def sentence(self) -> str:
        """Say it."""
        change = self.situation.unfinished
        told = "" if change is None else f" ({change.words()})"
        return {
            "empty": "nothing is applied here",
            "applied": "all is as applied",
            "drifted": f"not as applied, in {len(self.differences)} places",
            "changing": f"a change is under way{told}",
            "cut_off": f"a change was cut off{told}",
            "needs_attention": f"a change needs attention{told}",
        }[self.word]

    @property
    def advice(self) -> str | None:
        """Say what an operator can do."""
        return {
            "empty": None,
            "applied": None,
            "drifted": "'colocate apply' the plan again, or find out why.",
            "changing": "wait until it has ended.",
            "cut_off": "'colocate apply' goes on from here, 'colocate rollback' goes back.",
            "needs_attention": "mend what is named, then 'colocate rollback' or 'colocate apply'.",
        }[self.word]

    def data(self) -> dict[str, Any]:
        """Return it as plain data."""
        applied, change = self.situation.applied, self.situation.unfinished
        return {
            "state": self.word,
            "sentence": self.sentence,
            "advice": self.advice,
            "change": None if applied is None else applied.change,
            "plan": None
            if applied is None or applied.origin is None
            else applied.origin.model_dump(mode="json"),
            "rollbacks_left": 0 if applied is None else len(applied.earlier),
            "unfinished": None
            if change is None
            else {
                "change": change.number,
                "verb": change.prepared.verb,
                "since": change.at,
                "phase": change.phase,
                "steps": len(change.prepared.steps),
                "begun": len(change.begun),
                "done": len(change.done),
                "last_step": words(change.begun[-1].action) if change.begun else None,
                "detail": change.detail,
            },
            "lock": None
            if self.holder is None
            else {"pid": self.holder.pid, "verb": self.holder.verb, "since": self.holder.since},
            "differences": [
                {"gpu": d.gpu, "what": d.what, "found": d.found, "wanted": d.wanted}
                for d in self.differences
            ],
            "gpus": [self._gpu(gpu) for gpu in self.situation.observed.facts],
        }

    def _gpu(self, gpu: str) -> dict[str, Any]:
        observed = self.situation.observed
        daemon = observed.daemon(gpu)
        return {
            "gpu": gpu,
            "name": observed.facts[gpu].name,
            "daemon": "none" if not daemon.alive else ("ours" if daemon.ours else "not ours"),
            "dialect": daemon.dialect,
            "server": daemon.server,
            "share_pct": None if daemon.limits is None else daemon.limits.share_pct,
            "clients": len(daemon.clients),
            "strangers": [client.pid for client in observed.foreign(gpu)],
            "units": [
                {
                    "key": seen.state.unit.key,
                    "role": seen.state.unit.role,
                    "share_pct": seen.state.unit.share_pct,
                    "batch": seen.state.unit.batch,
                    "phase": seen.state.phase,
                    "client_of_mps": seen.member,
                    "restarts": seen.state.restarts,
                    "detail": seen.state.detail,
                }
                for seen in observed.units_on(gpu)
            ],
        }


def standing_of(root: Path, situation: Situation) -> Standing:
    """Work out where the node stands."""
    holder, change, applied = holder_of(root), situation.unfinished, situation.applied
    found: tuple[Difference, ...] = ()
    if applied is not None and change is None:
        found = (
            *differences(situation.observed, applied.target, situation.serving),
            *foreign_clients(situation.observed, applied.target),
        )
    word: Word
    if holder is not None:
        word = "changing"
    elif change is not None:
        word = "needs_attention" if change.phase == "needs_attention" else "cut_off"
    elif applied is None:
        word = "empty"
    else:
        word = "drifted" if found else "applied"
    return Standing(word=word, situation=situation, holder=holder, differences=found)
