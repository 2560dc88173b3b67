"""Open, validate and read a run, in a folder or under a URL. The ledger is the authority, xarray reads `data.zarr`."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import (
    CorruptBlock,
    CorruptStore,
    ForeignStore,
    IbstatsError,
    IncompleteStore,
    MissingImages,
    NotAStore,
    StoreContractError,
    StoreNotFound,
    UnsupportedVersion,
    unknown,
)
from ibstats.variables import CELLS, FACTORS, LEVELS

if TYPE_CHECKING:
    from schemas.io.folder import Folder
    from schemas.provenance import ModelIdentity
    from schemas.store import BlockRecord, RunRecord, StoredObject

DATA = "data.zarr"


@dataclass(frozen=True, repr=False)
class Store:
    """A finished or growing run, read-only. Made by `open_store`."""

    path: Path
    """Folder of this machine in which `results` are kept: that of the run, or one that stands for a URL."""
    run: RunRecord
    records: dict[tuple[str, str], tuple[BlockRecord, ...]]
    """Committed blocks per (model, experiment)."""
    folder: Folder
    """Where the run lies."""

    def __repr__(self) -> str:
        held = f"{', '.join(self.models())}; {', '.join(self.experiments())}; {len(self.run.prompts)} prompts"
        return f"<Store {self.folder}: {held}>"

    def models(self) -> list[str]:
        """Names of the models."""
        return list(self.run.models)

    def experiments(self) -> list[str]:
        """Names of the experiments; every model has them all."""
        return list(self.run.experiments)

    def identity(self, model: str) -> ModelIdentity:
        """What fixes the law of a model's samples."""
        if model not in self.run.models:
            raise unknown("model", model, self.run.models)
        return self.run.models[model]

    def complete(self, model: str, experiment: str = "factorial") -> NDArray[np.bool_]:
        """Which (condition, prompt) the ledger holds, in the order of the plan."""
        plan = self._plan(model, experiment)
        done = np.zeros((len(plan.conditions), plan.n_prompts), dtype=bool)
        for record in self.records.get((model, experiment), ()):
            done[record.condition, record.prompt_start : record.prompt_stop] = True
        return done

    def snapshot(self, model: str | None = None, experiment: str | None = None) -> str:
        """Digest of the committed blocks, of the whole run or a part of it: the version pin of a result."""
        from schemas.store import snapshot_digest

        return snapshot_digest(
            record
            for (m, e), records in self.records.items()
            if model in (None, m) and experiment in (None, e)
            for record in records
        )

    def dataset(
        self, model: str, experiment: str = "factorial", *, allow_partial: bool = False
    ) -> xr.Dataset:
        """One experiment of one model, lazily loaded, restricted to prompts that are complete in every condition.

        Raises IncompleteStore when some are not, unless `allow_partial`. There is no `image` where a run was copied
        without any of them.
        """
        done = self.complete(model, experiment)
        whole = done.all(axis=0)
        if not whole.all() and (not allow_partial or not whole.any()):
            conditions = self._plan(model, experiment).conditions
            missing = [conditions[number] for number in np.flatnonzero(~done.all(axis=1))]
            raise IncompleteStore(
                f"'{model}/{experiment}' has {whole.sum()} of {whole.size} prompts complete; blocks are missing in "
                f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}; finish the run with `ibgenerate run`"
                + (
                    ", or pass allow_partial (--allow-partial) to use complete prompts only"
                    if whole.any()
                    else ""
                )
            )
        has_images = self._check_objects(model, experiment)
        try:
            dataset: xr.Dataset = xr.open_zarr(
                self.folder.zarr(DATA, read_only=True),
                group=f"{model}/{experiment}",
                consolidated=False,
                chunks=None,
            )
        except (
            Exception
        ) as error:  # whatever a library makes of metadata that were damaged after the run
            raise CorruptStore(
                f"'{model}/{experiment}' cannot be opened ({' '.join(str(error).split())}); restore its zarr.json files"
            ) from None
        from schemas.store import COORDINATES

        if "image" in dataset and not has_images:
            dataset = dataset.drop_vars("image")
        dataset = dataset.set_coords([name for name in COORDINATES if name in dataset])
        return dataset if whole.all() else dataset.isel(prompt=np.flatnonzero(whole))

    def images(
        self, model: str, experiment: str = "factorial", *, allow_partial: bool = False
    ) -> xr.DataArray:
        """Images `(prompt, condition, sample, y, x, channel)` of `dataset`, lazily loaded."""
        dataset = self.dataset(model, experiment, allow_partial=allow_partial)
        if "image" not in dataset:
            raise MissingImages(
                f"'{model}/{experiment}' holds no images (`images: false` in its study, or copied without them); "
                "measure where they are, and copy RUN/results along"
            )
        return dataset["image"]

    def factorial(
        self,
        model: str,
        variable: str,
        experiment: str = "factorial",
        *,
        allow_partial: bool = False,
    ) -> xr.DataArray:
        """One variable of the 2x2x2 as (prompt, sampling, prompt_type, codebook, ...), levels low then high."""
        dataset = self.dataset(model, experiment, allow_partial=allow_partial)
        if variable not in dataset:
            raise unknown("variable", variable, [str(name) for name in dataset.data_vars])
        return by_factor(dataset[variable])

    def verify(self) -> Iterator[tuple[str, str | None]]:
        """Check every stored object of every record against the ledger: (object, problem or None) one by one."""
        for stored in self.run.template:
            yield stored.key, self._problem(stored)
        for records in self.records.values():
            for record in records:
                for stored in record.objects:
                    yield stored.key, self._problem(stored)

    def _problem(self, stored: StoredObject) -> str | None:
        try:
            content = self.folder.read(f"{DATA}/{stored.key}")
        except FileNotFoundError:
            return "missing"
        if len(content) != stored.bytes:
            return f"{len(content)} bytes, the ledger says {stored.bytes}"
        return (
            None
            if hashlib.sha256(content).hexdigest() == stored.sha256
            else "content differs from the ledger"
        )

    def _plan(self, model: str, experiment: str) -> Any:
        self.identity(model)
        if experiment not in self.run.experiments:
            raise unknown("experiment", experiment, self.run.experiments)
        return self.run.experiments[experiment]

    def _check_objects(self, model: str, experiment: str) -> bool:
        """Whether there are images; CorruptBlock if some of them lack, or any other object.

        A missing or empty object would read as fill values without an error, so look before reading.
        """
        group = f"{model}/{experiment}"
        sizes = self.folder.sizes(f"{DATA}/{group}")
        objects = [
            stored for record in self.records[model, experiment] for stored in record.objects
        ]
        images = {stored.key for stored in objects if stored.key.startswith(f"{group}/image/")}
        has_images = any(f"{DATA}/{key}" in sizes for key in images)
        for stored in objects:
            size = sizes.get(f"{DATA}/{stored.key}")
            if size != stored.bytes and (has_images or stored.key not in images):
                seen = "missing" if size is None else f"{size} bytes long"
                raise CorruptBlock(
                    f"stored object '{stored.key}' is {seen}, the ledger says {stored.bytes} bytes; "
                    "run `ibgenerate verify --repair` and resume"
                )
        return has_images


