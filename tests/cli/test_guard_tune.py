"""`colocate guard` and `colocate tune`: what they refuse, before anything is touched."""

from __future__ import annotations

import json

import pytest


def test_guard_and_tune_are_in_the_help(cli):
    shown = cli("--help").out
    assert "guard" in shown
    assert "tune" in shown


def test_sources_need_the_instance(cli, tmp_path):
    (tmp_path / "t.json").write_text("{}")
    found = cli("guard", "--sources", tmp_path / "t.json", "--root", tmp_path / "root")
    assert found.code == 2
    assert "--instance" in found.err


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"thresholds": {"latency_pct": {"unhealthy": "high", "margin": 5.0}}}, "unhealthy"),
        ({"patience": {"calm_first_s": 500.0}}, "$.patience"),
        ({"unknown": 1}, "$.unknown"),
        ({"schema": "colocate/guard/v2"}, "$.schema"),
    ],
)
def test_bad_settings_of_the_guard_are_refused_with_their_place(cli, tmp_path, settings, where):
    (tmp_path / "guard.json").write_text(json.dumps(settings))
    found = cli("guard", "-c", tmp_path / "guard.json", "--root", tmp_path / "root")
    assert found.code == 2
    assert where in found.err
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"patience": {}, "patience": {}}', "\x00"])
def test_files_that_are_no_settings_are_refused(cli, tmp_path, text):
    (tmp_path / "guard.json").write_text(text)
    assert cli("guard", "-c", tmp_path / "guard.json", "--root", tmp_path / "root").code == 2


def test_bad_sources_of_the_tuner_are_refused(cli, tmp_path, quickstart):
    (tmp_path / "tuner.json").write_text(
        json.dumps({"sources": [{"service": "a", "kind": "triton", "url": "file:///etc/passwd"}]})
    )
    found = cli("tune", quickstart, "-c", tmp_path / "tuner.json", "--root", tmp_path / "root")
    assert found.code == 2
    assert "plain HTTP address" in found.err


def test_the_tuner_needs_its_settings(cli, quickstart):
    assert cli("tune", quickstart).code == 2


def test_without_a_driver_both_say_so(cli, tmp_path, quickstart):
    (tmp_path / "t.json").write_text("{}")
    root = tmp_path / "root"
    for words in (
        ("guard", "--once", "--dry-run", "--root", root),
        ("tune", quickstart, "-c", tmp_path / "t.json", "--once", "--dry-run", "--root", root),
    ):
        found = cli(*words)
        assert found.code in (1, 5)
        assert "Maybe" in found.err
