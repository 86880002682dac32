"""How long the first answer takes: the import, the command line, a cold solve.

Every figure is the wall-clock time of a whole process, the interpreter's own start included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from _measure import Row, root, show, walls

__all__ = ["measure"]

HEAVY = ("numpy", "scipy", "ortools", "pulp", "networkx", "pydantic", "typer", "rich", "highspy")
BARRED = {"numpy", "scipy", "ortools", "pulp", "networkx", "highspy"}
"""What neither the import nor the help may load."""
HELP_TARGET_MS = 300
REPEATS = 10

_LOADED = """
import contextlib, io, json, sys
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    {code}
print(json.dumps([name for name in {heavy} if name in sys.modules]))
"""


def measure() -> dict[str, list[Row]]:
    """Return the tables `startup` and `startup_modules`."""
    python, command = [sys.executable, "-c"], _command()
    with tempfile.TemporaryDirectory() as folder:
        instance = str(Path(folder) / "quickstart.json")
        plan = str(Path(folder) / "plan.json")
        _run([*command, "datasets", "get", "quickstart", "-o", instance])
        cases: list[tuple[str, list[str], int, int | None]] = [
            ("python -c pass", [*python, "pass"], REPEATS, None),
            ("import colocate", [*python, "import colocate"], REPEATS, None),
            ("from colocate import Instance", [*python, "from colocate import Instance"], 5, None),
            ("from colocate import solve", [*python, "from colocate import solve"], 5, None),
            ("colocate --help", [*command, "--help"], REPEATS, HELP_TARGET_MS),
            ("colocate solve --help", [*command, "solve", "--help"], 5, None),
            ("colocate solve quickstart", [*command, "solve", instance, "-o", plan], 5, None),
            ("colocate verify quickstart", [*command, "verify", instance, plan], 5, None),
            ("import numpy", [*python, "import numpy"], 5, None),
            ("import scipy.optimize", [*python, "import scipy.optimize"], 5, None),
            (
                "import ortools cp_model",
                [*python, "from ortools.sat.python import cp_model"],
                5,
                None,
            ),
            ("import pulp", [*python, "import pulp"], 5, None),
        ]
        rows: list[Row] = []
        for what, argv, n, target in cases:
            found = walls(argv, n)
            rows.append(
                {
                    "what": what,
                    "runs": n,
                    "best_ms": round(1000 * found[0], 1),
                    "median_ms": round(1000 * found[len(found) // 2], 1),
                    "target_ms": target,
                    "met": None if target is None else "yes" if 1000 * found[0] < target else "NO",
                }
            )
    return {"startup": rows, "startup_modules": _modules()}


def _command() -> list[str]:
    """Return the installed command, or the module where the package is only on the path."""
    installed = Path(sys.executable).with_name("colocate")
    return [str(installed)] if installed.is_file() else [sys.executable, "-m", "colocate"]


def _modules() -> list[Row]:
    cases = {
        "import colocate": "import colocate",
        "colocate --help": "sys.argv = ['colocate', '--help']; "
        "from colocate.cli.main import main; main()",
        "from colocate import Instance": "from colocate import Instance",
        "from colocate import solve": "from colocate import solve",
    }
    rows: list[Row] = []
    for what, code in cases.items():
        loaded = json.loads(_run([sys.executable, "-c", _LOADED.format(code=code, heavy=HEAVY)]))
        checked = what in ("import colocate", "colocate --help")
        barred = sorted(BARRED & set(loaded)) if checked else []
        rows.append(
            {
                "after": what,
                "loaded": ", ".join(loaded) or "none of them",
                "allowed": f"NO: {', '.join(barred)}" if barred else "yes" if checked else None,
            }
        )
    return rows


def _run(argv: list[str]) -> str:
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


if __name__ == "__main__":
    for name, table in measure().items():
        show(name, table)
