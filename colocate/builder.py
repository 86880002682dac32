"""A short, mutable way to write an instance in Python.

It only collects plain data; `build` hands them to `Instance`, which checks everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from colocate.errors import InstanceError
from colocate.io import build_instance

if TYPE_CHECKING:
    from colocate.instance import Instance

__all__ = ["InstanceBuilder"]

Params = Mapping[str, bool | int | float | str | None]
Rates = Mapping[int, Mapping[float, float] | Sequence[tuple[float, float]]]


_ANY_KNOBS = {
    "victim_batch": [1],
    "neighbour_batch": [1],
    "victim_share_pct": [100.0],
    "neighbour_share_pct": [100.0],
}
"""Axes of a slowdown table on which nothing depends."""


class InstanceBuilder:
    """Collects pools, profiles, services, tasks and rules; every method returns the builder.

    Parameters
    ----------
    name
        Name of the instance.
    slo_model, confidence, objective
        As in `Instance`. The parameters of the two components are given by `slo_params` and
        `objective_params`.

    Examples
    --------
    >>> import colocate as co
    >>> instance = (
    ...     co.InstanceBuilder("demo")
    ...     .gpus("a100", "A100-40GB", count=4, memory_gib=40, sm_count=108)
    ...     .inference("bert", "A100-40GB", {16: {20: 260, 50: 610, 100: 900}}, memory_gib={16: 3})
    ...     .training("vgg16", "A100-40GB", {512: {10: 180, 100: 900}}, memory_gib={512: 9})
    ...     .service("search", "bert", rate_rps=200, slo_ms=330)
    ...     .task("vision", "vgg16", count=3, batch=512)
    ...     .slowdown(default=1.15)
    ...     .build()
    ... )
    >>> instance.gpu_count
    4
    """

    def __init__(
        self,
        name: str,
        *,
        slo_model: str = "fill",
        slo_params: Params | None = None,
        confidence: float = 0.5,
        objective: str = "throughput",
        objective_params: Params | None = None,
        description: str = "",
    ) -> None:
        self._data: dict[str, Any] = {
            "name": name,
            "description": description,
            "slo_model": {"name": slo_model, "params": dict(slo_params or {})},
            "confidence": confidence,
            "objective": {"name": objective, "params": dict(objective_params or {})},
            "gpu_pools": [],
            "profiles": [],
            "services": [],
            "tasks": [],
            "constraints": [],
        }
        self._pairs: list[dict[str, Any]] = []
        self._interference: dict[str, Any] = {"pairs": self._pairs}
        self._rules: dict[str, Any] = {"quotas": [], "anti_affinity": []}

    def gpus(self, pool_id: str, gpu_type: str, **fields: Any) -> Self:  # noqa: ANN401
        """Add a pool; `fields` are those of `GpuPool`: count or uuids, memory_gib, sm_count, ..."""
        return self._add("gpu_pools", {"id": pool_id, "gpu_type": gpu_type, **fields})

    def inference(self, workload: str, gpu_type: str, rates: Rates, **fields: Any) -> Self:  # noqa: ANN401
        """Add the profile of an inference workload; see `training`."""
        return self._profile("inference", workload, gpu_type, rates, fields)

    def training(self, workload: str, gpu_type: str, rates: Rates, **fields: Any) -> Self:  # noqa: ANN401
        """Add the profile of a training workload on one GPU type.

        Parameters
        ----------
        workload, gpu_type
            What was measured, and on what.
        rates
            By batch size: either points ``{share_pct: rate}``, joined by straight lines, or a list
            of lines ``(intercept, slope)``, of which the lowest counts.
        **fields
            `memory_gib` by batch size, `min_share_pct` for lines (1 when left out), and the other
            fields of `Profile`: evidence, rate_error.
        """
        return self._profile("training", workload, gpu_type, rates, fields)

    def _profile(
        self, role: str, workload: str, gpu_type: str, rates: Rates, fields: dict[str, Any]
    ) -> Self:
        fields = dict(fields)
        memory = fields.pop("memory_gib", {})
        least = fields.pop("min_share_pct", 1)
        points: list[dict[str, Any]] = []
        lines: list[dict[str, Any]] = []
        for batch, curve in sorted(rates.items()):
            if isinstance(curve, Mapping):
                at = [{"share_pct": share, "rate": rate} for share, rate in sorted(curve.items())]
                points.append({"batch": batch, "points": at})
            else:
                few = [{"intercept": a, "slope": b} for a, b in curve]
                lines.append({"batch": batch, "min_share_pct": least, "lines": few})
        if points and lines:
            raise InstanceError(
                f"profile {workload!r} on {gpu_type!r} mixes points and lines",
                path=f"$.profiles[{len(self._data['profiles'])}].curve",
                advice="give points at every batch, or lines at every batch.",
            )
        family = "piecewise_linear" if lines else "tabulated"
        profile = {
            "workload": workload,
            "gpu_type": gpu_type,
            "role": role,
            "curve": {"family": family, "batches": lines or points},
            "memory": [{"batch": b, "memory_gib": m} for b, m in sorted(memory.items())],
            **fields,
        }
        return self._add("profiles", profile)

    def service(self, service_id: str, profile: str | None = None, **fields: Any) -> Self:  # noqa: ANN401
        """Add a service; its profile has its name unless given. `fields` are those of `Service`."""
        return self._add("services", {"id": service_id, "profile": profile or service_id, **fields})

    def task(self, task_id: str, profile: str | None = None, **fields: Any) -> Self:  # noqa: ANN401
        """Add tasks; their profile has their name unless given. `fields` are those of `Task`."""
        return self._add("tasks", {"id": task_id, "profile": profile or task_id, **fields})

    def slowdown(
        self,
        victim: str | None = None,
        neighbour: str | None = None,
        slowdown: float | None = None,
        *,
        gpu_type: str | None = None,
        table: Mapping[str, Any] | None = None,
        default: float | None = None,
        **fields: Any,  # noqa: ANN401 - fields of PairSlowdown
    ) -> Self:
        """State by how much `neighbour` slows `victim` down on a GPU type, or the default.

        Where it depends on the knobs of the two, give the fields of a `SlowdownTable` as `table`
        instead of the number, without the axes that do not matter. `fields` are error and evidence;
        with the default alone, the error is that of the default.
        """
        pair: dict[str, Any] = {"gpu_type": gpu_type, "victim": victim, "neighbour": neighbour}
        alone = victim is None and neighbour is None and slowdown is None and table is None
        if table is not None:
            pair["table"] = {**_ANY_KNOBS, **table}
        if default is not None:
            self._interference["default_slowdown"] = default
            if alone and "error" in fields:
                self._interference["default_error"] = list(fields.pop("error"))
        if not alone or fields:
            self._pairs.append({**pair, "slowdown": slowdown, **fields})
        return self

    def rules(self, **fields: Any) -> Self:  # noqa: ANN401
        """Set fields of `Rules`, such as ``tasks_per_gpu=2``."""
        self._rules.update(fields)
        return self

    def quota(self, tenant: str, **fields: Any) -> Self:  # noqa: ANN401
        """Add a quota of one tenant: maximum, minimum, unit."""
        self._rules["quotas"].append({"tenant": tenant, **fields})
        return self

    def keep_apart(self, left: str | list[str], right: str | list[str]) -> Self:
        """Let no GPU hold a workload of `left` beside one of `right`."""
        sides = [[names] if isinstance(names, str) else list(names) for names in (left, right)]
        self._rules["anti_affinity"].append({"left": sides[0], "right": sides[1]})
        return self

    def constraint(self, name: str, **params: bool | float | str | None) -> Self:
        """Add a constraint by its registered name."""
        return self._add("constraints", {"name": name, "params": params})

    def _add(self, where: str, row: dict[str, Any]) -> Self:
        self._data[where].append(row)
        return self

    def build(self) -> Instance:
        """Return the instance. The builder can be used further.

        Raises
        ------
        InstanceError
            When something is wrong, with its place as in a file.
        """
        return build_instance(
            {**self._data, "interference": self._interference, "rules": self._rules}
        )
