"""Statements in plain words, with the numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from colocate.explain.change_rules import apart_words
from colocate.explain.draft import TABLE
from colocate.explain.facts import Facts, Need
from colocate.explain.feasible import Wanted
from colocate.explain.parts import Part
from colocate.instance import Instance, Quota, Service, ServiceTable, Task

__all__ = ["Statement", "statements", "unknown_company"]

MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of an instance, or several about one thing."""

    text: str
    """In words, with the numbers."""
    parts: tuple[Part, ...]
    """What it consists of: one part, unless a conflict would have too many statements."""

    @property
    def paths(self) -> tuple[str, ...]:
        """What it is called by programs: `slo bert`, `floor red tasks`, `anti_affinity 0`."""
        return tuple(_key(p) for p in self.parts)


def _key(part: Part) -> str:
    index = str(part.index) if part.kind in ("anti_affinity", "constraint") else ""
    return " ".join(w for w in (part.kind, part.name, part.unit, index) if w)


def statements(
    instance: Instance,
    groups: Sequence[Sequence[Part]],
    facts: Facts,
    wanted: Wanted | None = None,
) -> tuple[Statement, ...]:
    """Say each group of parts of a conflict."""
    teller = _Teller(instance, facts, [p for g in groups for p in g], wanted)
    made = []
    for group in groups:
        texts = dict.fromkeys(teller.text(p) for p in group)
        made.append(Statement("; ".join(texts), tuple(group)))
    return tuple(made)


def unknown_company(
    instance: Instance, groups: Sequence[Sequence[Part]], wanted: Wanted | None = None
) -> tuple[str, ...]:
    """Say which workloads of a conflict are never put together, for want of a slowdown."""
    if instance.interference.default_slowdown is not None:
        return ()
    parts = [p for g in groups for p in g]
    floors = {p.name for p in parts if p.kind == "floor"}
    names = {p.name for p in parts if p.kind == "required" and not p.name.endswith(TABLE)}
    profiles = {instance.service(n).profile for n in names}
    profiles |= {t.profile for t in instance.tasks if t.tenant in floors}
    if wanted is not None:
        profiles |= {instance.task(n).profile for n in wanted.tasks}
        profiles |= {s.profile for s in instance.services if s.required}
    known = {(p.gpu_type, p.victim, p.neighbour) for p in instance.interference.pairs}
    found: dict[str, None] = {}
    for gpu_type in sorted({p.gpu_type for p in instance.gpu_pools}):
        for a, b in combinations_with_replacement(sorted(profiles), 2):
            if (gpu_type, a, b) not in known or (gpu_type, b, a) not in known:
                found[
                    f"how {a} and {b} slow each other down on {gpu_type} is not known, so they "
                    "are not put together"
                ] = None
    return tuple(found)[:MOST_NAMED]


