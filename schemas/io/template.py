"""What the Datasets of a run are before the first block.

Their arrays are made, and the values written that do not wait for a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store as ZarrStore
from zarr.codecs import ZstdCodec

from schemas.errors import StoreContractError
from schemas.io import layout, reader
from schemas.provenance import ModelIdentity
from schemas.store import SCHEMA, VERSION, ExperimentPlan, RunRecord
from schemas.variables import COORDINATES, VARIABLES, Variable, token_dtype

Arrays = Mapping[str, NDArray[Any]]

PER_BLOCK = frozenset(name for name, variable in VARIABLES.items() if variable.per_block)
"""Variables written block by block, `complete` among them."""
CODEC = ZstdCodec(level=1, checksum=True)
"""Without the checksum a flipped bit reads as other values, with no error.

Level 3 makes photographs 3 % smaller, images of the trio 6 %, and takes twice the time.
"""


@dataclass(frozen=True)
class Template:
    """What a Dataset is before its first block: its values, and the names of what blocks bring.

    See `schemas.io.writer.create`.
    """

    fixed: Arrays
    """Values that do not wait for a block: coordinates, texts, noise keys, codebook subsets, by
    name.
    """
    per_block: tuple[str, ...]
    """Names of the variables that the blocks bring, without `complete`, which is always there."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the Dataset, besides model, experiment and those that name its coordinates."""
    variable_attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Attributes of single variables, besides unit and long name."""


def strings(values: Iterable[str]) -> NDArray[Any]:
    """Give texts as the store has them: of variable length, the only kind Zarr v3 specifies.

    >>> strings(["a", "bc"]).dtype
    StringDType()
    """
    return np.array(list(values), dtype=np.dtypes.StringDType())


def column(name: str, values: Iterable[Any]) -> NDArray[Any]:
    """Give the values of a variable or coordinate of one dim, in the dtype of the contract.

    >>> column("text_kind", ["original", "short"]).dtype, column("subset_draw", [0, 1]).dtype
    (StringDType(), dtype('int32'))
    """
    dtype = (VARIABLES | COORDINATES)[name].dtype
    if dtype == "string":
        return strings(values)
    return np.array(list(values), dtype=dtype)


def write_templates(
    store: ZarrStore, run: RunRecord, template_of: Callable[[str, str], Template]
) -> None:
    """Write the template of every Dataset of a run into an empty Zarr store.

    `template_of` gives the one of a model and experiment. Raises StoreContractError for one that
    does not follow the contract or the run.
    """
    root = zarr.open_group(store, mode="w-", zarr_format=3)
    attributes: dict[str, Any] = {
        "schema_name": SCHEMA,
        "schema_version": VERSION,
        "run_id": run.run_id,
        "created": run.created,
        "config_sha256": run.config_sha256,
    }
    for name in ("study", "imported"):
        origin = getattr(run, name)
        if origin is not None:
            attributes[name] = origin.model_dump(mode="json")
    attributes["software"] = run.software.model_dump(mode="json")
    root.attrs.update(attributes)
    for model, identity in run.models.items():
        root.create_group(model, attributes=identity.model_dump(mode="json"))
        for experiment in run.experiments:
            _write_template(root, run, model, experiment, template_of(model, experiment))


def _write_template(
    root: zarr.Group, run: RunRecord, model: str, experiment: str, template: Template
) -> None:
    """Write one Dataset: fixed values, and empty arrays for those that blocks bring."""
    known = reader.contract(run, experiment)
    identity, plan = run.models[model], run.experiments[experiment]
    _check_template(layout.group_name(model, experiment), template, known, identity, plan)
    coordinates = {*COORDINATES, *(factor.name for factor in plan.factors)}
    attributes = {
        "model": model,
        "experiment": experiment,
        "family": identity.family,
        **template.attributes,
        "coordinates": " ".join(
            sorted(coordinates & template.fixed.keys())
        ),  # CF: which variables label the others
    }
    group = root.create_group(layout.group_name(model, experiment), attributes=attributes)
    sizes = _sizes(identity, plan)
    for name, values in template.fixed.items():
        array = _create_array(group, name, known[name], values.shape, values.shape)
        array[...] = values
    for name in VARIABLES:
        if name not in (*template.per_block, "complete"):
            continue
        shape = tuple(sizes[dim] for dim in known[name].dims)
        chunks = (1, plan.block_prompts, *shape[2:])
        variable = known[name]
        if name == "tokens":
            variable = _with_codebook(variable, identity.codebook_size)
        array = _create_array(group, name, variable, shape, chunks)
        if name in template.variable_attributes:
            array.attrs.update(template.variable_attributes[name])


def _check_template(
    group: str,
    template: Template,
    known: Mapping[str, Variable],
    identity: ModelIdentity,
    plan: ExperimentPlan,
) -> None:
    """Refuse what is not of the contract, lacks what must be there, or has another size."""
    for name in (*template.fixed, *template.per_block):
        if name not in known or (name in PER_BLOCK) != (name in template.per_block):
            raise StoreContractError(f"'{group}' cannot hold a variable '{name}' of this kind")
    for name in ("condition", "prompt"):
        if name not in template.fixed:
            raise StoreContractError(f"'{group}' lacks '{name}', which every Dataset has")
    if "tokens" in template.per_block and not identity.codebook_size:
        raise StoreContractError(
            f"'{group}' holds tokens, but the size of its codebook is not said"
        )
    sizes = dict(_sizes(identity, plan))
    if "text" in template.fixed:
        sizes["text"] = len(template.fixed["text"])
    for name in template.per_block:
        empty = [dim for dim in known[name].dims if not sizes[dim]]
        if empty:
            raise StoreContractError(f"'{group}' holds '{name}', but its {empty[0]} has no size")
    for name, values in template.fixed.items():
        shape = tuple(sizes.get(dim, 0) for dim in known[name].dims)
        if values.shape != shape:
            raise StoreContractError(
                f"'{name}' of '{group}' has shape {values.shape}, but the run says {shape}"
            )
    counts = template.fixed.get("sample_count")
    if counts is not None and not ((counts >= 1) & (counts <= plan.n_samples)).all():
        raise StoreContractError(f"`sample_count` of '{group}' must be from 1 to {plan.n_samples}")


def _sizes(identity: ModelIdentity, plan: ExperimentPlan) -> dict[str, int]:
    """Give the size of each dim of a Dataset but `text`."""
    rows, cols = identity.grid
    height, width = identity.image_size
    return {
        "condition": len(plan.conditions),
        "prompt": plan.n_prompts,
        "sample": plan.n_samples,
        "row": rows,
        "col": cols,
        "y": height,
        "x": width,
        "channel": 3,
        "step": identity.steps,
        "stratum": max(identity.strata, default=-1) + 1,
        "code": identity.codebook_size,
    }


def _with_codebook(variable: Variable, codebook_size: int) -> Variable:
    """Give the variable of tokens for a size of the codebook."""
    dtype, fill = token_dtype(codebook_size)
    return Variable(
        variable.dims, dtype, variable.units, variable.long_name, fill, per_block=variable.per_block
    )


def _create_array(
    group: zarr.Group,
    name: str,
    variable: Variable,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
) -> zarr.Array[Any]:
    """Make an array of the contract: one stored object per chunk.

    Of an image, it is one per block: a shard.
    """
    shards = None
    if name == "image":  # a prompt's images are read alone, a block's lie in one object
        shards, chunks = chunks, (1, 1, *chunks[2:])
    return group.create_array(
        name,
        shape=shape,
        dtype=variable.dtype,
        chunks=tuple(max(1, size) for size in chunks),
        shards=shards,
        compressors=CODEC,
        fill_value=variable.fill,
        dimension_names=variable.dims,
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes={"units": variable.units, "long_name": variable.long_name},
    )
