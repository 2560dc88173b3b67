"""What to cite for a run: the software, the paper, and the sources of its models and of every number reported."""

from __future__ import annotations

import json
from pathlib import Path

from ibstats import __version__
from ibstats.errors import IbstatsError
from ibstats.store import Store, open_store
from schemas.citations import METHOD, MODELS, entries
from schemas.io.layout import ResultsFolder

QUANTITIES: dict[str, tuple[str, ...]] = {
    "ssim_dissimilarity": ("wang2004image",),
    "lpips_alex_distance": ("zhang2018unreasonable",),
    "lpips_vgg_distance": ("zhang2018unreasonable",),
    "lpips_squeeze_distance": ("zhang2018unreasonable",),
    "vendi": ("friedman2023vendi", "pasarkar2024cousins"),
    "rke": ("jalali2023information",),
    "clip_score": ("hessel2021clipscore", "radford2021learning", "detlefsen2022torchmetrics"),
    "clip_iqa": ("wang2023exploring", "radford2021learning", "detlefsen2022torchmetrics"),
    "fid": ("heusel2017gans", "obukhov2020torchfidelity"),
    "fid_infinity": ("chong2020effectively", "heusel2017gans", "obukhov2020torchfidelity"),
    "kid": ("binkowski2018demystifying", "obukhov2020torchfidelity"),
    "reference_frechet": ("heusel2017gans",),
    "reference_frechet_infinity": ("chong2020effectively", "heusel2017gans"),
    "reference_kernel": ("binkowski2018demystifying",),
    "coverage": ("good1953population",),
    "coverage_per_prompt": ("good1953population",),
    "tokens_lower": ("grosse2015sandwiching", "sobolev2019importance"),
    "tokens_upper": ("burda2016importance",),
    "residual_lower": ("burda2016importance",),
}
"""Sources of what is measured, by the name of the quantity; `vendi` and `rke` are taken over any distance.

A quantity without a source of its own (pixel cosine, the reference network's) is the software's.
"""

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

SECTIONS: dict[str, tuple[str, ...]] = {"sobol": ("sobol2001global",)}
"""Sources of what is done with the numbers, by section of the results."""

EFFECTIVE_NUMBERS = ("vendi", "rke")

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


def sources(quantity: str) -> tuple[str, ...]:
    """Keys of the sources of a quantity of the results, none where it is the software's own.

    >>> sources("vendi_pixel_cosine_distance")
    ('friedman2023vendi', 'pasarkar2024cousins')
    """
    for name in EFFECTIVE_NUMBERS:
        if quantity.startswith(f"{name}_"):
            own = quantity.removeprefix(f"{name}_")
            return QUANTITIES[name] + QUANTITIES.get(own, ())
    return QUANTITIES.get(quantity, ())


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


def _reported(store: Store) -> dict[str, tuple[str, ...]]:
    """Sources by quantity, estimator and section, over all analyses kept beside a run."""
    folder = ResultsFolder(store.path)
    found: dict[str, tuple[str, ...]] = {}
    for file in [folder.document, *sorted(folder.analyses.glob("*.json"))]:
        if not file.is_file():
            continue
        try:
            rows = json.loads(file.read_bytes())["rows"]
        except (ValueError, KeyError, TypeError):
            raise IbstatsError(f"'{file}' is no results document; remove it") from None
        for row in rows:
            found[row["quantity"]] = sources(row["quantity"])
            found[f"estimator {row['estimator']}"] = ESTIMATORS.get(row["estimator"], ())
            found[f"section {row['section']}"] = SECTIONS.get(row["section"], ())
    return found
