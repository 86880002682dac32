"""colocate: who shares which GPU with whom, and a proof of how good the answer is.

Importing this package imports none of its dependencies: every public name is loaded when it is
first used.
"""

from __future__ import annotations

import importlib
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colocate.builder import InstanceBuilder
    from colocate.errors import ColocateError, InstanceError, PlanError, SolverError
    from colocate.explain import explain, explain_task, whatif
    from colocate.instance import GpuPool, Instance, Rules, Service, Task
    from colocate.io import load_instance, load_plan, save_instance, save_plan
    from colocate.plan import Plan, PlanDiff, diff
    from colocate.profile import Interference, PiecewiseLinearCurve, Profile, TabulatedCurve
    from colocate.result import Limits, Progress, Result, Termination
    from colocate.solve import solve
    from colocate.verify import Violation, verify
    from colocate.versions import show_versions

__version__ = "0.1.0"

_WHERE = {
    "ColocateError": "errors",
    "GpuPool": "instance",
    "Instance": "instance",
    "InstanceBuilder": "builder",
    "InstanceError": "errors",
    "Interference": "profile",
    "Limits": "result",
    "PiecewiseLinearCurve": "profile",
    "Plan": "plan",
    "PlanDiff": "plan",
    "PlanError": "errors",
    "Profile": "profile",
    "Progress": "result",
    "Result": "result",
    "Rules": "instance",
    "Service": "instance",
    "SolverError": "errors",
    "TabulatedCurve": "profile",
    "Task": "instance",
    "Termination": "result",
    "Violation": "verify",
    "diff": "plan",
    "explain": "explain",
    "explain_task": "explain",
    "load_instance": "io",
    "load_plan": "io",
    "save_instance": "io",
    "save_plan": "io",
    "show_versions": "versions",
    "solve": "solve",
    "verify": "verify",
    "whatif": "explain",
}

__all__ = [
    "ColocateError",
    "GpuPool",
    "Instance",
    "InstanceBuilder",
    "InstanceError",
    "Interference",
    "Limits",
    "PiecewiseLinearCurve",
    "Plan",
    "PlanDiff",
    "PlanError",
    "Profile",
    "Progress",
    "Result",
    "Rules",
    "Service",
    "SolverError",
    "TabulatedCurve",
    "Task",
    "Termination",
    "Violation",
    "__version__",
    "diff",
    "explain",
    "explain_task",
    "load_instance",
    "load_plan",
    "save_instance",
    "save_plan",
    "show_versions",
    "solve",
    "verify",
    "whatif",
]

logging.getLogger("colocate").addHandler(logging.NullHandler())


class _Package(ModuleType):
    """Keeps ``colocate.solve`` the function when the module of the same name is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        """Store the public function that a submodule is named after, not the submodule."""
        if isinstance(value, ModuleType) and _WHERE.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562 returns whatever the name is
    """Load a public name when it is first asked for."""
    module = _WHERE.get(name)
    if module is None:
        msg = f"module 'colocate' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"colocate.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
