"""The source of this project as the tests of the house read it: modules, imports, density, names reached."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "generate", "ibstats")
CODE = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}
"""Names with an underscore that are public: a named tuple's."""


def module_name(path: Path) -> str:
    """Dotted name of a file of ours."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


MODULES = {module_name(path): path for path in CODE}


def program(path: str) -> ModuleType:
    """A program outside the packages, such as `studies/trainings.py`, as a module."""
    place = ROOT / path
    spec = importlib.util.spec_from_file_location(place.stem, place)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made  # where dataclasses look for their own
    spec.loader.exec_module(made)
    return made


@cache
def tree(path: Path) -> ast.Module:
    """Syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Every node of the syntax tree of a file."""
    return list(ast.walk(tree(path)))


def imports(statements: Iterable[ast.AST]) -> Iterator[str]:
    """Full names of what is imported: `a.b` for `import a.b`, `a.b.c` for `from a.b import c`."""
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, at its head or inside functions."""
    return {name.split(".")[0] for name in imports(nodes(path))}


def module_of(name: str) -> str | None:
    """The module of ours that an imported name is, or is defined in; None for a library and for `__version__`."""
    if name in MODULES:
        return name
    owner, _, own = name.rpartition(".")
    return owner if owner in MODULES and not own.startswith("__") else None


@cache
def imports_among_modules() -> dict[str, set[str]]:
    """For each module of ours, those of ours that it imports anywhere, type checking included."""
    found = {}
    for module, path in MODULES.items():
        used = {module_of(name) for name in imports(nodes(path))}
        found[module] = {name for name in used if name is not None} - {module}
    return found


def reachable(module: str, imported_by: dict[str, set[str]]) -> set[str]:
    """Every module that a module needs, through others too."""
    seen: set[str] = set()
    todo = list(imported_by[module])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += imported_by[name]
    return seen


def in_circles(imported_by: dict[str, set[str]]) -> set[str]:
    """The modules that need themselves."""
    return {module for module in imported_by if module in reachable(module, imported_by)}


def floors(imported_by: dict[str, set[str]]) -> int:
    """Modules in the longest chain of imports, counted where no circle is."""
    circles = in_circles(imported_by)
    heights: dict[str, int] = {}

    def height(module: str) -> int:
        if module not in heights:
            below = [name for name in imported_by[module] if name not in circles]
            heights[module] = 1 + max((height(name) for name in below), default=0)
        return heights[module]

    return max(height(module) for module in imported_by if module not in circles)


def at_the_top(path: Path) -> Iterator[str]:
    """Names of what a file imports as soon as it is imported: not in functions, nor for type checkers."""
    todo: list[ast.AST] = list(tree(path).body)
    while todo:
        node = todo.pop()
        if isinstance(node, FUNCTIONS) or is_for_type_checkers(node):
            continue
        yield from imports([node])
        todo += ast.iter_child_nodes(node)


def is_for_type_checkers(node: ast.AST) -> bool:
    """Whether a statement is `if TYPE_CHECKING`."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


@cache
def libraries(module: str) -> frozenset[str]:
    """Top-level names of what is loaded by importing a module of ours, by the imports that stand at the tops."""
    found, seen, todo = set(), set(), [module]
    while todo:
        name = todo.pop()
        seen.add(name)
        for full in at_the_top(MODULES[name]):
            ours = module_of(full)
            if ours is None:
                found.add(full.split(".")[0])
            elif ours not in seen:
                todo.append(ours)
    return frozenset(found)


def late_imports(path: Path) -> set[str]:
    """Names of what a file imports inside functions."""
    found = set()
    for node in nodes(path):
        if isinstance(node, FUNCTIONS):
            found |= set(imports(ast.walk(node)))
    return found


@dataclass
class Density:
    """What makes code dense, counted over files."""

    lines: int = 0
    comprehensions: int = 0
    conditionals: int = 0
    long_lines: int = 0
    skips: int = 0
    public: int = 0
    one_line: int = 0

    def per_1000_lines(self, count: int) -> float:
        """A count for each thousand lines."""
        return 1000 * count / self.lines


def density(paths: Iterable[Path]) -> Density:
    """Comprehensions, conditional expressions, lines over 100 characters, `fmt: skip`, one-line public docstrings."""
    found = Density()
    for path in paths:
        lines = path.read_text(encoding="utf-8").splitlines()
        found.lines += len(lines)
        found.long_lines += sum(len(line) > 100 for line in lines)
        found.skips += sum("fmt: skip" in line for line in lines)
        for node in nodes(path):
            found.comprehensions += isinstance(node, COMPREHENSIONS)
            found.conditionals += isinstance(node, ast.IfExp)
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
                docstring = ast.get_docstring(node) or ""
                found.public += 1
                found.one_line += len(docstring.splitlines()) == 1
    return found


def texts(path: Path) -> Iterator[str]:
    """String constants of a file that are no docstrings."""
    prose = {id(node.value) for node in nodes(path) if isinstance(node, ast.Expr)}
    for node in nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def path_parts(path: Path) -> Iterator[str]:
    """Texts that a file puts behind a `/`, as the name of a file in a folder."""
    for node in nodes(path):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            if isinstance(node.right, ast.Constant) and isinstance(node.right.value, str):
                yield node.right.value


def is_private(name: str) -> bool:
    """Whether a name begins with one underscore and is not a named tuple's."""
    return re.match(r"_[^_]", name) is not None and name not in NAMED_TUPLE


def defined(path: Path) -> set[str]:
    """Names that a file defines: functions, classes, variables, attributes it assigns, fields."""
    found = set()
    for node in nodes(path):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def private_names_of_others(path: Path) -> set[str]:
    """Names with one underscore that a file takes from another module, ours or a library's."""
    own = defined(path)
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names if is_private(alias.name)}
    return found
