"""A run that is there: its record, and what its Datasets hold.

Each is checked once and in one wording. Both programs read a run by this. The arrays themselves are
read with xarray or Zarr, from the folder's Zarr store.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

import zarr
from pydantic import ValidationError

from schemas.design import FACTORS
from schemas.errors import (
    CorruptStore,
    ForeignStore,
    NotAStore,
    StoreContractError,
    UnsupportedVersion,
)
from schemas.io import layout
from schemas.io.checked import damaged_template, mismatch, read_or_none
from schemas.io.folder import Folder
from schemas.io.prompt_table import prompt_problems
from schemas.provenance import CalibrationRecord
from schemas.store import (
    SCHEMA,
    VERSION,
    ExperimentPlan,
    RunRecord,
    StoredObject,
    is_whole,
)
from schemas.variables import (
    COORDINATES,
    OPTIONAL_BEFORE,
    VARIABLES,
    Variable,
    factor_coordinate,
    token_dtype,
)

Dataset = tuple[str, str]
"""A Dataset of a run: model and experiment."""


def read_run(where: Folder) -> RunRecord:
    """Read `run.json`.

    Raises NotAStore where there is none, ForeignStore for another kind of data, UnsupportedVersion
    for another major version, and CorruptStore for what is no JSON, does not follow its schema, or
    is not what was written. Warns of a newer minor version, whose unknown keys are ignored.
    """
    file = f"'{where}/{layout.RUN}'"
    try:
        content = where.read(layout.RUN)
    except (FileNotFoundError, NotADirectoryError):
        if where.sizes("ledger"):
            raise NotAStore(
                f"'{where}' has no run.json and holds blocks, which are made after it: if it "
                "was copied, copy it again (`rsync -a` goes on where it stopped); if it was not, "
                "restore run.json from a copy"
            ) from None
        raise NotAStore(
            f"'{where}' has no run.json: not a run, or its creation did not finish; "
            f"`ibgenerate run STUDY --out {where}` makes one"
        ) from None
    document = _parsed(where, layout.RUN, content)
    seen: Any = type(document).__name__
    if isinstance(document, dict):
        seen = document.get("schema_name")
    if seen != SCHEMA:
        raise ForeignStore(f"{file} has schema_name {seen!r}, but this program reads {SCHEMA!r}")
    newer = _is_newer(document.get("schema_version"), file)
    try:
        run = RunRecord.model_validate(
            _without_prompts(document), extra="ignore" if newer else None
        )
    except ValidationError as error:
        raise CorruptStore(f"{file} does not follow its schema: {first_problem(error)}") from None
    if not is_whole(document):
        raise CorruptStore(f"{file} is damaged (its checksum differs); restore it from a copy")
    for name, plan in run.experiments.items():
        if plan.n_prompts > run.n_prompts:
            raise CorruptStore(
                f"{file} names {run.n_prompts} prompts, but '{name}' has {plan.n_prompts}"
            )
    return run


def _without_prompts(document: dict[str, Any]) -> dict[str, Any]:
    """Give the fields of a run, without the prompts that stood among them before version 1.3."""
    prompts = document.get("prompts")
    if not isinstance(prompts, list):
        return document
    fields = {name: value for name, value in document.items() if name != "prompts"}
    return {"n_prompts": len(prompts), **fields}


def _is_newer(version: object, file: str) -> bool:
    """Whether a run is of a newer minor version; refuses another major one."""
    theirs, ours = _version(version, file), _version(VERSION, file)
    if theirs[0] != ours[0]:
        repair = "migrate the store"
        if theirs[0] > ours[0]:
            repair = "upgrade ibstats"
        raise UnsupportedVersion(
            f"{file} has schema version {version}, but this program reads {VERSION}; {repair}"
        )
    if theirs[1] > ours[1]:
        warnings.warn(
            f"store schema {version} is newer than {VERSION}: unknown keys are ignored",
            stacklevel=4,
        )
        return True
    return False


def _version(text: object, file: str) -> tuple[int, int]:
    try:
        major, minor = (int(part) for part in str(text).split("."))
    except ValueError:
        raise CorruptStore(
            f"{file} has schema version {text!r}, but it must read like '1.0'"
        ) from None
    return major, minor


def with_designs(where: Folder, run: RunRecord) -> RunRecord:
    """Give the run with the design of each experiment; one of version 1.0 does not record it.

    Its conditions carry levels of the paper's three factors as coordinates, which are read here.
    Raises CorruptStore if they cannot be.
    """
    found = {}
    for name, plan in run.experiments.items():
        asked = run.asked(name)
        if plan.kind or asked is None or not run.models:
            found[name] = plan
            continue
        levels = _recorded_levels(where, next(iter(run.models)), name, plan)
        found[name] = plan.paper_design(asked.kind, levels)
    return run.model_copy(update={"experiments": found})


def _recorded_levels(
    where: Folder, model: str, experiment: str, plan: ExperimentPlan
) -> dict[str, dict[str, str]]:
    """Levels of each condition, as the coordinates of a Dataset say."""
    group = layout.group_name(model, experiment)
    levels: dict[str, dict[str, str]] = {name: {} for name in plan.conditions}
    try:
        data = where.zarr(layout.DATA, read_only=True)
        for factor in FACTORS:
            array: Any = zarr.open_array(data, path=f"{group}/{factor.name}", mode="r")
            for name, level in zip(plan.conditions, array[...], strict=True):
                levels[name][factor.name] = str(level)
    except Exception as error:  # whatever a library makes of objects that were damaged
        reason = " ".join(str(error).split())
        raise CorruptStore(
            f"the conditions of '{group}' cannot be read ({reason}); restore their objects"
        ) from None
    return levels


def problem(where: Folder, stored: StoredObject) -> str | None:
    """Give what is wrong with a stored object, None if it is as its record says.

    It may be missing, cut short, or altered; the whole object is read.
    """
    return mismatch(stored, read_or_none(where, layout.data_key(stored.key)))


def check_template(where: Folder, run: RunRecord) -> None:
    """Check all that `create` wrote into the Zarr hierarchy against its record.

    Whoever writes blocks calls it first: metadata, texts, noise keys and subsets fix what a block
    is. The prompts beside are looked at, too. Raises CorruptStore, which names the file and the
    repair, for an object that is missing or altered. A run without a record of its template passes.
    """
    expected = {layout.data_key(stored.key): stored for stored in run.template}
    contents = where.found(expected)
    for key, stored in expected.items():
        problem = mismatch(stored, contents.get(key))
        if problem is not None:
            raise damaged_template(f"{where}/{key}", problem)
    for key, problem in prompt_problems(where, run).items():
        if problem is not None:
            raise damaged_template(f"{where}/{key}", problem)


def calibration_problems(where: Folder, run: RunRecord) -> dict[str, str]:
    """Give what is wrong with the code counts that lie in a run, by their key.

    Each must be the file that was written, and hold the counts that the run was made with.
    """
    found = {}
    for model, digest in run.calibration_sha256.items():
        key = layout.calibration_key(model)
        try:
            document = json.loads(where.read(key))
            record = CalibrationRecord.model_validate(document)
        except FileNotFoundError:  # not needed once the run is laid out
            continue
        except ValueError:
            found[key] = "cannot be read"
            continue
        if not is_whole(document) or record.counts_sha256 != digest:
            found[key] = "altered (checksum differs)"
    return found


def read_variables(
    where: Folder, run: RunRecord, metadata: Mapping[str, bytes] | None = None
) -> dict[Dataset, frozenset[str]]:
    """Give the names of the variables and coordinates of each Dataset, from their metadata alone.

    Raises StoreContractError for a variable that must be there and is not, or whose dims or dtype
    are not those of the contract: xarray would drop it, or take it, in silence. What must be there
    are the variables the run was made with, but for `image`, without which a run may be copied.
    `metadata` are those of merged arrays, by key in the hierarchy, which count instead of the
    stored ones.
    """
    _check_format(where)
    found = {}
    for model in run.models:
        for experiment in run.experiments:
            found[model, experiment] = _variables_of(where, run, model, experiment, metadata or {})
    return found


def _check_format(where: Folder) -> None:
    """Refuse a hierarchy that is not Zarr format 3; one of format 2 would open as empty."""
    group = f"'{where}/{layout.DATA}'"
    key = layout.data_key("zarr.json")
    try:
        metadata = _metadata(where, key, where.read(key))
    except FileNotFoundError:
        seen = "has no zarr.json"
        if any(where.exists(layout.data_key(name)) for name in (".zgroup", ".zattrs")):
            seen = "is Zarr format 2"
        raise StoreContractError(f"{group} {seen}, but this program reads Zarr format 3") from None
    if metadata.get("zarr_format") != 3:
        raise StoreContractError(f"{group} is not Zarr format 3, the only one this program reads")


def _variables_of(
    where: Folder, run: RunRecord, model: str, experiment: str, metadata: Mapping[str, bytes]
) -> frozenset[str]:
    known = contract(run, experiment)
    required = _required(run, model, experiment)
    keys = {layout.metadata_key(model, experiment, name): name for name in known}
    contents = where.found(keys)
    for name, content in metadata.items():
        if layout.data_key(name) in keys:
            contents[layout.data_key(name)] = content
    made = {layout.data_key(stored.key): stored for stored in run.template}
    for key in made.keys() & contents.keys():
        problem = mismatch(made[key], contents[key])
        if problem is not None:
            raise damaged_template(f"{where}/{key}", problem)
    group = layout.group_name(model, experiment)
    token_type, _ = token_dtype(run.models[model].codebook_size)
    held = set()
    for key, name in keys.items():
        if key not in contents:
            if name in required:
                raise StoreContractError(
                    f"variable '{name}' of '{group}' is missing; restore {key}, or run the study again"
                )
            continue
        metadata = _metadata(where, key, contents[key])
        dims, dtype = metadata.get("dimension_names"), metadata.get("data_type")
        expected = known[name].dtype
        if name == "tokens":
            expected = token_type
        if dims != list(known[name].dims) or dtype != expected:
            raise StoreContractError(
                f"'{name}' of '{group}' is {dtype} over {dims}, "
                f"but the contract says {expected} over {known[name].dims}"
            )
        held.add(name)
    return frozenset(held)


def contract(run: RunRecord, experiment: str) -> dict[str, Variable]:
    """Give every variable and coordinate that a Dataset of an experiment can have, by name.

    They are those of the contract, and one coordinate for each factor.
    """
    known = VARIABLES | COORDINATES
    for factor in run.experiments[experiment].factors:
        known[factor.name] = factor_coordinate(factor.name)
    return known


def _required(run: RunRecord, model: str, experiment: str) -> set[str]:
    """Give the variables that a Dataset must have: those it was made with, as far as recorded."""
    required = {name for name, known in contract(run, experiment).items() if not known.optional}
    made = {stored.key for stored in run.template}
    group = layout.group_name(model, experiment)
    for name in contract(run, experiment):
        if f"{group}/{name}/zarr.json" in made:
            required.add(name)
    if not made and run.study is not None:
        required |= (VARIABLES | COORDINATES).keys() - OPTIONAL_BEFORE
    return required - {"image"}


def _metadata(where: Folder, key: str, content: bytes) -> dict[str, Any]:
    """Give a zarr.json, which is a JSON object."""
    data = _parsed(where, key, content)
    if not isinstance(data, dict):
        raise CorruptStore(
            f"'{where}/{key}' holds a {type(data).__name__}, but Zarr metadata are a JSON object; "
            "restore it"
        )
    return data


def _parsed(where: Folder, key: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorruptStore(
            f"'{where}/{key}' is not valid JSON ({error}); restore it from a copy"
        ) from None


def first_problem(error: ValidationError) -> str:
    """Give the first problem that pydantic found, and its place, in one line.

    Whatever the library says, the line does not break.
    """
    detail = error.errors()[0]
    place = ".".join(str(part) for part in detail["loc"])
    return " ".join(f"{place}: {detail['msg']}".split())
