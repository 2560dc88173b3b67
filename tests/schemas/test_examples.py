"""The examples in the docstrings of the contract run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import schemas

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(schemas.__path__, "schemas.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
