"""Hand-made documents: two models of an experiment, every number and note of which may be taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from ibstats.report import figures
from ibstats.report.figures import canvas
from ibstats.results.lookup import Numbers
from schemas.design import ConditionRecord, DesignRecord, Factor
from schemas.results import ResultRow, Results

MODELS = ("first", "second")
DISTANCE, SCORE = "ssim_dissimilarity", "reference_accuracy"
FACTORS = (
    Factor(name="noise", low="quiet", high="loud"),
    Factor(name="words", low="one", high="many"),
    Factor(name="codes", low="few", high="all"),
)
KINDS = {"quality": SCORE, "quality_probe": SCORE, "frontier": SCORE}


def row(section: str, **fields: Any) -> ResultRow:
    """A row of the experiment `e`, of the distance or score that its section is about."""
    plain: dict[str, Any] = {
        "experiment": "e",
        "quantity": KINDS.get(section, DISTANCE),
        "units": "1",
        "term": "a label",
        "estimate": 0.5,
        "low": 0.4,
        "high": 0.7,
        "level": 0.95,
        "n_prompts": 6,
        "n_images": 4,
    }
    return ResultRow(section=section, **(plain | fields))


def document(design: DesignRecord, rows: Sequence[ResultRow]) -> Results:
    """A document of experiment `e` with these rows."""
    return Results(
        run_id="r",
        snapshot="s",
        analysis_sha256="d",
        ibstats_version="0",
        settings={"experiment": "e"},
        designs={"e": design},
        rows=list(rows),
    )


def factorial(k: int = 2, models: Sequence[str] = MODELS) -> Results:
    """All sections of a factorial of the first k factors."""
    factors = FACTORS[:k]
    cells = list(product(*((factor.low, factor.high) for factor in factors)))
    conditions = []
    for cell in cells:
        levels = dict(zip((factor.name for factor in factors), cell, strict=True))
        conditions.append(ConditionRecord(name="+".join(cell), levels=levels, label="/".join(cell)))
    names = [condition.name for condition in conditions]
    design = DesignRecord(
        kind="factorial", conditions=conditions, factors=list(factors), baseline=names[-1]
    )
    steps = ("baseline", *(factor.name for factor in factors), "predicted", "gap", "actual")
    rows = []
    for model in models:
        for place, name in enumerate(names):
            of = {"model": model, "condition": name, "estimate": 0.3 + 0.05 * place}
            verdict = "frontier" if place % 2 else "dominated"
            rows.append(row("diversity", **of))
            rows.append(row("quality", **of))
            rows.append(row("frontier", distance=DISTANCE, verdict=verdict, **of))
        for factor, name in zip(factors, names, strict=False):
            of = {"model": model, "effect": factor.low, "condition": name, "against": names[-1]}
            rows += [row("probe", **of), row("quality_probe", **of)]
            rows.append(row("effect", model=model, effect=factor.name))
        for step in steps:
            rows.append(row("waterfall", model=model, step=step, attribution="marginal"))
    return document(design, rows)


def arms(kind: str, models: Sequence[str] = MODELS, n: int = 4) -> Results:
    """All sections of an ablation of n arms, of which the last is the baseline."""
    conditions = []
    for place in range(n):
        whole = place == n - 1
        codes = FACTORS[2].high if whole else FACTORS[2].low
        levels = {"words": ("one", "many")[place % 2 and not whole], "codes": codes}
        conditions.append(
            ConditionRecord(
                name=f"{place}-arm", levels=levels, label=f"{place}-arm", short=f"{place}"
            )
        )
    names = [condition.name for condition in conditions]
    design = DesignRecord(kind=kind, conditions=conditions, baseline=names[-1])
    rows = []
    for model in models:
        for place, name in enumerate(names):
            of = {"model": model, "condition": name, "estimate": 0.3 + 0.05 * place}
            rows += [row("diversity", **of), row("quality", **of)]
            rows.append(row("frontier", distance=DISTANCE, verdict="frontier", **of))
            counted = of | {"estimate": 3.0 + place, "quantity": "tokens_under_argmax"}
            rows.append(row("information", **counted))
        verdict = "found"
        rows.append(row("inflection", model=model, part="ratio", verdict=verdict))
    return document(design, rows)


def of_bits(made: Results) -> Results:
    """The document with what an overview shows of tokens and of bits."""
    rows = list(made.rows)
    baseline = made.designs["e"].baseline
    for model in dict.fromkeys(one.model for one in rows):
        of = {"model": model, "condition": baseline, "units": "bit"}
        for name in ("codebook_entropy", "conditional_entropy", "mutual_information"):
            rows.append(row("information", quantity=name, **of))
        rows.append(row("ledger", quantity="path_causal", **of))
        rows.append(row("ledger", quantity="execution_causal", **of))
    return made.model_copy(update={"rows": rows})


def of_images(made: Results) -> Results:
    """The document with what whole images tell: of the first model exactly, bounds of the others.

    In the baseline and in the first condition, among the prompts of the run and among 400 others,
    which can show more.
    """
    rows = list(made.rows)
    names = [condition.name for condition in made.designs["e"].conditions]
    shown = [str(made.designs["e"].baseline), names[0]]
    for place, model in enumerate(dict.fromkeys(one.model for one in rows)):
        for part, cap in (("study", 2.0), ("400", 4.0)):
            for number, condition in enumerate(shown):
                of = {"model": model, "condition": condition, "part": part, "units": "bit"}
                rows += _told(of, exact=place == 0, shift=20.0 * number)
                cap_row = of | {"quantity": "prompt_information_cap", "estimate": cap}
                rows.append(row("whole_image", **(cap_row | {"low": None, "high": None})))
    return made.model_copy(update={"rows": rows})


def _told(of: dict[str, Any], *, exact: bool, shift: float) -> list[ResultRow]:
    """H(Z|X) and I(X;Z) of one condition; of bounds those of 1 path are wider than those of 4."""
    made = []
    for name, value in (("grid_conditional", 50.0 - shift), ("prompt_information", 1.5)):
        if exact:
            ends = {"estimate": value, "low": value - 0.5, "high": value + 0.5}
            made.append(row("whole_image", quantity=name, **(of | ends)))
            continue
        for paths in (4, 1):
            for side, sign in (("lower", -1), ("upper", 1)):
                bound = value + sign * 3.0 / paths
                ends = {"estimate": bound, "low": bound - 0.5, "high": bound + 0.5}
                fields = of | ends | {"paths": paths, "quantity": f"{name}_{side}"}
                made.append(row("whole_image", **fields))
    return made


def tree(made: Results) -> xr.DataTree:
    """What figures take from the labelled tree: maps of positions, shares kept, losses of quality."""
    names = [condition.name for condition in made.designs["e"].conditions]
    maps = np.arange(len(names) * 12, dtype=float).reshape(-1, 3, 4)
    dims = ("condition", "row", "col")
    positions = xr.Dataset(
        {
            "collision_conditional": (dims, maps / 3),
            "collision_information": (dims, maps),
            "codebook_entropy": (dims, np.where(maps % 2 == 0, maps, np.nan)),
            "conditional_entropy": (dims, np.full(maps.shape, np.nan)),
        },
        coords={"condition": names},
    )
    ratios = np.linspace(0.1, 1.0, len(names))
    kept = xr.Dataset(coords={"condition": names, "keep_ratio": ("condition", ratios)})
    lost = xr.Dataset(
        {"lost": (("quantity", "effect"), np.array([[True, False]]))},
        coords={"quantity": [SCORE], "keep_ratio": ("effect", ratios[:2])},
    )
    groups = {}
    for model in dict.fromkeys(one.model for one in made.rows):
        groups[f"{model}/positions"] = positions
        groups[f"{model}/per_prompt"] = kept
        groups[f"{model}/quality_losses"] = lost
    return xr.DataTree.from_dict(groups)


def drawn(made: Results, of: xr.DataTree | None = None) -> dict[str, Any]:
    """Figures by name, with what every figure must have: something in it."""
    with canvas.style():
        found = dict(figures.figures(Numbers(made), of))
    for name, figure in found.items():
        assert any(axes.has_data() or axes.images for axes in figure.axes), name
    return found


def without(made: Results, lacks: Callable[[ResultRow], bool]) -> Results:
    """The document without some rows."""
    return made.model_copy(update={"rows": [one for one in made.rows if not lacks(one)]})
