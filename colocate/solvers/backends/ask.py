"""What a backend is asked, and what it answers: the same in this process and in a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from colocate.solvers.backends.model import IntegerModel
from colocate.solvers.backends.wire import Message

__all__ = ["Ask", "Backend", "Found", "Stop", "Tell"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Outcome = Literal["optimal", "feasible", "infeasible", "nothing", "failed", "progress"]


_PLAIN = ("time_s", "nodes", "gap", "seed", "option")


@dataclass(frozen=True, slots=True)
class Ask:
    """A model and how to solve it."""

    model: IntegerModel
    time_s: float | None = None
    nodes: int | None = None
    """Nodes of the search after which to stop with the best found; only HiGHS knows it."""
    gap: float = 0.0
    seed: int = 0
    hint: Ints | None = None
    """A solution to start from."""
    option: str = ""
    """Which of several engines to use."""

    def message(self) -> Message:
        """Return the question as a message."""
        arrays: dict[str, NDArray[Any]] = {}
        values: dict[str, Any] = {}
        for f in fields(IntegerModel):
            value = getattr(self.model, f.name)
            (arrays if isinstance(value, np.ndarray) else values)[f.name] = value
        if self.hint is not None:
            arrays["hint"] = self.hint
        return Message("ask", {"model": values, **{k: getattr(self, k) for k in _PLAIN}}, arrays)

    @classmethod
    def of(cls, message: Message) -> Ask:
        """Read a question."""
        arrays: dict[str, Any] = dict(message.arrays)
        hint = arrays.pop("hint", None)
        rest = {k: v for k, v in message.fields.items() if k in _PLAIN}
        return cls(IntegerModel(**arrays, **message.fields["model"]), hint=hint, **rest)


@dataclass(frozen=True, slots=True)
class Found:
    """An answer, or news on the way to it (`progress`)."""

    outcome: Outcome
    solution: Ints | None = None
    prices: Floats | None = None
    """Of the rows, in maximised form, where the backend has them."""
    point: Floats | None = None
    """Where a relaxation is best."""
    bound: float | None = None
    """No solution is worth more, in the backend's word."""
    error: float = 0.0
    """By how much rounded numbers can have moved the worth of a solution."""
    detail: str = ""
    build_s: float = 0.0
    """Seconds that it took to state the model in the backend's terms."""

    def message(self) -> Message:
        """Return the answer as a message."""
        arrays = {"solution": self.solution, "prices": self.prices, "point": self.point}
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in arrays}
        return Message("found", plain, {k: v for k, v in arrays.items() if v is not None})

    @classmethod
    def of(cls, message: Message) -> Found:
        """Read an answer."""
        arrays: dict[str, Any] = dict(message.arrays)
        return cls(**message.fields, **arrays)


Tell = Callable[[Found], None]
Stop = Callable[[], bool]


class Backend(Protocol):
    """Answers a question; may tell about better solutions and bounds, and ask whether to stop."""

    def __call__(self, ask: Ask, tell: Tell, stop: Stop) -> Found:
        """Answer."""
        ...
