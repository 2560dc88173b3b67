"""The sections of a page: the tables and sentences of a report, with charts before them.

Every number is of a row of results; what a run lacks has no section.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape

import xarray as xr

from ibstats.quantities import Quantity, preferred, quantity
from ibstats.report import answer as answering
from ibstats.report.page.charts import Chart, Mark, chart
from ibstats.report.page.document import Section
from ibstats.report.page.maps import position_maps
from ibstats.report.page.ranks import Counts, rank_frequency
from ibstats.report.page.values import Values, by_prompt
from ibstats.report.render import html
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
from ibstats.results.lookup import Numbers, distinct, keyed
from schemas.design import DesignRecord
from schemas.results import ResultRow

CHANGES = ("probe", "contrast")
"""Sections of changes of diversity from the baseline."""

DOTS = "A dot is a prompt; it opens the images behind it."


@dataclass(frozen=True)
class Analysis:
    """One analysed experiment: its rows, and the labelled tree behind them."""

    numbers: Numbers
    experiment: str
    load: Callable[[], xr.DataTree | None]
    """Reads the tree; None where it is not at hand."""
    count: Callable[[], Mapping[str, Counts]] = dict
    """Counts the codes of each model, without intervention; none where tokens are not at hand."""

    @cached_property
    def tree(self) -> xr.DataTree | None:
        """The labelled tree, read when it is needed.

        A page that is current needs none.
        """
        return self.load()

    @property
    def models(self) -> list[str]:
        """Models with rows of the experiment.

        In the order of the document, which is that of their colours.
        """
        return self.numbers.models(experiment=self.experiment)

    @property
    def preferred(self) -> Quantity | None:
        """The distance that stands for all of those that changes were measured by."""
        names = distinct(self.numbers.all(*CHANGES, experiment=self.experiment), "quantity")
        if not names:
            return None
        return quantity(preferred("distance", names) or names[0])

    def values(self, model: str, name: str) -> Values | None:
        """A quantity of a model by prompt; None where it is not at hand."""
        found = by_prompt(self.tree, model).get(name)
        return None if found is None else Values(found, self.numbers.designs[self.experiment])


class Page:
    """Parts as HTML; no two tables of one page have one name."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._said: set[str] = set()

    def parts(self, parts: Sequence[Part]) -> str:
        """Headings, sentences and tables in order, as HTML.

        Every text is escaped.
        """
        made = []
        for part in parts:
            match part:
                case Heading(said):
                    made.append(f"<h3>{escape(said)}</h3>")
                case Paragraph(said):
                    made.append(f"<p>{escape(said)}</p>")
                case Table():
                    made.append(self.table(part))
        return "\n".join(made)

    def table(self, table: Table) -> str:
        """A table with its notes below, which scrolls where it is wider than the page."""
        name = f"table-{table.label or table.name}"
        n = self._names[name] = self._names.get(name, 0) + 1
        if n > 1:
            name = f"{name}-{n}"
        notes = [note for note in (*table.notes, table.caption) if note]
        bare = replace(table, label=name, notes=(), caption="")
        return scrolling(html.render(bare), table.title) + self.notes(notes)

    def chart(self, made: Chart, notes: Sequence[str]) -> str:
        """A chart with its notes below; empty where it has no number."""
        drawn = scrolling(chart(made), made.title)
        return drawn and drawn + self.notes([note for note in notes if note])

    def notes(self, notes: Sequence[str]) -> str:
        """What must be known to read a table; what stands above it in its section is not repeated."""
        new = [note for note in dict.fromkeys(notes) if note not in self._said]
        self._said.update(new)
        if not new:
            return ""
        return f'<p class="notes">{"<br>".join(map(escape, new))}</p>'

    def begin(self) -> None:
        """Begin a section.

        Nothing has been said in it, so its notes are shown again.
        """
        self._said.clear()

    def folded(self, summary: str, content: str) -> str:
        """Content that is shown when it is asked for; empty without any."""
        if not content:
            return ""
        return f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>"

    def more(self, summary: str, parts: Sequence[Part]) -> str:
        """Parts that are shown when they are asked for; empty without any."""
        return self.folded(summary, self.parts(parts))


def joined(parts: Iterable[str]) -> str:
    """The parts that are not empty, one after the other."""
    return "\n".join(filter(None, parts))


def scrolling(content: str, title: str) -> str:
    """Content that scrolls by itself where it is too wide, by keyboard too; nothing of nothing."""
    if not content:
        return ""
    label = escape(title or "table")
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">{content}</div>'


