"""A reference set: what a Frechet or kernel distance compares images with, one .npz file.

Arrays: `mean (d,)`, `covariance (d, d)` in double precision and, for kernel distances, `features
(m, d)` of some of the images; `record` is a `ReferenceSet` as JSON. Written by `ibstats reference`,
and by the trio for its own network.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from schemas.study import Strict

SCHEMA: Literal["ibstats-reference-set"] = "ibstats-reference-set"
VERSION = "1.1"

SCENE_FEATURES = "last layer, mean over places"
"""Where the reference network's features are taken; part of the `settings` of its sets."""


class ReferenceSet(Strict):
    """Where the statistics come from, and how its images were prepared; images compared must be
    prepared alike.
    """

    schema_name: Literal["ibstats-reference-set"] = SCHEMA
    schema_version: str = VERSION
    name: str = Field(description="What the user called the set, for instance coco-val2014.")
    network: str = Field(
        description="Feature network, by its name: inception, dinov2, facebook_dinov2_base."
    )
    settings: dict[str, Any] = Field(
        description="What fixes the features of the network: weight digest, input rule."
    )
    size: tuple[int, int] = Field(
        description="Height and width of the images as the network is given them."
    )
    resize: str = Field(
        description="How images came to that size: a rule of ibstats, or 'declared' of an import."
    )
    n_images: int = Field(ge=2)
    n_features_kept: int = Field(default=0, description="Rows of `features`.")
    dimensions: int = Field(ge=1)
    images_sha256: str | None = Field(
        default=None, description="Digest of the prepared images, in order."
    )
    pictures: dict[str, int] = Field(
        default={},
        description="Number of images by what was done to them: turned upright, laid over white, "
        "scaled from 16 bits, first of several frames.",
    )
    passed_over: int = Field(
        default=0,
        description="Image files of the folder that were left out: hidden, of a system folder, or of "
        "a format that cannot be opened.",
    )
    made: str = Field(description="Program and version.")
