"""Making the page of a run: what goes on it, how much fits, and where its pieces lie."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any

import xarray as xr

from ibstats.citing import cite
from ibstats.measure import Machine
from ibstats.quantities import quantity
from ibstats.report.page.document import Section, framed
from ibstats.report.page.gallery import Gallery, galleries
from ibstats.report.page.pieces import Beside, Inside, fitting, named
from ibstats.report.page.ranks import code_counts
from ibstats.report.page.script import asset, script
from ibstats.report.page.sections import Analysis, sections
from ibstats.results import words
from ibstats.results.kept import kept_documents, kept_tree, obtain, obtain_tree
from ibstats.results.lookup import Numbers
from ibstats.store import Store
from schemas.analysis import Config
from schemas.io.files import write_whole
from schemas.results import ResultRow, Results

CAP = 25_000_000
"""Bytes that a page takes at the most, unless everything was asked for."""

DIGEST = re.compile(r'<meta name="ibstats-page" content="(\w+)">')
HEAD = 4096
"""Bytes from the start of a page in which its digest stands."""


@dataclass(frozen=True)
class Content:
    """What a page of a run is made of."""

    store: Store
    main: Analysis | None
    """The analysis that was asked for; None for a run of ablations alone."""
    others: tuple[Analysis, ...]
    """The ablations that were analysed before."""

    @cached_property
    def digest(self) -> str:
        """Digest of all that the page follows from, but for how much of it is shown."""
        made = [script(), asset("page.css"), asset("page.html"), self.store.snapshot()]
        made += [document.sha256 for document in self.documents]
        return hashlib.sha256("\n".join(made).encode()).hexdigest()

    @property
    def analyses(self) -> list[Analysis]:
        """All analyses, the one asked for first.

        Then ablations, in the order of the run.
        """
        if self.main is None:
            return list(self.others)
        return [self.main, *self.others]

    @property
    def documents(self) -> list[Results]:
        """The results of all analyses.

        One document each, in the order of `analyses`.
        """
        return [analysis.numbers.document for analysis in self.analyses]

    @cached_property
    def galleries(self) -> list[Gallery]:
        """What can be looked at, a gallery an experiment.

        None where the run holds no images.
        """
        trees = {}
        for analysis in self.analyses:
            if analysis.tree is not None:
                trees[analysis.experiment] = analysis.tree
        return galleries(self.store, trees)

    @cached_property
    def sections(self) -> list[Section]:
        """Every section that there is something for, in order."""
        made = sections(self.main, self.others)
        if self.galleries:
            place = 1 if made and made[0].name == "answer" else 0
            made.insert(place, Section("images", "Images", IMAGES))
        if self.documents:
            made.append(Section("data", "Data", DATA))
        return made

    @cached_property
    def rows(self) -> dict[str, Any]:
        """Every row of results, without the fields that are as by default."""
        found = []
        for one in self.documents:
            for row in one.rows:
                found.append(row.model_dump(exclude_defaults=True))
        return {"columns": list(ResultRow.model_fields), "rows": found}

    def viewed(self, records: Sequence[dict[str, Any]], *, full: bool = False) -> dict[str, Any]:
        """What the viewer knows: galleries, names of quantities, whether images can be had whole."""
        names = {}
        for one in self.galleries:
            for shown in one.models:
                for name in shown.values:
                    names[name] = quantity(name).long
        return {"galleries": list(records), "quantities": names, "full": full}


IMAGES = """\
<p class="quiet">Rows are prompts, columns are any conditions of any models, with every sample. Point \
at an image to outline its twins, which share its noise; open it to see it large, with its tokens.</p>
<div id="viewer"><noscript><p>Images need JavaScript; charts and tables are shown without.</p></noscript></div>
<details class="noprint"><summary>Keys</summary><ul>
<li>arrows, or h j k l: another sample or prompt; Enter: open; s: star; Home, End: first, last of a row</li>
<li>in an open image: arrows, j, k: another sample or prompt; s: star; Escape: close</li>
<li>in a blind comparison: 1, 2: choose a side; 0: the same</li>
</ul></details>"""

DATA = """\
<p class="quiet">Every number of this page is one of these rows. Six digits are shown; copies hold all of \
them. What the columns mean is in docs/results-format.md.</p>
<div id="all-rows"><noscript><p>Rows need JavaScript here; they are in results.json.</p></noscript></div>"""


def content(store: Store, settings: Config, machine: Machine | None = None) -> Content:
    """What the page of a run is made of: the analysis of the settings, and ablations made before.

    A run of ablations alone has no analysis of its own where none was asked for by name. Raises
    what `ibstats.analysis.analyse` raises.
    """
    default = Config.model_fields["experiment"].default
    is_asked = settings.experiment != default or store.run.imported is not None
    if not is_asked and settings.experiment not in store.experiments():
        return Content(store, None, _ablations(store, ""))
    document = obtain(store, settings, machine)
    return content_of(store, document, partial(obtain_tree, store, settings, machine))


def content_of(store: Store, document: Results, load: Callable[[], xr.DataTree | None]) -> Content:
    """What the page of a run is made of that has been analysed; `load` reads the tree."""
    experiment = str(document.settings["experiment"])
    main = Analysis(Numbers(document), experiment, load, partial(code_counts, store, experiment))
    return Content(store, main, _ablations(store, experiment))


def _ablations(store: Store, besides: str) -> tuple[Analysis, ...]:
    """The ablations that were analysed before, but for the experiment `besides`."""
    made = []
    for name, document in kept_documents(store).items():
        if name != besides:
            made.append(Analysis(Numbers(document), name, partial(kept_tree, store, document)))
    return tuple(made)


def write_page(of: Content, file: Path, *, everything: bool = False) -> None:
    """Write the page as one file; at most `CAP` bytes, or with every prompt.

    Where it would be larger, prompts are thinned evenly, and the page says so.
    """
    inside = Inside()
    if everything:
        chosen = [gallery.prompts for gallery in of.galleries]
    else:
        bare = _rendered(of, [], "", beside=False)
        told = [gallery.record(gallery.prompts, named) for gallery in of.galleries]
        room = CAP - len(bare.encode()) - len(json.dumps(told))
        chosen = fitting(of.galleries, inside, room)
    records = []
    for gallery, prompts in zip(of.galleries, chosen, strict=True):
        if prompts:
            records.append(gallery.record(prompts, inside.put))
    write_whole(file, _rendered(of, records, "".join(inside.parts), beside=False))


def write_bundle(of: Content, folder: Path) -> Path:
    """Write the page with every prompt and its pieces as files beside it; gives the page."""
    beside = Beside(folder / "pieces")
    records = [gallery.record(gallery.prompts, beside.put) for gallery in of.galleries]
    file = folder / "index.html"
    write_whole(file, _rendered(of, records, "", beside=True))
    return file


def served_page(of: Content) -> str:
    """The page whose pieces and whole images are asked for one by one, see `serving`."""
    records = [gallery.record(gallery.prompts, named) for gallery in of.galleries]
    return _rendered(of, records, "", beside=True, full=True)


def is_current(of: Content, file: Path) -> bool:
    """Whether a page is there that was made of the same.

    By the digest in its head, so that nothing is made to know it.
    """
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        start = stream.read(HEAD).decode("utf-8", "replace")
    found = DIGEST.search(start)
    return found is not None and found.group(1) == of.digest


def _rendered(
    of: Content,
    records: Sequence[dict[str, Any]],
    pieces: str,
    *,
    beside: bool,
    full: bool = False,
) -> str:
    return framed(
        of.store.run.name,
        _about(of),
        of.sections,
        digest=of.digest,
        galleries=of.viewed(records, full=full) if records else None,
        rows=of.rows,
        pieces=pieces,
        footer=_footer(of),
        beside=beside,
    )


def _about(of: Content) -> str:
    """A line about the run: models, prompts, seed, snapshot."""
    run = of.store.run
    said = [", ".join(run.models), f"{run.n_prompts} prompts"]
    for gallery in of.galleries:
        conditions, samples = len(gallery.first.design.conditions), gallery.first.n_samples
        said.append(f"{gallery.experiment}: {conditions} conditions × {samples} images")
    if run.seed is not None:
        said.append(f"seed {run.seed}")
    return " · ".join([*said, f"snapshot {words.snapshot(of.store.snapshot())}"])


def _footer(of: Content) -> str:
    """What made the page, and what to cite."""
    made = []
    for one in of.documents:
        made.append(f"ibstats {escape(one.ibstats_version)}, analysis {one.analysis_sha256[:16]}")
    if not made:
        return ""
    cited = escape(cite(of.store.path))
    return (
        f"<p>{'; '.join(dict.fromkeys(made))}.</p>\n<details><summary>What to cite</summary>"
        f'<p><button type="button" data-copies="bibtex" hidden>Copy as BibTeX</button></p>'
        f'<pre id="bibtex" tabindex="0">{cited}</pre></details>'
    )
