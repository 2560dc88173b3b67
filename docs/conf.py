"""Sphinx settings: `sphinx-build -W docs docs/_build`."""

project = "ibstats"
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "ibstats"
exclude_patterns = ["_build"]
