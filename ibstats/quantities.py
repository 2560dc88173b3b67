"""What every computed number means: one record a quantity, in `quantities.yaml` and nowhere else.

A record says how a quantity is called (in results, on the command line, in a column head, in a
sentence), its unit, the values it can take, which end of it is good, where it stands among others
of its family, and what makes it. Tables, figures, exports, margins and help texts all read it here.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import inf
from typing import Any, Literal

import yaml

Family = Literal["distance", "effective", "entropy", "usage", "bits", "image", "share", "score"]
Better = Literal["larger", "smaller", ""]
Material = Literal["scenes", "pictures", "small"]
"""What a distance is measured on: scenes of the trio, other images, images too small for a network."""


@dataclass(frozen=True)
class Quantity:
    """One computed number: how it is called, its unit, what it can be, which end is good.

    More diverse is always larger.

    >>> quantity("fid").better, quantity("codebook_entropy").unit
    ('smaller', 'bit')
    """

    name: str
    """Name in results."""
    family: Family
    long: str
    """In a caption or on an axis."""
    short: str
    """In a column head."""
    unit: str = "1"
    least: float = 0.0
    most: float = inf
    """The values it can take, bounds included."""
    better: Better = ""
    """Which end is good; empty where neither is."""
    rank: int | None = None
    """Place, from 0, among those that may stand for the family where there is room for one."""
    user: str = ""
    """Name on the command line.

    Records that share it are made together; the first of them is the one named.
    """
    made_by: str = ""
    """`package.module:Name` of the class that measures a distance, or of a score's function."""
    network: str = ""
    """Network behind a score, by its name in `ibstats.measure`; `any` for the one that settings name."""
    of_sets: bool = False
    """Whether a score is of the whole set of images of a condition, not of each image."""
    of_samples: bool = False
    """Whether a score of sets needs features of reference images, not their moments alone."""
    part_of: str = ""
    """The quantity that this one is a part of, for instance one attribute of an accuracy."""
    steps: bool = False
    """Whether it is a share of so few answers that prompts agree by chance."""
    by_default: tuple[Material, ...] = ()
    """On what a distance is measured when nothing is asked for."""
    sources: tuple[str, ...] = ()
    """What to cite for it, by keys of `schemas/citations.bib`; empty where it is our own."""

    @property
    def arrow(self) -> str:
        """Which end is good, as an arrow; empty where neither is."""
        return {"larger": "↑", "smaller": "↓", "": ""}[self.better]


def register(record: Quantity) -> Quantity:
    """Make a quantity known, for instance that of a user's own metric.

    Raises ValueError if another record has its name.

    >>> record = register(Quantity("dino_distance", "distance", "DINOv2 distance", "DINOv2"))
    >>> quantity("dino_distance").short
    'DINOv2'
    """
    known = _records().setdefault(record.name, record)
    if known != record:
        raise ValueError(f"quantity '{record.name}' is known already, as {known.long}")
    return record


def quantity(name: str) -> Quantity:
    """The record of a quantity by its name in results.

    Some are named after another one: `vendi_D` and `rke_D` are effective numbers of images under
    distance D, `share_B` is the share of the joint bits that B makes, `digit_I_entropy` is of one
    digit of the codes, the most significant being 0. A name that nobody registered gets a record
    that says no more than the name.

    >>> quantity("ssim_dissimilarity").long
    'structural dissimilarity, 1 - SSIM'
    >>> quantity("vendi_reference_distance").short
    'Vendi, scene network'
    """
    known = _records()
    if name in known:
        return known[name]
    kind, _, of = name.partition("_")
    if kind in EFFECTIVE:
        base = quantity(of)
        long = f"{EFFECTIVE[kind]} under {base.long}"
        short = f"{EFFECTIVE[kind]}, {base.short}"
        sources = EFFECTIVE_SOURCES[kind] + base.sources
        return Quantity(name, "effective", long, short, sources=sources)
    if kind == "share":
        base = quantity(of)
        return Quantity(name, "share", f"share of the joint bits: {base.long}", base.short, most=1)
    if kind == "digit":
        long = f"entropy of digit {of.partition('_')[0]} of a code"
        return Quantity(name, "entropy", long, name, unit="bit")
    return Quantity(name, "usage", name, name)


def of_family(*families: Family) -> list[Quantity]:
    """The records of some families, in the order in which tables show them.

    >>> [record.name for record in of_family("distance")][:2]
    ['pixel_cosine_distance', 'ssim_dissimilarity']
    """
    return [record for record in _records().values() if record.family in families]


def by_user(family: Family) -> dict[str, Quantity]:
    """By the name that a user asks for, the first of the records that it makes.

    >>> by_user("distance")["ssim"].name
    'ssim_dissimilarity'
    """
    found: dict[str, Quantity] = {}
    for record in of_family(family):
        if record.user:
            found.setdefault(record.user, record)
    return found


def preferred(family: Family, measured: Container[object]) -> str | None:
    """The quantity that stands for its family where there is room for one.

    None where none was measured. The paper's comes first; scores that do not grow with a loss of
    diversity come before those that do.

    >>> preferred("score", {"fid", "clip_score"})
    'clip_score'
    """
    best = None
    for record in of_family(family):
        if record.rank is None or record.name not in measured:
            continue
        if best is None or record.rank < best[0]:
            best = (record.rank, record.name)
    return best and best[1]


EFFECTIVE = {"vendi": "Vendi", "rke": "RKE"}
"""Effective numbers of distinct images, by what their names begin with."""

EFFECTIVE_SOURCES = {
    "vendi": ("friedman2023vendi", "pasarkar2024cousins"),
    "rke": ("jalali2023information",),
}
"""What to cite for them, besides the sources of the distance."""


LISTS = ("sources", "by_default")
"""Keys of a record that hold lists."""


@cache
def _records() -> dict[str, Quantity]:
    """Every known quantity by its name in results: those of the file, then those registered."""
    file = resources.files("ibstats").joinpath("quantities.yaml")
    families: dict[Family, dict[str, dict[str, Any]]] = yaml.safe_load(file.read_text("utf-8"))
    known: dict[str, Quantity] = {}
    for family, records in families.items():
        for name, values in records.items():
            for key in LISTS:
                values[key] = tuple(values.get(key, ()))
            known[name] = Quantity(name, family, **values)
    return known
