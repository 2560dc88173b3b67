"""Sphinx settings: `sphinx-build -W docs docs/_build`."""

from __future__ import annotations

from typing import Any

project = "ibstats"
author = copyright = "ibstats developers"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
autodoc_member_order = "bysource"
default_role = "literal"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "ibstats"
exclude_patterns = ["_build", "examples"]


def mark_code(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Mark indented blocks of a docstring as code, which they are in ours."""
    marked: list[str] = []
    for line in lines:
        begins = line.startswith("    ") and marked and not marked[-1]
        if begins and not (len(marked) > 1 and marked[-2].startswith("    ")):
            marked += ["::", ""]
        marked.append(line)
    lines[:] = marked


def setup(app: Any) -> None:
    """Have docstrings marked before they are read."""
    app.connect("autodoc-process-docstring", mark_code)
