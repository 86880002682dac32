"""Where the judge writes down what is wrong: bounded, however bad the plan is."""

from __future__ import annotations

from collections.abc import Iterable

from colocate.violation import Violation, ViolationKind

__all__ = ["Findings"]

SHOWN_PER_KIND = 20


class Findings:
    """Violations in the order found; of each kind the first few, and how many more there are."""

    def __init__(self) -> None:
        self._shown: dict[ViolationKind, list[Violation]] = {}
        self._more: dict[ViolationKind, int] = {}
        self.count = 0
        """How many were found, shown or not."""

    def add(self, kind: ViolationKind, where: str, message: str) -> None:
        """Write down one violation."""
        self.extend([Violation(kind=kind, where=where, message=message)])

    def extend(self, violations: Iterable[Violation]) -> None:
        """Write down what a constraint yields."""
        for violation in violations:
            self.count += 1
            shown = self._shown.setdefault(violation.kind, [])
            if len(shown) < SHOWN_PER_KIND:
                shown.append(violation)
            else:
                self._more[violation.kind] = self._more.get(violation.kind, 0) + 1

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self._shown

    def any_of(self, *kinds: ViolationKind) -> bool:
        """Return whether one of these kinds was found."""
        return any(kind in self._shown for kind in kinds)

    def violations(self) -> tuple[Violation, ...]:
        """Return what was written down."""
        found: list[Violation] = []
        for kind, shown in self._shown.items():
            found.extend(shown)
            if kind in self._more:
                message = f"{self._more[kind]} more of this kind"
                found.append(Violation(kind=kind, where="plan", message=message))
        return tuple(found)
