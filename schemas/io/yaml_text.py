"""YAML that users write, read without surprises."""

from __future__ import annotations

from typing import Any

import yaml

MOST_NODES = 100_000
"""Values that a document may have once its aliases are written out: thousands of times a study."""


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that stands twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Give a mapping; the loader of the library keeps the last of two equal keys."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                continue
            if key.value in seen:
                raise yaml.YAMLError(
                    f"key '{key.value}' stands twice, again in line {key.start_mark.line + 1}"
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """Give what a YAML document holds.

    Raises `yaml.YAMLError` for what is no YAML or not UTF-8 text, for a key that stands twice, and
    for aliases that contain themselves or that multiply into more values than anybody writes.

    >>> read_yaml("seed: 3")
    {'seed': 3}
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _n_nodes(node, {}) > MOST_NODES:
                raise yaml.YAMLError(f"its aliases stand for more than {MOST_NODES} values")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except ValueError as error:  # a date that is none
        raise yaml.YAMLError(str(error)) from None


def _n_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes of a tree with its aliases written out; each is counted once."""
    name = id(node)
    if name in known:
        if known[name] == 0:
            raise yaml.YAMLError("an alias contains itself")
        return known[name]
    known[name] = 0
    total = 1
    for child in _children(node):
        total += _n_nodes(child, known)
    known[name] = total
    return total


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    found: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found += [key, value]
    return found
