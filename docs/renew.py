"""Brings the generated parts of the documentation up to date.

    python docs/renew.py             tables, pictures and made-up measurements, from the code
    python docs/renew.py --outputs   also what the examples print
    python docs/renew.py --check     change nothing; exit code 1 when something is out of date

A part that starts with `<!-- generated: NAME ... -->` and ends with `<!-- end of generated -->` is
written by `renewal.blocks`; everything else is written by hand. Outputs that leave something out
with `...` are never replaced.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from renewal import made, outputs, pages

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Renew, or check; return the exit code."""
    parser = argparse.ArgumentParser(description="Renew the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--outputs", action="store_true", help="also what the examples print")
    wanted = parser.parse_args()
    stale = []
    for path in pages.paths(ROOT):
        old = path.read_text(encoding="utf-8")
        new = pages.renewed(old)
        if wanted.outputs:
            new = outputs.renewed(new, path)
        if new != old:
            stale.append(path)
            if not wanted.check:
                path.write_text(new, encoding="utf-8")
    for path, content in made.files(ROOT):
        if not path.is_file() or not made.same(path.read_text(encoding="utf-8"), content, path):
            stale.append(path)
            if not wanted.check:
                path.write_text(content, encoding="utf-8")
    for path in stale:
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return 1 if stale and wanted.check else 0


if __name__ == "__main__":
    sys.exit(main())