class _Teller:
    """Says parts, knowing which others stand beside them."""

    def __init__(
        self, instance: Instance, facts: Facts, beside: Sequence[Part], wanted: Wanted | None
    ) -> None:
        self.instance = instance
        self.wanted = wanted
        self.facts = facts
        self.beside = beside
        self.kinds = {p.kind for p in beside}

    def text(self, part: Part) -> str:
        """Return the words of one part."""
        name = part.name
        match part.kind:
            case "required":
                return self._required(name)
            case "slo":
                return self._slo(name)
            case "batches":
                rows = self._service(name).batches or ()
                return f"service {name} may only run at batch {_listed(map(str, rows), ' or ')}"
            case "least_share":
                return f"service {name} takes at least {self._service(name).min_share_pct} %"
            case "pin":
                return self._pin(name)
            case "gpus" | "memory" | "clients" | "unschedulable":
                return self._pool(part)
            case "gang":
                size = getattr(self._task(name), "gang_size", None)
                workers = f"{size} workers" if size else "several workers"
                return f"each task of {name} needs {workers} at once, each on a GPU of its own"
            case "task_count":
                return self._task_count(name)
            case "floor" | "quota":
                return self._quota(part)
            case "users":
                return "workloads of different users may not share a GPU"
            case "anti_affinity":
                return f"{apart_words(self.instance, part.index, ' and ')} may not share a GPU"
            case "confidence":
                return self._confidence()
            case "constraint":
                return f"the further constraint {name}"
            case "placed":
                return self._placed(name) + self._needs_of_task(name)
            case _:
                return self._rule(part.kind)

    # -- demands and needs -------------------------------------------------------------------------

    def _service(self, name: str) -> Service | ServiceTable:
        if name.endswith(TABLE) and self.instance.service_table is not None:
            return self.instance.service_table
        return self.instance.service(name)

    def _task(self, name: str) -> Task | None:
        return None if name.endswith(TABLE) else self.instance.task(name)

    def _required(self, name: str) -> str:
        row = self._service(name)
        if isinstance(row, ServiceTable):
            return f"all {row.rows:,} services {name} must have every replica placed"
        what = "its replica" if row.replicas == 1 else f"all {row.replicas:,} replicas"
        text = f"service {name} must have {what} placed"
        needs = self.facts.service(name)
        where = [n.gpu_type for n in needs]
        known = [n for n in needs if n.memory_gib is not None]
        if not needs:
            return text
        if not known:
            return f"{text}; it has no profile on {_listed(where, ' or ')}"
        unbounded = [n.gpu_type for n in known if not n.is_bounded]
        if len(unbounded) == len(known):
            return (
                f"{text}; its rate on {_listed(unbounded, ' or ')} has no error bound at "
                f"confidence {_percent(self.instance.confidence)}"
            )
        if "memory" in self.kinds:
            text += f"; it needs at least {_on_each(known, _memory)}"
        elif "gpus" in self.kinds and Part("slo", name) not in self.beside:
            text += self._share_of(known)
        return text

    def _share_of(self, needs: Sequence[Need]) -> str:
        fitting = [n for n in needs if n.share_pct is not None]
        return f"; alone it needs at least {_on_each(fitting, _share)}" if fitting else ""

    def _slo(self, name: str) -> str:
        row = self._service(name)
        if isinstance(row, ServiceTable):
            return f"the services {name} must meet their SLOs at their loads"
        how = f"service {name} must answer within {row.slo_ms:g} ms at {row.rate_rps:g} samples/s"
        if self.instance.confidence > 0.5:
            how += f" with confidence {_percent(self.instance.confidence)}"
        needs = self.facts.service(name)
        fitting = [n for n in needs if n.share_pct is not None]
        if fitting:
            return f"{how}; alone it needs at least {_on_each(fitting, _share)} for that"
        best = [n for n in needs if n.latency_ms is not None]
        if best:
            return f"{how}; alone, at best, it takes {_on_each(best, _latency)}"
        return how

    def _pin(self, name: str) -> str:
        row = self._service(name)
        refs = getattr(row, "pinned", None) or ()
        return f"service {name} is pinned to {_listed(f'{r.pool}/{r.gpus}' for r in refs)}"

    def _task_count(self, tenant: str) -> str:
        mine = [t for t in self.instance.tasks if t.tenant == tenant]
        table = self.instance.task_table
        listed = _listed(f"{t.count:,} of {t.id}" for t in mine)
        if table is not None and (table.tenant == tenant or tenant in table.tenant):
            listed = ", ".join(x for x in (listed, f"rows of {table.id_prefix}{TABLE}") if x)
            return f"tenant {tenant} has these tasks: {listed}"
        total = sum(t.count for t in mine)
        many = f"{total:,} task{'' if total == 1 else 's'}"
        return f"tenant {tenant} has {many}: {listed}"

    def _placed(self, name: str) -> str:
        if self.wanted is None or (self.wanted.count == 1 and len(self.wanted.tasks) == 1):
            return f"task {name} is to be placed"
        verb = "is" if self.wanted.count == 1 else "are"
        return f"{self.wanted.count:,} of task {_listed(self.wanted.tasks)} {verb} to be placed"

    def _needs_of_task(self, name: str) -> str:
        needs = [n for n in self.facts.task(name) if n.memory_gib is not None]
        if not needs:
            types = _listed((n.gpu_type for n in self.facts.task(name)), " or ")
            return f"; it has no profile at its batch on {types}" if types else ""
        if "memory" in self.kinds:
            return f"; it needs {_on_each(needs, _memory)}"
        running = [n for n in needs if n.share_pct is not None]
        if running and not self.kinds <= {"placed", "quota", "gpus", "tasks_per_gpu"}:
            return f"; it needs at least {_on_each(running, _share)}"
        return ""

    # -- supply and rules --------------------------------------------------------------------------

    def _pool(self, part: Part) -> str:
        pool = self.instance.pool(part.name)
        gpus = f"{pool.size:,} GPU{'' if pool.size == 1 else 's'}"
        if part.kind == "gpus":
            return f"pool {pool.id} has {gpus} ({pool.gpu_type})"
        if part.kind == "unschedulable":
            hold = "holds" if pool.size == 1 else "hold"
            return f"pool {pool.id} is not schedulable: its {gpus} {hold} nothing"
        if part.kind == "clients":
            return f"a GPU of pool {pool.id} takes {pool.max_clients} MPS clients"
        room = pool.memory_gib - pool.reserve_gib
        text = f"a GPU of pool {pool.id} offers {room:.4g} GiB"
        if pool.reserve_gib:
            text += f" ({pool.memory_gib:g} less {pool.reserve_gib:g} in reserve)"
        return text + self._needs_of_floors()

    def _needs_of_floors(self) -> str:
        """Say what tasks need that a floor asks for: their memory is said nowhere else."""
        tenants = {p.name for p in self.beside if p.kind == "floor"}
        mine = [t.id for t in self.instance.tasks if t.tenant in tenants]
        said = []
        for name in mine[:MOST_NAMED]:
            known = [n for n in self.facts.task(name) if n.memory_gib is not None]
            if known:
                said.append(f"task {name} needs {_on_each(known, _memory)}")
        return f"; {', '.join(said)}" if said else ""

    def _quota(self, part: Part) -> str:
        quota: Quota = next(
            q for q in self.instance.rules.quotas if (q.tenant, q.unit) == (part.name, part.unit)
        )
        value = quota.minimum if part.kind == "floor" else quota.maximum
        word = "must have at least" if part.kind == "floor" else "may have at most"
        if quota.unit == "tasks":
            return f"tenant {part.name} {word} {value:g} task{'' if value == 1 else 's'} placed"
        return f"tenant {part.name} {word} {value:g} of a GPU in training shares"

    def _confidence(self) -> str:
        return f"predictions must hold with confidence {_percent(self.instance.confidence)}"

    def _rule(self, kind: str) -> str:
        rules = self.instance.rules
        if kind == "blast_radius" and rules.blast_radius is not None:
            most = rules.blast_radius.max_replicas_per_node
            return f"at most {most} replicas of a service on one node"
        if kind == "move_budget" and rules.moves is not None:
            return f"at most {rules.moves.budget} workloads may move"
        if kind == "locked":
            return "locked GPUs keep what they hold"
        what = {
            "services_per_gpu": "service replica",
            "tasks_per_gpu": "training worker",
            "workloads_per_gpu": "workload",
            "tenants_per_gpu": "tenant",
        }[kind]
        most = getattr(rules, kind)
        return f"a GPU holds at most {most} {what}{'' if most == 1 else 's'}"


