"""A real TeX sets tables, and says which of them leave the page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

TEX = ("pdflatex", "lualatex", "xelatex")
WITHOUT = "no TeX: `apt-get install texlive-latex-recommended` (LaTeX, booktabs, xcolor)"
ALLOWED = 2.0
"""Points by which TeX may find a line too wide."""


def installed() -> str:
    """A TeX; without one a test fails in CI, and is skipped for a contributor."""
    for name in TEX:
        if shutil.which(name):
            return name
    (pytest.fail if os.environ.get("CI") else pytest.skip)(WITHOUT)


def complaints(tex: str, inputs: Sequence[Path], folder: Path, *, two_columns: bool) -> list[str]:
    """What TeX says against some tables, each on a page of its own, with the file that it is about."""
    options = "a4paper,twocolumn" if two_columns else "a4paper"
    pages = "\n".join(
        rf"\typeout{{TABLE {file.stem}}}\input{{{file}}}\clearpage" for file in inputs
    )
    text = (
        rf"\documentclass[{options}]{{article}}"
        "\n\\usepackage[margin=2cm]{geometry}\n\\usepackage{booktabs,xcolor}\n"
        f"\\begin{{document}}\n{pages}\n\\end{{document}}\n"
    )
    folder.mkdir()
    (folder / "all.tex").write_text(text)
    command = [tex, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    wide = os.environ | {"max_print_line": "1000"}
    done = subprocess.run(command, cwd=folder, env=wide, capture_output=True, check=False)
    log = (folder / "all.log").read_text(errors="replace")
    found = []
    about = ""
    for line in log.splitlines():
        if line.startswith("TABLE "):
            about = line.removeprefix("TABLE ")
        too_wide = re.match(r"Overfull \\[hv]box \(([\d.]+)pt", line)
        is_wide = too_wide is not None and float(too_wide[1]) > ALLOWED
        if is_wide or "too large" in line or line.startswith("!"):
            found.append(f"{about}: {line}")
    if done.returncode != 0 and not found:
        found.append(log[-2000:])
    return found
