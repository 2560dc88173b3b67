"""The known models as rows of a table, and what would be loaded for one of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from generate.errors import ModelError
from generate.models import MODELS, model_class
from generate.models.base import Model
from generate.models.precision import STORAGE
from generate.models.public import PublicModel
from schemas.provenance import ModelIdentity

COLUMNS = {
    "name": "model",
    "family": "family",
    "grids": "token grid",
    "codes": "codebook",
    "quantizer": "quantizer",
    "parameters": "parameters",
    "weights": "memory",
    "download": "download",
    "licence": "licence",
    "presets": "presets",
    "speeds": "images/s on an H200",
    "verified": "verified",
    "what": "what it is",
}
"""Fields of a row, and what they are called in the README."""


@dataclass(frozen=True)
class Row:
    """One known model, as its adapter describes it, for people to read.

    `parameters` counts those of all networks that sampling needs, `weights` is the memory they take
    at the default precision, `download` the size of the files that are fetched; `presets` names
    sets of settings, `speeds` are images a second by precision, and `verified` says what the tests
    compare. `here` is "yes" or "no" for whether all files are in the local cache, "shipped" for a
    model that comes with the package.
    """

    name: str
    family: str
    grids: str
    codes: str
    quantizer: str
    parameters: str
    weights: str
    download: str
    licence: str
    here: str
    presets: str
    speeds: str
    verified: str
    what: str

    @classmethod
    def of(cls, name: str) -> Row:
        """The row of a known model; fetches nothing and reads no weights.

        `name` is one of `MODELS`, and the options are the adapter's defaults. Raises ModelError for
        an unknown one. A field is empty where the adapter's card does not say.
        """
        adapter = model_class(name)
        card, options = adapter.card, adapter.options({})
        codes = parameters = weights = download = ""
        if card.codebook_size is not None:
            codes = f"{card.codebook_size} ({math.log2(card.codebook_size):g} bit)"
        if card.parameters is not None:
            parameters = f"{card.parameters:g} M"
            weights = memory_of(adapter)
        if card.download is not None:
            download = f"{card.download:.1f} GB"
        return cls(
            name=name,
            family=adapter.family,
            grids=card.grids,
            codes=codes,
            quantizer=card.quantizer,
            parameters=parameters,
            weights=weights,
            download=download,
            licence=card.licence,
            here=_here(adapter, options),
            presets=", ".join(adapter.presets),
            speeds=written(card.speeds),
            verified=card.verified,
            what=(adapter.__doc__ or "").split("\n")[0],
        )


def written(speeds: Mapping[str, float]) -> str:
    """Numbers by precision, on one line.

    >>> written({"float32": 1.9, "tf32": 6.4})
    '1.9 in float32, 6.4 in tf32'
    """
    return ", ".join(f"{number:.3g} in {precision}" for precision, number in speeds.items())


def memory_of(adapter: type[Model]) -> str:
    """Memory that the weights of a model take at its default precision, for people.

    By the parameters of its card; empty where that does not say how many there are.
    """
    if adapter.card.parameters is None:
        return ""
    precision = getattr(adapter.options({}), "precision", "float32")
    return _memory(adapter.card.parameters * 1e6 * STORAGE[precision].itemsize)


def _memory(n_bytes: float) -> str:
    """Bytes for people, in GB to a tenth from .1 GB on, in whole MB below."""
    if n_bytes < 1e8:
        return f"{n_bytes / 1e6:.0f} MB"
    return f"{n_bytes / 1e9:.1f} GB"


def _here(adapter: type[Any], options: Any) -> str:
    if not issubclass(adapter, PublicModel):
        return "shipped"
    try:
        adapter.find(options, download=False)
    except ModelError:
        return "no"
    return "yes"


def rows() -> list[Row]:
    """All models known by name."""
    return [Row.of(name) for name in MODELS]


def markdown() -> str:
    """The table of models for a README, as the adapters describe them, in Markdown.

    Nothing is fetched and no weights are read. The last column is the first line of the adapter's docstring.
    """
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows():
        cells = [str(getattr(row, column)) for column in COLUMNS]
        lines.append("| " + " | ".join([f"`{cells[0]}`", *cells[1:]]) + " |")
    return "\n".join(lines) + "\n"


def thirds(identity: ModelIdentity, open_after: Sequence[int] = ()) -> tuple[int, int, int] | None:
    """Tokens that the early, middle and late third of the steps commit.

    `open_after` are the positions that a masked model leaves open after each step. None where
    chance decides, that is for diffusion.
    """
    n_positions = identity.grid[0] * identity.grid[1]
    if identity.family == "diffusion":
        return None
    steps = identity.steps
    left = list(range(steps - 1, -1, -1))
    if identity.family == "masked":
        left = list(open_after)
    elif identity.family == "scales":
        left = [n_positions - filled for filled in itertools.accumulate(identity.scales)]
    counts = [0, 0, 0]
    before = n_positions
    for step, after in enumerate(left):
        counts[3 * step // steps] += before - after
        before = after
    return counts[0], counts[1], counts[2]