def is_factorial(dataset: xr.Dataset) -> bool:
    """Whether each cell of the 2x2x2 stands once among the conditions."""
    if not all(factor in dataset.coords for factor in FACTORS):
        return False
    labels = list(zip(*(map(str, dataset[factor].values) for factor in FACTORS), strict=True))
    return all(labels.count(tuple(cell)) == 1 for cell in CELLS)


def by_factor(array: xr.DataArray) -> xr.DataArray:
    """(condition, prompt, ...) -> (prompt, sampling, prompt_type, codebook, ...) for the eight cells of the design."""
    labels = list(zip(*(np.asarray(array[f].values, dtype=object) for f in FACTORS), strict=True))
    positions = []
    for cell in CELLS:
        found = [i for i, label in enumerate(labels) if label == tuple(cell)]
        if len(found) != 1:
            raise StoreContractError(
                f"cell {'/'.join(cell)} stands {len(found)} times among the conditions, but the 2x2x2 needs it once; "
                "is this experiment a factorial?"
            )
        positions += found
    rest = [dim for dim in array.dims if dim not in ("condition", "prompt")]
    ordered = array.isel(condition=positions).transpose("condition", "prompt", *rest)
    dims = ("prompt", *FACTORS, *rest)
    values = np.moveaxis(
        ordered.values.reshape((2,) * len(FACTORS) + ordered.shape[1:]), len(FACTORS), 0
    )
    coords: dict[str, Any] = {factor: list(levels) for factor, levels in LEVELS.items()}
    coords |= {str(dim): array[dim].values for dim in ("prompt", *rest) if dim in array.coords}
    return xr.DataArray(values, dims=dims, coords=coords, name=array.name, attrs=array.attrs)


