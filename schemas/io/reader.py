"""A run that is there: its record, its ledger and what its Datasets hold.

Each is checked once and in one wording. Both programs read a run by this. The arrays themselves are
read with xarray or Zarr, from the folder's Zarr store.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
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
from schemas.io.checked import Recorded, by_key, damaged_template, mismatch
from schemas.io.folder import Folder
from schemas.io.prompt_table import prompt_problems
from schemas.provenance import CalibrationRecord
from schemas.store import (
    SCHEMA,
    VERSION,
    Block,
    BlockRecord,
    ExperimentPlan,
    RunRecord,
    StoredObject,
    is_whole,
    is_whole_line,
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
        raise CorruptStore(f"{file} does not follow its schema: {_first(error)}") from None
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


@dataclass(frozen=True)
class Ledger:
    """The committed blocks of a run: what a reader believes, and nothing else.

    Blocks are those of `RunRecord.blocks`.
    """

    folder: Folder
    run: RunRecord

    def is_done(self, block: Block) -> bool:
        """Say whether the block is committed.

        Its record is not read, so it may be damaged.
        """
        return self.folder.exists(record_key(block))

    def done(self, blocks: Iterable[Block]) -> set[Block]:
        """Give those of the blocks that are committed, by one listing.

        Their records are not read, so one may be damaged.
        """
        there = self.folder.sizes("ledger")
        return {block for block in blocks if record_key(block) in there}

    def read(self, block: Block) -> BlockRecord | None:
        """Give the record of a block, None if it is not committed.

        Raises CorruptStore for a record that is damaged or of another block, and
        StoreContractError for one that another configuration made.
        """
        try:
            content = self.folder.read(record_key(block))
        except FileNotFoundError:
            return None
        return self._checked(record_key(block), content)

    def read_all(self, blocks: Iterable[Block]) -> dict[Block, BlockRecord]:
        """Give the records of those of the blocks that are committed.

        Raises CorruptStore for a record that is damaged or of another block, and StoreContractError
        for one that another configuration made.
        """
        blocks = list(blocks)
        done = self.done(blocks)
        keys = {record_key(block): block for block in blocks if block in done}
        records = {}
        for key, content in self.folder.found(keys).items():
            records[keys[key]] = self._checked(key, content)
        return records

    def by_dataset(self) -> dict[Dataset, tuple[BlockRecord, ...]]:
        """Give every record there is, by model and experiment, in the order of their names.

        Raises CorruptStore for a record that is damaged or of another block, and
        StoreContractError for one that another configuration made.
        """
        found = {}
        for model in self.run.models:
            for experiment in self.run.experiments:
                under = self.folder.sizes(f"ledger/{layout.group_name(model, experiment)}")
                keys = sorted(key for key in under if key.endswith(".json"))
                records = []
                for key, content in self.folder.found(keys).items():
                    records.append(self._checked(key, content))
                found[model, experiment] = tuple(records)
        return found

    def _checked(self, key: str, content: bytes) -> BlockRecord:
        """Give a record that is whole, of the block its key names, and of this run."""
        file = f"ledger record '{self.folder}/{key}'"
        try:
            document = json.loads(content)
            record = BlockRecord.model_validate(document)
        except ValidationError as error:
            raise _broken(file, f"it does not follow its schema: {_first(error)}") from None
        except ValueError as error:  # no JSON, or not UTF-8
            raise _broken(file, f"it is not valid JSON: {error}") from None
        if not is_whole_line(content) and not is_whole(document):
            raise _broken(file, "its checksum differs")
        if record_key(record) != key:
            raise _broken(file, "it is of another block")
        if record.config_sha256 != self.run.config_sha256:
            raise StoreContractError(
                f"{file} belongs to config {record.config_sha256[:12]}, but the run is "
                f"{self.run.config_sha256[:12]}; two runs were mixed in one directory"
            )
        plan = self.run.experiments[record.experiment]
        inside = 0 <= record.prompt_start < record.prompt_stop <= plan.n_prompts
        if not inside or not 0 <= record.condition < len(plan.conditions):
            raise _broken(file, "it is of prompts or a condition that the run has not")
        return record


def record_key(block: Block | BlockRecord) -> str:
    """Give the key of the ledger record of a block.

    >>> record_key(Block("trio-mim", "factorial", condition=3, index=12, start=0, stop=1))
    'ledger/trio-mim/factorial/c0003-b000012.json'
    """
    index = block.index if isinstance(block, Block) else block.block
    return layout.block_key("ledger", block.model, block.experiment, block.condition, index)


def _broken(file: str, problem: str) -> CorruptStore:
    return CorruptStore(
        f"{file} is broken ({problem}); `ibgenerate verify --repair` drops it, and the next run "
        "makes its block again"
    )


def complete(plan: ExperimentPlan, records: Iterable[BlockRecord]) -> NDArray[np.bool_]:
    """Give which (condition, prompt) the records of a Dataset hold, in the order of the plan.

    >>> plan = ExperimentPlan(conditions=["a", "b"], n_prompts=2, n_samples=2, block_prompts=1)
    >>> complete(plan, [])
    array([[False, False],
           [False, False]])
    """
    done = np.zeros((len(plan.conditions), plan.n_prompts), dtype=bool)
    for record in records:
        done[record.condition, record.prompt_start : record.prompt_stop] = True
    return done


def problem(where: Folder, stored: StoredObject) -> str | None:
    """Give what is wrong with a stored object, None if it is as its record says.

    It may be missing, cut short, or altered; the whole object is read.
    """
    try:
        content = where.read(layout.data_key(stored.key))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return mismatch(stored, None)
    return mismatch(stored, content)


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
            counts = CalibrationRecord.model_validate(document).counts
        except FileNotFoundError:  # not needed once the run is laid out
            continue
        except ValueError:
            found[key] = "cannot be read"
            continue
        content = np.array(counts, dtype="<i8").tobytes()
        if not is_whole(document) or hashlib.sha256(content).hexdigest() != digest:
            found[key] = "altered (checksum differs)"
    return found


def recorded(where: Folder, model: str, experiment: str) -> Recorded:
    """Give what a run records of the objects of one Dataset; run and ledger are read anew."""
    run = read_run(where)
    records = Ledger(where, run).by_dataset()[model, experiment]
    return recorded_of(run, records)


def recorded_of(run: RunRecord, records: Iterable[BlockRecord] = ()) -> Recorded:
    """Give what the template and these blocks record of their objects."""
    objects = []
    for record in records:
        objects += record.objects
    return Recorded(by_key(run.template), by_key(objects))


def read_variables(where: Folder, run: RunRecord) -> dict[Dataset, frozenset[str]]:
    """Give the names of the variables and coordinates of each Dataset, from their metadata alone.

    Raises StoreContractError for a variable that must be there and is not, or whose dims or dtype
    are not those of the contract: xarray would drop it, or take it, in silence. What must be there
    are the variables the run was made with, but for `image`, without which a run may be copied.
    """
    _check_format(where)
    found = {}
    for model in run.models:
        for experiment in run.experiments:
            found[model, experiment] = _variables_of(where, run, model, experiment)
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


def _variables_of(where: Folder, run: RunRecord, model: str, experiment: str) -> frozenset[str]:
    known = contract(run, experiment)
    required = _required(run, model, experiment)
    keys = {layout.metadata_key(model, experiment, name): name for name in known}
    contents = where.found(keys)
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


def _first(error: ValidationError) -> str:
    """Give the first problem of a pydantic error in one line."""
    detail = error.errors()[0]
    place = ".".join(str(part) for part in detail["loc"])
    return " ".join(f"{place}: {detail['msg']}".split())
