"""Sphinx's settings."""

import os
import sys
from importlib.metadata import version as installed
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

sys.path.insert(0, os.fspath(Path(__file__).resolve().parent.parent))

project = "twinclock"
author = "The twinclock maintainers"
copyright = "2026, The twinclock maintainers"
release = version = installed("twinclock")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"twinclock {release}"
nitpicky = False  # the types' own documents are elsewhere, and building needs no network

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False

# Where a diagram cannot be drawn, its text is shown.
lexers["mermaid"] = TextLexer()
