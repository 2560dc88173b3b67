"""Exported results: one row per number, with everything needed to read it alone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from schemas.design import DesignRecord
from schemas.study import Strict

SCHEMA: Literal["ibstats-results"] = "ibstats-results"
VERSION = "1.6"

Section = Literal[
    "diversity",
    "effective_number",
    "effect",
    "simple_effect",
    "probe",
    "waterfall",
    "information",
    "information_effect",
    "rarefaction",
    "equivalence",
    "strategy",
    "ledger",
    "pair_distance",
    "sobol",
    "wording",
    "wording_effect",
    "whole_image",
    "quality",
    "quality_effect",
    "quality_probe",
    "frontier",
    "contrast",
    "comparison",
    "inflection",
    "offer",
]
Number = float | None
"""None where the number is undefined."""


class ResultRow(Strict):
    """One estimate. Absent columns are None; a p value is None where no test was possible."""

    section: Section
    model: str
    experiment: str
    quantity: str = Field(
        description="Name of the measured quantity, for instance ssim_dissimilarity."
    )
    units: str
    term: str = Field(
        description="Label made from the fields below: cell (sampling/prompt_type/codebook), condition, effect, probe, "
        "waterfall step or 'arm - arm'. For people; never parsed."
    )
    condition: str | None = Field(
        default=None,
        description="Condition that the number is of, or the first of the two compared.",
    )
    against: str | None = Field(default=None, description="Condition that it is compared with.")
    effect: str | None = Field(
        default=None,
        description="Effect (factors joined by ':'), probe, or comparison of arms, by name.",
    )
    step: str | None = Field(default=None, description="Step of a waterfall.")
    part: str | None = Field(
        default=None,
        description="What of it: share of path or execution, ratio or slope of an inflection (or the prompts that it "
        "needs), bit of a code, share of the images or prompts of a rarefaction; of pair distances `neither` (D_0), "
        "what is left of it (`path_shared`, "
        "`execution_shared`, `argmax`: shares of D_0), `redundancy`, and of an order `nothing_varies`, the distance of "
        "argmax images of one path noise.",
    )
    at: dict[str, str] = Field(default={}, description="Factors held at one level, and that level.")
    distance: str | None = Field(
        default=None, description="Distance that a verdict of the frontier or an offer goes with."
    )
    score: str | None = Field(default=None, description="Score that an offer goes with.")
    paths: int | None = Field(default=None, description="Rescored paths per image behind a bound.")
    attribution: str | None = Field(
        default=None,
        description="Waterfall: marginal, simple or shapley. Also a label of part, paths, distance or score.",
    )
    estimator: str | None = Field(
        default=None, description="Entropy estimator, where one was used."
    )

    estimate: Number
    low: Number = None
    high: Number = None
    level: Number = None
    interval_method: str | None = Field(
        default=None,
        description="guarded (outermost of studentized bootstrap, Hall's transformed t and t), studentized, bca or "
        "percentile, over prompts, symmetric of ratios; hall (of ratios t) where ties leave the bootstrap no bound; "
        "agreement where few-valued prompts are all alike.",
    )
    n_resamples: int | None = None
    seed: int | None = None
    degenerate: bool = Field(
        default=False, description="No variation over prompts: interval of width 0, no test."
    )

    n_prompts: int
    n_images: int = Field(
        description="Images per prompt and condition; the fewest, where numbers are unequal."
    )
    n_images_most: int | None = Field(
        default=None,
        description="The most images of a prompt, where numbers are unequal and all images count.",
    )
    n_units: int | None = Field(
        default=None, description="Blocks of prompts resampled, where they are not prompts."
    )

    statistic: Number = Field(
        default=None, description="t with df degrees of freedom; F(1, df) is its square."
    )
    df: int | None = None
    p: Number = None
    p_wilcoxon: Number = None
    p_sign_flip: Number = None
    p_max_t: Number = None
    p_holm: Number = None
    p_bh: Number = None
    n_tests: int | None = Field(
        default=None, description="Size of the family that adjusted p values count."
    )
    partial_eta_squared: Number = None
    d_z: Number = None
    d_z_low: Number = None
    d_z_high: Number = None
    hedges_g: Number = None
    hedges_g_low: Number = None
    hedges_g_high: Number = None
    bayes_factor: Number = None

    margin: Number = Field(
        default=None, description="Predeclared equivalence margin, +- in units of the quantity."
    )
    verdict: str | None = None
    weak: bool = Field(
        default=False, description="Not to be relied on, and greyed out; the note says why."
    )
    note: str | None = None


class Results(Strict):
    """A whole analysis. Two documents with the same `analysis_sha256` hold the same numbers."""

    schema_name: Literal["ibstats-results"] = SCHEMA
    schema_version: str = VERSION
    run_id: str
    snapshot: str = Field(
        description="Digest of the ledger records the numbers were computed from."
    )
    analysis_sha256: str = Field(description="Digest of snapshot, settings and version.")
    ibstats_version: str
    settings: dict[str, Any]
    families: dict[str, str] = Field(default={}, description="Family of each model.")
    designs: dict[str, DesignRecord] = Field(
        default={}, description="Conditions, factors and baseline of each experiment in the rows."
    )
    notes: list[str] = Field(default=[])
    rows: list[ResultRow]
    sha256: str = Field(
        default="", description="Digest of all the above, against damage to the file itself."
    )
