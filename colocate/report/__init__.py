"""A plan for people to read: facts as data, sentences, and one self-contained HTML page."""

from __future__ import annotations

from colocate.report.page import report_html

__all__ = ["report_html"]
