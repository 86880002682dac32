"""`colocate versions`: what to paste into a bug report."""

from __future__ import annotations

import sys

from colocate.cli import options
from colocate.errors import clean_text

app = options.verb()


@app.command()
def versions(as_json: bool = options.JSON, debug: bool = options.DEBUG) -> None:
    """Print the versions that matter in a bug report."""
    del debug
    from colocate.cli.console import print_json
    from colocate.versions import versions as find

    found = dict(find())
    if as_json:
        print_json(found)
        return
    width = max(map(len, found))
    for name, version in found.items():
        sys.stdout.write(f"{name:<{width}}  {clean_text(str(version))}\n")
