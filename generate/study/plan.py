"""The study file: read it, and expand it to experiments, conditions and blocks."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from generate.errors import StudyError, said
from generate.prompts import load_prompts, overlap, prompts_digest, source_digest
from generate.study.conditions import Condition, conditions
from generate.study.noise import Role
from generate.study.probes import parse_window, probe, texts_of_samples
from schemas.store import ExperimentPlan, RunRecord, block_name
from schemas.study import CrossedNoise, Prompt, Study

BLOCK_IMAGES = 256
BUILT_IN = {"trio": "study.yaml", "trio-ablations": "ablations.yaml"}
"""Studies that ship with the package, by name, and their files in `generate.trio`."""


@dataclass(frozen=True)
class Block:
    """One condition x prompts `[start, stop)` x all samples: unit of work, of storage and of commit."""

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


@dataclass(frozen=True)
class Plan:
    """A study with its prompts in hand: everything a run is, before any model is loaded."""

    study: Study
    prompts: list[Prompt]
    calibration_prompts: list[Prompt]
    experiments: dict[str, list[Condition]]
    prompt_files: dict[str, str] = field(default_factory=dict)
    """sha256 of the files prompts were read from, by the name of the source."""

    @property
    def models(self) -> list[str]:
        """Labels of the models in the store."""
        return [choice.label or choice.model for choice in self.study.models]

    @property
    def needs_calibration(self) -> bool:
        """Whether some condition restricts the codebook."""
        return any(c.codebook == "subset" for cells in self.experiments.values() for c in cells)

    @property
    def prompts_sha256(self) -> str:
        """Digest of the study prompts."""
        return prompts_digest(self.prompts)

    def n_samples(self, experiment: str) -> int:
        """Images per prompt and condition."""
        asked = self.study.experiments[experiment]
        return asked.samples if isinstance(asked, CrossedNoise) else self.study.samples

    def prompts_of(self, experiment: str) -> list[Prompt]:
        """Prompts of an experiment: all of them, or as many of the first as it asks for."""
        asked = self.study.experiments[experiment]
        return self.prompts[: asked.prompts] if isinstance(asked, CrossedNoise) else self.prompts

    def noise_draw(self, experiment: str, role: Role) -> NDArray[np.int64]:
        """Which of a prompt's draws of a role each sample uses, (sample,): its own, unless noises are crossed."""
        sample = np.arange(self.n_samples(experiment))
        asked = self.study.experiments[experiment]
        if not isinstance(asked, CrossedNoise):
            return sample
        return sample // asked.executions if role == "path" else sample % asked.executions

    def block_prompts(self, experiment: str) -> int:
        """Prompts of one block."""
        default = max(1, BLOCK_IMAGES // self.n_samples(experiment))
        return min(self.study.block_prompts or default, len(self.prompts_of(experiment)))

    def experiment_plan(self, experiment: str) -> ExperimentPlan:
        """Shape of an experiment's Dataset."""
        return ExperimentPlan(
            conditions=[condition.name for condition in self.experiments[experiment]],
            n_prompts=len(self.prompts_of(experiment)),
            n_samples=self.n_samples(experiment),
            block_prompts=self.block_prompts(experiment),
        )

    def blocks(self) -> Iterator[Block]:
        """All blocks: models in turn, and within one the conditions of the same prompts side by side."""
        for model in self.models:
            for experiment, cells in self.experiments.items():
                size, n_prompts = self.block_prompts(experiment), len(self.prompts_of(experiment))
                for index, start in enumerate(range(0, n_prompts, size)):
                    for condition in range(len(cells)):
                        stop = min(start + size, n_prompts)
                        yield Block(model, experiment, condition, index, start, stop)


def load_study(source: str) -> tuple[Study, Path]:
    """A study by the name of a shipped one or the path of a YAML file, and the folder its paths are relative to."""
    if source in BUILT_IN:
        folder = Path(str(resources.files("generate.trio")))
        path = folder / BUILT_IN[source]
    else:
        path = Path(source)
        folder = path.parent
    if not path.is_file():
        raise StudyError(
            f"study file {path} does not exist; give a YAML file, or {', '.join(BUILT_IN)} for a shipped one."
        )
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that is none
        raise StudyError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise StudyError(
            f"{path} holds a {type(document).__name__}, but a study is a mapping of {', '.join(Study.model_fields)}."
        )
    try:
        return Study.model_validate(document), folder
    except ValidationError as error:
        raise StudyError(f"{path}: {' '.join(describe(error, Study, document).split())}") from None


def describe(error: ValidationError, model: type[BaseModel], document: Any) -> str:
    """The first validation error in one line: the key, what is wrong with it, what is allowed."""
    first = error.errors()[0]
    at_experiment = first["loc"][:1] == ("experiments",)
    key = ".".join(
        str(part)
        for depth, part in enumerate(first["loc"])
        if not (at_experiment and depth == KIND_DEPTH)
    )
    if first["type"] == "extra_forbidden":
        allowed = list(_fields_at(model, first["loc"][:-1]))
        close = difflib.get_close_matches(str(first["loc"][-1]), allowed, n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        return f"unknown key '{key}'{hint}; allowed here: {', '.join(allowed)}."
    if first["type"] == "missing":
        return f"key '{key}' is missing."
    hint = f" Write {{source: {first['input']}}}." if key in ("prompts", "calibration") else ""
    return f"'{key}' is {first['input']!r}: {said(first)}.{hint}"


KIND_DEPTH = 2
"""Where the location of an error inside an experiment holds the experiment's kind, which no key of the file spells."""


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Field names of the nested model that a location of pydantic points at."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            current = current.model_fields[str(part)].annotation
        elif get_origin(current) in (dict, list):
            current = get_args(current)[-1]
        else:  # experiments by kind
            current = next(
                m
                for m in _models_in(current)
                if part in get_args(m.model_fields["kind"].annotation)
            )
    return [name for nested in _models_in(current)[-1:] for name in nested.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def plan(study: Study, base: Path) -> Plan:
    """Read the prompts of a study and lay out its experiments; refuse what cannot run."""
    prompts = load_prompts(study.prompts, "study", base)
    experiments = {name: conditions(experiment) for name, experiment in study.experiments.items()}
    laid_out = Plan(study, prompts, [], experiments, source_digest(study.prompts, "study", base))
    _check_labels(laid_out.models)
    _check_conditions(laid_out)
    _check_prompt_counts(laid_out)
    if not laid_out.needs_calibration:
        return laid_out
    calibration = load_prompts(study.calibration, "calibration", base)
    shared = overlap(prompts, calibration)
    if shared:
        raise StudyError(
            f"{len(shared)} calibration prompts are study prompts too (first: '{shared[0]}'); counting codes on the "
            "prompts they are tested on biases the subset probe: give `calibration.source` prompts of its own."
        )
    files = laid_out.prompt_files | source_digest(study.calibration, "calibration", base)
    return replace(laid_out, calibration_prompts=calibration, prompt_files=files)


def _check_conditions(laid_out: Plan) -> None:
    """Refuse windows that are none and paraphrases that are not there, before anything is made."""
    for experiment, cells in laid_out.experiments.items():
        for cell in cells:
            try:
                parse_window(cell.argmax_window)
                for prompt in laid_out.prompts:
                    texts_of_samples(prompt, cell, laid_out.n_samples(experiment))
            except StudyError as error:
                raise StudyError(f"experiment '{experiment}': {error}") from None


def refuse_idle_windows(laid_out: Plan, steps: Mapping[str, int]) -> None:
    """Refuse an argmax window that holds no step of a model, by its steps: the condition would be the reference."""
    for experiment, cells in laid_out.experiments.items():
        for cell in cells:
            its_probe = probe(cell, np.ones(1, dtype=bool))
            for label, n_steps in steps.items():
                if cell.argmax_window and not any(
                    its_probe.argmax(step, n_steps) for step in range(n_steps)
                ):
                    raise StudyError(
                        f"experiment '{experiment}': argmax_window '{cell.argmax_window}' holds none of the {n_steps} "
                        f"steps of '{label}'; widen it."
                    )


def recorded_plan(run: RunRecord) -> Plan:
    """The plan of a store, from its own record."""
    cells = {name: conditions(experiment) for name, experiment in run.study.experiments.items()}
    return Plan(run.study, run.prompts, [], cells)


def _check_labels(labels: list[str]) -> None:
    for label in labels:
        if labels.count(label) > 1:
            raise StudyError(
                f"two models are called '{label}' in the store: give one of them a `label`."
            )
        if "/" in label or ":" in label:
            raise StudyError(
                f"model '{label}' cannot name a group of the store: give it a `label`."
            )


def _check_prompt_counts(laid_out: Plan) -> None:
    for name, experiment in laid_out.study.experiments.items():
        if isinstance(experiment, CrossedNoise) and (experiment.prompts or 0) > len(
            laid_out.prompts
        ):
            raise StudyError(
                f"experiments.{name}.prompts is {experiment.prompts}, but the study has {len(laid_out.prompts)}: "
                "ask for fewer, or leave it out for all."
            )


def config_digest(document: dict[str, Any]) -> str:
    """sha256 of a configuration, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
