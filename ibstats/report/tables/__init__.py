"""Every table and sentence of a report, each topic once; renderers show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ibstats.report.table import Heading, Paragraph, Part, Table
from ibstats.report.tables import (
    ablations,
    factorial,
    grid,
    information,
    orders,
    pair_distances,
    path_and_execution,
    quality,
    strategy,
    whole_image,
    wording,
)
from ibstats.results import words
from ibstats.results.lookup import distinct
from schemas.study import ABLATIONS

if TYPE_CHECKING:
    from ibstats.results.lookup import Numbers

SECTIONS = (
    "diversity",
    "entropy",
    "whole_image",
    "effects",
    "waterfall",
    "quality",
    "ledger",
    "strategy",
)
"""Parts of a report, in order; `simple_effects`, `waterfall_two` and `quality_effects` are made on request."""

VALUES = ("diversity", "information", "quality", "ledger", "whole_image")
"""Sections whose rows say which conditions a model has."""

Maker = Callable[["Numbers", str, str], Sequence[Part]]
"""Makes the parts of one section of one experiment and model."""


def factorial_parts(numbers: Numbers, sections: Sequence[str] = SECTIONS) -> list[Part]:
    """Tables and sentences of every experiment that is not an ablation, model by model.

    `sections` are some of `SECTIONS`, `effective_number`, `simple_effects`, `waterfall_two` and
    `quality_effects`.
    Path and execution and the strategies follow with all models side by side, then the notes of the
    analysis. What was not measured is left out.
    """
    parts: list[Part] = []
    for experiment in _experiments(numbers):
        if _is_ablation(numbers, experiment):
            continue
        for model in numbers.models(*VALUES, experiment=experiment):
            made: list[Part] = []
            for section, make in BY_MODEL.items():
                if section in sections:
                    made += make(numbers, experiment, model)
            if made:
                parts.append(Heading(model))
                parts += [*_size(numbers, experiment, model), *made]
        if "ledger" in sections:
            parts += path_and_execution.side_by_side(numbers, experiment)
        if "strategy" in sections:
            parts += strategy.strategies(numbers, experiment)
    return [*parts, *_notes(numbers)]


def ablation_parts(numbers: Numbers) -> list[Part]:
    """Tables and sentences of every ablation: arms, changes and codebook of each model, offers.

    Models of one experiment stand together; the inflection points and, in sentences, the subset
    ratio offered follow with all its models. Experiments of other kinds are left out.
    """
    parts: list[Part] = []
    for experiment in _experiments(numbers):
        if not _is_ablation(numbers, experiment):
            continue
        models = numbers.models(*VALUES, experiment=experiment)
        for model in models:
            parts.append(Heading(f"{experiment}, {model}"))
            parts += _size(numbers, experiment, model)
            parts += orders.parts(numbers, experiment, [model])
            parts += whole_image.told(numbers, experiment, model)
            parts += ablations.arms(numbers, experiment, [model])
            parts += ablations.changes(numbers, experiment, [model])
            parts += ablations.codebook(numbers, experiment, [model])
            parts += information.subsets(numbers, experiment, [model])
        parts += ablations.inflection(numbers, experiment, models)
        parts += ablations.offer_sentences(numbers, experiment)
    return [*parts, *_notes(numbers)]


def whole_image_parts(numbers: Numbers) -> list[Part]:
    """What whole images tell of their text, of every experiment and model that was scored."""
    parts: list[Part] = []
    for experiment in _experiments(numbers):
        for model in numbers.models("whole_image", experiment=experiment):
            parts += whole_image.told(numbers, experiment, model)
    return [*parts, *_notes(numbers)]


def decomposition_parts(
    numbers: Numbers, n_tokens: Mapping[str, int] | None = None, *, crossed: bool = False
) -> list[Part]:
    """Bits of path and execution of each model, bounds by rescored paths, and what they say.

    `n_tokens` has the tokens of an image by model, for bits per token. `crossed`: what crossed
    noise leaves of the diversity instead, in pair distances, then its shares of the variance.
    """
    parts: list[Part] = []
    if crossed:
        models = numbers.models("pair_distance")
        for distance in numbers.quantities("pair_distance"):
            parts += pair_distances.pairs(numbers, models, distance.name)
        parts += pair_distances.said(numbers, models)
        for model in numbers.models("sobol"):
            parts += path_and_execution.shares(numbers, model)
        return [*parts, *_notes(numbers)]
    tokens = n_tokens or {}
    for experiment in numbers.experiments("ledger"):
        for model in numbers.models("ledger", experiment=experiment):
            known = tokens.get(model)
            parts += path_and_execution.bits(numbers, experiment, model, known)
            parts += path_and_execution.brackets(numbers, experiment, model)
        parts += path_and_execution.side_by_side(numbers, experiment)
    return [*parts, *_notes(numbers)]


def paper_tables(numbers: Numbers) -> list[Table]:
    """The tables for a paper, one a question: those of factorials, or of ablations.

    Lines are conditions, effects or probes; several models stand side by side. Names are those of
    their files. Each says which data it was made from, and its model where there is only one.
    """
    tables: list[Table] = []
    for experiment in _experiments(numbers):
        models = numbers.models(*VALUES, experiment=experiment)
        if _is_ablation(numbers, experiment):
            made, prefix = _of_ablation(numbers, experiment, models), f"{experiment}-"
        else:
            made, prefix = _of_factorial(numbers, experiment, models), ""
        for table in made:
            title, label = table.title, f"{prefix}{table.name}"
            if len(models) == 1:
                title += f" ({models[0]})"
            notes = (*table.notes, f"Data snapshot {words.snapshot(numbers.document.snapshot)}")
            tables.append(replace(table, title=title, label=label, notes=notes))
    return tables


def _of_factorial(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    tables = factorial.diversity(numbers, experiment, models)
    tables += factorial.probes(numbers, experiment, models)
    effects = factorial.all_effects(numbers, "effect", experiment, models, paper=True)
    if not effects:
        effects = _contrasts(numbers, experiment, models)
    else:
        effects += factorial.all_effects(numbers, "simple_effect", experiment, models, paper=True)
        effects += wording.changes(numbers, experiment, models)
    tables += effects
    tables += information.entropies(numbers, experiment, models)
    tables += information.agreement(numbers, experiment, models)
    tables += information.subsets(numbers, experiment, models)
    tables += path_and_execution.all_bits(numbers, experiment, models)
    crossed = numbers.models("pair_distance")
    tables += pair_distances.pairs(numbers, crossed, pair_distances.shown_distance(numbers))
    for score in quality.scores(numbers, experiment, models):
        of = grid.Grid("quality", experiment)
        tables += quality.values(numbers, of, models, [score], f"quality-{score.name}")
        for section in ("quality_effect", "quality_probe"):
            tables += factorial.effects(numbers, section, experiment, models, score, paper=True)
    tables += quality.probes(numbers, experiment, models)
    return tables + quality.frontier(numbers, experiment, models)


def _contrasts(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """Changes of diversity of conditions that are just named."""
    tables = ablations.changes(numbers, experiment, models)
    return [table for table in tables if table.name == "changes-contrast"]


def _of_ablation(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    tables = orders.tables(numbers, experiment, models)
    tables += ablations.arms(numbers, experiment, models)
    tables += ablations.changes(numbers, experiment, models)
    distances = grid.measured(numbers, "diversity", experiment, models, "distance")
    for measured in [*distances, *quality.scores(numbers, experiment, models)]:
        tables += ablations.arm_changes(numbers, experiment, models, measured)
        tables += ablations.comparisons(numbers, experiment, models, measured)
    tables += ablations.codebook(numbers, experiment, models)
    tables += information.subsets(numbers, experiment, models)
    tables += ablations.inflection(numbers, experiment, models)
    tables += ablations.offer(numbers, experiment, models)
    return tables + quality.frontier(numbers, experiment, models)


def _experiments(numbers: Numbers) -> list[str]:
    return numbers.experiments(*VALUES)


def _is_ablation(numbers: Numbers, experiment: str) -> bool:
    design = numbers.designs.get(experiment)
    return design is not None and design.kind in ABLATIONS


def _size(numbers: Numbers, experiment: str, model: str) -> list[Part]:
    """How much the numbers of a model are of, and how their intervals were made."""
    rows = numbers.all(*VALUES, experiment=experiment, model=model)
    conditions = distinct(rows, "condition")
    prompts = max(distinct(rows, "n_prompts"))
    images = words.images(rows)
    said = [f"{prompts} prompts x {len(conditions)} conditions x {images} images"]
    for row in rows:
        if row.interval_method:
            of = {"experiment": experiment, "model": model, "quantity": row.quantity}
            said.append(words.made(numbers.all(row.section, **of)))
            break
    return list(map(Paragraph, said))


def _notes(numbers: Numbers) -> list[Part]:
    """What the analyses want to be known, each note once."""
    notes: dict[str, Part] = {}
    for document in numbers.documents:
        for note in document.notes:
            notes[note] = Paragraph(f"note {note}")
    return list(notes.values())


def _diversity(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    return factorial.diversity(numbers, experiment, [model])


def _effective(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    return factorial.effective_numbers(numbers, experiment, [model])


def _entropy(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    made = information.agreement(numbers, experiment, [model])
    made += information.entropies(numbers, experiment, [model])
    made += information.rarefaction(numbers, experiment, model)
    made += information.positions(numbers, experiment, [model])
    made += information.use(numbers, experiment, [model])
    return made + information.subsets(numbers, experiment, [model])


def _effects(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    """Effects; of named conditions without factors, changes from the baseline."""
    made = factorial.all_effects(numbers, "effect", experiment, [model])
    if made:
        return made + wording.changes(numbers, experiment, [model])
    return ablations.changes(numbers, experiment, [model])


def _simple_effects(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    return factorial.all_effects(numbers, "simple_effect", experiment, [model])


def _waterfall(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    return factorial.waterfalls(numbers, experiment, model)


def _waterfall_two(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    return factorial.waterfalls(numbers, experiment, model, within=True)


def _quality(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    of = grid.Grid("quality", experiment)
    scores = quality.scores(numbers, experiment, [model])
    made = quality.values(numbers, of, [model], scores)
    made += quality.parts(numbers, experiment, [model])
    made += quality.probes(numbers, experiment, [model])
    return made + quality.frontier(numbers, experiment, [model])


def _quality_effects(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    return factorial.all_effects(numbers, "quality_effect", experiment, [model])


BY_MODEL: dict[str, Maker] = {
    "diversity": _diversity,
    "effective_number": _effective,
    "entropy": _entropy,
    "whole_image": whole_image.told,
    "effects": _effects,
    "simple_effects": _simple_effects,
    "waterfall": _waterfall,
    "waterfall_two": _waterfall_two,
    "quality": _quality,
    "quality_effects": _quality_effects,
}
"""What is made for each model on its own, in order."""
