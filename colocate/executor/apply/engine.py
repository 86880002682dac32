"""Bringing the node to a target, with a net.

    observe -> steps -> PREPARED -> for each step: INTENT, act, read back, DONE
            -> verify all -> COMMITTED
    else ROLLING_BACK -> ROLLED_BACK | NEEDS_ATTENTION

Every word in capitals is a record that is on disk before the next thing happens. A change that was
cut off is taken up by the next `apply` (which goes on from what is true then) or by `rollback`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from colocate.executor.apply.actions import Action, Step, gpus_of, words
from colocate.executor.apply.applied import Applied, advanced, read_applied, write_applied
from colocate.executor.apply.desired import target_of_now, together, with_leftovers
from colocate.executor.apply.differences import Difference, differences
from colocate.executor.apply.journal import Hook, Journal
from colocate.executor.apply.lock import Lock
from colocate.executor.apply.observed import observe
from colocate.executor.apply.order import plan_steps
from colocate.executor.apply.perform import Ports, perform
from colocate.executor.apply.records import (
    Committed,
    Done,
    Intent,
    NeedsAttention,
    Origin,
    Prepared,
    Record,
    RolledBack,
    RollingBack,
    Undo,
    Undone,
    Verb,
)
from colocate.executor.apply.run import MEND, Expected, Outcome, Run, reason_of, same
from colocate.executor.apply.situation import Situation, fingerprint, look
from colocate.executor.apply.state_error import StateError
from colocate.executor.errors import AttentionError, DriftError, HeldError, RolledBackError

if TYPE_CHECKING:
    from pathlib import Path

    from colocate.executor.apply.target import Target

__all__ = ["Engine", "Expected", "Outcome"]


class Engine:
    """Makes changes of one node.

    Parameters
    ----------
    root
        The state folder.
    ports
        The world.
    lock_timeout_s
        How long to wait for another holder of the lock.
    stop
        Asked between steps; when it says yes, everything is put back.
    notice
        Told in words what is about to be done.
    hook
        Called at every moment at which a crash could come.
    """

    def __init__(
        self,
        root: Path,
        ports: Ports,
        *,
        lock_timeout_s: float = 0.0,
        stop: Callable[[], bool] | None = None,
        notice: Callable[[str], None] | None = None,
        hook: Hook | None = None,
    ) -> None:
        self._root, self._ports = root, ports
        self._lock_timeout_s = lock_timeout_s
        self._stop = stop or (lambda: False)
        self.going_back = False
        """Whether it is putting things back: only then is an interrupt not the beginning of it."""
        self._notice: Hook = notice or (lambda _text: None)
        self._hook: Hook = hook or (lambda _point: None)

    def steps(self, situation: Situation, target: Target) -> tuple[Step, ...]:
        """Return what has to be done."""
        return plan_steps(
            situation.observed,
            target,
            situation.serving,
            self._ports.processes.can_set_batch,
        )

    def apply(
        self,
        target_from: Callable[[Situation], Target],
        origin: Origin | None = None,
        expected: Expected | None = None,
    ) -> Outcome:
        """Bring the node to a target.

        Parameters
        ----------
        target_from
            Returns the target, given what is true once the lock is held.
        origin
            The plan that the target comes from.
        expected
            What a preview saw: when something else is true now, nothing is done.

        Raises
        ------
        HeldError
            When another change is under way.
        DriftError
            When a preview does not hold any more.
        RolledBackError
            When something failed and everything was put back.
        AttentionError
            When it could not be put back.
        """
        plan = None if origin is None else origin.plan_sha256
        with Lock(self._root, "apply", plan, self._lock_timeout_s) as lock:
            journal = self._open()
            try:
                situation = self._look(journal)
                target = target_from(situation)
                self._refuse_drift(situation, target, expected)
                return self._forward("apply", target, origin, situation, journal, lock)
            finally:
                journal.close()

    def rollback(self) -> Outcome:
        """Bring the node back to what it was before the last change, finished or not.

        Raises
        ------
        HeldError, RolledBackError, AttentionError
            As for `apply`. Rolled back, here, means that the node is as it was before this call.
        """
        with Lock(self._root, "rollback", None, self._lock_timeout_s) as lock:
            journal = self._open()
            try:
                situation = self._look(journal)
                change = situation.unfinished
                if change is not None and change.prepared.verb == "apply":
                    run = Run(
                        journal,
                        lock,
                        change.number,
                        change.prepared,
                        situation.serving.copy(),
                        list(change.begun),
                        set(change.undone),
                    )
                    return self._take_back(run, situation)
                if change is not None:
                    target, origin = change.prepared.target, change.prepared.origin
                elif situation.applied is None or not situation.applied.earlier:
                    return Outcome(verb="rollback", steps=(), applied=situation.applied)
                else:
                    back = situation.applied.earlier[0]
                    target, origin = back.target, back.origin
                target = with_leftovers(target, situation.observed)
                return self._forward("rollback", target, origin, situation, journal, lock)
            finally:
                journal.close()

    # --- forwards ---

    def _forward(
        self,
        verb: Verb,
        target: Target,
        origin: Origin | None,
        situation: Situation,
        journal: Journal,
        lock: Lock,
    ) -> Outcome:
        steps = self.steps(situation, target)
        applied, change = situation.applied, situation.unfinished
        if not steps and change is None and same(applied, target, origin):
            return Outcome(verb=verb, steps=(), applied=applied)
        prepared = Prepared(
            verb=verb,
            origin=origin,
            target=target,
            before=self._before(situation, target),
            before_origin=None if applied is None else applied.origin,
            steps=steps,
            resumes=None if change is None else change.number,
        )
        if change is None:
            journal.rotate()
        number = 1 + max(
            0 if applied is None else applied.change,
            0 if situation.story.last is None else situation.story.last.number,
        )
        journal.append(number, prepared)
        run = Run(journal, lock, number, prepared, situation.serving.copy())
        try:
            for n, step in enumerate(steps):
                self._do(run, n, step)
            self._verify(run)
            journal.append(number, Committed())
        except HeldError:
            raise  # somebody else may be at work: nothing more is touched
        except (Exception, KeyboardInterrupt) as failed:  # noqa: BLE001 - raised again
            self._roll_back(run, failed)
        committed = advanced(applied, number, prepared)
        self._keep(committed)
        return Outcome(verb=verb, steps=steps, applied=committed, took_over=change is not None)

    def _before(self, situation: Situation, target: Target) -> Target:
        """Return what to go back to: never the middle of a change that was cut off."""
        applied = situation.applied
        launch = None if applied is None else applied.target.launch_sha256
        now = target_of_now(situation.observed, target.scope, launch)
        if situation.unfinished is None:
            return now
        return together(situation.unfinished.prepared.before, now)

    def _do(self, run: Run, n: int, step: Step) -> None:
        run.lock.check()
        if self._stop():
            raise KeyboardInterrupt
        total = len(run.prepared.steps)
        self._notice(f"{n + 1}/{total} {words(step.action)}")
        intent = Intent(step=n, action=step.action, undo=step.undo)
        run.journal.append(run.number, intent)
        run.begun.append(intent)
        run.serving.begin(step.action)
        perform(step.action, self._ports)
        run.serving.end(step.action)
        self._hook(f"acted {step.action.do}")
        run.journal.append(run.number, Done(step=n))

    def _verify(self, run: Run) -> None:
        left = self._left(run, run.prepared.target)
        if left:
            shown = "\n".join(f"  {difference}" for difference in left[:20])
            raise AttentionError(f"after all steps, {len(left)} things are not as wanted:\n{shown}")

    def _left(self, run: Run, target: Target) -> tuple[Difference, ...]:
        ports = self._ports
        now = observe(ports.daemons, ports.processes, ports.gpus)
        return differences(now, target, run.serving)

    # --- and back ---

    def _roll_back(self, run: Run, cause: BaseException) -> NoReturn:
        why = reason_of(cause)
        problems = self._undo_all(run, why)
        if problems:
            raise AttentionError(
                f"{run.prepared.verb} failed: {why}\n"
                "and it could not be put back:\n" + "\n".join(f"  {p}" for p in problems[:20]),
                advice="mend what is named, then 'colocate rollback' or 'colocate apply' again.",
            ) from cause
        raise RolledBackError(
            f"{run.prepared.verb} failed, and everything was put back: {why}",
            advice=getattr(cause, "advice", None),
        ) from cause

    def _take_back(self, run: Run, situation: Situation) -> Outcome:
        """Finish a change that was cut off by undoing it."""
        problems = self._undo_all(run, "asked for by rollback")
        if problems:
            raise AttentionError(
                "the change that was cut off could not be put back:\n"
                + "\n".join(f"  {p}" for p in problems[:20]),
                advice="mend what is named, then 'colocate rollback' or 'colocate apply' again.",
            )
        applied = situation.applied
        return Outcome(
            verb="rollback",
            steps=tuple(
                Step(action=action, undo=()) for intent in run.begun for action in intent.undo
            ),
            applied=applied,
            took_over=True,
        )

    def _undo_all(self, run: Run, why: str) -> list[str]:
        """Take back what was begun, newest first; return what went wrong."""
        self.going_back = True
        self._notice(f"putting everything back: {why}")
        self._note(run, RollingBack(detail=why[:20_000]))
        problems: list[str] = []
        stuck: set[str] = set()
        for intent in reversed(run.begun):
            for part, action in enumerate(intent.undo):
                if (intent.step, part) in run.undone:
                    continue
                if stuck & set(gpus_of(action)):
                    # What comes next on these GPUs counts on what failed there: a unit must not
                    # be stopped whose requests could not be sent elsewhere.
                    stuck |= set(gpus_of(action))
                    continue
                failed = self._undo(run, intent.step, part, action)
                if failed is not None:
                    problems.append(failed)
                    stuck |= set(gpus_of(action))
        left = self._mend(run, problems)
        if left:
            self._note(run, NeedsAttention(detail="\n".join(left)[:20_000]))
            return left
        self._note(run, RolledBack())
        return []

    def _mend(self, run: Run, problems: list[str]) -> list[str]:
        """Compare with what was there before, and bring about what the undos did not."""
        before = run.prepared.before
        try:
            if not self._left(run, before):
                return []
            situation = look(self._root, self._ports, run.journal.entries)
            steps = plan_steps(
                situation.observed,
                before,
                run.serving,
                self._ports.processes.can_set_batch,
            )
            for step in steps:
                failed = self._undo(run, MEND, run.parts, step.action)
                run.parts += 1
                if failed is not None:
                    return [*problems, failed]
            left = self._left(run, before)
        except HeldError:
            raise
        except Exception as failed_too:  # noqa: BLE001 - even a bug must not go untold
            return [*problems, reason_of(failed_too)]
        return [] if not left else [*problems, *map(str, left)]

    def _undo(self, run: Run, step: int, part: int, action: Action) -> str | None:
        run.lock.check()
        self._notice(f"back: {words(action)}")
        self._note(run, Undo(step=step, part=part, action=action))
        run.serving.begin(action)
        try:
            perform(action, self._ports)
        except HeldError:
            raise
        except Exception as failed:  # noqa: BLE001 - even a bug must not end the way back
            return f"{words(action)}: {reason_of(failed)}"
        run.serving.end(action)
        self._hook(f"undid {action.do}")
        self._note(run, Undone(step=step, part=part))
        return None

    def _note(self, run: Run, record: Record) -> None:
        """Write a record of going back; going back matters more than the record of it."""
        try:
            run.journal.append(run.number, record)
        except StateError:
            self._hook("not written")

    # --- around it ---

    def _open(self) -> Journal:
        return Journal(self._root, self._hook)

    def _look(self, journal: Journal) -> Situation:
        situation = look(self._root, self._ports, journal.entries)
        if situation.applied is not None and situation.applied != read_applied(self._root):
            self._keep(situation.applied)
        return situation

    def _keep(self, applied: Applied) -> None:
        self._hook("before applied.json")
        write_applied(self._root, applied)
        self._hook("after applied.json")

    def _refuse_drift(
        self, situation: Situation, target: Target, expected: Expected | None
    ) -> None:
        if expected is None:
            return
        if fingerprint(situation, target) != expected.fingerprint:
            raise DriftError(
                "what is true now is not what the preview saw; nothing was changed",
                advice="make a new preview, and look at it.",
            )
        if self.steps(situation, target) != expected.steps:
            raise DriftError(
                "this version of colocate would do other steps than the preview says",
                advice="make a new preview with it.",
            )
