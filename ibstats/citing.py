"""What to cite for a run: the software, the paper, and the sources of its models and of every number reported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from ibstats.errors import IbstatsError
from ibstats.quantities import quantity
from ibstats.results.one_file import DOCUMENT
from ibstats.store import Store, open_store
from schemas.citations import METHOD, MODELS, entries
from schemas.io.layout import ResultsFolder
from schemas.version import __version__

ESTIMATORS: dict[str, tuple[str, ...]] = {
    "plugin": (),
    "miller_madow": ("miller1955note",),
    "jackknife": ("zahl1977jackknifing",),
    "grassberger": ("grassberger2003entropy",),
    "chao_shen": ("chao2003nonparametric",),
    "chao_wang_jost": ("chao2013entropy",),
    "james_stein": ("hausser2009entropy",),
    "nsb": ("nemenman2002entropy",),
}
"""Sources of the entropy estimators."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "pair_distance": ("sobol2001global",),
    "sobol": ("sobol2001global",),
}
"""Sources of what is done with the numbers, by section of the results."""

SOFTWARE = """\
@software{{ibstats,
  title = {{{{ibstats}}: Where the Diversity of a Discrete Latent Image Generator Comes From}},
  author = {{{{ibstats developers}}}},
  version = {{{version}}},
  license = {{Apache-2.0}}
}}"""


def software() -> str:
    """BibTeX entry of this version of the software.

    >>> print(software().splitlines()[0])
    @software{ibstats,
    """
    return SOFTWARE.format(version=__version__)


def cite(run: str | Path) -> str:
    """BibTeX of the software, the paper, the models of a run, and what its kept analyses report.

    `run` is the folder or URL of a run. Every entry stands once, below a comment that says what it is for. A model
    from elsewhere and a run that was not analysed yet get a comment too.
    """
    store = open_store(run)
    reported = _reported(store)
    remarks = unknown_models(store)
    if not reported:
        remarks.append(f"nothing was analysed yet: after `ibstats report {run}`, metrics are added")
    return bibtex(by_source({**of_models(store), **reported}), remarks)


def by_source(reported: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """What each source is cited for, by its key, the paper first; `reported` has keys by what.

    >>> by_source({"fid": ["heusel2017gans"], "kid": []})["heusel2017gans"]
    ['fid']
    """
    for_what = {METHOD: ["the method"]}
    for what, keys in reported.items():
        for key in keys:
            for_what.setdefault(key, []).append(what)
    return for_what


def bibtex(for_what: Mapping[str, Sequence[str]], remarks: Sequence[str] = ()) -> str:
    """BibTeX of the software and of some sources, each below a comment that says what it is for.

    `for_what` is that, by key of the source; `remarks` are comments at the end. Raises KeyError for
    a key that `schemas/citations.bib` does not have.
    """
    known = entries()
    parts = [f"% the software\n{software()}"]
    parts += [f"% {', '.join(what)}\n{known[key]}" for key, what in for_what.items()]
    return "\n\n".join([*parts, *(f"% {remark}" for remark in remarks)]) + "\n"


def of_models(store: Store) -> dict[str, tuple[str, ...]]:
    """Sources of the models of a run, by `model LABEL`; none of a model from elsewhere."""
    found = {}
    for label, identity in store.run.models.items():
        found[f"model {label}"] = MODELS.get(identity.model, ())
    return found


def unknown_models(store: Store) -> list[str]:
    """What is said of each model of a run whose source is not known here."""
    said = []
    for label, identity in store.run.models.items():
        if identity.model not in MODELS:
            said.append(f"model {label}: its source is not known here; cite '{identity.model}'")
    return said


def of_rows(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Sources by quantity, estimator and section of some rows of results, as their JSON has them."""
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        found[row["quantity"]] = quantity(row["quantity"]).sources
        found[f"estimator {row['estimator']}"] = ESTIMATORS.get(row["estimator"], ())
        found[f"section {row['section']}"] = SECTIONS.get(row["section"], ())
    return found


def _document(file: Path) -> bytes:
    """The JSON of a document that lies open, or in the file of an analysis."""
    if file.suffix != ".zip":
        return file.read_bytes()
    with ZipFile(file) as archive:
        return archive.read(DOCUMENT)


def _reported(store: Store) -> dict[str, tuple[str, ...]]:
    """Sources by quantity, estimator and section, over all analyses kept beside a run."""
    folder = ResultsFolder(store.path)
    found: dict[str, tuple[str, ...]] = {}
    for file in [folder.document, *sorted(folder.analyses.glob("[!.]*.zip"))]:
        if not file.is_file():
            continue
        try:
            rows = json.loads(_document(file))["rows"]
        except (ValueError, KeyError, TypeError, BadZipFile):
            raise IbstatsError(f"'{file}' is no results document; remove it") from None
        found.update(of_rows(rows))
    return found
