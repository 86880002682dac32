"""`colocate models`: from measurements to models, and from models to predictions."""

from __future__ import annotations

from colocate.cli import options
from colocate.cli.models import fit, import_files, next_rows, predict, show

app = options.verb(help="Fit models to measurements, look at them, predict with them.")
app.command("fit")(fit.fit)
app.command("predict")(predict.predict)
app.command("show")(show.show)
app.command("next")(next_rows.next_)
app.command("import")(import_files.import_)