def changes(of: Analysis, section: str, measured: Quantity, page: Page) -> str:
    """The chart of the changes or effects of one quantity, a line each, a column a model."""
    rows = of.numbers.all(section, experiment=of.experiment, quantity=measured.name)
    if not rows:
        return ""
    models = distinct(rows, "model")
    by = keyed(rows, "model", "term")
    known = {model: of.values(model, measured.name) for model in models}
    lines = []
    for term, row in of.numbers.terms(
        section, experiment=of.experiment, quantity=measured.name
    ).items():
        marks = [_mark(by.get((model, term)), known[model]) for model in models]
        if row.effect:
            term = factorial.effect_label(row)
        lines.append((term, marks))
    kind, line = "changes from the baseline", "change"
    if rows[0].against is None:
        kind, line = "effects: high minus low", "effect"
    title = f"{_capital(measured.long)}, {kind}"
    notes = [words.MARKS, words.made(rows), *grid.notes(rows)]
    return page.chart(Chart(title, line, models, lines), notes)


def _capital(said: str) -> str:
    return said[:1].upper() + said[1:]


def _mark(row: ResultRow | None, known: Values | None) -> Mark:
    """A number with a dot a prompt, each of which opens the conditions that it is of."""
    if row is None or known is None:
        return Mark(row)
    return Mark(row, known.dots(row), _opened(row, known.record))


def _opened(row: ResultRow, design: DesignRecord) -> list[str]:
    """The conditions whose images show what a row says: those compared, or all of the design."""
    if row.condition and row.against:
        return [row.against, row.condition]
    return [condition.name for condition in design.conditions]


def shared(of: Analysis, distance: Quantity, page: Page) -> str:
    """The chart of what is left of the diversity where a noise is shared, a line a part.

    Of the condition without intervention: where the order is varied, there are others.
    """
    rows = []
    for row in of.numbers.all("pair_distance", quantity=distance.name):
        if of.numbers.baseline(row.experiment) in (None, row.condition):
            rows.append(row)
    models = distinct(rows, "model")
    by = keyed(rows, "model", "part")
    lines = []
    for part, head in pair_distances.heads(of.numbers, distance.name).items():
        if part != pair_distances.WHOLE:
            lines.append((head, [Mark(by.get((model, part))) for model in models]))
    title = f"{_capital(distance.long)}, what is left where a noise is shared"
    notes = [pair_distances.MEANING, pair_distances.REDUNDANT, words.made(rows)]
    made = Chart(title, "share", models, lines, marks=False)
    return page.chart(made, [*notes, *grid.notes(rows)])


def answer(of: Analysis, page: Page) -> str:
    """The answer, the chart of the changes that it tells of, and what must be known."""
    found = answering.answer(of.numbers)
    said = [f'<p class="quiet">{escape(found.heading)}</p>']
    for sentence in found.sentences.values():
        said.append(f'<p class="said">{escape(sentence)}</p>')
    made = [joined(said)]
    if of.preferred is not None:
        made += [changes(of, section, of.preferred, page) for section in CHANGES]
    made.append(page.parts(found.tables))
    made.append(page.parts(strategy.strategies(of.numbers, of.experiment)))
    made.append(page.parts([*map(Paragraph, found.whole_images.values())]))
    made.append(page.notes(found.cautions))
    notes = [f"<li>{escape(note)}</li>" for note in of.numbers.document.notes]
    if notes:
        summary = f"{len(notes)} notes on what is missing or weak"
        made.append(page.folded(summary, f"<ul>{''.join(notes)}</ul>"))
    return joined(made)


def effects(of: Analysis, page: Page) -> str:
    """Effects of the factors or changes from the baseline by each distance, then the tables."""
    numbers, experiment, models = of.numbers, of.experiment, of.models
    made = [page.parts([Paragraph(DOTS)])]
    distances = grid.measured(numbers, "diversity", experiment, models, "distance")
    for distance in sorted(distances, key=lambda one: one != of.preferred):
        charts = [changes(of, "effect", distance, page)]
        if distance == of.preferred:
            made += charts
            continue
        charts += [changes(of, section, distance, page) for section in CHANGES]
        made.append(page.folded(_capital(distance.long), joined(charts)))
    tested: list[Part] = [*factorial.all_effects(numbers, "probe", experiment, models)]
    tested += factorial.all_effects(numbers, "effect", experiment, models)
    simple = factorial.all_effects(numbers, "simple_effect", experiment, models)
    waterfalls: list[Part] = []
    for model in models:
        waterfalls += factorial.waterfalls(numbers, experiment, model)
    made += [
        page.parts(factorial.diversity(numbers, experiment, models)),
        page.more("Tests and effect sizes", tested or _contrasts(of)),
        page.more("Simple effects: one factor with others held", simple),
        page.more("Waterfalls and synergy gaps", waterfalls),
        page.more(
            "Effective numbers of images",
            factorial.effective_numbers(numbers, experiment, models),
        ),
    ]
    if not any(made[1:]):
        return ""
    return joined(made)


def _contrasts(of: Analysis) -> list[Part]:
    return [*ablations.changes(of.numbers, of.experiment, of.models)]


