"""Open and read a run, in a folder or under a URL.

The ledger is the authority; xarray reads `data.zarr`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import (
    CorruptBlock,
    CorruptStore,
    IbstatsError,
    IncompleteStore,
    MissingImages,
    StoreContractError,
    StoreNotFound,
    unknown,
)
from schemas.errors import StoreError
from schemas.io import copied, layout, reader
from schemas.io.checked import CheckedStore, damaged_template, wrong_size
from schemas.io.folder import Folder, LocalFolder, folder
from schemas.io.ledger import (
    Ledger,
    complete,
    objects_of,
    recorded,
    recorded_of,
    sizes_of,
    snapshot,
)
from schemas.io.merged import stored_metadata, without_metadata
from schemas.io.prompt_table import PromptTable, prompt_problems
from schemas.io.received import guard
from schemas.io.refused import FolderError
from schemas.io.rescored import rescorings
from schemas.io.sealed import seal_problems
from schemas.provenance import ModelIdentity
from schemas.store import (
    BlockRecord,
    ExperimentPlan,
    RunRecord,
    StoredObject,
    blocks_of,
)
from schemas.variables import COORDINATES


@dataclass(frozen=True, repr=False)
class Store:
    """A finished or growing run, read-only. Made by `open_store`.

    >>> store = open_store("runs/demo")                                # doctest: +SKIP
    >>> store.models(), store.experiments()                            # doctest: +SKIP
    (['trio-ar', 'trio-mim'], ['factorial'])
    >>> "image" in store.holds("trio-mim", "factorial")                # doctest: +SKIP
    True
    """

    path: Path
    """Folder of this machine in which `results` are kept: that of the run, or one that stands for a
    URL.
    """
    run: RunRecord
    """What the run is; each experiment with its factors, levels and baseline."""
    records: Mapping[tuple[str, str], Sequence[BlockRecord]]
    """Committed blocks per (model, experiment); those of a sealed run are read as they are asked
    for.
    """
    folder: Folder
    """Where the run lies."""
    variables: dict[tuple[str, str], frozenset[str]]
    """Names that each (model, experiment) was made with, whether their objects are there or not."""

    def __repr__(self) -> str:
        models, experiments = ", ".join(self.models()), ", ".join(self.experiments())
        return f"<Store {self.folder}: {models}; {experiments}; {self.run.n_prompts} prompts>"

    @cached_property
    def prompts(self) -> PromptTable:
        """The prompts of the run, in their order.

        They are read as far as they are asked for; a damaged file of theirs raises CorruptStore.
        """
        return PromptTable(self.folder, self.run)

    @property
    def results(self) -> layout.ResultsFolder:
        """Where results of this run lie, whether they are there or not.

        Beside the run, or, for a URL, in the folder that stands for it.
        """
        return layout.ResultsFolder(self.path)

    def models(self) -> list[str]:
        """Names of the models."""
        return list(self.run.models)

    def experiments(self) -> list[str]:
        """Names of the experiments; every model has them all."""
        return list(self.run.experiments)

    def kind(self, experiment: str) -> str:
        """Give the kind of an experiment, for instance `factorial`.

        It is `imported` for samples made elsewhere.
        """
        return self.run.experiments[experiment].kind

    def identity(self, model: str) -> ModelIdentity:
        """Give what fixes the law of a model's samples.

        Raises IbstatsError for a name that is none of the models, with those that are.
        """
        if model not in self.run.models:
            raise unknown("model", model, self.run.models)
        return self.run.models[model]

    def holds(self, model: str, experiment: str = "factorial") -> frozenset[str]:
        """Give the names of the variables and coordinates that a model and experiment hold.

        Images, tokens, surprisals, noise keys, texts and calibration may each lack; `image` does
        also where a run was copied without images. Raises IbstatsError for a name that the run does
        not have.
        """
        self._plan(model, experiment)
        names = self.variables[model, experiment]
        if "image" in names and not self._has_images(model, experiment):
            names -= {"image"}
        return names

    def complete(self, model: str, experiment: str = "factorial") -> NDArray[np.bool_]:
        """Give which (condition, prompt) the ledger holds, in the order of the plan.

        Raises IbstatsError for a name that the run does not have.
        """
        plan = self._plan(model, experiment)
        return complete(plan, self.records.get((model, experiment), ()))

    def snapshot(self, model: str | None = None, experiment: str | None = None) -> str:
        """Give the digest of the committed blocks: the version pin of a result.

        It is of the whole run, or of one model or experiment. It follows from the content of the
        samples alone, whatever made them and in which blocks.
        """
        chosen = []
        for (its_model, its_experiment), records in self.records.items():
            if model in (None, its_model) and experiment in (None, its_experiment):
                chosen.append(records)
        return snapshot(chosen, model, experiment)

    def dataset(
        self,
        model: str,
        experiment: str = "factorial",
        *,
        allow_partial: bool = False,
        every_sample: bool = False,
        warn: bool = True,
    ) -> xr.Dataset:
        """Give one experiment of one model, lazily loaded.

        It has the prompts that are complete in every condition, and the variables that the run
        holds (see `holds`), no others. Where prompts have unequal numbers of samples, it has as
        many samples as every prompt has in every condition, and warns of it if `warn`; with
        `every_sample` it has all, `sample_count (condition, prompt)` says how many, and what stands
        behind these is the fill of the variable. Raises IncompleteStore when some prompts are not
        complete, unless `allow_partial`, and CorruptBlock or CorruptStore for damage.
        """
        done = self.complete(model, experiment)
        whole = done.all(axis=0)
        if not whole.all() and (not allow_partial or not whole.any()):
            raise self._incomplete(model, experiment, done)
        has_images = self._check_objects(model, experiment)
        dataset = self._opened(model, experiment)
        if "image" in dataset and not has_images:
            dataset = dataset.drop_vars("image")
        factors = [factor.name for factor in self._plan(model, experiment).factors]
        labels = [name for name in (*COORDINATES, *factors) if name in dataset]
        dataset = dataset.set_coords(labels)
        if not whole.all():
            dataset = dataset.isel(prompt=np.flatnonzero(whole))
        if every_sample:
            return dataset
        said = unequal_samples(dataset, f"{model}/{experiment}")
        if said and warn:
            warnings.warn(said, stacklevel=2)
        return _with_equal_samples(dataset)

    def _opened(self, model: str, experiment: str) -> xr.Dataset:
        group = layout.group_name(model, experiment)
        try:
            data = self._checked(model, experiment)
            dataset: xr.Dataset = xr.open_zarr(data, group=group, consolidated=False, chunks=None)
        except StoreError:
            raise
        except Exception as error:  # whatever a library makes of metadata damaged after the run
            reason = " ".join(str(error).split())
            raise CorruptStore(
                f"'{group}' cannot be opened ({reason}); restore its zarr.json files"
            ) from None
        return dataset

    def _checked(self, model: str, experiment: str) -> CheckedStore:
        """The Zarr hierarchy: no object of template or blocks is given but as it was recorded."""
        anew = partial(recorded, self.folder, model, experiment)
        data = CheckedStore(self.folder, anew)
        group = layout.group_name(model, experiment)
        data.know(recorded_of(self.run, self.records[model, experiment], group))
        return data

    def _incomplete(self, model: str, experiment: str, done: NDArray[np.bool_]) -> IncompleteStore:
        """Give the error for prompts that are not complete, `done` being (condition, prompt)."""
        whole = done.all(axis=0)
        conditions = self._plan(model, experiment).conditions
        missing = [conditions[number] for number in np.flatnonzero(~done.all(axis=1))]
        named = ", ".join(missing[:3])
        if len(missing) > 3:
            named += " ..."
        repair = (
            "import it again" if self.run.study is None else "finish the run with `ibgenerate run`"
        )
        pending = list(blocks_of(model, experiment, self._plan(model, experiment)))
        committed = Ledger(self.folder, self.run).done(pending)
        lost = copied.unrecorded(self.folder, pending, committed)
        if lost > len(committed):
            repair = f"{lost} blocks have samples and no record: {copied.AGAIN}, else {repair}"
        if whole.any():
            repair += ", or pass allow_partial (--allow-partial) to use complete prompts only"
        return IncompleteStore(
            f"'{model}/{experiment}' has {whole.sum()} of {whole.size} prompts complete; "
            f"blocks are missing in {named}; {repair}"
        )

    def images(
        self, model: str, experiment: str = "factorial", *, allow_partial: bool = False
    ) -> xr.DataArray:
        """Give the images of `dataset`, lazily loaded, 8-bit RGB.

        Dims are `(condition, prompt, sample, y, x, channel)`. Raises MissingImages where there are
        none, and all that `dataset` raises.
        """
        dataset = self.dataset(model, experiment, allow_partial=allow_partial)
        if "image" not in dataset:
            raise MissingImages(
                f"'{model}/{experiment}' holds no images (`images: false` in its study, or copied "
                "without them); measure where they are, and copy RUN/results along"
            )
        return dataset["image"]

    def verify(self) -> Iterator[tuple[str, str | None]]:
        """Check every stored object against what was recorded of it.

        Gives (object, problem or None) one by one; every object is read.
        """
        ledger = Ledger(self.folder, self.run)
        if ledger.seal is not None:
            tables = seal_problems(self.folder, ledger.seal)
            yield from tables.items()
            if any(tables.values()):  # without its records a block is not looked at
                return
        replaced = chain.from_iterable(map(stored_metadata, ledger.merged.values()))
        for stored in chain(replaced, self._recorded()):
            yield stored.key, reader.problem(self.folder, stored)
        yield from prompt_problems(self.folder, self.run).items()
        yield from reader.calibration_problems(self.folder, self.run).items()
        for rescoring in rescorings(self.folder):
            yield rescoring.key, None
            for line, _ in rescoring.problems():
                yield rescoring.key, line

    def _recorded(self) -> Iterator[StoredObject]:
        yield from self.run.template
        for records in self.records.values():
            yield from objects_of(records)

    def _plan(self, model: str, experiment: str) -> ExperimentPlan:
        self.identity(model)
        if experiment not in self.run.experiments:
            raise unknown("experiment", experiment, self.run.experiments)
        return self.run.experiments[experiment]

    def _has_images(self, model: str, experiment: str) -> bool:
        """Whether there are images of committed blocks, damaged or not."""
        group = layout.group_name(model, experiment)
        sizes = self.folder.sizes(layout.data_key(f"{group}/image"))
        return copied.images_count(sizes, group, self._image_keys(model, experiment))

    def _image_keys(self, model: str, experiment: str) -> set[str]:
        """Keys of the images of committed blocks."""
        prefix = f"{layout.group_name(model, experiment)}/image/"
        stored = sizes_of(self.records[model, experiment])
        return {key for key, _ in stored if key.startswith(prefix)}

    def _check_objects(self, model: str, experiment: str) -> bool:
        """Whether there are images; CorruptBlock or CorruptStore if some lack, or any other object.

        A missing or empty object would read as fill values without an error, so look before
        reading.
        """
        group = layout.group_name(model, experiment)
        sizes = self.folder.sizes(layout.data_key(group))
        images = self._image_keys(model, experiment)
        has_images = copied.images_count(sizes, group, images)
        for stored in self.run.template:
            key, unused = layout.data_key(stored.key), stored.key == f"{group}/image/zarr.json"
            if stored.key.startswith(f"{group}/") and (has_images or not unused):
                problem = wrong_size(stored, sizes.get(key))
                if problem is not None:
                    self._refuse_half_copied(model, experiment, images=has_images)
                    raise damaged_template(f"{self.folder}/{key}", problem)
        for key, n_bytes in sizes_of(self.records[model, experiment]):
            size = sizes.get(layout.data_key(key))
            if size != n_bytes and (has_images or key not in images):
                self._refuse_half_copied(model, experiment, images=has_images)
                seen = "missing" if size is None else f"{size} bytes long"
                raise CorruptBlock(
                    f"stored object '{key}' is {seen}, the ledger says {n_bytes} bytes; run "
                    "`ibgenerate verify --repair` and resume"
                )
        return has_images

    def _refuse_half_copied(self, model: str, experiment: str, *, images: bool) -> None:
        """Raise CorruptStore where so much lacks that it looks like a copy that stopped."""
        records = self.records[model, experiment]
        said = copied.half_copied(self.folder, self.run, records, images=images)
        if said is not None:
            raise CorruptStore(said)


UNEQUAL = "samples per prompt and condition"
"""Words of the line that says how many samples are left out."""


def unequal_samples(dataset: xr.Dataset, name: str) -> str:
    """Say how many samples of each prompt are used, and how many are left out; empty if none is."""
    if "sample_count" not in dataset:
        return ""
    counts = dataset["sample_count"]
    fewest, whole = int(counts.min()), int(counts.sum())
    left_out = whole - fewest * counts.size
    if not left_out:
        return ""
    return (
        f"'{name}' has {fewest} to {int(counts.max())} {UNEQUAL}; the first {fewest} of each are "
        f"used, {left_out} of {whole} are left out"
    )


def _with_equal_samples(dataset: xr.Dataset) -> xr.Dataset:
    """Restrict to the samples that every prompt has in every condition."""
    if "sample_count" not in dataset:
        return dataset
    return dataset.isel(sample=slice(int(dataset["sample_count"].min())))


def open_store(path: str | Path, results: Path | None = None) -> Store:
    """Open a run by its folder or URL; checks identity, versions, metadata and ledger.

    `results` are kept in the folder, or, for a URL, in the folder given, by default
    `ibstats-results/BUCKET/NAME` here. Raises an IbstatsError of its own kind for each thing that
    can be wrong: StoreNotFound, NotAStore, ForeignStore, UnsupportedVersion, CorruptStore,
    StoreContractError.
    """
    where = folder(path)
    if isinstance(where, LocalFolder) and not where.root.exists():
        raise StoreNotFound(
            f"no such run: '{where}'; give the directory that `ibgenerate run --out` made"
        )
    try:
        run = reader.read_run(where)
        guard(where)
        ledger = Ledger(where, run)
        run = without_metadata(run, ledger.merged)
        try:
            variables = reader.read_variables(where, run, ledger.metadata)
            run = reader.with_designs(where, run)
        except (CorruptStore, StoreContractError):
            said = copied.half_copied(where, run)
            if said is not None:
                raise CorruptStore(said) from None
            raise
        records = ledger.by_dataset()
    except FolderError as error:
        raise StoreNotFound(str(error)) from None
    here = Path("ibstats-results", str(path).partition("://")[2])
    if isinstance(where, LocalFolder):
        here = where.root
    return Store(results or here, run, records, where, variables)


def opened(run: Store | str | Path) -> Store:
    """Give the run itself, or the one at that folder or URL, see `open_store`."""
    return run if isinstance(run, Store) else open_store(run)


def check_sample_count(n_samples: int, minimum: int = 2) -> None:
    """Raise IbstatsError for fewer images than a pair needs.

    `minimum` is 2 for pairs; some estimates need more.
    """
    if n_samples < minimum:
        raise IbstatsError(
            f"{n_samples} sample(s) per prompt and condition, but a pair needs at least {minimum}"
        )
