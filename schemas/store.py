"""The records of a run: `run.json`, the ledger record of a block, and the note of one that failed.

What its Datasets hold is in `schemas/variables.py`, where everything lies in
`schemas/io/layout.py`. Version 1.1: a run need not come from `ibgenerate`, so a study, weights and
steps may lack, and it names its factors, levels and baseline itself. Every run of version 1.0 is
one of 1.1. Version 1.2: codes of real images (`recovered`, `squared_error`, `image_name`), and the
levels of a model's codes. Every run of 1.1 is one of 1.2. Version 1.3: prompts lie beside
`run.json`, which records the pieces of their table. Runs of 1.2 hold theirs in `run.json`, and are
read; programs of before 1.3 do not read runs of 1.3. Version 1.4: a block's record says where its
time went; codes kept, and their counts, by stratum of positions, and the scales of a model; keys of
rendering noise. Every run of 1.3 is one of 1.4.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from schemas.design import BASELINE, FACTORS, ConditionRecord, DesignRecord, Factor
from schemas.io.layout import block_name
from schemas.moved import attributes
from schemas.provenance import Hardware, ModelIdentity, Software
from schemas.study import CrossedNoise, Experiment, Name, Strict, Study
from schemas.variables import COORDINATES, VARIABLES

__getattr__ = attributes(__name__)

SCHEMA = "ibstats-samples"
VERSION = "1.4"


@dataclass(frozen=True)
class Block:
    """One condition x prompts `[start, stop)` x all samples: unit of work, storage and commit.

    `condition` is the position in the experiment, `index` the number of the block among those of
    its condition.
    """

    model: str
    experiment: str
    condition: int
    index: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Name of the block's ledger record."""
        return block_name(self.condition, self.index)

    @property
    def n_prompts(self) -> int:
        """Prompts of the block."""
        return self.stop - self.start


def _inside(key: str) -> str:
    if key.startswith("/") or ".." in key.split("/") or "\\" in key:
        raise ValueError(f"key {key!r} points outside the store")
    return key


Key = Annotated[str, AfterValidator(_inside)]
"""Name of a stored object, which cannot lead out of the store."""


class StoredObject(Strict):
    """One stored file of a block or of the template; `key` is relative to `data.zarr`.

    Length and sha256 are those of the bytes on disk, so any change of them is found.
    """

    key: Key
    bytes: int
    sha256: str


class PromptPiece(StoredObject):
    """A file with prompts `[start, stop)` of a run, a line each.

    Its `key` is relative to the run, not to `data.zarr`, and begins with `prompts/`.
    """

    start: int = Field(ge=0)
    stop: int


class BlockRecord(Strict):
    """The commit of one block: a condition x prompts `[prompt_start, prompt_stop)` x all samples.

    It is written after the objects it names, whole or not at all. A reader believes it and nothing
    else.
    """

    schema_version: str = VERSION
    run_id: str
    config_sha256: str
    model: Name
    experiment: Name
    condition: int
    block: int
    prompt_start: int
    prompt_stop: int
    objects: list[StoredObject]
    """Every file of the block, with its length and sha256."""
    content_sha256: list[str]
    """Digest of the decoded arrays of each prompt: equal for equal samples, whoever made them and
    in which blocks.
    """
    attempt: str
    """Random name of the attempt that made the block."""
    started: str
    finished: str
    software: Software
    hardware: Hardware
    seconds: dict[str, float] = Field(default_factory=dict)
    """Where the time went, by stage of the work: those of the block up to its record, and what its
    process did since the record before (`wait`, or loading the model). Empty where nobody counted.
    """
    sha256: str = Field(
        default="", description="Digest of all the above, against damage to the record itself."
    )


class FailureRecord(Strict):
    """A block that could not be made, for whoever looks for the reason.

    The next run tries the block again; its commit removes the note.
    """

    schema_version: str = VERSION
    model: str
    experiment: str
    condition: int
    block: int
    attempts: int
    error: str
    traceback: str
    host: str
    time: str


