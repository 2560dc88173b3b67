"""Results documents made by hand, with a row of every section: two models that measured all of it."""

from __future__ import annotations

from itertools import product
from typing import Any

from schemas.design import FACTORS, ConditionRecord, DesignRecord
from schemas.results import ResultRow, Results

MODELS = ("trio [bold]red", "a_b & 50 % <i>")
"""Names that are markup or commands to some renderer."""

DISTANCES = ("pixel_cosine_distance", "lpips_alex_distance")
SCORES = ("clip_iqa", "reference_accuracy", "reference_accuracy_shape", "fid")
BITS = ("path_causal", "execution_causal", "joint", "residual_upper", "tokens_upper")
PARTS = ("path", "execution", "interaction", "path_total", "execution_total")
PAIRS = ("neither", "path_shared", "execution_shared", "argmax", "redundancy")
STEPS = ("baseline", "sampling", "prompt_type", "codebook", "predicted", "gap", "actual")
EFFECTS = ("sampling", "codebook", "sampling:codebook")
PROBES = {"argmax": ("argmax", "original", "full"), "subset": ("stochastic", "original", "subset")}
BASELINE = "stochastic-original-full"
ARMS = ("01-keep-0.25", "02-keep-0.50", "03-keep-1.00")

MADE = {
    "level": 0.95,
    "interval_method": "studentized",
    "n_resamples": 2000,
    "seed": 7,
    "n_prompts": 12,
    "n_images": 4,
}
TESTED = {
    "statistic": -2.5,
    "df": 11,
    "p": 0.01,
    "p_holm": 0.03,
    "p_max_t": 0.02,
    "n_tests": 7,
    "partial_eta_squared": 0.4,
    "d_z": -0.7,
}


def row(section: str, quantity: str, **fields: Any) -> ResultRow:
    """A row with an interval; `fields` are of it."""
    known: dict[str, Any] = {
        "section": section,
        "model": MODELS[0],
        "experiment": "factorial",
        "quantity": quantity,
        "units": "1",
        "term": "never read",
        "estimate": 0.5,
        "low": 0.25,
        "high": 0.75,
        **MADE,
    }
    return ResultRow(**known | fields)


def document(rows: list[ResultRow], **more: Any) -> Results:
    """A document of these rows."""
    made: dict[str, Any] = {
        "run_id": "r",
        "snapshot": "0123456789abcdef",
        "analysis_sha256": "d",
        "ibstats_version": "0",
        "settings": {},
        "families": {MODELS[0]: "masked"},
        "notes": ["[red]something[/] is left out"],
    }
    return Results(**made | {"rows": rows} | more)


def cells() -> list[ConditionRecord]:
    """The eight conditions of the paper's design."""
    found = []
    for levels in product(*((factor.low, factor.high) for factor in FACTORS)):
        named = dict(zip((factor.name for factor in FACTORS), levels, strict=True))
        label = "/".join(levels)
        found.append(ConditionRecord(name="-".join(levels), levels=named, label=label))
    return found


def factorial() -> Results:
    """Every section of a factorial, of two models."""
    rows: list[ResultRow] = []
    for model in MODELS:
        rows += _of_factorial(model)
    design = DesignRecord(
        kind="factorial", conditions=cells(), factors=list(FACTORS), baseline=BASELINE
    )
    crossed = DesignRecord(
        kind="crossed_noise", conditions=cells(), factors=list(FACTORS), baseline=BASELINE
    )
    return document(rows, designs={"factorial": design, "crossed": crossed})


