"""When the master problem is a flow problem, and the network that it then is.

A *host* is a GPU class g with a set S of services on it, perhaps none. With at most one task on a
GPU and no row but (C1) to (C3), every column is a host with one task or with none:

    source --[<= n_g]--> g --[R of S]--> host (g, S) --[v]--> task t --[<= n_t]--> sink
                                          host (g, S) --[v]--> sink            (no task)
    source --[the rest]--> sink                                                (empty GPUs)

The rows of GPUs and of tasks are bounds on arcs. So is the row of a service s, or it says nothing,
in these cases; the whole is a flow problem when each service is one of them:

    filling   required, and as many replicas as GPUs that may hold s: each of these GPUs holds s,
              and columns of those GPUs without s are dropped
    ample     may be left out, and at least as many replicas as GPUs that may hold s
    at home   all columns with s belong to one host: the row bounds the arc into it
    alone     all columns with s hold s only: s is an end like a task, g --[v]--> s --[R_s]--> sink

So it is with pinned services that have a replica for each of their GPUs, whatever the GPUs are, and
with services that may go to any GPU where all GPUs are of one class. A service in company of tasks
on GPUs of several classes, with replicas for some of them only, makes three-sided columns (GPU
class, service, task): that is no flow problem, and it is refused.

Prices follow from the potentials p of the nodes: pi_t = (p_t - p_sink)+, sigma of a host =
p_g - p_host, sigma of a service alone = p_s - p_sink. The row of a filling service holds with
equality on GPUs that all hold it, so its price may fall by any amount: it falls until no column
without it is worth more on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colocate.problem import Problem
from colocate.solvers.transport.flow import Network

__all__ = ["NotTransport", "Transport", "transport"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SOURCE, SINK = 0, 1
HAIR = 1e-13
"""What is rounding, in the largest worth."""


@dataclass(frozen=True, slots=True)
class NotTransport:
    """Why a problem is not a flow problem."""

    why: str
    path: str
    advice: str


@dataclass(frozen=True, slots=True)
class Hosts:
    """GPU classes with sets of services."""

    gpu: Ints
    of_column: Ints
    """Host of each column."""
    host: Ints
    """Memberships: service `service[i]` is on host `host[i]`."""
    service: Ints
    has_tasks: Bools

    @property
    def size(self) -> int:
        """Number of hosts."""
        return int(self.gpu.size)


@dataclass(frozen=True, slots=True)
class Transport:
    """A problem as a flow problem."""

    problem: Problem
    task: Ints
    """Task class of each column; -1 where it holds none."""
    hosts: Hosts
    column: Ints
    """Columns that take part, an arc each: the first arcs of the network."""
    filling: Bools
    """Service classes that all their GPUs hold."""
    alone: Bools
    """Service classes that never have company."""
    lower: Ints
    """GPUs that each host must have."""
    upper: Ints
    """GPUs that it may have."""
    home: Ints
    """Of each host, the service whose replicas bound it from above; -1: none does."""
    home_least: Ints
    """The service whose replicas bound it from below."""
    full: Bools
    """GPU classes of which every GPU holds something."""

    @property
    def host_node(self) -> Ints:
        """Node of each host."""
        return 2 + self.problem.gpu_count.size + np.arange(self.hosts.size)

    @property
    def task_node(self) -> Ints:
        """Node of each task class."""
        first = 2 + self.problem.gpu_count.size + self.hosts.size
        return first + np.arange(self.problem.task_count.size)

    @property
    def service_node(self) -> Ints:
        """Node of each service class; used by those that are alone."""
        first = 2 + self.problem.gpu_count.size + self.hosts.size + self.problem.task_count.size
        return first + np.arange(self.problem.service_count.size)

    def network(self) -> Network:
        """Return the network; the arcs of columns come first."""
        problem, hosts = self.problem, self.hosts
        n_gpu = problem.gpu_count
        gpu_node = 2 + np.arange(n_gpu.size)
        at, task = hosts.of_column[self.column], self.task[self.column]
        alone = self._alone_host()
        ends = np.full(self.column.size, SINK)
        ends[task >= 0] = self.task_node[task[task >= 0]]
        ends[alone[at] >= 0] = self.service_node[alone[at][alone[at] >= 0]]
        begins = np.where(alone[at] >= 0, gpu_node[hosts.gpu[at]], self.host_node[at])
        used = np.zeros(hosts.size, dtype=bool)
        used[at] = True
        inner = np.flatnonzero((used & (alone < 0)) | (self.lower > 0))
        lonely = np.flatnonzero(self.alone)
        zero = np.zeros_like
        least = np.where(problem.service_required, problem.service_count, 0)
        tasks = np.arange(problem.task_count.size)
        total = int(n_gpu.sum())
        parts = [  # tail, head, lower, upper
            (begins, ends, zero(at), n_gpu[hosts.gpu[at]]),
            (np.full(n_gpu.size, SOURCE), gpu_node, np.where(self.full, n_gpu, 0), n_gpu),
            (
                gpu_node[hosts.gpu[inner]],
                self.host_node[inner],
                self.lower[inner],
                self.upper[inner],
            ),
            (self.task_node, np.full(tasks.size, SINK), zero(tasks), problem.task_count),
            (
                self.service_node[lonely],
                np.full(lonely.size, SINK),
                least[lonely],
                problem.service_count[lonely],
            ),
            # One more than there are GPUs: it is never full, so no GPU is worth less than nothing.
            (np.array([SOURCE]), np.array([SINK]), np.array([0]), np.array([total + 1])),
        ]
        tail, head, lower, upper = (np.concatenate(p) for p in zip(*parts, strict=True))
        value = np.zeros(tail.size)
        value[: self.column.size] = problem.columns.value[self.column]
        n_nodes = 2 + n_gpu.size + hosts.size + tasks.size + problem.service_count.size
        supply = np.zeros(n_nodes, dtype=np.int64)
        supply[SOURCE], supply[SINK] = total, -total
        return Network(supply, tail, head, lower, upper, value)

    def _alone_host(self) -> Ints:
        """Return of each host the service that is alone on it; -1 where there is none."""
        found = np.full(self.hosts.size, -1, dtype=np.int64)
        mine = self.alone[self.hosts.service]
        found[self.hosts.host[mine]] = self.hosts.service[mine]
        return found

    def prices_of(self, potential: Floats) -> Floats:
        """Return the price of every row of the problem, from the potentials of the nodes."""
        of_host = potential[2 + self.hosts.gpu] - potential[self.host_node]
        of_host[self._alone_host() >= 0] = 0.0
        return self.prices(
            np.maximum(0.0, potential[self.task_node] - potential[SINK]),
            of_host,
            np.where(self.alone, potential[self.service_node] - potential[SINK], 0.0),
        )

    def prices(self, of_task: Floats, of_host: Floats, of_alone: Floats) -> Floats:
        """Return the price of every row, from those of tasks, hosts and services alone."""
        problem = self.problem
        of_service = of_alone.copy()
        above = (of_host > 0) & (self.home >= 0)
        below = (of_host < 0) & (self.home_least >= 0)
        of_service[self.home[above]] = of_host[above]
        of_service[self.home_least[below]] = of_host[below]
        self._lower_filling(of_service, of_task)
        prices = np.zeros(problem.rows.size)
        kinds = np.array([label.kind for label in problem.rows.labels])
        prices[kinds == "service"] = of_service
        prices[kinds == "task"] = of_task
        return prices

    def _lower_filling(self, of_service: Floats, of_task: Floats) -> None:
        """Lower the prices of services that fill their GPUs until these columns are the best.

        A dropped column lacks at least one of the filling services of its GPU, so it is enough that
        each of them falls by what the kept columns are short of.
        """
        problem, hosts = self.problem, self.hosts
        lives = np.zeros(hosts.size, dtype=bool)
        lives[hosts.of_column[self.column]] = True
        fills = self.filling[hosts.service] & lives[hosts.host]
        # What falls may be in dropped columns of other GPUs, whose own services then fall further.
        for _ in range(of_service.size):
            charged = np.bincount(
                hosts.host, weights=of_service[hosts.service], minlength=hosts.size
            )
            reduced = problem.columns.value - charged[hosts.of_column]
            reduced -= np.append(of_task, 0.0)[self.task]
            best = np.full(hosts.size, -np.inf)
            np.maximum.at(best, hosts.of_column, reduced)
            held = np.full(problem.gpu_count.size, -np.inf)
            np.maximum.at(held, hosts.gpu[lives], best[lives])
            other = np.zeros(problem.gpu_count.size)
            np.maximum.at(other, hosts.gpu[~lives], best[~lives])
            short = np.maximum(0.0, other - held)
            fall = np.zeros(of_service.size)
            np.maximum.at(fall, hosts.service[fills], short[hosts.gpu[hosts.host[fills]]])
            if fall.max(initial=0.0) <= HAIR * problem.scale:
                break
            of_service -= fall


def transport(problem: Problem) -> Transport | NotTransport | None:
    """Return the problem as a flow problem, or why it is none; None where it has no solution."""
    columns = problem.columns
    if problem.levels.size or (problem.gang_size > 1).any():
        return NotTransport(
            "gangs of workers couple GPUs", "$.tasks", "use a solver that supports gangs."
        )
    if any(label.kind == "quota" for label in problem.rows.labels):
        return NotTransport(
            "rows of quotas or plug-ins couple GPUs",
            "$.rules.quotas",
            "use a solver that supports quotas.",
        )
    owner = columns.owner
    n_tasks = np.bincount(owner[columns.is_task], minlength=columns.size)
    if (n_tasks > 1).any():
        return NotTransport(
            "several tasks share a GPU",
            "$.rules.tasks_per_gpu",
            "use a solver that supports several tasks on one GPU.",
        )
    task = np.full(columns.size, -1, dtype=np.int64)
    task[owner[columns.is_task]] = columns.cls[columns.is_task]
    hosts = _hosts(problem, owner, task)
    times = np.unique(hosts.host * (problem.service_count.size + 1) + hosts.service)
    if times.size < hosts.host.size:
        return NotTransport(
            "several replicas of one service share a GPU",
            "$.rules.services_per_gpu",
            "use a solver that supports several services on one GPU.",
        )
    return _settled(problem, task, hosts)


def _hosts(problem: Problem, owner: Ints, task: Ints) -> Hosts:
    columns = problem.columns
    held = np.flatnonzero(~columns.is_task)
    place = held - columns.start[owner[held]]
    key = columns.gpu.copy()
    for k in range(int(place.max(initial=-1)) + 1):
        # Services come first in a column, in ascending order; 0 stands for none.
        service = np.zeros(columns.size, dtype=np.int64)
        here = held[place == k]
        service[owner[here]] = columns.cls[here] + 1
        key = key * (problem.service_count.size + 1) + service
        if k:
            key = np.unique(key, return_inverse=True)[1].reshape(-1)
    _, first, of_column = np.unique(key, return_index=True, return_inverse=True)
    of_column = of_column.reshape(-1)
    is_first = np.zeros(columns.size, dtype=bool)
    is_first[first] = True
    mine = held[is_first[owner[held]]]
    has_tasks = np.zeros(first.size, dtype=bool)
    has_tasks[of_column[task >= 0]] = True
    return Hosts(
        columns.gpu[first], of_column, of_column[owner[mine]], columns.cls[mine], has_tasks
    )


def _settled(problem: Problem, task: Ints, hosts: Hosts) -> Transport | NotTransport | None:
    """Say of each service which case it is."""
    n_services = problem.service_count.size
    live = np.ones(hosts.size, dtype=bool)
    filling = np.zeros(n_services, dtype=bool)
    while True:
        here = live[hosts.host]
        pairs = np.unique(
            np.stack([hosts.service[here], hosts.gpu[hosts.host[here]]]), axis=1
        ).reshape(2, -1)
        room = np.bincount(
            pairs[0], weights=problem.gpu_count[pairs[1]].astype(float), minlength=n_services
        ).astype(np.int64)
        if (problem.service_required & (room < problem.service_count)).any():
            return None
        more = problem.service_required & (room == problem.service_count) & ~filling & (room > 0)
        if not more.any():
            break
        filling |= more
        # Hosts that lack a filling service of their GPU class are out.
        on_gpu = np.bincount(pairs[1][filling[pairs[0]]], minlength=problem.gpu_count.size)
        on_host = np.bincount(hosts.host, weights=filling[hosts.service], minlength=hosts.size)
        live &= on_host == on_gpu[hosts.gpu]
    full = np.zeros(problem.gpu_count.size, dtype=bool)
    full[pairs[1][filling[pairs[0]]]] = True
    ample = ~problem.service_required & (room <= problem.service_count)
    host, service = hosts.host[here], hosts.service[here]
    homes = np.bincount(service, minlength=n_services)
    crowd = np.bincount(host, minlength=hosts.size)
    in_company = np.bincount(
        service, weights=(hosts.has_tasks[host] | (crowd[host] > 1)), minlength=n_services
    )
    open_ = ~filling & ~ample
    alone = open_ & (homes > 1) & (in_company == 0)
    if (open_ & (homes > 1) & ~alone).any():
        return _refusal(problem, np.flatnonzero(open_ & (homes > 1) & ~alone), pairs)
    bounding = (open_ & (homes == 1))[service]
    host, service = host[bounding], service[bounding]
    # One more than there are GPUs is no bound, and no price.
    upper = problem.gpu_count[hosts.gpu] + 1
    lower = np.zeros(hosts.size, dtype=np.int64)
    home, home_least = np.full((2, hosts.size), -1, dtype=np.int64)
    for h, s in zip(host.tolist(), service.tolist(), strict=True):
        n = int(problem.service_count[s])
        if n < min(upper[h], problem.gpu_count[hosts.gpu[h]]):
            upper[h], home[h] = n, s
        if problem.service_required[s] and n > lower[h]:
            lower[h], home_least[h] = n, s
    if (lower > upper).any():
        return None
    column = np.flatnonzero(live[hosts.of_column])
    return Transport(
        problem,
        task,
        hosts,
        column,
        filling,
        alone,
        lower,
        upper,
        home,
        home_least,
        full,
    )


def _refusal(problem: Problem, services: Ints, pairs: Ints) -> NotTransport:
    names = [problem.source.classes.services.representative[s].id for s in services[:3].tolist()]
    kinds = int((pairs[0] == services[0]).sum())
    where = (
        f"GPUs of {kinds} kinds (type, memory, clients, or what is pinned there)"
        if kinds > 1
        else "GPUs beside different other services"
    )
    more = f" and {services.size - 3} more" if services.size > 3 else ""
    return NotTransport(
        f"service {', '.join(repr(n) for n in names)}{more} may share {where} with tasks, so which "
        "GPUs hold it and which tasks join it cannot be decided by a flow",
        "$.services",
        "pin such services, or use a solver that is exact where services are free on several kinds "
        "of GPU, such as 'milp'.",
    )
