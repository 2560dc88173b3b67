"""The examples in the docstrings of kernels and statistics run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from ibstats import kernels, statistics

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (kernels, statistics)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