def codes(of: Analysis, page: Page) -> str:
    """Entropies and use of the codebook.

    Collision entropies are shown, what leans on unseen codes is opened.
    """
    numbers, experiment, models = of.numbers, of.experiment, of.models
    fewer: list[Part] = []
    for model in models:
        found = information.rarefaction(numbers, experiment, model)
        if found:
            fewer += [Heading(model), *found]
    tested = factorial.all_effects(numbers, "information_effect", experiment, models)
    told: list[Part] = []
    for model in models:
        told += whole_image.told(numbers, experiment, model)
    maps = position_maps(of.tree, models, numbers.baseline(experiment))
    made = [
        page.parts(information.agreement(numbers, experiment, models)),
        page.folded("Codes by rank, without intervention", _ranks(of)),
        page.folded("Maps of the positions, without intervention", maps),
        page.more("Entropies by Shannon", information.entropies(numbers, experiment, models)),
        page.more("By position of the grid", information.positions(numbers, experiment, models)),
        page.more("What whole images tell of their text", told),
        page.more("From fewer images and prompts", fewer),
        page.more("Use of the codebook", information.use(numbers, experiment, models)),
        page.more("Codebook subsets", information.subsets(numbers, experiment, models)),
        page.more("Effects on entropies", tested),
    ]
    return joined(made)


def _ranks(of: Analysis) -> str:
    baseline = of.numbers.baseline(of.experiment)
    if baseline is None:
        return ""
    condition = of.numbers.short(of.experiment, baseline)
    return rank_frequency(of.count(), of.experiment, condition)


def path(of: Analysis, page: Page) -> str:
    """What is left where a noise is shared, bits side by side with what they say, then the rest."""
    numbers, experiment = of.numbers, of.experiment
    made = [page.parts(orders.parts(numbers, experiment, of.models))]
    for distance in numbers.quantities("pair_distance"):
        made.append(shared(of, distance, page))
    made.append(page.parts(path_and_execution.side_by_side(numbers, experiment)))
    bits = path_and_execution.all_bits(numbers, experiment, of.models)
    made.append(page.more("Bits of every condition", bits))
    shares: list[Part] = []
    for model in numbers.models("sobol"):
        shares += path_and_execution.shares(numbers, model)
    made.append(page.more("Shares of the variance by crossed noise", shares))
    if numbers.all("wording"):
        made.append(page.more("Share of the wording", wording.wording_parts(numbers)))
    return joined(made)


def scores(of: Analysis, page: Page) -> str:
    """Changes of every score, its values, and the frontier.

    Empty where no score was measured.
    """
    numbers, experiment, models = of.numbers, of.experiment, of.models
    made = []
    for score in quality.scores(numbers, experiment, models, "quality_probe"):
        made.append(changes(of, "quality_probe", score, page))
    shown = quality.scores(numbers, experiment, models)
    cells = quality.values(numbers, grid.Grid("quality", experiment), models, shown)
    tested = factorial.all_effects(numbers, "quality_effect", experiment, models)
    made += [
        page.parts(cells),
        page.more("By attribute", quality.parts(numbers, experiment, models)),
        page.more("Effects, tests and effect sizes", tested),
        page.more("Frontier", quality.frontier(numbers, experiment, models)),
    ]
    return joined(made)


def ablation(of: Analysis, page: Page) -> str:
    """Changes of the arms of an ablation from the one without intervention, and its tables."""
    made = [f"<h3>{escape(of.experiment)}</h3>"]
    for distance in of.numbers.quantities("contrast", experiment=of.experiment):
        made.append(changes(of, "contrast", distance, page))
    numbers, experiment, models = of.numbers, of.experiment, of.models
    made.append(page.parts(orders.parts(numbers, experiment, models)))
    parts: list[Part] = [
        *ablations.arms(numbers, experiment, models),
        *ablations.changes(numbers, experiment, models),
        *ablations.codebook(numbers, experiment, models),
        *information.subsets(numbers, experiment, models),
    ]
    made += [
        page.parts(ablations.inflection(numbers, experiment, models)),
        page.parts(ablations.offer_sentences(numbers, experiment)),
        page.more(f"Tables of {experiment}", parts),
    ]
    return joined(made)


Maker = Callable[[Analysis, Page], str]

MAKERS: tuple[tuple[str, str, Maker], ...] = (
    ("answer", "Answer", answer),
    ("effects", "Effects", effects),
    ("codes", "Codes", codes),
    ("path", "Path and execution", path),
    ("quality", "Quality", scores),
)
"""Name, title and maker of each section of an experiment that is no ablation, in order."""


def sections(main: Analysis | None, others: Sequence[Analysis]) -> list[Section]:
    """The sections that there are numbers for, in order; `others` are analyses of ablations."""
    page, made = Page(), []
    if main is not None:
        for name, title, make in MAKERS:
            page.begin()
            made.append(Section(name, title, make(main, page)))
    page.begin()
    arms = joined(ablation(of, page) for of in others)
    made.append(Section("ablations", "Ablations", arms))
    return [section for section in made if section.body]