# -- numbers ---------------------------------------------------------------------------------------


def _listed(names: Iterable[object], last: str = ", ") -> str:
    every = [str(n) for n in names]
    shown = every[:MOST_NAMED]
    text = ", ".join(shown[:-1]) + (last if len(shown) > 1 else "") + (shown[-1] if shown else "")
    return text + (f" and {len(every) - MOST_NAMED} more" if len(every) > MOST_NAMED else "")


def _on_each(needs: Sequence[Need], what: Callable[[Need], str]) -> str:
    """Say a need on each GPU type; once, where all types need the same."""
    said = [(what(n), n.gpu_type) for n in needs]
    if len({text for text, _ in said}) == 1:
        return said[0][0].format(_listed((t for _, t in said), " or "))
    return _listed((text.format(t) for text, t in said), " or ")


def _share(need: Need) -> str:
    return f"{need.share_pct} % of a GPU of type {{}}"


def _memory(need: Need) -> str:
    return f"{_up(need.memory_gib or 0.0)} GiB on {{}}"


def _latency(need: Need) -> str:
    return f"{_up(need.latency_ms or 0.0)} ms on {{}}"


def _up(value: float) -> str:
    """Return four digits, not rounded below what is needed."""
    text = f"{value:.4g}"
    return text if float(text) >= value or value == 0 else f"{value:.6g}"


def _percent(part: float) -> str:
    return f"{100 * part:g} %"