def open_store(path: str | Path, results: Path | None = None) -> Store:
    """Open a run written by `ibgenerate`; validates identity, versions, metadata and ledger.

    `path` is its folder or URL. `results` are kept in the folder, or, for a URL, in the folder given, by default
    `ibstats-results/BUCKET/NAME` here.
    """
    from schemas.io.folder import FolderError, LocalFolder, folder

    where = folder(path)
    if isinstance(where, LocalFolder) and not where.root.exists():
        raise StoreNotFound(
            f"no such run: '{where}'; give the directory that `ibgenerate run --out` made"
        )
    try:
        run = _read_run(where)
        _check_arrays(where, run)
        records = _read_ledger(where, run)
    except FolderError as error:
        raise StoreNotFound(str(error)) from None
    here = (
        where.root
        if isinstance(where, LocalFolder)
        else Path("ibstats-results", str(path).partition("://")[2])
    )
    return Store(results or here, run, records, where)


def _parsed(where: Folder, key: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorruptStore(
            f"'{where}/{key}' is not valid JSON ({error}); restore it or run the study again"
        ) from None


def _read_run(where: Folder) -> RunRecord:
    from pydantic import ValidationError

    from schemas.store import SCHEMA, VERSION, RunRecord, is_whole

    file = f"{where}/run.json"
    try:
        data = _parsed(where, "run.json", where.read("run.json"))
    except (FileNotFoundError, NotADirectoryError):
        raise NotAStore(
            f"'{where}' has no run.json: not a run, or its creation did not finish; run `ibgenerate run` again"
        ) from None
    if not isinstance(data, dict) or data.get("schema_name") != SCHEMA:
        seen = data.get("schema_name") if isinstance(data, dict) else type(data).__name__
        raise ForeignStore(f"'{file}' has schema_name {seen!r}, but this program reads {SCHEMA!r}")
    version, ours = _version(data.get("schema_version"), file), _version(VERSION, file)
    if version[0] != ours[0]:
        repair = "upgrade ibstats" if version[0] > ours[0] else "migrate the store"
        raise UnsupportedVersion(
            f"'{file}' has schema version {data['schema_version']}, but this program reads {VERSION}; {repair}"
        )
    newer = version[1] > ours[1]
    if newer:
        warnings.warn(
            f"store schema {data['schema_version']} is newer than {VERSION}: unknown keys are ignored",
            stacklevel=3,
        )
    try:
        run = RunRecord.model_validate(data, extra="ignore" if newer else None)
    except ValidationError as error:
        raise CorruptStore(f"'{file}' does not follow its schema: {_first(error)}") from None
    if not is_whole(data):
        raise CorruptStore(f"'{file}' is damaged (its checksum differs); restore it from a copy")
    for name, plan in run.experiments.items():
        if plan.n_prompts > len(run.prompts):
            raise CorruptStore(
                f"'{file}' names {len(run.prompts)} prompts, but '{name}' has {plan.n_prompts}"
            )
    return run


def _metadata(where: Folder, key: str, content: bytes) -> dict[str, Any]:
    """A zarr.json, which is a JSON object."""
    data = _parsed(where, key, content)
    if not isinstance(data, dict):
        raise CorruptStore(
            f"'{where}/{key}' holds a {type(data).__name__}, but Zarr metadata are a JSON object; restore it"
        )
    return data


def _version(text: object, file: str) -> tuple[int, int]:
    try:
        major, minor = (int(part) for part in str(text).split("."))
    except ValueError:
        raise CorruptStore(
            f"'{file}' has schema version {text!r}, but it must read like '1.0'"
        ) from None
    return major, minor


def _first(error: Any) -> str:
    """First problem of a pydantic error, in one line."""
    detail = error.errors()[0]
    return " ".join(f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}".split())


def _check_arrays(where: Folder, run: RunRecord) -> None:
    """Every required variable exists with its dims and dtype; a vanished array would else be dropped in silence."""
    from schemas.store import COORDINATES, VARIABLES, token_dtype

    group = f"{where}/{DATA}"
    try:
        root = _metadata(where, f"{DATA}/zarr.json", where.read(f"{DATA}/zarr.json"))
    except FileNotFoundError:
        old = any(where.exists(f"{DATA}/{name}") for name in (".zgroup", ".zattrs"))
        raise StoreContractError(
            f"'{group}' {'is Zarr format 2' if old else 'has no zarr.json'}, but this program reads Zarr format 3"
        ) from None
    if root.get("zarr_format") != 3:
        raise StoreContractError(f"'{group}' is not Zarr format 3, the only one this program reads")
    variables = VARIABLES | COORDINATES
    for model, identity in run.models.items():
        dtype, _ = token_dtype(identity.codebook_size)
        for experiment in run.experiments:
            keys = {name: f"{DATA}/{model}/{experiment}/{name}/zarr.json" for name in variables}
            found = where.found(keys.values())
            for name, variable in variables.items():
                if keys[name] not in found:
                    if variable.optional:
                        continue
                    raise StoreContractError(
                        f"variable '{name}' of '{model}/{experiment}' is missing; run the study again"
                    )
                meta = _metadata(where, keys[name], found[keys[name]])
                dims = meta.get("dimension_names")
                expected = dtype if name == "tokens" else variable.dtype
                if dims != list(variable.dims) or meta.get("data_type") != expected:
                    raise StoreContractError(
                        f"'{name}' of '{model}/{experiment}' is {meta.get('data_type')} over {dims}, "
                        f"but the contract says {expected} over {variable.dims}"
                    )


def _read_ledger(where: Folder, run: RunRecord) -> dict[tuple[str, str], tuple[BlockRecord, ...]]:
    from pydantic import ValidationError

    from schemas.store import BlockRecord, is_whole

    records: dict[tuple[str, str], tuple[BlockRecord, ...]] = {}
    for model in run.models:
        for experiment in run.experiments:
            keys = sorted(
                key for key in where.sizes(f"ledger/{model}/{experiment}") if key.endswith(".json")
            )
            blocks = []
            for key, content in where.found(keys).items():
                file = f"{where}/{key}"
                document = _parsed(where, key, content)
                try:
                    record = BlockRecord.model_validate(document)
                except ValidationError as error:
                    raise CorruptStore(
                        f"ledger record '{file}' does not follow its schema: {_first(error)}"
                    ) from None
                if not is_whole(document):
                    raise CorruptStore(
                        f"ledger record '{file}' is damaged (its checksum differs); run `ibgenerate verify --repair`"
                    )
                if record.config_sha256 != run.config_sha256:
                    raise StoreContractError(
                        f"ledger record '{file}' belongs to config {record.config_sha256[:12]}, but the run is "
                        f"{run.config_sha256[:12]}; two runs were mixed in one directory"
                    )
                plan = run.experiments[experiment]
                inside = 0 <= record.prompt_start < record.prompt_stop <= plan.n_prompts
                if not (inside and 0 <= record.condition < len(plan.conditions)):
                    raise CorruptStore(
                        f"ledger record '{file}' is of prompts or a condition that the run has not"
                    )
                blocks.append(record)
            records[model, experiment] = tuple(blocks)
    return records


def write_tree(tree: xr.DataTree, path: Path) -> None:
    """Write the tree of an analysis as Zarr, replacing what stands there; strings of variable length only."""
    import shutil

    def portable(dataset: xr.Dataset) -> xr.Dataset:
        texts = {
            name: variable.astype(object)
            for name, variable in dataset.variables.items()
            if variable.dtype.kind in "UT"
        }
        return dataset.assign_coords(
            {n: v for n, v in texts.items() if n in dataset.coords}
        ).assign({n: v for n, v in texts.items() if n not in dataset.coords})

    temporary = path.with_name(f".{path.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    tree.map_over_datasets(portable).to_zarr(temporary, consolidated=False, zarr_format=3)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)


def read_tree(path: Path) -> xr.DataTree:
    """The tree of an analysis, loaded."""
    tree: xr.DataTree = xr.open_datatree(
        path, engine="zarr", consolidated=False, chunks=None
    ).load()
    return tree


def check_sample_count(n_samples: int, minimum: int = 2) -> None:
    """Pairs need at least two images."""
    if n_samples < minimum:
        raise IbstatsError(
            f"{n_samples} sample(s) per prompt and condition, but a pair needs at least {minimum}"
        )
