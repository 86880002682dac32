"""Instances to start from: bundled ones with certified optima, and a seeded generator."""

from __future__ import annotations

from colocate.datasets.catalogue import Dataset, Facts, describe, get, names, path
from colocate.datasets.generator import families, generate

__all__ = ["Dataset", "Facts", "describe", "families", "generate", "get", "names", "path"]
