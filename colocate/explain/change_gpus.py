"""Changes of GPU pools: more or fewer GPUs, memory, clients, GPUs taken out of use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from colocate.errors import InstanceError
from colocate.explain.draft import Draft
from colocate.instance import GpuPool, GpuRef, Instance
from colocate.runs import format_ids, ids_of

__all__ = ["AddGpus", "Quarantine", "Release", "SetClients", "SetMemory"]


@dataclass(frozen=True, slots=True)
class AddGpus:
    """More GPUs in a pool, or fewer; those with the highest ordinals go first."""

    pool: str
    count: int

    def apply(self, draft: Draft) -> None:
        """Change the pool's count; GPUs known by UUID get more in a pool beside them."""
        draft.pool(self.pool)  # it exists
        pool = draft.pools[self.pool]
        size = pool.size + self.count
        if size < 0:
            raise InstanceError(
                f"pool {pool.id!r} has {pool.size} GPUs; {-self.count} cannot be removed",
                advice="remove fewer.",
            )
        if size == 0:
            del draft.pools[self.pool]
        elif pool.uuids is None:
            draft.pool(self.pool, count=size)
        elif self.count <= 0:
            draft.pool(self.pool, uuids=pool.uuids[:size])
        else:
            name = _free_name(draft, f"{pool.id}.more")
            update = {"id": name, "uuids": None, "count": self.count, "first": 0}
            draft.pools[name] = pool.model_copy(update=update)

    def words(self, instance: Instance) -> str:
        """Return `1 more GPU in pool a (3 instead of 2)`."""
        n, size = abs(self.count), instance.pool(self.pool).size
        more = "more" if self.count > 0 else "fewer"
        gpus = "GPU" if n == 1 else "GPUs"
        return (
            f"{n:,} {more} {gpus} in pool {self.pool} ({size + self.count:,} instead of {size:,})"
        )


@dataclass(frozen=True, slots=True)
class SetMemory:
    """Another size of device memory for all GPUs of a pool."""

    pool: str
    memory_gib: float

    def apply(self, draft: Draft) -> None:
        """Change the pool."""
        draft.pool(self.pool, memory_gib=float(self.memory_gib))

    def words(self, instance: Instance) -> str:
        """Return `+2.1 GiB on each GPU of pool a (18.1 instead of 16 GiB)`."""
        old = instance.pool(self.pool).memory_gib
        return (
            f"{_signed(self.memory_gib - old)} GiB on each GPU of pool {self.pool} "
            f"({self.memory_gib:.6g} instead of {old:.6g} GiB)"
        )


@dataclass(frozen=True, slots=True)
class SetClients:
    """Another client limit for all GPUs of a pool."""

    pool: str
    max_clients: int

    def apply(self, draft: Draft) -> None:
        """Change the pool."""
        draft.pool(self.pool, max_clients=self.max_clients)

    def words(self, instance: Instance) -> str:
        """Return `48 clients on a GPU of pool a instead of 16`."""
        old = instance.pool(self.pool).max_clients
        return f"{self.max_clients} clients on a GPU of pool {self.pool} instead of {old}"


@dataclass(frozen=True, slots=True)
class Release:
    """Let a pool be used that is not schedulable."""

    pool: str

    def apply(self, draft: Draft) -> None:
        """Change the pool."""
        draft.pool(self.pool, schedulable=True)

    def words(self, instance: Instance) -> str:
        """Return `make pool a schedulable`."""
        del instance
        return f"make pool {self.pool} schedulable"


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Keep everything off some GPUs of a pool. Services pinned to them may not be."""

    pool: str
    gpus: str
    """Ordinals, such as `0-3,7`."""

    def apply(self, draft: Draft) -> None:
        """Split the pool into runs of GPUs that may and may not be used."""
        draft.pool(self.pool)  # it exists
        pool = draft.pools[self.pool]
        ids = np.unique(ids_of(self.gpus))
        last = pool.first + pool.size - 1
        if not ids.size or ids[0] < pool.first or ids[-1] > last:
            raise InstanceError(
                f"GPUs {self.gpus} of pool {pool.id!r}, which has {pool.first}-{last}",
                advice="correct the ordinals.",
            )
        ordinals = np.arange(pool.first, last + 1)
        out = np.isin(ordinals, ids)
        starts = np.flatnonzero(np.diff(out.astype(np.int8), prepend=-1))
        pieces: list[tuple[GpuPool, int, int]] = []
        del draft.pools[pool.id]
        for k, (a, b) in enumerate(zip(starts, [*starts[1:], out.size], strict=True)):
            name = pool.id if k == 0 else _free_name(draft, f"{pool.id}.from{ordinals[a]}")
            update = {
                "id": name,
                "first": int(ordinals[a]),
                "schedulable": pool.schedulable and not out[a],
                **({"count": int(b - a)} if pool.uuids is None else {"uuids": pool.uuids[a:b]}),
            }
            piece = pool.model_copy(update=update)
            draft.pools[name] = piece
            draft.pool_names[name] = draft.pool_names.get(pool.id, pool.id)
            pieces.append((piece, int(ordinals[a]), int(ordinals[b - 1])))
        _follow(draft, pool.id, pieces)

    def words(self, instance: Instance) -> str:
        """Return `nothing on GPU a/3`."""
        del instance
        return f"nothing on GPU {self.pool}/{self.gpus}"


def _follow(draft: Draft, pool: str, pieces: Sequence[tuple[GpuPool, int, int]]) -> None:
    """Point pins at the pieces of a pool that was split."""

    def split(ref: GpuRef) -> list[GpuRef]:
        ids = ids_of(ref.gpus)
        found = []
        for piece, low, high in pieces:
            mine = ids[(ids >= low) & (ids <= high)]
            if mine.size:
                found.append(GpuRef(pool=piece.id, gpus=format_ids(mine)))
        return found

    for service in list(draft.services.values()):
        if service.pinned is not None and any(r.pool == pool for r in service.pinned):
            refs = [x for r in service.pinned for x in (split(r) if r.pool == pool else [r])]
            draft.service(service.id, pinned=tuple(refs))
    if draft.source.rules.locked or draft.source.current is not None:
        raise InstanceError(
            f"pool {pool!r} cannot be split while `current` or locked GPUs refer to it",
            advice="take `current` out of the instance first.",
        )


def _free_name(draft: Draft, wanted: str) -> str:
    name, n = wanted[-63:].lstrip("._-"), 1
    while name in draft.pools:
        n += 1
        name = f"{wanted[-58:].lstrip('._-')}.{n}"
    return name


def _signed(value: float) -> str:
    return f"{value:+.3g}"
