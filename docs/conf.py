"""Sphinx settings. `make docs` turns every warning into an error."""

from __future__ import annotations

import colocate

project = "colocate"
author = "The colocate maintainers"
copyright = f"{author}. Apache License 2.0"
release = colocate.__version__
version = ".".join(release.split(".")[:2])

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "colocate"
html_show_sphinx = False
