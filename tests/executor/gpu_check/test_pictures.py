"""Pictures are whole SVG documents, whatever the figures and names."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from colocate.executor.gpu_check.pictures import HEIGHT, WIDTH, Series, chart, pictures_of

POINTS = st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)), max_size=8)


@given(
    st.lists(st.builds(Series, st.text(max_size=20), POINTS, st.booleans()), max_size=4),
    st.text(max_size=20),
    st.booleans(),
)
def test_every_chart_is_a_document_and_keeps_its_points_inside(series, title, diagonal):
    printable = "".join(c for c in title if c.isprintable())
    safe = [Series("".join(c for c in s.name if c.isprintable()), s.points, s.line) for s in series]
    root = ET.fromstring(chart(printable, "x", "<y>", safe, diagonal=diagonal, marks=[(1, "m&m")]))
    names = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "<y>" in names
    assert "m&m" in names
    circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(circles) == sum(len(s.points) for s in series)
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= WIDTH
        assert 0 <= float(circle.attrib["cy"]) <= HEIGHT


def test_there_is_no_picture_of_what_was_not_measured():
    assert pictures_of({}) == {}
    assert pictures_of({"share caps": {"points": [{"share_pct": 100, "rate": 1.0}]}}) == {}


def test_the_pictures_show_what_their_stages_found():
    found = pictures_of(
        {
            "share caps": {
                "points": [
                    {"share_pct": s, "rate_over_whole": s / 100, "sms_over_whole": s / 100}
                    for s in (100, 25)
                ]
            },
            "alone": {
                "points": [{"rows": [{"workload": "a", "batch": 4, "share_pct": 50, "rate": 3.0}]}]
            },
            "held-out pairs": {"rows": [{"measured": 1.0, "predicted": 1.1}]},
            "compare": {"rows": [{"measured": 2.0, "predicted": 1.9}]},
            "kill": {
                "killed_at_s": 1.0,
                "timeline": [
                    {"at_s": 0.0, "service_rate": 5.0, "p99_ms": 3.0, "training_rate": 1.0},
                    {"at_s": 2.0, "service_rate": None, "p99_ms": None, "training_rate": None},
                ],
            },
        }
    )
    assert sorted(found) == ["alone.svg", "kill.svg", "predicted.svg", "share-caps.svg"]
    for picture in found.values():
        ET.fromstring(picture)
    assert "killed" in found["kill.svg"]
