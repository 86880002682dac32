"""Versions are told without importing or running anything."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import colocate
from colocate import versions as module
from colocate.versions import gpu_software, show_versions, versions

NVRM = "NVRM version: NVIDIA UNIX {} Kernel Module  {}  Wed Oct 22 2025\nGCC version:  gcc 12.2.0\n"


def test_versions_are_those_installed() -> None:
    found = versions()
    assert found["colocate"] == colocate.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    for name in ("numpy", "scipy", "pydantic", "ortools", "pulp", "networkx", "typer", "rich"):
        assert found[name] == importlib.metadata.version(name)


def test_what_is_missing_is_said_and_what_is_optional_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    module._package_versions.cache_clear()
    monkeypatch.setattr(importlib.metadata, "version", absent)
    try:
        found = versions()
    finally:
        module._package_versions.cache_clear()
    assert found["numpy"] == "missing"
    assert "ray" not in found


def test_nothing_is_imported() -> None:
    code = (
        "import sys, colocate; colocate.show_versions();"
        "heavy = {'numpy', 'scipy', 'ortools', 'pulp', 'networkx', 'pydantic'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (NVRM.format("x86_64", "580.95.05"), "580.95.05"),
        (NVRM.format("Open", "595.12"), "595.12"),
        ("something else", "present, version unknown"),
        (None, "not found"),
    ],
)
def test_driver_is_looked_up_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, version: str
) -> None:
    file = tmp_path / "version"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(module, "_DRIVER_FILE", file)
    assert gpu_software()["nvidia-driver"] == version


def test_tools_are_looked_up_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-cuda-mps-control"
    tool.write_text("#!/bin/sh\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = gpu_software()
    assert found["nvidia-cuda-mps-control"] == str(tool)
    assert found["nvidia-smi"] == "not found"


def test_shown_versions_are_one_to_a_line() -> None:
    lines = show_versions().split("\n")
    assert lines[0].split() == ["colocate", colocate.__version__]
    assert len(lines) == len(versions()) + 3
    assert len({line.rindex("  ") for line in lines if line.count("  ")}) >= 1
