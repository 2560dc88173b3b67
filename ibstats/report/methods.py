"""What was computed, as the methods paragraphs of a paper, with the sources that they cite.

Made of the results of an analysis and the record of its run alone: what was not computed is not
said, and every number is one of theirs. Citations stand as `[@key]`, as Pandoc reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from ibstats import citing
from ibstats.quantities import Quantity, quantity
from ibstats.report.render import latex
from ibstats.report.tables.quality import DOMINATED
from ibstats.results import words
from ibstats.results.lookup import Numbers, distinct
from ibstats.statistics.unseen import LEANS_ON, MOST_UNSEEN
from schemas.citations import METHOD

if TYPE_CHECKING:
    from ibstats.store import Store
    from schemas.provenance import ModelIdentity
    from schemas.results import ResultRow, Results

CITED = re.compile(r"\[(@[^\]]+)\]")
"""A citation, of one source or of several."""

FORMULA = re.compile(r", (1 - [\w-]+)$")
"""What a long name of a distance ends in."""

SAID = {
    "diversity": "Diversity is the mean over all pairs of a prompt's images, and then over "
    "prompts, of {}.",
    "effective_number": "Effective numbers of distinct images of a prompt are {}.",
    "information": "Of the tokens were computed {}.",
    "whole_image": "Of whole images, with all their tokens, were computed {}.",
    "ledger": "Of the bits of an image were computed {}.",
    "pair_distance": "Crossed noise shows, by {}, what diversity is left where images of a prompt "
    "share the noise of the path or of the execution{}.",
    "sobol": "Variances of path, execution and their interaction were told apart by {}{}.",
    "wording": "What the wording adds was told from images of equal and of different wording, by {}.",
    "quality": "Quality was scored by {}.",
    "inflection": "The share of codes at which diversity bends is the break of a broken line "
    "through {}, and is told only where no smooth curve says as much.",
}
"""What is said of a section: its quantities stand in the first braces, its own sources in the second."""

FAMILIES = ("distance", "effective", "entropy", "bits", "image", "score")
"""Families of quantities that are named; others only if they have a source to cite."""

SHUFFLED = "mutual_information_if_unrelated"
"""Quantity that a test is made of, and no estimate."""

TESTED = {
    "effect": "main effects and interactions (high minus low)",
    "simple_effect": "simple effects",
    "probe": "changes of diversity by each probe alone",
    "contrast": "changes of diversity by each condition",
    "comparison": "planned comparisons of conditions",
    "information_effect": "effects on what tokens say",
    "wording_effect": "changes of diversity between wordings",
    "quality_effect": "effects on quality",
    "quality_probe": "changes of quality by each probe alone",
}
"""Sections of tested differences, and what they are of."""

ESTIMATORS = {
    "plugin": "by plug-in",
    "miller_madow": "with Miller and Madow's correction",
    "jackknife": "by the jackknife",
    "grassberger": "by Grassberger's estimator",
    "chao_shen": "by Chao and Shen's estimator",
    "chao_wang_jost": "by the estimator of Chao, Wang and Jost",
    "james_stein": "by shrinkage",
    "nsb": "by the estimator of Nemenman, Shafee and Bialek",
}
"""How entropies were estimated, in words."""

LIBRARIES = ("torch", "diffusers", "transformers", "numpy")
"""Libraries that make samples what they are, where a run records them."""


@dataclass(frozen=True)
class Methods:
    """Methods paragraphs, and the sources that they cite."""

    paragraphs: tuple[str, ...]
    """Models and design, what was computed, statistics, software; citations as `[@key; @key]`."""
    bibtex: str
    """The software, every source that the paragraphs cite, and what could not be told."""

    @property
    def cited(self) -> list[str]:
        """Keys of the sources cited, in order, each once."""
        found = chain.from_iterable(map(_keys, CITED.findall("\n".join(self.paragraphs))))
        return list(dict.fromkeys(found))

    def markdown(self) -> str:
        """The paragraphs as Pandoc reads them, an empty line between two."""
        return "\n\n".join(self.paragraphs) + "\n"

    def latex(self) -> str:
        """The paragraphs as LaTeX; citations are `\\cite{key,key}`."""
        made = []
        for paragraph in self.paragraphs:
            text = ""
            for number, piece in enumerate(CITED.split(paragraph)):
                is_citation = number % 2 == 1
                text += (
                    rf"\cite{{{','.join(_keys(piece))}}}" if is_citation else latex.escape(piece)
                )
            made.append(text)
        return "\n\n".join(made) + "\n"


def _keys(cited: str) -> list[str]:
    return [key.removeprefix("@") for key in cited.split("; ")]


def methods(store: Store, document: Results) -> Methods:
    """The methods paragraphs of an analysis of a run.

    `document` are the results of the analysis; what has no rows there is not told of. The sources
    are those that `ibstats cite` names for the models, the rows and the software.
    """
    numbers = Numbers(document)
    paragraphs = [_samples(store, numbers), _measures(numbers), _statistics(numbers)]
    paragraphs.append(_software(store, document))
    rows = [row.model_dump() for row in document.rows]
    reported = {**citing.of_models(store), **citing.of_rows(rows)}
    bibtex = citing.bibtex(citing.by_source(reported), citing.unknown_models(store))
    return Methods(tuple(filter(None, paragraphs)), bibtex)


def _cite(keys: Iterable[str]) -> str:
    """A citation with a space before it; empty without sources."""
    known = "; ".join(f"@{key}" for key in dict.fromkeys(keys))
    return f" [{known}]" if known else ""


def _samples(store: Store, numbers: Numbers) -> str:
    """The models, the design and the number of images."""
    made = citing.of_models(store)
    models = []
    for label in numbers.models():
        told = _model(store.run.models[label])
        models.append(f"{label}{told}{_cite(made[f'model {label}'])}")
    verb = "imported samples of" if store.run.imported is not None else "samples of"
    said = [f"We analysed {verb} {words.listed(models)} by the method of{_cite([METHOD])}."]
    for experiment in numbers.experiments():
        if experiment in numbers.designs:
            said.append(_design(store, numbers, experiment))
    if store.run.imported is None:
        said.append(
            f"The seed of the noise is {store.run.seed}; images of a prompt with the same number "
            "share their noise in all conditions."
        )
    return " ".join(said)


def _model(identity: ModelIdentity) -> str:
    """Family, codes, grid, weights and sampling settings, in parentheses; what is not known lacks."""
    known = []
    if identity.family:
        known.append(identity.family)
    if identity.codebook_size:
        rows, columns = identity.grid
        known.append(f"{identity.codebook_size} codes on a grid of {rows} × {columns}")
    if identity.revision:
        known.append(f"revision {identity.revision}")
    for name, value in identity.options.items():
        if value is not None:
            known.append(f"{name.replace('_', ' ')} {value}")
    return f" ({', '.join(known)})" if known else ""


def _design(store: Store, numbers: Numbers, experiment: str) -> str:
    """Prompts, images and conditions of an experiment."""
    design, plan = numbers.designs[experiment], store.run.experiments[experiment]
    rows = numbers.all("diversity", "information", experiment=experiment)
    n_prompts = words.extent(rows, "n_prompts") or plan.n_prompts
    n_images = words.images(rows) or plan.n_samples
    names = [numbers.short(experiment, one.name) for one in design.conditions]
    conditions = f"the conditions {words.listed(names)}"
    if design.factors and design.kind == "factorial":
        factors = []
        for factor in design.factors:
            name = factor.name.replace("_", " ")
            factors.append(f"{name} ({factor.low} or {factor.high})")
        conditions = f"all combinations of {words.listed(factors)}"
    said = f"The experiment {experiment} holds {n_images} images of each of {n_prompts} prompts in "
    said += conditions
    if design.baseline is not None:
        said += f"; its baseline is {numbers.short(experiment, design.baseline)}"
    return f"{said}."


def _measures(numbers: Numbers) -> str:
    """What was measured and computed, section by section, with the sources."""
    said = []
    named: set[str] = set()
    for section, template in SAID.items():
        rows = numbers.all(section)
        if not rows:
            continue
        names = {row.quantity for row in rows}
        shown = "the same distances" if names <= named else _quantities(rows)
        said.append(template.format(shown, _cite(citing.SECTIONS.get(section, ()))))
        named |= names
    if numbers.all("information", quantity=SHUFFLED):
        n = numbers.document.settings["n_shuffles"]
        said.append(f"That prompt and code are unrelated was tested by {n} shuffles of the labels.")
    if any(row.weak and row.quantity in LEANS_ON for row in numbers.all("information")):
        said.append(
            f"Entropies are marked, and not relied on, where the mass of codes that were not seen "
            f"is above {MOST_UNSEEN}."
        )
    if numbers.all("frontier"):
        said.append(f"Verdicts on diversity with quality are, {DOMINATED}.")
    return " ".join(said)


def _quantities(rows: Sequence[ResultRow]) -> str:
    """Quantities of some rows by their names; those of equal sources and estimator together."""
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for row in rows:
        record = quantity(row.quantity)
        is_named = record.family in FAMILIES or record.sources
        if record.part_of or record.name == SHUFFLED or not is_named:
            continue
        how = ESTIMATORS.get(row.estimator or "", "")
        sources = (*record.sources, *citing.ESTIMATORS.get(row.estimator or "", ()))
        names = together.setdefault((how, sources), [])
        if _name(record) not in names:
            names.append(_name(record))
    groups = []
    for (how, sources), names in together.items():
        groups.append(" ".join(filter(None, (words.listed(names), how))) + _cite(sources))
    return "; ".join(groups)


def _name(record: Quantity) -> str:
    """A quantity in a sentence: its long name without explanations, its formula in parentheses."""
    name, _, _ = record.long.partition("; ")
    name, _, _ = name.partition(": ")
    if record.family == "effective":
        return FORMULA.sub("", name)
    if record.family == "bits" and ", " in name:
        return f"{name.replace(', ', ' (', 1)})"
    if record.family in ("entropy", "usage", "image"):
        return name.partition(", ")[0]
    return FORMULA.sub(r" (\1)", name)


def _statistics(numbers: Numbers) -> str:
    """Intervals, tests with their adjustment, equivalence and its margins."""
    said = []
    for section in SAID:
        made = words.made(numbers.all(section))
        if made:
            said.append(made)
            break
    families = []
    for section, name in TESTED.items():
        tested = [row for row in numbers.all(section) if row.n_tests and row.p_holm is not None]
        if tested:
            families.append(f"{name} (family of {words.extent(tested, 'n_tests')})")
    if families:
        said.append(
            "Differences are paired within prompts and tested over prompts, two-sided, by the law "
            "that made the intervals; p values are Holm-adjusted within a model and a quantity "
            f"over {words.listed(families)}."
        )
    margins = numbers.all("equivalence")
    if distinct(margins, "margin"):
        said.append(_equivalence(margins))
    return " ".join(said)


def _equivalence(rows: Sequence[ResultRow]) -> str:
    """The margins within which a change counts as none."""
    by_quantity: dict[str, list[float]] = {}
    for row in rows:
        if row.margin is not None:
            by_quantity.setdefault(row.quantity, []).append(row.margin)
    margins = []
    for name, found in by_quantity.items():
        least, most = f"{min(found):.3g}", f"{max(found):.3g}"
        size = f"±{least}" if least == most else f"±{least} to ±{most}"
        margins.append(f"{size} in {_name(quantity(name))}")
    said = f"A change counts as none only if two one-sided tests place it within {words.listed(margins)}"
    notes = []
    for note in distinct(rows, "note"):
        notes.append(note.partition("margin: ")[2].partition("; ")[0])
    for note in dict.fromkeys(filter(None, notes)):
        said += f" ({note})"
    return f"{said}."


def _software(store: Store, document: Results) -> str:
    """Versions, and the digests of data and analysis."""
    run = store.run
    libraries = []
    for name in LIBRARIES:
        if name in run.software.libraries:
            libraries.append(f"{name} {run.software.libraries[name]}")
    said = []
    if run.imported is None:
        with_ = f" with {words.listed(libraries)}" if libraries else ""
        said.append(
            f"Samples were made under Python {run.software.python}{with_} on {run.hardware.device}."
        )
    said.append(
        f"Everything was computed by ibstats {document.ibstats_version} [@ibstats] (analysis "
        f"{document.analysis_sha256[:16]} of the data snapshot {words.snapshot(document.snapshot)})."
    )
    return " ".join(said)
