"""Write the bundled instances from their recipes, or with --check see that they are up to date.

    python benchmarks/write_datasets.py [--check]

Recipes are in benchmarks/bundled/. A changed instance loses its facts: run
benchmarks/certify_datasets.py afterwards.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bundled import recipes

import colocate.datasets
from colocate.io import dumps_instance

DATA = Path(colocate.datasets.__file__).parent / "data"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    check = parser.parse_args().check
    stale, known = [], set()
    for instance in recipes():
        file = DATA / f"{instance.name}.json"
        known |= {file.name, f"{instance.name}.facts.json"}
        wanted = dumps_instance(instance)
        if not file.is_file() or file.read_text(encoding="utf-8") != wanted:
            stale.append(file.name)
            if not check:
                file.write_text(wanted, encoding="utf-8")
    orphans = sorted(f.name for f in DATA.glob("*.json") if f.name not in known)
    verb = "differ" if check else "written"
    print(f"{len(known) // 2} instances; {verb}: {', '.join(stale) or 'none'}")
    if orphans:
        print(f"without a recipe: {', '.join(orphans)}")
    return 1 if orphans or (check and stale) else 0


if __name__ == "__main__":
    sys.exit(main())
