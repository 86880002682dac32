"""The services, or the tasks, of an instance by position: the list first, then the table's rows.

Whoever judges a plan needs counts, weights and owners of up to a million rows at once, and must not
make an object for each of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from colocate.instance import Instance, Service, ServiceTable, Task, TaskTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Entries", "service_entries", "task_entries"]

Entry = TypeVar("Entry", Service, Task)

# Columns of a table that hold a tuple for all rows together rather than a value for each.
_WHOLE = frozenset({"batches"})
_OF_EACH = frozenset({"id", "replicas", "count"})


@dataclass(frozen=True)
class Entries(Generic[Entry]):
    """All services, or all tasks, of an instance."""

    word: str
    """`service` or `task`, for messages."""
    listed: tuple[Entry, ...]
    table: ServiceTable | TaskTable | None
    positions: dict[str, int]
    """Position of each listed entry by id."""

    def __len__(self) -> int:
        return len(self.listed) + (0 if self.table is None else self.table.rows)

    def find(self, entry_id: str) -> int | None:
        """Return the position of an entry, or None when there is none of this id."""
        position = self.positions.get(entry_id)
        if position is not None or self.table is None:
            return position
        if not entry_id.startswith(self.table.id_prefix):
            return None
        digits = entry_id[len(self.table.id_prefix) :]
        if not (digits.isascii() and digits.isdecimal()) or (digits[0] == "0" and digits != "0"):
            return None
        row = int(digits)
        return len(self.listed) + row if row < self.table.rows else None

    def get(self, position: int) -> Entry:
        """Return the entry at a position."""
        if position < len(self.listed):
            return self.listed[position]
        assert self.table is not None
        row: Any = self.table.row(position - len(self.listed))
        found: Entry = row
        return found

    def alike(self, position: int) -> Hashable:
        """Return something that entries have in common which differ in id and number alone."""
        if position < len(self.listed):
            stated: dict[str, Hashable] = vars(self.listed[position])
            return "listed", *(value for name, value in stated.items() if name not in _OF_EACH)
        return "row", *(column[position - len(self.listed)] for column in self._varying)

    @cached_property
    def _varying(self) -> list[tuple[Any, ...]]:
        """The columns of the table in which rows differ, but for their number."""
        if self.table is None:
            return []
        stated: dict[str, Any] = vars(self.table)
        columns = [column for name, column in stated.items() if name not in _OF_EACH | _WHOLE]
        return [column for column in columns if isinstance(column, tuple)]

    def id(self, position: int) -> str:
        """Return the id of the entry at a position."""
        if position < len(self.listed):
            return self.listed[position].id
        assert self.table is not None
        return f"{self.table.id_prefix}{position - len(self.listed)}"

    def name(self, position: int) -> str:
        """Return `service bert` or `task resnet`."""
        return f"{self.word} {self.id(position)}"

    def values(self, field: str) -> list[Any]:
        """Return one field of all entries."""
        found = [getattr(entry, field) for entry in self.listed]
        if self.table is not None:
            # A field that the table does not have is one that no row can set.
            value = getattr(self.table, field, None)
            if isinstance(value, tuple) and field not in _WHOLE:
                found.extend(value)
            else:
                found.extend([value] * self.table.rows)
        return found

    def integers(self, field: str) -> NDArray[np.int64]:
        """Return one whole-number field of all entries."""
        import numpy as np

        return np.array(self.values(field), dtype=np.int64)

    def floats(self, field: str) -> NDArray[np.float64]:
        """Return one numeric field of all entries; nan where it is left out."""
        import numpy as np

        return np.array(self.values(field), dtype=np.float64)


def _positions(listed: Sequence[Service | Task]) -> dict[str, int]:
    return {entry.id: i for i, entry in enumerate(listed)}


def service_entries(instance: Instance) -> Entries[Service]:
    """Return the services of an instance."""
    return Entries(
        "service", instance.services, instance.service_table, _positions(instance.services)
    )


def task_entries(instance: Instance) -> Entries[Task]:
    """Return the tasks of an instance."""
    return Entries("task", instance.tasks, instance.task_table, _positions(instance.tasks))
