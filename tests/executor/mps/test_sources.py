"""The list of what is not confirmed is the one in the documentation, and misses nothing."""

from __future__ import annotations

import re
from pathlib import Path

from colocate.executor.mps.sources import SOURCES, unconfirmed, unconfirmed_page

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "hardware" / "unconfirmed.md"


def test_the_page_is_what_the_table_says() -> None:
    """To renew it, write `unconfirmed_page()` to it."""
    assert PAGE.read_text(encoding="utf-8") == unconfirmed_page()


def test_every_source_that_the_double_names_is_in_the_table() -> None:
    named = set()
    for path in (ROOT / "tests" / "fakes").glob("mps_*.py"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r'"((?:v2|v3|control|client|server)\.[a-z0-9_.]+)"', text))
    named -= {"control.log"}
    assert len(named) > 40
    assert named <= SOURCES.keys()


def test_documented_and_reported_entries_say_where() -> None:
    for source in SOURCES.values():
        assert source.says
        assert source.standing == "assumed" or len(source.where) > 5
        assert "|" not in source.says + source.where  # they go into a table


def test_what_a_transcript_shows_leaves_the_page() -> None:
    assert {source.name for source in unconfirmed()} == {
        source.name for source in SOURCES.values() if source.confirmed is None
    }
    assert all(f"`{source.name}`" in unconfirmed_page() for source in unconfirmed())
