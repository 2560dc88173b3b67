"""Old paths of modules and names, and where they are now.

A user's adapter, script or notebook that imports by an old path goes on, and is told the new one in
a `DeprecationWarning`. This is the one place that knows old paths. A package that has moved names
takes part by two lines in its `__init__.py`:

    redirect()
    __getattr__ = attributes(__name__, {"public_name": "package.module"})
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

MODULES = {
    "generate.audit": "generate.store.audit",
    "generate.batching": "generate.run.batching",
    "generate.calibration": "generate.run.calibration",
    "generate.conditions": "generate.study.conditions",
    "generate.cost": "generate.run.cost",
    "generate.dispatch": "generate.run.dispatch",
    "generate.display": "generate.run.display",
    "generate.ledger": "generate.store.claims",
    "generate.noise": "generate.study.noise",
    "generate.probes": "generate.study.probes",
    "generate.prompts.cli": "generate.cli.prompts",
    "generate.reading": "generate.study.reading",
    "generate.rescore": "generate.run.rescore",
    "generate.worker": "generate.run.worker",
    "ibstats.ablations": "ibstats.design",
    "ibstats.config": "schemas.analysis",
    "ibstats.decomposition": "ibstats.statistics.path_and_execution",
    "ibstats.distances": "ibstats.measure",
    "ibstats.distances.base": "ibstats.measure.base",
    "ibstats.distances.cache": "ibstats.measure.kept",
    "ibstats.distances.features": "ibstats.measure.features",
    "ibstats.distances.lpips": "ibstats.measure.lpips",
    "ibstats.distances.pixel": "ibstats.measure.pixel",
    "ibstats.distances.reference": "ibstats.measure.scene_network",
    "ibstats.distances.ssim": "ibstats.measure.ssim",
    "ibstats.distances.training": "ibstats.measure.training",
    "ibstats.diversity": "ibstats.statistics.diversity",
    "ibstats.each": "ibstats.measure.each",
    "ibstats.effects": "ibstats.statistics.effects",
    "ibstats.fidelity": "ibstats.measure",
    "ibstats.fidelity.base": "ibstats.measure.base",
    "ibstats.fidelity.cache": "ibstats.measure.kept",
    "ibstats.fidelity.clip": "ibstats.measure.clip",
    "ibstats.fidelity.inception": "ibstats.measure.inception",
    "ibstats.fidelity.reference": "ibstats.measure.scene_network",
    "ibstats.fidelity.reference_set": "ibstats.measure.reference_set",
    "ibstats.frontier": "ibstats.statistics.frontier",
    "ibstats.information": "ibstats.statistics.information",
    "ibstats.power": "ibstats.statistics.power",
    "ibstats.profiles": "ibstats.statistics.profiles",
    "ibstats.prompt_table": "ibstats.measure.kept",
    "ibstats.quality": "ibstats.statistics.quality",
    "ibstats.report.compare": "ibstats.results.compare",
    "ibstats.report.repro": "ibstats.results.claims",
    "ibstats.report.rows": "ibstats.results.rows",
    "ibstats.rescored": "ibstats.statistics.rescored",
    "ibstats.set_scores": "ibstats.statistics.set_scores",
    "ibstats.significance": "ibstats.statistics.significance",
    "ibstats.strategy": "ibstats.statistics.strategy",
    "ibstats.subset_ratio": "ibstats.statistics.subset_ratio",
    "ibstats.uncertainty": "ibstats.statistics.uncertainty",
    "ibstats.variables": "ibstats.quantities",
    "ibstats.weights": "ibstats.measure.weights",
    "ibstats.windows": "ibstats.statistics.windows",
    "schemas.cluster": "schemas.io.cluster",
    "schemas.folder": "schemas.io.folder",
}
"""New paths of modules by their old ones."""

NAMES: dict[str, dict[str, str]] = {
    "generate.run": {
        "Outcome": "generate.run.blocks",
        "Progress": "generate.run.progress",
        "calibrate": "generate.run.preparing",
        "existing": "generate.run.preparing",
        "generate_block": "generate.run.blocks",
        "identify": "generate.run.loading",
        "load": "generate.run.loading",
        "load_recorded": "generate.run.loading",
        "make_block": "generate.run.blocks",
        "refuse_other_study": "generate.run.preparing",
        "restore_marks": "generate.run.blocks",
        "silent": "generate.run.progress",
        "size": "generate.study.planning",
    },
    "generate.store": {
        "CODEC": "schemas.io.template",
        "DATA": "schemas.io.layout",
        "RUN": "schemas.io.layout",
        "SampleStore": "generate.store.samples",
        "bytes_needed": "generate.store.room",
        "bytes_of": "generate.store.room",
        "content_digests": "schemas.io.writer",
        "create": "generate.store.samples",
        "path_given": "generate.store.template",
        "room_in": "generate.store.room",
    },
    "generate.study": {
        "BLOCK_IMAGES": "generate.study.planning",
        "BUILT_IN": "generate.study.study_file",
        "config_digest": "generate.run.preparing",
        "describe": "generate.study.study_file",
        "refuse_idle_windows": "generate.study.planning",
    },
    "generate.study.conditions": {"REFERENCE": "generate.study.conditions:BASELINE"},
    "generate.study.reading": {"readings": "generate.run.loading"},
    "ibstats.measure": {
        "AbstractDistance": "ibstats.measure.base:Distance",
        "AbstractNetwork": "ibstats.measure.base:Embedding",
    },
    "ibstats.measure.reference_set": {
        "Reference": "ibstats.measure.reference_set.file:LoadedSet",
        "build": "ibstats.measure.reference_set.making",
        "make": "ibstats.measure.reference_set.making",
    },
    "schemas.store": {"Variable": "schemas.variables", "token_dtype": "schemas.variables"},
}
"""New modules of names by their old module and name; 'module:name' where the name is another too."""


class MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module by its old path, and gives the module at its new one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for an old path, None for every other."""
        if fullname not in MODULES:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Put the module at the new path in the place of the empty one at the old path."""
        old = module.__name__
        new = MODULES[old]
        warnings.warn(f"{old} is {new} now.", DeprecationWarning, stacklevel=2)
        sys.modules[old] = importlib.import_module(new)


def redirect() -> None:
    """Have old paths of modules found, from now on; a second call does nothing."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedModules())  # before a folder that stands for an old one


def attributes(package: str, public: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """The `__getattr__` of a module: names are imported from where they are when first asked for.

    `public` are the names that the module offers, by the module each is defined in. Names that have
    moved away come with a `DeprecationWarning`; any other raises `AttributeError`.

    >>> attributes("generate.study")("nothing")
    Traceback (most recent call last):
    AttributeError: module 'generate.study' has no attribute 'nothing'
    """
    offered = public or {}
    moved = NAMES.get(package, {})

    def found(name: str) -> Any:
        if name in offered:
            return getattr(importlib.import_module(offered[name]), name)
        if name not in moved:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        place, _, new = moved[name].partition(":")
        new = new or name
        warnings.warn(f"{package}.{name} is {place}.{new} now.", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(place), new)

    return found
