"""The style and the script of a page, from the files in `assets`.

The script is plain ES modules. A page on disk cannot import files beside it, so they are joined
into one: each becomes a function whose exports the later ones take, in the order of their imports.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

FIRST = "main.js"
"""The module that starts the page."""

IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?(?:function|const) (\w+))", re.MULTILINE)


def asset(name: str) -> str:
    """The text of a file in `assets`.

    Raises FileNotFoundError for a name that is none of them.
    """
    return resources.files(__package__).joinpath("assets", name).read_text("utf-8")


@cache
def script() -> str:
    """All modules that `main.js` needs, as one."""
    done: dict[str, str] = {}
    _join(FIRST.removesuffix(".js"), done, ())
    return "\n".join(done.values())


def _join(name: str, done: dict[str, str], waiting: tuple[str, ...]) -> None:
    """Add a module to those done, after those that it imports.

    Raises ValueError for modules that import each other.
    """
    if name in waiting:
        raise ValueError(f"modules import each other: {' -> '.join((*waiting, name))}")
    if name in done:
        return
    text = asset(f"{name}.js")
    for _, other in IMPORT.findall(text):
        _join(other, done, (*waiting, name))
    body = IMPORT.sub(r"const { \1 } = \2_js;\n", text)
    exported = [found for _, found in EXPORT.findall(text)]
    body = EXPORT.sub(r"\1", body)
    done[name] = f"const {name}_js = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();\n"
