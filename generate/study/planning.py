"""What a study amounts to: its prompts, the conditions of its experiments, and the blocks to make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from generate.errors import StudyError
from generate.prompts.sources import load_prompts, overlap, prompts_digest, source_digest
from generate.study.adapter_file import is_file_name, split_name
from generate.study.conditions import Condition, conditions, crossed_factors
from generate.study.noise import Role
from generate.study.probes import Probe, parse_window, texts_of_samples
from schemas.store import Block, ExperimentPlan, RunRecord, blocks_of
from schemas.study import CrossedNoise, Factorial, Order, Prompt, Study

MOST_SAMPLES = 1_000_000
"""Images that a prompt can have in a condition: they are laid out in memory together."""
BLOCK_IMAGES = 256
"""About how many images a block holds, where the study does not say."""


@dataclass(frozen=True)
class Plan:
    """A study with its prompts in hand: everything a run is, before any model is loaded.

    `prompt_files` are the sha256 of the files prompts were read from, by the name of the source.
    `base` is the folder in which adapters that are named by file are looked for; no digest and no
    record of a run holds it.
    """

    study: Study
    prompts: Sequence[Prompt]
    calibration_prompts: list[Prompt]
    experiments: dict[str, list[Condition]]
    prompt_files: dict[str, str] = field(default_factory=dict)
    base: Path = field(default_factory=Path.cwd)

    @property
    def models(self) -> list[str]:
        """Labels of the models in the store, in the order of the study."""
        return [choice.label or choice.model for choice in self.study.models]

    @property
    def needs_calibration(self) -> bool:
        """Whether some condition restricts the codebook, so that code usage must be counted."""
        for cells in self.experiments.values():
            for cell in cells:
                if cell.codebook == "subset":
                    return True
        return False

    @property
    def n_calibration(self) -> int:
        """Images that each model's code usage is counted on: samples, or real ones."""
        asked = self.study.calibration
        if asked.encoded:
            return asked.n or 0
        return len(self.calibration_prompts) * asked.samples

    @property
    def prompts_sha256(self) -> str:
        """Digest of the study prompts: ids, texts and paraphrases."""
        return prompts_digest(self.prompts)

    def n_samples(self, experiment: str) -> int:
        """Images per prompt and condition of an experiment.

        Those of the study, unless an experiment crosses noises: there every path meets every execution.
        """
        asked = self.study.experiments[experiment]
        if isinstance(asked, CrossedNoise):
            return asked.samples
        return self.study.samples

    def n_prompts(self, experiment: str) -> int:
        """How many prompts an experiment has.

        All of them, unless an experiment that crosses noises asks for the first so many.
        """
        asked = self.study.experiments[experiment]
        if isinstance(asked, CrossedNoise) and asked.prompts is not None:
            return min(asked.prompts, len(self.prompts))
        return len(self.prompts)

    def prompts_of(self, experiment: str) -> Sequence[Prompt]:
        """Prompts of an experiment, in the order of the study, see `n_prompts`."""
        n_prompts = self.n_prompts(experiment)
        return self.prompts if n_prompts == len(self.prompts) else self.prompts[:n_prompts]

    def noise_draw(self, experiment: str, role: Role) -> NDArray[np.int64]:
        """Which of a prompt's draws of a role each sample uses, (sample,).

        Every sample has its own, unless an experiment crosses noises: there sample s is of grid
        s // renderings, which has path grid // executions and execution grid % executions.
        """
        sample = np.arange(self.n_samples(experiment))
        asked = self.study.experiments[experiment]
        if not isinstance(asked, CrossedNoise) or role == "rendering":
            return sample
        grid = sample // asked.renderings
        return grid // asked.executions if role == "path" else grid % asked.executions

    def block_prompts(self, experiment: str) -> int:
        """Prompts of one block: as the study says, else for about `BLOCK_IMAGES` images.

        At least one, and at most all of the experiment's.
        """
        asked = self.study.block_prompts
        if asked is None:
            asked = max(1, BLOCK_IMAGES // self.n_samples(experiment))
        return min(asked, self.n_prompts(experiment))

    def experiment_plan(self, experiment: str) -> ExperimentPlan:
        """What the store records of an experiment before anything is sampled.

        That is the shape of its Dataset, and the levels of its conditions. Raises KeyError for an
        experiment that the study does not have.
        """
        asked = self.study.experiments[experiment]
        factors = crossed_factors(asked)
        levels = {}
        for cell in self.experiments[experiment]:
            levels[cell.name] = {factor.name: getattr(cell, factor.name) for factor in factors}
        shape = ExperimentPlan(
            conditions=list(levels),
            n_prompts=self.n_prompts(experiment),
            n_samples=self.n_samples(experiment),
            block_prompts=self.block_prompts(experiment),
        )
        return shape.paper_design(asked.kind, levels, factors)

    def blocks(self) -> Iterator[Block]:
        """All blocks, in the order they are made.

        Models come in turn, and in one the conditions of the same prompts side by side.
        """
        for model in self.models:
            for experiment in self.experiments:
                yield from blocks_of(model, experiment, self.experiment_plan(experiment))


def plan(study: Study, base: Path) -> Plan:
    """Read the prompts of a study and lay out its experiments.

    `base` is the folder that relative paths of the study start from. Raises `StudyError` for what
    cannot run: models of one name, windows that are none, paraphrases or prompts that are not
    there, calibration on the prompts of the study.

    >>> from generate.study.study_file import load_study
    >>> laid_out = plan(*load_study("trio"))
    >>> laid_out.models
    ['trio-ar', 'trio-mim', 'trio-diffusion']
    """
    prompts = load_prompts(study.prompts, "study", base)
    if not any(_has_paraphrases(prompt) for prompt in prompts):
        study = _without_wording(study)
    laid_out = Plan(
        study,
        prompts,
        calibration_prompts=[],
        experiments=_conditions_of(study),
        prompt_files=source_digest(study.prompts, "study", base),
        base=base.absolute(),
    )
    _check_models(laid_out)
    _check_samples(laid_out)
    _check_conditions(laid_out)
    _check_prompt_counts(laid_out)
    if not laid_out.needs_calibration or study.calibration.encoded:
        return laid_out
    calibration = load_prompts(study.calibration, "calibration", base)
    shared = overlap(prompts, calibration)
    if shared:
        raise StudyError(
            f"{len(shared)} calibration prompts are study prompts too (first: '{shared[0]}'); "
            "counting codes on the prompts they are tested on biases the subset probe: give "
            "`calibration.source` prompts of its own."
        )
    files = laid_out.prompt_files | source_digest(study.calibration, "calibration", base)
    return replace(laid_out, calibration_prompts=calibration, prompt_files=files)


def size(block: Block, plan: Plan) -> int:
    """Samples of a block: its prompts times the samples of each.

    `plan` says how many samples the block's experiment has of a prompt.
    """
    return (block.stop - block.start) * plan.n_samples(block.experiment)


def recorded_plan(run: RunRecord, prompts: Sequence[Prompt], base: Path | None = None) -> Plan:
    """The plan of a store, from its own record; without calibration prompts, which it no longer needs.

    `prompts` are those of the store, which need not be read for most that a plan says. `base` is the
    folder of adapters that are named by file; None means the current one. Raises `StudyError` for
    imported samples.
    """
    if run.study is None:
        raise StudyError("the run holds imported samples, which no study made.")
    return Plan(
        run.study,
        prompts,
        calibration_prompts=[],
        experiments=_conditions_of(run.study),
        base=base or Path.cwd(),
    )


def refuse_idle_windows(laid_out: Plan, steps: Mapping[str, int]) -> None:
    """Raise `StudyError` if an argmax window holds no step of a model: it would be the baseline.

    `steps` are the numbers of steps by the models' labels.
    """
    for experiment, cells in laid_out.experiments.items():
        for cell in cells:
            window = cell.argmax_window
            if not window:
                continue
            start, stop = parse_window(window)
            probe = Probe(argmax_from=start, argmax_to=stop)
            for label, n_steps in steps.items():
                if not any(probe.argmax(step, n_steps) for step in range(n_steps)):
                    raise StudyError(
                        f"experiment '{experiment}': argmax_window '{window}' holds none of the "
                        f"{n_steps} steps of '{label}'; widen it."
                    )


def refuse_orders(laid_out: Plan, families: Mapping[str, str]) -> None:
    """Raise `StudyError` if the order is varied of a model that has no order to choose.

    `families` are those of the models by label.
    """
    for experiment, asked in laid_out.study.experiments.items():
        if not isinstance(asked, Order):
            continue
        for label, family in families.items():
            if family != "masked":
                raise StudyError(
                    f"experiment '{experiment}' varies the order of a masked model, but '{label}' is "
                    f"{family}: give it a study of its own without this experiment."
                )


def _has_paraphrases(prompt: Prompt) -> bool:
    return any((prompt.paraphrases.short, prompt.paraphrases.medium, prompt.paraphrases.long))


def _without_wording(study: Study) -> Study:
    """The study with the 2x2 of sampling and codebook where a factorial does not name its factors."""
    experiments = dict(study.experiments)
    for name, asked in experiments.items():
        if isinstance(asked, Factorial) and asked.factors is None:
            experiments[name] = asked.model_copy(update={"factors": ["sampling", "codebook"]})
    return study.model_copy(update={"experiments": experiments})


def _conditions_of(study: Study) -> dict[str, list[Condition]]:
    return {name: conditions(experiment) for name, experiment in study.experiments.items()}


def _check_models(laid_out: Plan) -> None:
    """Refuse models that cannot be told apart in the store, or that tie it to this machine."""
    labels = laid_out.models
    for label in labels:
        if labels.count(label) > 1:
            raise StudyError(
                f"two models are called '{label}' in the store: give one of them a `label`."
            )
        if "/" in label or ":" in label:
            raise StudyError(
                f"model '{label}' cannot name a group of the store: give it a `label`."
            )
    for choice in laid_out.study.models:
        where, _ = split_name(choice.model)
        if is_file_name(where) and Path(where).is_absolute():
            raise StudyError(
                f"model '{choice.model}' is an absolute path, which would tie the run to this "
                "machine: write it relative to the study file."
            )


def _check_samples(laid_out: Plan) -> None:
    """Refuse numbers of images that no run can have, before they are laid out."""
    asked = {"calibration": laid_out.study.calibration.samples}
    for experiment in laid_out.experiments:
        asked[f"experiment '{experiment}'"] = laid_out.n_samples(experiment)
    for what, n_samples in asked.items():
        if n_samples > MOST_SAMPLES:
            raise StudyError(
                f"{what} asks for {n_samples} samples a prompt, but {MOST_SAMPLES} is the most; "
                "use more prompts instead."
            )


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


def _check_prompt_counts(laid_out: Plan) -> None:
    """Refuse an experiment that asks for more prompts than the study has."""
    there = len(laid_out.prompts)
    for name, experiment in laid_out.study.experiments.items():
        if isinstance(experiment, CrossedNoise) and (experiment.prompts or 0) > there:
            raise StudyError(
                f"experiments.{name}.prompts is {experiment.prompts}, but the study has {there}: "
                "ask for fewer, or leave it out for all."
            )
