"""What to cite for a run: the software, the paper, and the sources of its models and of every number reported."""

from __future__ import annotations

import json
from pathlib import Path
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
    for_what: dict[str, list[str]] = {METHOD: ["the method"]}
    remarks = []
    for label, identity in store.run.models.items():
        if identity.model not in MODELS:
            remarks.append(
                f"% model {label}: its source is not known here; cite '{identity.model}'"
            )
        for key in MODELS.get(identity.model, ()):
            for_what.setdefault(key, []).append(f"model {label}")
    reported = _reported(store)
    if not reported:
        remarks.append(
            f"% nothing was analysed yet: after `ibstats report {run}`, metrics are added"
        )
    for what, keys in reported.items():
        for key in keys:
            for_what.setdefault(key, []).append(what)
    known = entries()
    parts = [f"% the software\n{software()}"]
    parts += [f"% {', '.join(what)}\n{known[key]}" for key, what in for_what.items()]
    return "\n\n".join([*parts, *remarks]) + "\n"


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
        for row in rows:
            found[row["quantity"]] = quantity(row["quantity"]).sources
            found[f"estimator {row['estimator']}"] = ESTIMATORS.get(row["estimator"], ())
            found[f"section {row['section']}"] = SECTIONS.get(row["section"], ())
    return found
