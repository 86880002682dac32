"""Names to components, loaded when asked for.

Built-in components are listed here as `module:attribute` and imported on first use, so that the
registry itself costs nothing. Third parties add theirs by entry point (group `colocate.solvers`,
`colocate.objectives`, `colocate.constraints`, `colocate.slo_models`), by the `component` decorator,
or with `load_plugin("file.py:Name")`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from colocate.errors import PluginError, clean_text

__all__ = ["Kind", "component", "get", "load_plugin", "names", "register"]

Kind = Literal["solver", "objective", "constraint", "slo_model"]
Named = TypeVar("Named", bound=type)

_BUILT_IN: dict[str, dict[str, str]] = {
    "solver": {
        "auto": "colocate.solvers.auto:AutoSolver",
        "brute_force": "colocate.solvers.brute_force:BruteForceSolver",
        "cp-sat": "colocate.solvers.cp_sat:CpSatSolver",
        "greedy": "colocate.solvers.greedy:GreedySolver",
        "ilp": "colocate.solvers.ilp:IlpSolver",
        "matching": "colocate.solvers.matching:MatchingSolver",
        "milp": "colocate.solvers.milp:MilpSolver",
        "muri": "colocate.solvers.muri:MuriSolver",
        "pairing": "colocate.solvers.pairing:PairingSolver",
        "even": "colocate.solvers.policies.even:Even",
        "exclusive": "colocate.solvers.policies.exclusive:Exclusive",
        "gslice": "colocate.solvers.policies.gslice:Gslice",
        "iadeep": "colocate.solvers.policies.iadeep:Iadeep",
        "iadeep-fixed": "colocate.solvers.policies.iadeep:IadeepFixed",
        "mudi": "colocate.solvers.policies.mudi:Mudi",
        "mudi-fixed": "colocate.solvers.policies.mudi:MudiFixed",
        "muxflow": "colocate.solvers.policies.muxflow:Muxflow",
        "muxflow-fixed": "colocate.solvers.policies.muxflow:MuxflowFixed",
        "uncapped": "colocate.solvers.policies.uncapped:Uncapped",
    },
    "objective": {
        "active_gpus": "colocate.objectives.active_gpus:ActiveGpus",
        "degradation": "colocate.objectives.degradation:Degradation",
        "finish_time_fairness": ("colocate.objectives.finish_time_fairness:FinishTimeFairness"),
        "iteration_time": "colocate.objectives.iteration_time:IterationTime",
        "max_slowdown": "colocate.objectives.max_slowdown:MaxSlowdown",
        "throughput": "colocate.objectives.throughput:Throughput",
        "within": "colocate.objectives.within:Within",
    },
    "constraint": {
        "anti_affinity": "colocate.constraints.anti_affinity:AntiAffinityConstraint",
        "blast_radius": "colocate.constraints.blast_radius:BlastRadiusConstraint",
        "clients": "colocate.constraints.clients:ClientLimit",
        "locked": "colocate.constraints.locked:LockedConstraint",
        "memory": "colocate.constraints.memory:MemoryConstraint",
        "per_gpu": "colocate.constraints.per_gpu:PerGpuLimits",
        "quota": "colocate.constraints.quota:QuotaConstraint",
        "user_id": "colocate.constraints.user_id:UserIdConstraint",
    },
    "slo_model": {
        "fill": "colocate.models.slo_fill:FillModel",
        "mudi": "colocate.models.slo_mudi:MudiModel",
        "queue": "colocate.models.slo_queue:QueueModel",
    },
}
_ADDED: dict[str, dict[str, Any]] = {kind: {} for kind in get_args(Kind)}


def _entry_points(kind: Kind) -> dict[str, importlib.metadata.EntryPoint]:
    return {e.name: e for e in importlib.metadata.entry_points(group=f"colocate.{kind}s")}


def names(kind: Kind) -> list[str]:
    """Return the names of all components of a kind, without importing any."""
    return sorted({*_BUILT_IN[kind], *_ADDED[kind], *_entry_points(kind)})


def get(kind: Kind, name: str) -> Any:  # noqa: ANN401 - a class of the kind asked for
    """Return the class registered under a name.

    Raises
    ------
    PluginError
        When there is no such name, or its module cannot be imported.
    """
    if name in _ADDED[kind]:
        return _ADDED[kind][name]
    if name in _BUILT_IN[kind]:
        module, _, attribute = _BUILT_IN[kind][name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    entry = _entry_points(kind).get(name)
    if entry is None:
        raise PluginError(
            f"there is no {kind.replace('_', ' ')} named {clean_text(name)!r} "
            f"(known: {', '.join(names(kind))})",
            advice="correct the name, or load the plug-in that brings it with --plugin.",
        )
    try:
        return entry.load()
    except Exception as error:
        raise PluginError(
            f"{kind} {clean_text(name)!r} ({entry.value}) cannot be loaded: {error}",
            advice="check that the package which provides it is installed whole.",
        ) from error


def register(kind: Kind, name: str, cls: type) -> None:
    """Register a class under a name. Built-in names cannot be taken."""
    if name in _BUILT_IN[kind]:
        raise PluginError(
            f"{kind} {name!r} is built in", advice="register it under a name of its own."
        )
    _ADDED[kind][name] = cls


def component(kind: Kind, name: str) -> Callable[[Named], Named]:
    """Return a class decorator that registers the class under a name."""

    def add(cls: Named) -> Named:
        register(kind, name, cls)
        return cls

    return add


def load_plugin(spec: str) -> Any:  # noqa: ANN401 - whatever the file defines
    """Run a Python file and return one of its names: `path/to/file.py:Name`.

    The file is code and runs with your rights. A class that carries `kind` and `name` attributes
    is registered under them.
    """
    path_text, _, attribute = spec.rpartition(":")
    path = Path(path_text)
    if not path_text or not attribute.isidentifier() or path.suffix != ".py" or not path.is_file():
        raise PluginError(
            f"plug-in {clean_text(spec)!r} is not an existing file.py:Name",
            advice="write it like my_solver.py:MySolver.",
        )
    module_name = f"colocate_plugin_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    if module_spec is None or module_spec.loader is None:
        raise PluginError(f"{clean_text(str(path))!r} cannot be loaded", advice="check the file.")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module
    try:
        module_spec.loader.exec_module(module)
        found = getattr(module, attribute)
    except Exception as error:
        del sys.modules[module_name]
        raise PluginError(
            f"plug-in {clean_text(spec)!r} failed: "
            f"{type(error).__name__}: {clean_text(str(error))}",
            advice="run the file by itself to see the whole error.",
        ) from error
    name = getattr(found, "name", None)
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        if getattr(found, "kind", None) == kind and isinstance(name, str):
            register(kind, name, found)
    return found
