"""Changes of rules: quotas and floors, limits on one GPU, what may not be together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from colocate.explain.change_words import instead
from colocate.explain.draft import TABLE, Draft, checked
from colocate.instance import Instance, Quota

__all__ = [
    "DropAntiAffinity",
    "DropConstraint",
    "DropRule",
    "OneUser",
    "SetConfidence",
    "SetQuota",
    "SetRule",
    "apart_words",
]


@dataclass(frozen=True, slots=True)
class SetQuota:
    """Another side of a tenant's quota; None takes the side away."""

    tenant: str
    unit: Literal["tasks", "gpu_share"]
    side: Literal["minimum", "maximum"]
    value: float | None

    def apply(self, draft: Draft) -> None:
        """Change the quota, or take it away when it bounds nothing any more."""
        key = (self.tenant, self.unit)
        old = draft.quotas.get(key)
        sides = {"minimum": None, "maximum": None} if old is None else old.model_dump()
        sides = {n: sides[n] for n in ("minimum", "maximum")} | {self.side: self.value}
        if sides["minimum"] is None and sides["maximum"] is None:
            draft.quotas.pop(key, None)
        else:
            empty = Quota(tenant=self.tenant, unit=self.unit)
            draft.quotas[key] = checked(empty, f"quota of {self.tenant!r}", sides)

    def words(self, instance: Instance) -> str:
        """Return `floor of tenant red 1 task instead of 3`."""
        quotas = {(q.tenant, q.unit): q for q in instance.rules.quotas}
        quota = quotas.get((self.tenant, self.unit))
        old = None if quota is None else getattr(quota, self.side)
        what = "floor" if self.side == "minimum" else "quota"
        if self.value is None:
            return f"no {what} for tenant {self.tenant}" + (
                "" if old is None else f" (it is {_amount(old, self.unit)})"
            )
        return f"{what} of tenant {self.tenant} {_amount(self.value, self.unit)}{instead(old)}"


def _amount(value: float, unit: str) -> str:
    if unit == "tasks":
        return f"{value:.6g} {'task' if value == 1 else 'tasks'}"
    return f"{value:.6g} of a GPU in training shares"


_RULES = {
    "services_per_gpu": "service replicas",
    "tasks_per_gpu": "training workers",
    "workloads_per_gpu": "workloads",
    "tenants_per_gpu": "tenants",
}


@dataclass(frozen=True, slots=True)
class SetRule:
    """Another limit on how much one GPU may hold."""

    name: Literal["services_per_gpu", "tasks_per_gpu", "workloads_per_gpu", "tenants_per_gpu"]
    value: int

    def apply(self, draft: Draft) -> None:
        """Change the rule."""
        draft.limits[self.name] = self.value

    def words(self, instance: Instance) -> str:
        """Return `up to 2 service replicas on a GPU instead of 1`."""
        old = getattr(instance.rules, self.name)
        what = _RULES[self.name].removesuffix("s") if self.value == 1 else _RULES[self.name]
        return f"up to {self.value} {what} on a GPU{instead(old)}"


@dataclass(frozen=True, slots=True)
class DropAntiAffinity:
    """Let workloads share a GPU that a rule keeps apart."""

    index: int

    def apply(self, draft: Draft) -> None:
        """Take the rule away."""
        draft.apart.pop(self.index, None)

    def words(self, instance: Instance) -> str:
        """Return `let web and job share a GPU`."""
        return f"let {apart_words(instance, self.index, ' and ')} share a GPU"


def apart_words(instance: Instance, index: int, between: str) -> str:
    """Say which workloads an anti-affinity rule keeps apart."""
    rule = instance.rules.anti_affinity[index]
    left, right = (
        ", ".join(s[:4]) + (", ..." if len(s) > 4 else "") for s in (rule.left, rule.right)
    )
    return f"two of {left}" if rule.left == rule.right else f"{left}{between}{right}"


@dataclass(frozen=True, slots=True)
class DropConstraint:
    """Do without a further constraint."""

    index: int

    def apply(self, draft: Draft) -> None:
        """Take the constraint away."""
        draft.constraints.pop(self.index, None)

    def words(self, instance: Instance) -> str:
        """Return `drop the constraint spread`."""
        return f"drop the constraint {instance.constraints[self.index].name}"


@dataclass(frozen=True, slots=True)
class DropRule:
    """Do without a rule over the whole plan."""

    name: Literal["blast_radius", "locked", "move_budget"]

    def apply(self, draft: Draft) -> None:
        """Take the rule away."""
        if self.name == "move_budget":
            moves = draft.source.rules.moves
            if moves is not None:
                draft.limits["moves"] = moves.model_copy(update={"budget": None})
        else:
            draft.limits[self.name] = () if self.name == "locked" else None

    def words(self, instance: Instance) -> str:
        """Return `drop the rule blast_radius`."""
        del instance
        return f"drop the rule {self.name}"


@dataclass(frozen=True, slots=True)
class OneUser:
    """Run everything as one user."""

    def apply(self, draft: Draft) -> None:
        """Take all user ids away."""
        for name in (*draft.services, *_tables(draft.service_table)):
            draft.service(name, user_id=None)
        for name in (*draft.tasks, *_tables(draft.task_table)):
            draft.task(name, user_id=None)

    def words(self, instance: Instance) -> str:
        """Return `run all workloads as one user`."""
        del instance
        return "run all workloads as one user"


def _tables(table: object) -> tuple[str, ...]:
    prefix = getattr(table, "id_prefix", None)
    return () if prefix is None else (prefix + TABLE,)


@dataclass(frozen=True, slots=True)
class SetConfidence:
    """Another probability with which predictions must hold."""

    confidence: float

    def apply(self, draft: Draft) -> None:
        """Change the instance."""
        draft.fields["confidence"] = self.confidence

    def words(self, instance: Instance) -> str:
        """Return `confidence 90 % instead of 99 %`."""
        return f"confidence {100 * self.confidence:.6g} %{instead(100 * instance.confidence, ' %')}"
