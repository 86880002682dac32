"""Plans and fitted models for people to read: facts, sentences, and self-contained HTML pages."""

from __future__ import annotations

from colocate.report.models_page import models_html
from colocate.report.page import report_html

__all__ = ["models_html", "report_html"]
