"""The generated parts: what stands between the marks, by name."""

from __future__ import annotations

import csv
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import typer

import colocate
from colocate import datasets, registry
from colocate.capability import Capability
from colocate.cli.exit_codes import ExitCode
from colocate.datasets.generator import FAMILIES
from colocate.plan import Reason
from colocate.violation import ViolationKind
from renewal import fields
from renewal.meanings import EXIT_CODES, METHODS, POLICIES, REASONS, VIOLATIONS
from renewal.policy_values import LABELS, policy_values

__all__ = ["BLOCKS", "flags_of"]

FIGURES = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "models.csv"
"""What `benchmarks/models.py` measured."""
_ABOUT_ANSWERS = (
    Capability.EXACT,
    Capability.BOUND,
    Capability.TIME_LIMIT,
    Capability.INTERRUPT,
)
"""The other capabilities are about what an instance asks for."""


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _solver_names() -> list[str]:
    """Return the built-in solvers, without the policies, which have a page of their own.

    Plug-ins that happen to be installed are not documented here.
    """
    built_in = registry._BUILT_IN["solver"]  # noqa: SLF001 - what ships, and nothing else
    return sorted(set(built_in) - set(POLICIES))


def _capabilities(name: str) -> frozenset[Capability]:
    found: frozenset[Capability] = registry.get("solver", name).capabilities
    return found


def _asked() -> list[Capability]:
    """Return what instances may ask for and at least one solver supports."""
    supported = frozenset[Capability]().union(*map(_capabilities, _solver_names()))
    return [c for c in Capability if c in supported and c not in _ABOUT_ANSWERS]


def _unsupported() -> list[Capability]:
    supported = frozenset[Capability]().union(*map(_capabilities, _solver_names()))
    return [c for c in Capability if c not in supported]


def _yes(condition: bool) -> str:
    return "yes" if condition else "no"


def solvers() -> str:
    """Return the solver table."""
    rows = []
    for name in _solver_names():
        has = _capabilities(name)
        lacking = [c.value for c in _asked() if c not in has]
        rows.append(
            [
                f"`{name}`",
                METHODS[name],
                _yes(Capability.EXACT in has),
                _yes(Capability.BOUND in has),
                f"all but {', '.join(lacking)}" if lacking else "all",
                _yes(Capability.TIME_LIMIT in has),
                _yes(Capability.INTERRUPT in has),
                "yes",
            ]
        )
    head = ["keyword", "method", "exact", "bound", "supports", "time limit", "interrupt"]
    return _table([*head, "deterministic"], rows)


def capabilities() -> str:
    """Return which solver supports what an instance may ask for."""
    names = _solver_names()
    rows = [
        [c.value, *(_yes(c in _capabilities(name)) for name in names)]
        for c in [*_asked(), *_unsupported()]
    ]
    return _table(["an instance with", *(f"`{name}`" for name in names)], rows)


def policies() -> str:
    """Return the table of policies."""
    rows = [[f"`{name}`", source, rule] for name, (source, rule) in POLICIES.items()]
    return _table(["keyword", "from", "rule"], rows)


def values_of_policies() -> str:
    """Return what each policy is worth, as the benchmark left it."""
    rows: dict[str, list[str]] = {}
    for row in policy_values():
        cells = rows.setdefault(row.solver, [f"`{row.solver}`"])
        cells.append(f"{row.mean:.3f} ({row.least:.2f} to {row.most:.2f})")
    return _table(["", *LABELS.values()], list(rows.values()))


def reasons() -> str:
    """Return the reason words."""
    return _table(["reason", "meaning"], [[f"`{r}`", REASONS[r]] for r in get_args(Reason)])


def violations() -> str:
    """Return the kinds of violations."""
    kinds = get_args(ViolationKind)
    return _table(["kind", "what is wrong"], [[f"`{k}`", VIOLATIONS[k]] for k in kinds])


def exit_codes() -> str:
    """Return the exit codes of the command line."""
    return _table(["code", "meaning"], [[str(int(c)), EXIT_CODES[int(c)]] for c in ExitCode])


def flags_of(verb: str) -> tuple[Any, list[Any]]:
    """Return the command of a verb such as `solve` or `datasets.get`, and its parameters."""
    first, _, second = verb.partition(".")
    module = importlib.import_module(f"colocate.cli.{first.replace('-', '_')}")
    command: Any = typer.main.get_command(module.app)
    if second:
        command = command.commands[second]
    return command, list(command.params)


def flags(verb: str) -> str:
    """Return arguments and options of a verb."""
    _, params = flags_of(verb)
    rows = []
    for p in params:
        if p.param_type_name == "argument":
            need = "required" if p.required else ""
            rows.append([f"`{p.metavar or p.name.upper()}`", need, "", p.help])
            continue
        value = "" if getattr(p, "is_flag", False) else f" {p.metavar or 'TEXT'}"
        names = ", ".join(f"`{name}{value if name.startswith('--') else ''}`" for name in p.opts)
        default = p.default
        has_default = isinstance(default, (int, float, str)) and not isinstance(default, bool)
        shown = f"`{default}`" if has_default and default != "" else ""
        rows.append([names, shown, f"`{p.envvar}`" if p.envvar else "", p.help])
    return _table(["argument or option", "default", "environment variable", "meaning"], rows)