def _of_factorial(model: str) -> list[ResultRow]:
    rows = []
    conditions = [condition.name for condition in cells()]
    for condition in conditions:
        here = {"model": model, "condition": condition}
        for distance in DISTANCES:
            rows.append(row("diversity", distance, **here))
            rows.append(row("effective_number", f"vendi_{distance}", **here))
        for name in ("codebook_entropy", "mutual_information", "perplexity", "coverage"):
            rows.append(row("information", name, estimator="plugin", **here, note="of these"))
        if "subset" in condition:
            rows.append(row("information", "subset_mass_removed", **here))
            rows.append(row("information", "subset_overlap", **here, weak=True, note="by chance"))
        for score in SCORES:
            rows.append(row("quality", score, **here, note=f"{score}: 50 % of a_b"))
            if not score.endswith("shape"):
                at = {"distance": DISTANCES[1], "verdict": "dominated"}
                rows.append(row("frontier", score, **here, **at))
        for name in (*BITS, "share_path_causal"):
            rows.append(row("ledger", name, **here))
        rows.append(row("ledger", "tokens_upper", **here, paths=4))
        for part in PARTS:
            fields = {**here, "experiment": "crossed", "part": part}
            rows.append(row("sobol", DISTANCES[0], **fields))
    for part, name in product(("0.5 of images", "1 of images"), ("mutual_information", "hill_2")):
        here = {"model": model, "condition": BASELINE, "part": part, "weak": True}
        rows.append(row("rarefaction", name, **here, note="rests on little"))
    for distance, part in product(DISTANCES, PAIRS):
        fields = {"model": model, "experiment": "crossed", "part": part, "condition": BASELINE}
        rows.append(row("pair_distance", distance, **fields, note="argmax images of 'factorial'"))
    for effect in EFFECTS:
        here = {"model": model, "effect": effect, **TESTED}
        rows += [row("effect", distance, **here) for distance in DISTANCES]
        rows += [row("quality_effect", score, **here) for score in SCORES]
        rows.append(row("information_effect", "codebook_entropy", **here))
    for level in ("original", "paraphrase"):
        here = {"model": model, "effect": "sampling", "at": {"prompt_type": level}, **TESTED}
        rows += [row("simple_effect", distance, **here) for distance in DISTANCES]
    worded = {
        "condition": "stochastic-paraphrase-full",
        "against": BASELINE,
        "effect": "paraphrase",
    }
    for distance in DISTANCES:
        rows.append(row("wording_effect", distance, model=model, **worded, **TESTED, note="worded"))
    for probe, levels in PROBES.items():
        of = {"condition": "-".join(levels), "against": BASELINE, "effect": probe, **TESTED}
        rows += [row("probe", distance, model=model, **of) for distance in DISTANCES]
        rows += [row("quality_probe", score, model=model, **of) for score in SCORES]
        same = {"model": model, "effect": probe, "verdict": "drop", "margin": 0.02}
        rows.append(row("equivalence", DISTANCES[0], **same))
    verdict = {"verdict": "mixed", "note": "the path is fixed", "estimate": None}
    rows.append(row("strategy", DISTANCES[0], model=model, **verdict))
    for attribution, step in product(("marginal", "simple", "shapley"), STEPS):
        fields = {"model": model, "attribution": attribution, "step": step}
        rows.append(row("waterfall", DISTANCES[0], **fields))
        held = {"at": {"sampling": "stochastic"}}
        rows.append(row("waterfall", DISTANCES[0], **fields, **held))
    return rows


def ablation() -> Results:
    """Every section of a subset-ratio ablation, of two models."""
    rows: list[ResultRow] = []
    for model in MODELS:
        rows += _of_ablation(model)
    conditions = []
    for name in ARMS:
        conditions.append(ConditionRecord(name=name, label=name, short=name.partition("-")[2]))
    design = DesignRecord(kind="subset_ratio", conditions=conditions, baseline=ARMS[-1])
    return document(rows, designs={"ratio": design})


def _of_ablation(model: str) -> list[ResultRow]:
    rows = []
    of = {"model": model, "experiment": "ratio"}
    for arm in ARMS:
        for distance in DISTANCES:
            rows.append(row("diversity", distance, condition=arm, **of))
        for score in SCORES:
            rows.append(row("quality", score, condition=arm, **of))
        for name in ("codebook_entropy", "capacity", "utilisation", "tokens_under_argmax"):
            rows.append(row("information", name, condition=arm, estimator="plugin", **of))
        for name in ("subset_mass_removed", "subset_overlap", "subset_tie_share", "subset_unseen"):
            if arm != ARMS[-1]:
                rows.append(row("information", name, condition=arm, **of))
    for arm in ARMS[:-1]:
        change = {"condition": arm, "against": ARMS[-1], "effect": f"{arm} - full"} | TESTED | of
        for distance in DISTANCES:
            rows.append(row("contrast", distance, **change))
            rows.append(row("comparison", distance, **change))
        for score in SCORES:
            rows.append(row("quality_effect", score, **change))
    parts = ("ratio", "slope_below", "slope_above", "swept_from", "swept_to", "prompts_needed")
    for distance, part in product(DISTANCES, parts):
        fields = {"part": part, "p": 0.02, "p_max_t": 0.01} | of
        rows.append(row("inflection", distance, verdict="found", **fields))
    for distance in DISTANCES:
        keep = {"part": "keep_ratio", "score": "clip_iqa", "verdict": "quality falls"} | of
        rows.append(row("offer", distance, **keep))
        change = {"effect": "keep-0.25 - keep-1.00", "condition": ARMS[0], "distance": distance}
        change["margin"] = 0.1
        rows.append(row("offer", "clip_iqa", **change, **of))
    rows.append(row("offer", "clip_iqa", part="stable_from", **of))
    return rows
