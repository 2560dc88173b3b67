"""Exported results: one row per number, with everything needed to read it alone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from schemas.study import Strict

SCHEMA: Literal["ibstats-results"] = "ibstats-results"
VERSION = "1.2"

Section = Literal[
    "diversity",
    "effective_number",
    "effect",
    "probe",
    "waterfall",
    "information",
    "information_effect",
    "equivalence",
    "strategy",
    "ledger",
    "sobol",
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
        description="Cell (sampling/prompt_type/codebook), condition, effect, probe, waterfall step or 'arm - arm'."
    )
    attribution: str | None = Field(
        default=None,
        description="Waterfall: marginal, simple or shapley; sobol: whose share; frontier: the distance it is against; "
        "offer: the score or distance it goes with.",
    )
    estimator: str | None = Field(
        default=None, description="Entropy estimator, where one was used."
    )

    estimate: Number
    low: Number = None
    high: Number = None
    level: Number = None
    interval_method: str | None = Field(
        default=None, description="studentized, bca or percentile bootstrap over prompts."
    )
    n_resamples: int | None = None
    seed: int | None = None
    degenerate: bool = Field(
        default=False, description="No variation over prompts: interval of width 0, no test."
    )

    n_prompts: int
    n_images: int = Field(description="Images per prompt and condition.")
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
    notes: list[str] = Field(default=[])
    rows: list[ResultRow]
