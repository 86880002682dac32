"""No text becomes markup, whatever it is."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import clean_text
from colocate.report import svg
from colocate.report.markup import Markup, element, escaped, join, raw

any_text = st.text(max_size=60) | st.sampled_from(
    ["<script>alert(1)</script>", "' onload='x", '"><img src=x>', "&amp;", "]]>", "\x00\x1b", "-->"]
)


def as_shown(text: str) -> str:
    return "\n".join(clean_text(line, 20_000) for line in text.split("\n"))


@given(any_text, any_text)
def test_text_survives_as_text(child: str, value: str) -> None:
    parsed = ET.fromstring(element("p", child, title=value))
    assert (parsed.text or "") == as_shown(child)
    # XML readers turn line breaks in attributes into spaces
    assert parsed.attrib["title"] == as_shown(value).replace("\n", " ")
    assert list(parsed) == []


@given(st.lists(any_text, max_size=5))
def test_children_nest_without_being_escaped_twice(texts: list[str]) -> None:
    parsed = ET.fromstring(element("ul", [element("li", text) for text in texts]))
    assert [li.text or "" for li in parsed] == [as_shown(text) for text in texts]


@given(any_text)
def test_a_drawing_is_well_formed(text: str) -> None:
    drawn = svg.drawing(10, 10, text, svg.group(text, svg.text(0, 0, text, "x")))
    assert "script>" not in drawn.lower().replace("&lt;script&gt;", "").replace("/script&gt;", "")
    assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"


def test_joining_text_gives_escaped_text_again() -> None:
    assert join(["<b>", raw("<b>"), None, [1, "&"]]) == "&lt;b&gt;<b>1&amp;"
    assert isinstance(join([]), Markup)


def test_text_made_of_markup_is_no_markup() -> None:
    """Only what this package makes is trusted: a sum of markup and text is text again."""
    assert escaped(Markup("<b>") + "<i>") == "&lt;b&gt;&lt;i&gt;"


def test_void_elements_and_left_out_attributes() -> None:
    assert element("meta", charset="utf-8", name=None) == '<meta charset="utf-8" />'
    assert element("td", class_="n", text_anchor="end") == '<td class="n" text-anchor="end"></td>'


@given(
    st.floats(-1e12, 1e12, allow_nan=False),
    st.floats(1e-9, 1e12),
    st.integers(2, 12),
)
def test_ticks_are_few_and_inside(low: float, span: float, most: int) -> None:
    high = low + span
    found = svg.ticks(low, high, most)
    assert len(found) <= most
    assert found == sorted(found)
    margin = 1e-6 * max(abs(low), abs(high), span)
    assert all(low - margin <= t <= high + margin for t in found)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2.5, 5, 7.5, 10]),
        (0, 100, [0, 25, 50, 75, 100]),
        (0.0, 0.9, [0, 0.25, 0.5, 0.75]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert svg.ticks(low, high, 5) == pytest.approx(expected)
