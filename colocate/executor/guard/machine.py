"""The state of one GPU under guard, as a pure function of state, evidence and time.

    init --> healthy <--> unhealthy --> overlimit --> calm_down --> healthy or unhealthy
             healthy ----------------> overlimit <-- calm_down
    any  --> disabled --> init    (a person enables it)

    healthy     takes training
    unhealthy   keeps the training that it has, and takes no more
    overlimit   training is held back, and the signals are still bad
    calm_down   training is held back, and the signals are good again; longer each time
    disabled    no training until a person says so

Training is held back for at most `calm_most_s` in one go. When the signals are bad even so, it is
not what makes them bad; it runs again, and if that makes them worse it is held back again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from colocate.executor.guard.evidence import Evidence
from colocate.executor.guard.thresholds import SIGNALS, Level, Patience, Signal, Thresholds

__all__ = ["EDGES", "HOLDING", "GuardState", "Phase", "Transition", "enable", "step"]

Phase = Literal["init", "healthy", "unhealthy", "overlimit", "calm_down", "disabled"]
HOLDING: frozenset[Phase] = frozenset({"overlimit", "calm_down", "disabled"})
"""Phases in which no training runs."""
EDGES: frozenset[tuple[Phase, Phase]] = frozenset(
    {
        ("init", "healthy"),
        ("init", "unhealthy"),
        ("init", "overlimit"),
        ("healthy", "unhealthy"),
        ("healthy", "overlimit"),
        ("unhealthy", "healthy"),
        ("unhealthy", "overlimit"),
        ("overlimit", "calm_down"),
        ("overlimit", "unhealthy"),
        ("calm_down", "healthy"),
        ("calm_down", "unhealthy"),
        ("calm_down", "overlimit"),
        ("init", "disabled"),
        ("healthy", "disabled"),
        ("unhealthy", "disabled"),
        ("overlimit", "disabled"),
        ("calm_down", "disabled"),
        ("disabled", "init"),
    }
)
KEPT = 8
"""Pieces of evidence that a state remembers."""
MOST_TIMES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """What the machine remembers of one GPU. Times are on the guard's clock."""

    phase: Phase = "init"
    since: float = 0.0
    """When this phase began."""
    seconds: float = 0.0
    """When it was last looked at."""
    readings: int = 0
    """Readings since `init` began."""
    levels: tuple[tuple[Signal, Level], ...] = ()
    """How bad each signal was; what the margins count from."""
    bad_from: float | None = None
    """Since when some signal has been beyond a bound, or the GPU blind."""
    over_from: float | None = None
    """Since when some signal has been beyond an upper bound."""
    good_from: float | None = None
    """Since when all have been within their bounds."""
    below_from: float | None = None
    """Since when none has been beyond an upper bound."""
    held_from: float | None = None
    """Since when training has been held back."""
    offences: int = 0
    """Times over the limit that are not forgiven yet."""
    forgiven_at: float = 0.0
    """When the last one was forgiven or made."""
    times: tuple[float, ...] = ()
    """Times over the limit, as far back as `disable_window_s`."""
    resets: tuple[float, ...] = ()
    """Resets of the MPS server, as far back."""
    evidence: tuple[Evidence, ...] = ()
    """The last few things that were seen, latest last."""

    @property
    def admits(self) -> bool:
        """Whether further training may start here."""
        return self.phase == "healthy"

    @property
    def holds(self) -> bool:
        """Whether training is held back."""
        return self.phase in HOLDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change of the state, with its grounds."""

    seconds: float
    before: Phase
    after: Phase
    why: str
    evidence: tuple[Evidence, ...]
    """What was seen last, latest last."""


def step(
    state: GuardState,
    evidence: Evidence,
    now: float,
    thresholds: Thresholds,
    patience: Patience,
) -> tuple[GuardState, Transition | None]:
    """Return the next state, and the change if there is one: at most one at a time."""
    now = max(now, state.seconds)  # a clock that jumps back stands still
    seen = _watched(state, evidence, now, thresholds, patience)
    phase, why = _next(seen, evidence, now, patience)
    if phase == state.phase:
        return _forgiven(seen, now, patience), None
    after = _entered(seen, phase, now)
    return after, Transition(
        seconds=now, before=state.phase, after=phase, why=why, evidence=after.evidence
    )


def enable(state: GuardState, now: float) -> GuardState:
    """Return the state after a person has looked at a disabled GPU."""
    if state.phase != "disabled":
        return state
    return GuardState(since=now, seconds=now, forgiven_at=now, evidence=state.evidence)


def _watched(
    state: GuardState, evidence: Evidence, now: float, thresholds: Thresholds, patience: Patience
) -> GuardState:
    """Return the state with the evidence taken in, its phase as it was."""
    before = dict(state.levels)
    levels: dict[Signal, Level] = {}
    for signal in SIGNALS:
        band, value = thresholds.band(signal), evidence.value(signal)
        if band is None:
            continue
        was = before.get(signal, Level.FINE)
        # A signal that is missing for once is as it was; a blind GPU is dealt with below.
        levels[signal] = was if value is None else band.level(value, was)
    worst = max(levels.values(), default=Level.FINE)
    if evidence.blind:
        worst = max(worst, Level.UNHEALTHY)
    bad, over = worst is not Level.FINE, worst is Level.OVER
    bad_from = (state.bad_from if state.bad_from is not None else now) if bad else None
    if evidence.blind and bad_from == now and state.evidence and not state.evidence[-1].blind:
        # Blindness is bad only after a while of its own.
        bad_from = now + max(0.0, patience.blind_s - patience.sustain_s)
    since = now - patience.disable_window_s
    resets = sum(f.severity == "reset" for f in evidence.faults)
    return replace(
        state,
        seconds=now,
        readings=state.readings + (not evidence.blind),
        levels=tuple(levels.items()),
        bad_from=bad_from,
        over_from=(state.over_from if state.over_from is not None else now) if over else None,
        good_from=None if bad else (state.good_from if state.good_from is not None else now),
        below_from=None if over else (state.below_from if state.below_from is not None else now),
        times=tuple(t for t in state.times if t > since)[-MOST_TIMES:],
        resets=(*(t for t in state.resets if t > since), *([now] if resets else ()))[-MOST_TIMES:],
        evidence=(*state.evidence, evidence)[-KEPT:],
    )


def _next(
    state: GuardState, evidence: Evidence, now: float, patience: Patience
) -> tuple[Phase, str]:
    """Return the phase that follows, and why."""
    phase = state.phase
    if phase == "disabled":
        return phase, ""
    final = [f for f in evidence.faults if f.severity == "disable"]
    if final:
        return "disabled", f"{final[0].kind}: {final[0].detail}"
    if len(state.resets) > patience.most_resets:
        return "disabled", f"the MPS server was reset {len(state.resets)} times"
    if patience.disable_after is not None and len(state.times) >= patience.disable_after:
        return "disabled", f"over its limit {len(state.times)} times"
    broken = [f for f in evidence.faults if f.severity in ("contain", "reset")]
    if broken and phase not in HOLDING:
        return "overlimit", f"{broken[0].kind}: {broken[0].detail}"
    if phase in HOLDING:
        return _held(state, now, patience, broken=bool(broken))
    if _lasted(state.over_from, state.since, now, patience.over_sustain_s) and (
        phase != "init" or state.readings >= patience.init_readings
    ):
        return "overlimit", _names(state, Level.OVER)
    if phase == "init":
        if state.readings < patience.init_readings:
            return "init", ""
        if state.bad_from is None:
            return "healthy", f"{state.readings} readings within bounds"
        return "unhealthy", _names(state, Level.UNHEALTHY)
    if phase == "healthy" and _lasted(state.bad_from, state.since, now, patience.sustain_s):
        return "unhealthy", _names(state, Level.UNHEALTHY)
    if phase == "unhealthy" and _lasted(state.good_from, state.since, now, patience.recover_s):
        return "healthy", f"within all bounds for {patience.recover_s:g} s"
    return phase, ""


def _held(state: GuardState, now: float, patience: Patience, *, broken: bool) -> tuple[Phase, str]:
    """Return what follows while training is held back."""
    assert state.held_from is not None
    if now - state.held_from >= patience.calm_most_s:
        why = f"training was held back for {now - state.held_from:.3g} s, the most allowed"
        if state.phase == "calm_down" and state.bad_from is None:
            return "healthy", why
        return "unhealthy", why
    if state.phase == "overlimit":
        if broken or not _lasted(state.below_from, state.since, now, _settle(patience)):
            return "overlimit", ""
        return "calm_down", "the signals came back"
    if broken or _lasted(state.over_from, state.since, now, patience.over_sustain_s):
        return "overlimit", _names(state, Level.OVER) if not broken else "another fault"
    calm = patience.calm_s(state.offences)
    if now - state.since < calm:
        return "calm_down", ""
    why = f"calm for {calm:g} s"
    return ("healthy" if state.bad_from is None else "unhealthy"), why


def _settle(patience: Patience) -> float:
    """How long signals must be below their upper bounds before the calm-down begins to count."""
    return min(patience.recover_s, patience.calm_first_s)


def _lasted(begin: float | None, since: float, now: float, seconds: float) -> bool:
    """Tell whether something has held for so long, counted within the present phase."""
    return begin is not None and now - max(begin, since) >= seconds


def _entered(state: GuardState, phase: Phase, now: float) -> GuardState:
    """Return the state as it enters another phase."""
    was_held = state.phase in HOLDING
    new = replace(state, phase=phase, since=now)
    if phase == "overlimit" and not was_held:
        new = replace(
            new,
            held_from=now,
            offences=min(state.offences + 1, MOST_TIMES),
            forgiven_at=now,
            times=(*state.times, now)[-MOST_TIMES:],
        )
    elif phase == "disabled":
        new = replace(new, held_from=state.held_from if was_held else now)
    elif phase not in HOLDING:
        new = replace(new, held_from=None, forgiven_at=now if was_held else state.forgiven_at)
    return new


def _forgiven(state: GuardState, now: float, patience: Patience) -> GuardState:
    """Return the state with one offence less when it has been in good health for long."""
    begin = max(state.forgiven_at, state.since)
    if state.phase == "healthy" and state.offences and now - begin >= patience.forgive_s:
        return replace(state, offences=state.offences - 1, forgiven_at=now)
    return state


def _names(state: GuardState, at_least: Level) -> str:
    """Say which signals are that bad, with their values."""
    last = state.evidence[-1]
    bad = [name for name, level in state.levels if level >= at_least]
    values = dict(last.values)
    shown = [f"{n} {values[n]:.4g}" if n in values else f"{n} unknown" for n in bad]
    if last.blind:
        shown.append("the GPU does not answer")
    return ", ".join(shown) or "signals beyond their bounds"
