"""Write the pages of the command line, from the commands themselves: `python docs/write_reference.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from typer.core import TyperArgument, TyperOption
from typer.main import get_command

from generate.cli import app as ibgenerate
from ibstats.cli import app as ibstats

PROGRAMS = {"ibstats": ibstats, "ibgenerate": ibgenerate}

HEAD = """# Commands of `{program}`

This page is written from the commands by `make schemas`; `{program} COMMAND --help` says the same.
"""


def pages() -> dict[str, str]:
    """Markdown by file name."""
    found = {}
    for program, app in PROGRAMS.items():
        lines = [HEAD.format(program=program)]
        lines += commands(program, get_command(app))
        found[f"cli-{program}.md"] = "\n".join(lines)
    return found


def commands(path: str, command: object) -> Iterator[str]:
    """Every command below one, in the order of its help."""
    for name, one in getattr(command, "commands", {}).items():
        if hasattr(one, "commands"):
            yield from commands(f"{path} {name}", one)
            continue
        yield f"## `{path} {name}`\n"
        yield f"{plain(one.help)}\n"
        yield from parameters(one)


def parameters(command: object) -> Iterator[str]:
    """Arguments and options of a command, as a table."""
    yield "| argument or option | meaning |"
    yield "|---|---|"
    for parameter in getattr(command, "params", []):
        if isinstance(parameter, TyperArgument):
            yield f"| `{parameter.metavar or str(parameter.name).upper()}` | {plain(parameter.help)} |"
        elif isinstance(parameter, TyperOption) and not parameter.hidden:
            yield f"| {named(parameter)} | {plain(parameter.help)}{default(parameter)} |"
    yield ""


def named(option: TyperOption) -> str:
    """An option by all its names, and what kind of value it takes."""
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if option.is_flag:
        return names
    return f"{names} {option.metavar or 'VALUE'}"


def default(option: TyperOption) -> str:
    """What stands where an option is not given, if its help does not say it."""
    if option.required:
        return " Must be given."
    if option.is_flag or option.default in (None, "", [], ()) or "Default" in (option.help or ""):
        return ""
    return f" Default {getattr(option.default, 'value', option.default)}."


def plain(text: str | None) -> str:
    """Help as it stands in a table."""
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    for name, text in pages().items():
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")
