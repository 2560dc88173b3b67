"""The numbers of an analysis, found by what they are. What was not measured is None, for every reader alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ibstats.quantities import Quantity, quantity

if TYPE_CHECKING:
    from schemas.design import ConditionRecord, DesignRecord
    from schemas.results import ResultRow, Results

FIELDS = (
    "model",
    "experiment",
    "quantity",
    "condition",
    "against",
    "effect",
    "step",
    "part",
    "distance",
    "score",
    "paths",
    "attribution",
    "at",
)
"""Fields of a row that say what its number is of."""


class Numbers:
    """Rows of one results document, or of several, by section and by what their numbers are of.

    What was not measured is not there: `one` gives None, the others give nothing.

    >>> from schemas.results import ResultRow, Results
    >>> row = dict(section="diversity", model="m", experiment="e", condition="a", term="a")
    >>> row |= dict(quantity="ssim_dissimilarity", units="1", estimate=0.5, n_prompts=6, n_images=4)
    >>> made = dict(run_id="r", snapshot="s", analysis_sha256="d", ibstats_version="0", settings={})
    >>> numbers = Numbers(Results(**made, rows=[ResultRow(**row)]))
    >>> numbers.one("diversity", model="m", condition="a").estimate
    0.5
    >>> numbers.one("diversity", model="m", condition="b") is None
    True
    """

    def __init__(self, *documents: Results) -> None:
        self.documents = documents
        self.designs: dict[str, DesignRecord] = {}
        self.families: dict[str, str] = {}
        self._sections: dict[str, list[ResultRow]] = {}
        for document in documents:
            self.designs.update(document.designs)
            self.families.update(document.families)
            for row in document.rows:
                self._sections.setdefault(row.section, []).append(row)

    @property
    def document(self) -> Results:
        """The first document: run, snapshot, settings and notes."""
        return self.documents[0]

    def all(self, *sections: str, **fields: object) -> list[ResultRow]:
        """Rows of these sections with these values of fields, in the order of the document.

        A field given as None must be absent; `at={}` asks for rows at which nothing is held fixed.
        Raises TypeError for a field that is not one of `FIELDS`.
        """
        _check(fields)
        found = []
        for section in sections:
            for row in self._sections.get(section, ()):
                if all(getattr(row, name) == value for name, value in fields.items()):
                    found.append(row)
        return found

    def one(self, section: str, **fields: object) -> ResultRow | None:
        """The first row of a section with these values of fields; None if there is none.

        Raises TypeError for a field that is not one of `FIELDS`.
        """
        found = self.all(section, **fields)
        return found[0] if found else None

    def models(self, *sections: str, **fields: object) -> list[str]:
        """Models that have rows in these sections, in the order of the document.

        Of all sections if none is named; `fields` narrow the rows, as in `all`.
        """
        rows = self.all(*(sections or self._sections), **fields)
        return list(dict.fromkeys(row.model for row in rows))

    def experiments(self, *sections: str, **fields: object) -> list[str]:
        """Experiments that have rows in these sections, in the order of the document.

        Of all sections if none is named; `fields` narrow the rows, as in `all`.
        """
        rows = self.all(*(sections or self._sections), **fields)
        return list(dict.fromkeys(row.experiment for row in rows))

    def quantities(self, *sections: str, **fields: object) -> list[Quantity]:
        """Records of the quantities that have rows in these sections, in the order of the document.

        `fields` narrow the rows, as in `all`; without a section there are none.
        """
        names = dict.fromkeys(row.quantity for row in self.all(*sections, **fields))
        return [quantity(name) for name in names]

    def terms(self, *sections: str, **fields: object) -> dict[str, ResultRow]:
        """The first row of each term, in order: the lines of a table whose lines are terms.

        `fields` narrow the rows, as in `all`.
        """
        found: dict[str, ResultRow] = {}
        for row in self.all(*sections, **fields):
            found.setdefault(row.term, row)
        return found

    def label(self, experiment: str, condition: str) -> str:
        """How results call a condition, in their `term`.

        Its own name where the design does not know it, or no design is known.
        """
        one = self._condition(experiment, condition)
        return condition if one is None else one.label or one.name

    def short(self, experiment: str, condition: str) -> str:
        """How a table or a sentence names a condition.

        By its label where it has no short name; by its own name where the design does not know it.
        """
        one = self._condition(experiment, condition)
        return condition if one is None else one.short or one.label or one.name

    def _condition(self, experiment: str, name: str) -> ConditionRecord | None:
        design = self.designs.get(experiment)
        if design is not None:
            for condition in design.conditions:
                if condition.name == name:
                    return condition
        return None

    def baseline(self, experiment: str) -> str | None:
        """Name of the condition without intervention.

        None if the experiment has none, or its design is not known.
        """
        design = self.designs.get(experiment)
        return None if design is None else design.baseline


def distinct(rows: Iterable[ResultRow], field: str) -> list[Any]:
    """The different values of a field in some rows, in order; absent ones (None) are left out.

    `field` is any field of a row, `n_prompts` for instance.
    """
    found = dict.fromkeys(getattr(row, field) for row in rows)
    found.pop(None, None)
    return list(found)


def keyed(rows: Iterable[ResultRow], *fields: str) -> dict[tuple[Any, ...], ResultRow]:
    """Rows by the values of some fields, the first of equal ones.

    Keys are tuples, also of a single field.
    """
    found: dict[tuple[Any, ...], ResultRow] = {}
    for row in rows:
        key = tuple(getattr(row, field) for field in fields)
        found.setdefault(key, row)
    return found


def _check(fields: Mapping[str, object]) -> None:
    """A misspelt field would find nothing, silently."""
    for name in fields:
        if name not in FIELDS:
            raise TypeError(f"no field '{name}' of a row; there are: {', '.join(FIELDS)}")
