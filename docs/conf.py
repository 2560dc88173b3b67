"""Sphinx settings: `sphinx-build -W docs docs/_build`."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

project = "ibstats"
author = copyright = "ibstats developers"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
autodoc_member_order = "bysource"
default_role = "literal"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_math_renderer = "mathml"
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


def write_inline(writer: Any, node: Any) -> None:
    """Write a formula as MathML, which browsers set by themselves, without a script or a network."""
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def write_block(writer: Any, node: Any) -> None:
    """Write a formula of its own line; a wide one scrolls."""
    formula = convert(node.astext(), display="block")
    writer.body.append(f'<div class="math" style="overflow-x: auto">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Have docstrings marked before they are read, and formulas written as MathML."""
    app.connect("autodoc-process-docstring", mark_code)
    app.add_html_math_renderer("mathml", (write_inline, None), (write_block, None))
