"""What every target starts from: units with their texts filled, their ports and their folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from colocate.errors import InputError
from colocate.executor.mps import encode
from colocate.executor.mps.directories import GpuFolders, check_socket_length, folders_of
from colocate.executor.unit import Unit
from colocate.executor.workloads.spec import places
from colocate.executor.workloads.units import gpu_uuids, units_of
from colocate.instance import Instance
from colocate.launch import BatchVariable, LaunchFile, Program
from colocate.launch.template import fill
from colocate.plan import Plan

__all__ = ["Job", "Order", "order_of"]


@dataclass(frozen=True)
class Job:
    """One unit, ready to be written down for somebody else to start."""

    unit: Unit
    program: Program
    port: int | None
    node: str | None
    """Machine that its GPU is in, where the instance says so."""
    user_id: int | None
    processes: int
    folders: GpuFolders
    """Of the MPS daemon of its GPU."""

    @cached_property
    def values(self) -> dict[str, str]:
        """What is put into the places."""
        return {**places(self.unit, self.port), "batch": str(self.unit.batch)}

    def text(self, text: str) -> str:
        """Return a text with its places filled."""
        return fill(text, self.values)

    @cached_property
    def argv(self) -> tuple[str, ...]:
        """Program and arguments."""
        return tuple(map(self.text, self.program.argv))

    @cached_property
    def env(self) -> dict[str, str]:
        """Variables of the launch file, by name."""
        made = {name: self.text(text) for name, text in self.program.env.items()}
        if isinstance(self.program.batch, BatchVariable):
            made[self.program.batch.variable] = str(self.unit.batch)
        made["COLOCATE_UNIT"] = encode.unit_key(self.unit.key)
        return dict(sorted(made.items()))

    @cached_property
    def pass_env(self) -> tuple[str, ...]:
        """Variables that are passed on."""
        return tuple(sorted(set(self.program.pass_env) - set(self.env)))

    @property
    def prefix(self) -> str:
        """Start of the names of this job's files: a folder for each node."""
        return "" if self.node is None else f"{self.node}/"

    def mps(self, *, space: bool = False) -> dict[str, str]:
        """Return what makes it a client of its GPU's daemon.

        Parameters
        ----------
        space
            Whether its namespace of the v3 dialect carries the limits.
        """
        gpu, pipe = encode.gpu_uuid(self.unit.gpu), self.folders.pipe
        if space:
            pipe = pipe / encode.SERVER_NAME / encode.space_name(self.unit.key)
        check_socket_length(pipe / "control")
        values = {
            "CUDA_MPS_LOG_DIRECTORY": encode.path_text(self.folders.log),
            "CUDA_MPS_PIPE_DIRECTORY": encode.path_text(pipe),
            "CUDA_VISIBLE_DEVICES": gpu,
        }
        if not space:
            values["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = encode.percentage(self.unit.share_pct)
            if self.unit.memory_limit_mib is not None:
                limit = encode.memory_limit(self.unit.memory_limit_mib)
                values["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"{gpu}={limit}"
        return dict(sorted(values.items()))


@dataclass(frozen=True)
class Order:
    """What is to be exported."""

    jobs: tuple[Job, ...]
    """By key."""

    def by_gpu(self) -> Iterator[tuple[GpuFolders, tuple[Job, ...]]]:
        """Yield each GPU's folders, with its jobs; by UUID."""
        for gpu in sorted({job.unit.gpu for job in self.jobs}):
            those = tuple(job for job in self.jobs if job.unit.gpu == gpu)
            yield those[0].folders, those


def order_of(instance: Instance, plan: Plan, launches: LaunchFile, root: Path) -> Order:
    """Return what a plan means for launchers.

    Parameters
    ----------
    instance, plan, launches
        What was asked, the answer, and how each workload is started.
    root
        State folder on the machines that the files are for.

    Raises
    ------
    InputError
        As `units_of` does, and when ports run out.
    """
    uuids = gpu_uuids(instance)
    units = units_of(instance, plan, launches, uuids, any_user=True)
    nodes = {
        uuids[pool.id, pool.first + i]: pool.node
        for pool in instance.gpu_pools
        for i in range(len(pool.uuids or ()))
    }
    gpus: dict[str | None, list[str]] = {}
    for uuid, node in nodes.items():
        gpus.setdefault(node, []).append(uuid)
    taken: dict[str | None, set[int]] = {}
    jobs = []
    for unit in units:
        program, node = launches.program(unit.launch), nodes[unit.gpu]
        port = _port(program, taken.setdefault(node, set()), unit.key)
        entry = (instance.service if unit.role == "service" else instance.task)(unit.workload)
        jobs.append(
            Job(
                unit=unit,
                program=program,
                port=port,
                node=node,
                user_id=entry.user_id,
                processes=entry.processes,
                folders=folders_of(root, unit.gpu, gpus[node]),
            )
        )
    return Order(tuple(jobs))


def _port(program: Program, taken: set[int], key: str) -> int | None:
    if program.ports is None:
        return None
    for port in range(program.ports.first, program.ports.last + 1):
        if port not in taken:
            taken.add(port)
            return port
    raise InputError(
        f"unit {key!r}: ports {program.ports.first} to {program.ports.last} are all given away",
        path="$.programs",
        advice="widen `ports`: one for each unit of a node.",
    )
