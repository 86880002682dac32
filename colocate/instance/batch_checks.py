"""What services and tasks say of their batches, held against their profiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from colocate.errors import InstanceError

if TYPE_CHECKING:
    from colocate.instance.fields import InstanceFields
    from colocate.instance.parts import Service, ServiceTable, Task, TaskTable
    from colocate.profile import Profile

__all__ = ["check_service", "check_tables", "check_task"]


def _profiles_of(
    workload: str, role: str, owner: str, path: str, profiled: dict[str, list[Profile]]
) -> list[Profile]:
    found = profiled.get(workload, [])
    if not found:
        known = ", ".join(sorted(profiled)[:8]) or "none"
        raise InstanceError(
            f"{owner} refers to profile {workload!r}, which is not here (known: {known})",
            path=path,
            advice="add the profile, or correct the name.",
        )
    if found[0].role != role:
        raise InstanceError(
            f"{owner} needs a profile for {role}, but {workload!r} is one for {found[0].role}",
            path=path,
            advice="refer to a profile of the right role.",
        )
    return found


def _batch_known(batch: int, found: list[Profile], owner: str, path: str) -> None:
    known = sorted({b.batch for p in found for b in p.curve.batches})
    if batch not in known:
        shown = ", ".join(map(str, known[:12]))
        raise InstanceError(
            f"{owner}: batch {batch} is not in the profile (profiled: {shown})",
            path=path,
            advice="use a profiled batch, or measure this one.",
        )


def _memory_known(batch: int, p: Profile, owner: str, path: str) -> None:
    if not p.memory or p.memory[-1].batch < batch:
        largest = f"up to batch {p.memory[-1].batch}" if p.memory else "at no batch"
        raise InstanceError(
            f"{owner}: memory of {p.workload!r} on {p.gpu_type!r} at batch {batch} is unknown "
            f"(known {largest})",
            path=path,
            advice="add a memory point at this batch or above; unknown memory is not zero.",
        )


def _service_profile(s: Service, owner: str, path: str, profiled: dict[str, list[Profile]]) -> None:
    found = _profiles_of(s.profile, "inference", owner, f"{path}.profile", profiled)
    for k, b in enumerate(s.batches or ()):
        _batch_known(b, found, owner, f"{path}.batches[{k}]")
    for p in found:
        curve = [b.batch for b in p.curve.batches if s.batches is None or b.batch in s.batches]
        if curve:
            _memory_known(max(curve), p, owner, f"{path}.profile")


def _task_profile(t: Task, owner: str, path: str, profiled: dict[str, list[Profile]]) -> None:
    found = _profiles_of(t.profile, "training", owner, f"{path}.profile", profiled)
    _batch_known(t.batch, found, owner, f"{path}.batch")
    for k, b in enumerate(t.batches or ()):
        _batch_known(b, found, owner, f"{path}.batches[{k}]")
    trained = set(t.batches or (t.batch,))
    for p in found:
        curve = [b.batch for b in p.curve.batches if b.batch in trained]
        if t.memory_gib is None and curve:
            _memory_known(max(curve), p, owner, f"{path}.memory_gib")


def _check_batches(s: Service | Task | ServiceTable | TaskTable, owner: str, path: str) -> None:
    if s.batches is not None and len(set(s.batches)) != len(s.batches):
        raise InstanceError(
            f"{owner} lists a batch twice: {list(s.batches)[:12]}",
            path=f"{path}.batches",
            advice="list each batch once.",
        )


def _check_choice(t: Task | TaskTable, owner: str, path: str) -> None:
    """Check that what a sample is worth is known where the batch is a choice."""
    _check_batches(t, owner, path)
    if t.batches is not None and t.noise_scale is None:
        raise InstanceError(
            f"{owner} may choose among batches {list(t.batches)[:12]} but has no noise_scale",
            path=f"{path}.noise_scale",
            advice="state the gradient noise scale in samples (0 when only steps count), or drop "
            "batches.",
        )


def check_service(s: Service, owner: str, path: str, profiled: dict[str, list[Profile]]) -> None:
    """Raise `InstanceError` where a service does not go with its profiles."""
    _check_batches(s, owner, path)
    _service_profile(s, owner, path, profiled)


def check_task(t: Task, owner: str, path: str, profiled: dict[str, list[Profile]]) -> None:
    """Raise `InstanceError` where a task does not go with its profiles."""
    _check_choice(t, owner, path)
    _task_profile(t, owner, path, profiled)


def check_tables(instance: InstanceFields, profiled: dict[str, list[Profile]]) -> None:
    """Check each distinct (profile, batch) of the tables once, not each row."""
    st, tt = instance.service_table, instance.task_table
    if st is not None:
        if st.required != (st.missing_price is None):
            raise InstanceError(
                f"service_table: required is {st.required} and missing_price is {st.missing_price}",
                path="$.service_table.missing_price",
                advice="give a price exactly when the services are not required.",
            )
        _check_batches(st, "service_table", "$.service_table")
        for i in _first_rows(st.profile):
            service = st.row(i)
            _service_profile(service, f"service {service.id!r}", "$.service_table", profiled)
    if tt is not None:
        _check_choice(tt, "task_table", "$.task_table")
        for i in _first_rows(tt.profile, tt.batch):
            task = tt.row(i)
            _task_profile(task, f"task {task.id!r}", "$.task_table", profiled)


def _first_rows(*columns: object) -> Iterable[int]:
    lists = [c for c in columns if isinstance(c, tuple)]
    if not lists:
        return [0]
    first: dict[tuple[object, ...], int] = {}
    for i, key in enumerate(zip(*lists, strict=True)):
        first.setdefault(key, i)
    return sorted(first.values())