def names() -> str:
    """Return every public name of the package, with the first sentence about it."""
    rows = []
    for name in sorted(colocate.__all__, key=str.lower):
        value = getattr(colocate, name)
        if name == "__version__":
            rows.append([f"`{name}`", "text", "Version of the package."])
            continue
        kind = "class" if inspect.isclass(value) else "function"
        if inspect.isclass(value) and issubclass(value, Exception):
            kind = "exception"
        about = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
        rows.append([f"`{name}`", kind, about])
    return _table(["name", "what", "about"], rows)


def components(kind: str) -> str:
    """Return the built-in components of a kind with their parameters."""
    rows = []
    for name in sorted(registry._BUILT_IN[kind]):  # noqa: SLF001 - what ships, and nothing else
        cls = registry.get(kind, name)  # type: ignore[arg-type]
        params = []
        for field, info in cls.Params.model_fields.items():
            default = "required" if info.is_required() else f"{info.default} when left out"
            meaning = " ".join(str(info.description).split())
            params.append(f"`{field}`: {meaning} ({default})")
        module = inspect.getmodule(cls)
        first = (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")
        rows.append([f"`{name}`", first, "; ".join(params) or "none"])
    return _table(["name", "what it is", "parameters"], rows)


def bundled() -> str:
    """Return the bundled instances."""
    rows = []
    for name in datasets.names():
        d = datasets.describe(name)
        optimum, by = "not certified", ""
        if d.facts is not None:
            value = d.facts.objective
            optimum = "infeasible" if value is None else f"{value:.7g}"
            by = ", ".join(d.facts.certified_by)
        about = " ".join(d.description.split())
        rows.append([f"`{name}`", str(d.gpus), str(d.replicas), str(d.tasks), optimum, by, about])
    head = ["name", "GPUs", "replicas", "tasks", "optimum", "certified by", "what it is about"]
    return _table(head, rows)


def families() -> str:
    """Return the families of the generator."""
    return _table(["family", "what it is"], [[f"`{n}`", what] for n, what in FAMILIES.items()])


def strategies() -> str:
    """Return the strategies of the test kit."""
    from colocate import testing

    rows = []
    for name in sorted(testing.__all__):
        if name.endswith("_instances") or name == "any_instance":
            about = " ".join((inspect.getdoc(getattr(testing, name)) or "").split())
            rows.append([f"`{name}()`", about])
    return _table(["strategy", "what it draws"], rows)


def conformance() -> str:
    """Return what the conformance suite tests."""
    from colocate.testing import SolverConformance

    tests = [(n, t) for n, t in vars(SolverConformance).items() if n.startswith("test_")]
    rows = [[n.removeprefix("test_").replace("_", " "), inspect.getdoc(t) or ""] for n, t in tests]
    return _table(["test", "what it holds"], rows)


def profile_table() -> str:
    """Return the columns of a profile table."""
    from colocate.tables import COLUMNS
    from colocate.tables.columns import REQUIRED

    rows = []
    for c in COLUMNS:
        need = "required" if c.name in REQUIRED else ""
        if c.name in ("rate", "latency_ms"):
            need = "one of the two"
        meaning = f"{c.meaning[0].upper()}{c.meaning[1:]}."
        rows.append([f"`{c.name}`", c.unit or c.kind, need, meaning])
    return _table(["column", "unit", "", "meaning"], rows)


def loaders() -> str:
    """Return the loaders of public data."""
    from colocate.datasets import loaders as room

    rows = []
    for name in sorted(room.__all__):
        loader = getattr(room, name)
        module = inspect.getdoc(inspect.getmodule(loader)) or ""
        about = (inspect.getdoc(loader) or "").split("\n\n")[0].replace("\n", " ")
        rows.append([f"`{name}`", about, module.split("\n\n")[0].replace("\n", " ")])
    return _table(["loader", "what it does", "the data"], rows)


def figures() -> str:
    """Return the measured figures of the models, as their benchmark left them."""
    if not FIGURES.is_file():
        return "*Nothing was measured yet.*"
    rows = []
    with FIGURES.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            unit = f" {row['unit']}" if row["unit"] else ""
            plain = ""
            if row["baseline"]:
                plain = f"{_short(row['baseline_value'])}{unit} ({row['baseline']})"
            target = f"{_short(row['target'])}{unit}" if row["target"] else ""
            rows.append([row["name"], f"{_short(row['value'])}{unit}", target, plain, row["note"]])
    return _table(["figure", "measured", "aimed at", "plain method", "remark"], rows)


def _short(text: str) -> str:
    """Return a number to three digits; a text such as "<= 2" as it is."""
    try:
        value = float(text)
    except ValueError:
        return text
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


BLOCKS: dict[str, Callable[..., str]] = {
    "bundled": bundled,
    "capabilities": capabilities,
    "components": components,
    "conformance": conformance,
    "exit-codes": exit_codes,
    "families": families,
    "fields": fields.table,
    "flags": flags,
    "loaders": loaders,
    "model-figures": figures,
    "names": names,
    "policies": policies,
    "policy-values": values_of_policies,
    "profile-table": profile_table,
    "reasons": reasons,
    "solvers": solvers,
    "strategies": strategies,
    "violations": violations,
}