class ExperimentPlan(Strict):
    """Shape of one Dataset and of its blocks, and how its conditions hang together.

    Validation refuses levels of what is no condition or factor, a third level of a factor, a factor
    that would take the name of another variable, names that stand twice, and a baseline that is no
    condition.

    >>> plan = ExperimentPlan(
    ...     conditions=["cold", "warm"],
    ...     n_prompts=10,
    ...     n_samples=4,
    ...     block_prompts=5,
    ...     factors=[Factor(name="temperature", low="0.5", high="1")],
    ...     levels={"cold": {"temperature": "0.5"}, "warm": {"temperature": "1"}},
    ...     baseline="warm",
    ... )
    >>> plan.design.factors[0].high
    '1'
    """

    conditions: list[str] = Field(min_length=1)
    """Names of the conditions; free text, never parsed."""
    n_prompts: int = Field(ge=1)
    n_samples: int = Field(ge=1)
    """Samples of a prompt in a condition; where prompts have unequal numbers, the most (see
    `sample_count`).
    """
    block_prompts: int = Field(ge=1)
    kind: str = ""
    """Kind of the experiment in the study file; `imported` for samples made elsewhere."""
    factors: list[Factor] = Field(default=[], description="Factors that describe the conditions.")
    levels: dict[str, dict[str, str]] = Field(
        default={}, description="Level of each factor by condition; absent for one that has none."
    )
    baseline: str | None = None
    """The condition without intervention, with which the others are compared; None if there is
    none.
    """

    @property
    def n_blocks(self) -> int:
        """Blocks of each condition; the last one may have fewer prompts."""
        return -(-self.n_prompts // self.block_prompts)

    @model_validator(mode="after")
    def _names_agree(self) -> ExperimentPlan:
        """Refuse levels of what is no condition or factor, and a baseline that is no condition."""
        by_name = {factor.name: factor for factor in self.factors}
        if len(by_name) < len(self.factors):
            raise ValueError("two factors have one name; rename one")
        if len(set(self.conditions)) < len(self.conditions):
            raise ValueError("two conditions have one name; rename one")
        for name in by_name:
            _refuse_taken(name)
        for condition, levels in self.levels.items():
            if condition not in self.conditions:
                raise ValueError(f"levels are given for {condition!r}, which is no condition")
            for name, level in levels.items():
                _refuse_third_level(condition, name, level, by_name)
        if self.baseline is not None and self.baseline not in self.conditions:
            raise ValueError(f"baseline {self.baseline!r} is no condition")
        return self

    @property
    def design(self) -> DesignRecord:
        """Conditions, factors and baseline, as one record.

        Labels of the conditions are left to who shows them.
        """
        conditions = [
            ConditionRecord(name=name, levels=self.levels.get(name, {})) for name in self.conditions
        ]
        return DesignRecord(
            kind=self.kind, conditions=conditions, factors=self.factors, baseline=self.baseline
        )

    def paper_design(
        self,
        kind: str,
        levels: Mapping[str, Mapping[str, str]],
        factors: Sequence[Factor] = FACTORS,
    ) -> ExperimentPlan:
        """Give the same plan with factors of the paper, by default all three.

        `levels` are those of each condition, by the names of the factors. The baseline is the first
        condition with the levels of `schemas.design.BASELINE`, for what else may differ (the order
        of a masked model) comes after it as it always is; without one there is none.
        """
        plain = {factor.name: BASELINE[factor.name] for factor in factors}
        without_intervention = [name for name, found in levels.items() if found == plain]
        baseline = without_intervention[0] if without_intervention else None
        fields = {
            "kind": kind,
            "factors": list(factors),
            "levels": {name: dict(found) for name, found in levels.items()},
            "baseline": baseline,
        }
        return ExperimentPlan.model_validate(self.model_dump() | fields)


def _refuse_taken(name: str) -> None:
    """Refuse a factor that would take the place of another variable of the Dataset."""
    dims = {dim for variable in VARIABLES.values() for dim in variable.dims}
    ours = {factor.name for factor in FACTORS}
    if name not in ours and name in {*VARIABLES, *COORDINATES, *dims}:
        raise ValueError(f"a factor cannot be called {name!r}, which names something else")


def _refuse_third_level(
    condition: str, name: str, level: str, factors: Mapping[str, Factor]
) -> None:
    """Refuse a level of what is no factor, and one that is neither low nor high."""
    if name not in factors:
        raise ValueError(f"condition {condition!r} has a level of {name!r}, which is no factor")
    allowed = (factors[name].low, factors[name].high)
    if level not in allowed:
        raise ValueError(
            f"condition {condition!r} has {name} = {level!r}, but its levels are "
            f"{allowed[0]!r} and {allowed[1]!r}"
        )


class ImportRecord(Strict):
    """Where the samples of a run come from that no study of ours made.

    It holds no path of a machine: a run that is copied says the same.
    """

    name: Name
    """Name of the run."""
    source: str
    """What was imported, in the words of who did; no path of a machine."""
    sha256: str
    """Digest of the content that was imported."""


class RunRecord(Strict):
    """`run.json`: what the run is. Written last when the run is made, and never changed.

    A run has a study, or says what it was imported from, but not both.
    """

    schema_name: Literal["ibstats-samples"] = "ibstats-samples"
    schema_version: str = VERSION
    run_id: str
    created: str
    study: Study | None = None
    """The study file, every default filled in; none for imported samples."""
    imported: ImportRecord | None = None
    """Where imported samples come from; none for a study."""
    n_prompts: int = Field(ge=1)
    prompt_pieces: list[PromptPiece] = Field(default=[], max_length=100_000)
    """Files of the prompts with their paraphrases, so that the run does not depend on what they
    came from. All but the last hold equally many. Where an imported run does not know the texts,
    ids stand for them there, and its Datasets have no `text`. None in a run of before 1.3, whose
    prompts are the list `prompts` here.
    """
    prompts_sha256: str
    prompt_files: dict[str, str] = Field(
        default={}, description="sha256 of the files prompts were read from."
    )
    models: dict[Name, ModelIdentity]
    """What fixes the law of each model's samples: weight digests, codebook, grid, sampling
    settings.
    """
    experiments: dict[Name, ExperimentPlan]
    calibration_sha256: dict[str, str] = Field(
        default={}, description="Digest of the code counts per model; absent for a model without."
    )
    config_sha256: str
    """Digest of study, prompts, models and calibration: two runs with the same one hold the same
    samples.
    """
    batch_sizes: dict[str, int] = Field(
        default={}, description="Samples per forward of each model."
    )
    """The study's, or what was found to fit; logits depend on it by rounding."""
    software: Software
    hardware: Hardware
    template: list[StoredObject] = Field(
        default=[], description="What `create` wrote into `data.zarr`."
    )
    sha256: str = Field(
        default="", description="Digest of all the above, against damage to the record itself."
    )

    @model_validator(mode="after")
    def _has_one_origin(self) -> RunRecord:
        """A run is of a study or imported."""
        if (self.study is None) == (self.imported is None):
            raise ValueError("a run has a study, or says what it was imported from, but not both")
        return self

    @model_validator(mode="after")
    def _pieces_are_all_prompts(self) -> RunRecord:
        """Refuse pieces that leave out a prompt, hold one twice, or are not equally long."""
        if not self.prompt_pieces:
            return self
        each = max(1, self.prompt_pieces[0].stop)
        starts = range(0, self.n_prompts, each)
        expected = [(start, min(start + each, self.n_prompts)) for start in starts]
        if [(piece.start, piece.stop) for piece in self.prompt_pieces] != expected:
            raise ValueError(f"the pieces of the prompts are not those of {self.n_prompts}")
        return self

    @property
    def name(self) -> str:
        """Name of the study, or of the import."""
        origin = self.study or self.imported
        return "" if origin is None else origin.name

    @property
    def seed(self) -> int | None:
        """Seed of the study; None for imported samples."""
        return None if self.study is None else self.study.seed

    def asked(self, experiment: str) -> Experiment | None:
        """Give what the study asks of an experiment, by its name.

        None for imported samples, and for an experiment that the study does not have.
        """
        return None if self.study is None else self.study.experiments.get(experiment)

    def crossed_noise(self) -> dict[str, CrossedNoise]:
        """Give the experiments in which every path draw meets every execution draw, by name.

        There are none in imported samples.
        """
        found = {}
        for name in self.experiments:
            asked = self.asked(name)
            if isinstance(asked, CrossedNoise):
                found[name] = asked
        return found

    def blocks(self) -> Iterator[Block]:
        """Give all blocks, in the order of work.

        Models follow each other; in one, the conditions of the same prompts lie side by side.
        """
        for model in self.models:
            for experiment, plan in self.experiments.items():
                yield from blocks_of(model, experiment, plan)


def blocks_of(model: str, experiment: str, plan: ExperimentPlan) -> Iterator[Block]:
    """Give the blocks of one Dataset: the conditions of the same prompts side by side.

    >>> plan = ExperimentPlan(conditions=["a", "b"], n_prompts=3, n_samples=2, block_prompts=2)
    >>> [(block.condition, block.start, block.stop) for block in blocks_of("model", "e", plan)]
    [(0, 0, 2), (1, 0, 2), (0, 2, 3), (1, 2, 3)]
    """
    for index, start in enumerate(range(0, plan.n_prompts, plan.block_prompts)):
        stop = min(start + plan.block_prompts, plan.n_prompts)
        for condition in range(len(plan.conditions)):
            yield Block(model, experiment, condition, index, start, stop)


def seal(document: Mapping[str, Any]) -> str:
    """Give the sha256 of a record as JSON gives it, but for its own `sha256`, as 64 hex digits.

    The order of the keys does not matter.

    >>> seal({"a": 1, "b": 2}) == seal({"b": 2, "a": 1, "sha256": "whatever"})
    True
    """
    return hashlib.sha256(_line(document)).hexdigest()


def _line(document: Mapping[str, Any]) -> bytes:
    """The JSON that a seal is the digest of."""
    rest = {name: value for name, value in document.items() if name != "sha256"}
    return json.dumps(rest, sort_keys=True).encode()


_SEAL = b', "sha256": "%s"}'


def sealed(record: BaseModel) -> bytes:
    """Give a record as JSON, with its digest.

    `is_whole` is its counterpart.
    """
    document = record.model_dump(mode="json")
    return json.dumps(document | {"sha256": seal(document)}, indent=1).encode()


def is_whole(document: Mapping[str, Any]) -> bool:
    """Say whether a record that was read is the one that was written.

    True where it carries no digest. `document` is the record as parsed from JSON, unknown keys
    included.
    """
    return document.get("sha256", "") in ("", seal(document))


def sealed_line(record: BaseModel) -> bytes:
    """Give a record as `sealed` does, in the one line of JSON that its digest is of.

    Its reader need not write it again to check it (`is_whole_line`): for records read by thousands.

    >>> line = sealed_line(StoredObject(key="c/0", bytes=9, sha256="0" * 64))
    >>> is_whole_line(line), is_whole_line(line.replace(b"9", b"8"))
    (True, False)
    """
    line = _line(record.model_dump(mode="json"))
    return line[:-1] + _SEAL % hashlib.sha256(line).hexdigest().encode()


def is_whole_line(content: bytes) -> bool:
    """Say whether these bytes are a record of `sealed_line` as it was written.

    False says nothing of a record written otherwise: `is_whole` does.
    """
    rest = content[: -len(_SEAL % (b"0" * 64))]
    return content == rest + _SEAL % hashlib.sha256(rest + b"}").hexdigest().encode()


def snapshot_digest(records: Iterable[BlockRecord]) -> str:
    """Give the sha256 over the content of blocks: the version pin of an analysis.

    Neither the size of the blocks nor their order matters, so equal samples have equal digests.
    """
    return hashlib.sha256("".join(sorted(snapshot_lines(records))).encode()).hexdigest()


def snapshot_lines(records: Iterable[BlockRecord]) -> list[str]:
    """Give the lines that a snapshot is the digest of once they are sorted, one a prompt.

    Those of a Dataset begin alike, so the sorted lines of a run are those of its Datasets, in the
    order of their names.
    """
    lines = []
    for record in records:
        under = f"{record.model}/{record.experiment}/{record.condition}"
        for number, digest in enumerate(record.content_sha256, start=record.prompt_start):
            lines.append(f"{under}/{number} {digest}\n")
    return lines
