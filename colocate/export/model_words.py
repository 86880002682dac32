"""What the variables and rows of the master problem stand for, in words of the instance."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from colocate.classes import Entries
from colocate.errors import clean_text
from colocate.problem import Problem

__all__ = ["Words"]

SHOWN = 3
"""Entries of a class that are named; the others are counted."""
LONGEST = 200


class Words:
    """Names of classes, columns, levels and rows."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        instance, classes = problem.source.instance, problem.source.classes
        self.services = _names(classes.services, instance.service_name)
        self.tasks = _names(classes.tasks, instance.task_name)

    def gpu(self, index: int) -> str:
        """Return the pool, type and pins of a GPU class."""
        gpu = self.problem.source.classes.gpus[index]
        pools = ", ".join(pool for pool, _ in gpu.members[:SHOWN])
        more = len(gpu.members) - SHOWN
        words = f"{gpu.gpu_type} GPUs of {pools}" + (f" and {more} more pools" if more > 0 else "")
        if gpu.pinned:
            pinned = ", ".join(self.services[s] for s in gpu.pinned[:SHOWN])
            words += f", to which {pinned} {'are' if len(gpu.pinned) > 1 else 'is'} pinned"
        return _clean(words)

    def column(self, c: int) -> str:
        """Return what a GPU that holds a column has on it."""
        columns = self.problem.columns
        parts = []
        for w in range(int(columns.start[c]), int(columns.start[c + 1])):
            names = self.tasks if columns.is_task[w] else self.services
            level = int(columns.level[w])
            rate = f" at {self.problem.levels.rate[level]:.6g}/s or more" if level >= 0 else ""
            parts.append(
                f"{names[int(columns.cls[w])]}{rate} "
                f"(batch {columns.batch[w]}, {columns.share_pct[w]} %)"
            )
        return _clean(f"{self.gpu(int(columns.gpu[c]))}: {' + '.join(parts)}")

    def level(self, index: int) -> str:
        """Return which gangs a level counts."""
        levels = self.problem.levels
        return _clean(
            f"gangs of {self.tasks[int(levels.task[index])]} at {levels.rate[index]:.6g}/s"
        )

    def row(self, index: int) -> str:
        """Return what a row of the problem says."""
        label, rows = self.problem.rows.labels[index], self.problem.rows
        low, high, i = float(rows.lower[index]), float(rows.upper[index]), label.index
        if label.kind == "gpu":
            return f"(C1) {high:.0f} {self.gpu(i)}"
        if label.kind == "service":
            some = "all" if low == high else "at most"
            return _clean(f"(C2) {some} {high:.0f} replicas of {self.services[i]}")
        if label.kind == "task":
            if not np.isfinite(high):
                return _clean(f"(C3) {self.tasks[i]} are gangs, counted below")
            return _clean(f"(C3) at most {high:.0f} of {self.tasks[i]}")
        if label.kind == "gang":
            size = int(self.problem.gang_size[self.problem.levels.task[i]])
            return _clean(f"(C3) {size} workers make one of the {self.level(i)}")
        if label.kind == "gangs":
            if not np.isfinite(high):
                return _clean(f"(C3) {self.tasks[i]} are no gangs")
            return _clean(f"(C3) at most {high:.0f} gangs of {self.tasks[i]}")
        return _clean(f"(C4) {self._quota(i, label.name)}: {_between(low, high)}")

    def _quota(self, index: int, name: str) -> str:
        quota = self.problem.source.quota_rows[index].quota
        if quota is None:
            return name or f"row {index} of a plug-in"
        unit = "GPU share" if quota.unit == "gpu_share" else "tasks"
        return f"{unit} of tenant {quota.tenant}"

    def switch(self, level: int, gangs: int) -> str:
        """Return what a switch of `distinct` says."""
        return _clean(f"1 if there are at least {gangs} {self.level(level)}")


def _between(low: float, high: float) -> str:
    if not np.isfinite(low):
        return f"at most {high:g}"
    return f"at least {low:g}" if not np.isfinite(high) else f"{low:g} to {high:g}"


def _names(entries: Entries, name_of: object) -> list[str]:
    """Return a name for each class: its first entries, and how many more there are."""
    assert callable(name_of)
    members: dict[int, list[int]] = defaultdict(list)
    sizes = Counter(entries.entry_class.tolist())
    for e, c in enumerate(entries.entry_class.tolist()):
        if len(members[c]) < SHOWN:
            members[c].append(e)
    names = []
    for c in range(entries.size):
        shown = "/".join(str(name_of(e)) for e in members[c])
        more = sizes[c] - len(members[c])
        names.append(f"{shown} and {more} like it" if more else shown)
    return names


def _clean(text: str) -> str:
    """Keep a comment on its line, and in ASCII: readers of these formats are old."""
    return clean_text(text.encode("ascii", "replace").decode(), LONGEST)
