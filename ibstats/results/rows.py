"""From the tree of an analysis to rows, one per number: what every table, export and comparison is made of."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ibstats.results.open_intervals import with_reason
from ibstats.statistics.information import CHANGE_NOTE, POOLED, POOLED_NOTE
from ibstats.statistics.subset_ratio import AT_EDGE, EDGE_NOTE, FOUND, NOT_FOUND
from ibstats.store import is_factorial
from ibstats.variables import FACTORS, INFORMATION

if TYPE_CHECKING:
    from schemas.results import ResultRow, Results

_TESTS = (
    "p",
    "p_wilcoxon",
    "p_sign_flip",
    "p_max_t",
    "p_holm",
    "p_bh",
    "partial_eta_squared",
    "d_z",
    "d_z_low",
    "d_z_high",
    "hedges_g",
    "hedges_g_low",
    "hedges_g_high",
    "bayes_factor",
)


_FAMILIES = {
    "contrasts": "contrast",
    "comparisons": "comparison",
    "codebook_contrasts": "information_effect",
}
"""Groups of an ablation's tested differences, and their sections."""


_QUALITY_FAMILIES = {
    "quality_effects": "quality_effect",
    "quality_contrasts": "quality_effect",
    "quality_probes": "quality_probe",
}
"""The same of quality; contrasts of arms in an ablation, effects and probes in a factorial."""


def analysis_digest(provenance: dict[str, Any]) -> str:
    """sha256 of snapshot, settings and version: the same digest, the same numbers."""
    return hashlib.sha256(json.dumps(provenance, sort_keys=True, default=str).encode()).hexdigest()


def results(tree: xr.DataTree) -> Results:
    """The exported document of an analysis."""
    from schemas.results import Results

    attrs = {str(name): value for name, value in tree.attrs.items()}
    notes, families, _ = attrs.pop("notes", []), attrs.pop("families", {}), attrs.pop("models")
    return Results(
        run_id=attrs["run_id"],
        snapshot=attrs["snapshot"],
        analysis_sha256=analysis_digest(attrs),
        ibstats_version=attrs["ibstats_version"],
        settings=json.loads(json.dumps(attrs["settings"])),
        families=dict(families),
        notes=list(notes),
        rows=[with_reason(row) for row in rows(tree)],
    )


def rows(tree: xr.DataTree) -> Iterator[ResultRow]:
    """All rows, model by model, in the order a reader wants them."""
    experiment = tree.attrs["settings"]["experiment"]
    for model in tree.attrs["models"]:
        node = tree.children[model]
        base = {"model": model, "experiment": experiment}
        groups: dict[str, xr.Dataset] = {
            name: child.to_dataset() for name, child in node.children.items()
        }
        yield from _ablation_rows(groups, base)
        if "diversity" in groups:
            yield from _cell_rows(groups["diversity"], base | {"section": "diversity"})
            if "effective_number" in groups:
                yield from _cell_rows(
                    groups["effective_number"], base | {"section": "effective_number"}
                )
            yield from _effect_rows(groups["effects"], base | {"section": "effect"})
            yield from _effect_rows(groups["probes"], base | {"section": "probe"})
            yield from _waterfall_rows(groups["waterfall"], base, "")
            yield from _waterfall_rows(
                groups["waterfall_stochastic"], base, "sampling=stochastic: "
            )
        if "strategy" in groups:
            yield from _strategy_rows(groups["strategy"], base)
        if "information" in groups:
            yield from _with_note(
                _cell_rows(groups["information"], base | {"section": "information"})
            )
            yield from _with_note(_information_extras(groups["information"], base))
            if "bits" in groups:
                yield from _cell_rows(groups["bits"], base | {"section": "information"})
            changes = _effect_rows(
                groups["information_effects"], base | {"section": "information_effect"}
            )
            yield from _with_note(changes, CHANGE_NOTE)
        if "quality" in groups:
            yield from _quality_rows(groups, base)
        yield from ledger_rows(groups, base)


def extent(counts: Iterable[int | None]) -> str:
    """A count that rows state, or the least and the most where they differ: of prompts, or of tests in a family."""
    known = sorted({count for count in counts if count is not None})
    return " to ".join(str(count) for count in dict.fromkeys((*known[:1], *known[-1:])))


def _row(**values: Any) -> ResultRow:
    from schemas.results import ResultRow

    return ResultRow(**{name: _plain(value) for name, value in values.items()})


def _plain(value: Any) -> Any:
    """A Python value, None for an undefined number."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _common(group: xr.Dataset) -> dict[str, Any]:
    attrs = group.attrs
    return {
        "level": attrs.get("level"),
        "interval_method": attrs.get("method"),
        "n_resamples": attrs.get("n_resamples"),
        "seed": attrs.get("seed"),
        "n_prompts": attrs["n_prompts"],
        "n_images": attrs["n_images"],
        "estimator": attrs.get("estimator"),
    }


def _estimate(point: xr.Dataset) -> dict[str, Any]:
    return {name: point[name].values for name in ("estimate", "low", "high", "degenerate")}


def _cell_rows(group: xr.Dataset, base: dict[str, Any]) -> Iterator[ResultRow]:
    for i, quantity in enumerate(group["quantity"].values):
        for levels in product(*(group[factor].values for factor in FACTORS)):
            point = group.isel(quantity=i).sel(dict(zip(FACTORS, levels, strict=True)))
            yield _row(
                **base,
                **_common(group),
                **_estimate(point),
                quantity=str(quantity),
                units=str(point["units"].values),
                term="/".join(str(level) for level in levels),
            )


def _information_extras(group: xr.Dataset, base: dict[str, Any]) -> Iterator[ResultRow]:
    """Perplexity from H(Z) with its interval, coverage, and the shuffle test of I(X;Z)."""
    common = _common(group)
    plain = {
        "n_prompts": common["n_prompts"],
        "n_images": common["n_images"],
        "section": "information",
    }
    for levels in product(*(group[factor].values for factor in FACTORS)):
        cell = group.sel(dict(zip(FACTORS, levels, strict=True)))
        entropy = cell.sel(quantity="codebook_entropy")
        term = "/".join(str(level) for level in levels)
        bounds = {name: 2 ** entropy[name].values for name in ("estimate", "low", "high")}
        yield _row(
            **base,
            **common,
            **bounds,
            section="information",
            quantity="perplexity",
            units=INFORMATION["perplexity"].units,
            term=term,
            degenerate=entropy["degenerate"].values,
        )
        for name in ("coverage", "coverage_per_prompt"):
            yield _row(
                **base,
                **plain,
                quantity=name,
                units=INFORMATION[name].units,
                term=term,
                estimate=cell[name].values,
            )
        yield _row(
            **base,
            **plain,
            quantity="mutual_information_if_unrelated",
            units="bit",
            term=term,
            estimator="plugin",
            estimate=cell["shuffle_null_mean"].values,
            p=cell["shuffle_p"].values,
            note="mean plug-in I over label shuffles, and the p value of I = 0; not a correction",
        )


def _effect_rows(group: xr.Dataset, base: dict[str, Any]) -> Iterator[ResultRow]:
    for i, quantity in enumerate(group["quantity"].values):
        for j, effect in enumerate(group["effect"].values):
            point = group.isel(quantity=i, effect=j)
            tests = {name: point[name].values for name in _TESTS}
            yield _row(
                **base,
                **_common(group),
                **_estimate(point),
                **tests,
                quantity=str(quantity),
                term=str(effect),
                units=str(point["units"].values),
                statistic=point["t"].values,
                df=group.attrs["df"],
                n_tests=point["n_tests"].values,
            )


def _waterfall_rows(group: xr.Dataset, base: dict[str, Any], prefix: str) -> Iterator[ResultRow]:
    note = group.attrs.get("note") or None
    for i, quantity in enumerate(group["quantity"].values):
        for attribution in group["attribution"].values:
            for step in group["step"].values:
                point = group.isel(quantity=i).sel(attribution=attribution, step=step)
                gap = step == "gap"
                tests = (
                    {
                        "statistic": point["t"].values,
                        "p": point["p"].values,
                        "df": group.attrs["df"],
                    }
                    if gap
                    else {}
                )
                yield _row(
                    **base,
                    **_common(group),
                    **_estimate(point),
                    **tests,
                    section="waterfall",
                    quantity=str(quantity),
                    units=str(point["units"].values),
                    term=f"{prefix}{step}",
                    attribution=str(attribution),
                    note=note if gap and attribution == "marginal" else None,
                )


def _quality_rows(groups: dict[str, xr.Dataset], base: dict[str, Any]) -> Iterator[ResultRow]:
    """Scores of every condition, their effects and probes, and the verdicts of the frontier."""
    terms = condition_terms(groups["quality"])
    for one, more in _by_score(groups["quality"]):
        for i, term in enumerate(terms):
            point = one.isel(quantity=0, condition=i)
            shared = {
                "section": "quality",
                "quantity": more["quantity"],
                "units": more["units"],
                "term": term,
            }
            yield _row(
                **base,
                **_common(one),
                **_estimate(point),
                **shared,
                note=more["note"],
                n_units=more["n_units"],
            )
    for name, section in _QUALITY_FAMILIES.items():
        for one, more in _by_score(groups.get(name, xr.Dataset())):
            for row in _effect_rows(one, base | {"section": section}):
                yield row.model_copy(update={"n_units": more["n_units"]})
    if "frontier" in groups:
        verdicts = groups["frontier"]
        scored = {more["quantity"]: (one, more) for one, more in _by_score(groups["quality"])}
        named = dict(zip(verdicts["condition"].values, condition_terms(verdicts), strict=True))
        for point in _points(verdicts, "distance", "quantity", "condition"):
            score, condition, by = (
                str(point[key].values) for key in ("quantity", "condition", "by")
            )
            one, more = scored[score]
            yield _row(
                **base,
                **_common(one),
                **_estimate(one.sel(quantity=score, condition=condition)),
                section="frontier",
                quantity=score,
                units=more["units"],
                n_units=more["n_units"],
                term=named[condition],
                attribution=str(point["distance"].values),
                verdict=str(point["verdict"].values),
                note=f"by {named[by]}" if by else None,
            )


def condition_terms(group: xr.Dataset) -> list[str]:
    """Names of the conditions: cells as elsewhere in the results, other experiments by their own names."""
    if is_factorial(group):
        return [
            "/".join(levels)
            for levels in zip(*(map(str, group[f].values) for f in FACTORS), strict=True)
        ]
    return [str(name) for name in group["condition"].values]


def _by_score(group: xr.Dataset) -> Iterator[tuple[xr.Dataset, dict[str, Any]]]:
    """Each score with its own n, df and number of tests as attributes; and its name, units and note."""
    for i, name in enumerate(group["quantity"].values if "quantity" in group else ()):
        one = group.isel(quantity=[i])
        own = {key: int(one[key].values[0]) for key in ("n_prompts", "n_units", "df") if key in one}
        one = one.assign_coords(units=one["units"]).assign_attrs(own)
        blocks = own["n_units"] if own["n_units"] != own["n_prompts"] else None
        texts = {key: str(one[key].values[0]) or None for key in ("units", "note")}
        yield one, {"quantity": str(name), "n_units": blocks, **texts}


def _points(group: xr.Dataset, *dims: str) -> Iterator[xr.Dataset]:
    for index in product(*(range(group.sizes[dim]) for dim in dims)):
        yield group.isel(dict(zip(dims, index, strict=True)))


def _strategy_rows(group: xr.Dataset, base: dict[str, Any]) -> Iterator[ResultRow]:
    """The verdict of each metric, and the outcome of each probe that it rests on."""
    for i, quantity in enumerate(group["quantity"].values):
        shared = {**base, **_common(group), "quantity": str(quantity)}
        here = group.isel(quantity=i)
        units = str(here["units"].values)
        path = "varies between samples" if bool(here["path_varies"]) else "is fixed"
        yield _row(
            **shared
            | {"section": "strategy", "units": units, "term": "strategy", "estimate": None},
            verdict=str(here["strategy"].values),
            note=f"the path {path}",
        )
        for j, probe in enumerate(here["effect"].values):
            point = here.isel(effect=j)
            yield _row(
                **shared
                | _estimate(point)
                | {"section": "equivalence", "units": units, "term": str(probe)},
                margin=point["margin"].values,
                p=point["p_equivalence"].values,
                p_holm=point["p_holm"].values,
                n_tests=here["n_tests"].values,
                verdict=str(point["outcome"].values),
                note="p is of the two one-sided tests, p_holm of the difference",
            )


def ledger_rows(groups: dict[str, xr.Dataset], base: dict[str, Any]) -> Iterator[ResultRow]:
    """Bits of the ledger, then shares of crossed noise, whose `attribution` says whose share it is."""
    for name, group in groups.items():
        if name == "ledger":
            yield from _bit_rows(group, base | {"section": "ledger"})
        elif name == "rescored":
            yield from _bracket_rows(group, base | {"section": "ledger"})
        elif name.startswith("shares_"):
            yield from _share_rows(
                group, base | {"section": "sobol", "experiment": group.attrs["experiment"]}
            )


def _bit_rows(group: xr.Dataset, base: dict[str, Any]) -> Iterator[ResultRow]:
    """Every quantity of every condition; an undefined one with the reason as its note."""
    remarks = json.loads(group.attrs["remarks"])
    shared = base | _common(group)
    for i in range(group.sizes["condition"]):
        cell = group.isel(condition=i)
        term = _term(cell)
        for quantity in group["quantity"].values:
            point = cell.sel(quantity=quantity)
            of = {
                "quantity": str(quantity),
                "units": "bit",
                "term": term,
                "note": remarks.get(str(quantity)),
            }
            yield _row(**shared, **of, **_estimate(point))
        for quantity in [name for name in remarks if name not in group["quantity"].values]:
            yield _row(
                **shared,
                quantity=quantity,
                units="bit",
                term=term,
                estimate=None,
                note=remarks[quantity],
            )
        for part in group["part"].values if "part" in group.dims else ():
            point = cell.sel(part=part)
            numbers = {
                name: point[f"share_{name}"].values
                for name in ("estimate", "low", "high", "degenerate")
            }
            yield _row(**shared, quantity=f"share_{part}", units="1", term=term, **numbers)


def _bracket_rows(group: xr.Dataset, base: dict[str, Any]) -> Iterator[ResultRow]:
    """Bounds by rescored paths; `attribution` says how many."""
    unknown = int(group.attrs["unknown_images"])
    note = f"{unknown} of {group.attrs['images']} images did not come out again and count in tokens_upper only"
    for i in range(group.sizes["condition"]):
        for paths in group["paths"].values:
            for quantity in group["quantity"].values:
                point = group.isel(condition=i).sel(quantity=quantity, paths=paths)
                yield _row(
                    **base | _common(group) | _estimate(point),
                    quantity=str(quantity),
                    units="bit",
                    term=str(point["condition"].values).replace("-", "/"),
                    attribution=f"{paths} path{'s' if paths > 1 else ''}",
                    note=note if unknown else None,
                )


def _share_rows(group: xr.Dataset, base: dict[str, Any]) -> Iterator[ResultRow]:
    for quantity in group["quantity"].values:
        for i in range(group.sizes["condition"]):
            for share in group["share"].values:
                point = group.sel(quantity=quantity, share=share).isel(condition=i)
                undefined = bool(np.isnan(point["estimate"]))
                yield _row(
                    **base | _common(group) | _estimate(point),
                    quantity=str(quantity),
                    units="1",
                    term=str(point["condition"].values).replace("-", "/"),
                    attribution=str(share),
                    note="nothing varies, so there is no share" if undefined else None,
                )


def _term(cell: xr.Dataset) -> str:
    return "/".join(str(cell[factor].values) for factor in FACTORS)


def _ablation_rows(groups: dict[str, xr.Dataset], base: dict[str, Any]) -> Iterator[ResultRow]:
    """All rows of one model: arms, contrasts with the reference, planned comparisons, inflection, codebook."""
    if "arms" in groups:
        yield from _arm_rows(groups["arms"], base | {"section": "diversity"})
    if "codebook" in groups:
        yield from _with_note(_arm_rows(groups["codebook"], base | {"section": "information"}))
        yield from _codebook_rows(groups["codebook"], base | {"section": "information"})
    for name, section in _FAMILIES.items():
        if name in groups:
            yield from _with_note(
                _effect_rows(groups[name], base | {"section": section}), CHANGE_NOTE
            )
    if "inflection" in groups:
        yield from _inflection_rows(groups["inflection"], base)
    if "offer" in groups:
        yield from _offer_rows(
            groups["offer"], groups.get("quality_losses"), base | {"section": "offer"}
        )
    if "window_tokens" in groups:
        yield from _window_rows(groups["window_tokens"], base)


def _arm_rows(group: xr.Dataset, base: dict[str, Any]) -> Iterator[ResultRow]:
    for i, quantity in enumerate(group["quantity"].values):
        for j, condition in enumerate(group["condition"].values):
            point = group.isel(quantity=i, condition=j)
            yield _row(
                **base,
                **_common(group),
                **_estimate(point),
                quantity=str(quantity),
                units=str(point["units"].values),
                term=str(condition),
            )


def _codebook_rows(group: xr.Dataset, base: dict[str, Any]) -> Iterator[ResultRow]:
    """Capacity and coverage: facts of the samples, without an interval."""
    shared = base | {name: group.attrs[name] for name in ("n_prompts", "n_images")}
    for j, condition in enumerate(group["condition"].values):
        for quantity, units in (
            ("capacity", "bit"),
            ("coverage", "1"),
            ("coverage_per_prompt", "1"),
        ):
            value = group[quantity].isel(condition=j).values
            yield _row(
                **shared, quantity=quantity, units=units, term=str(condition), estimate=value
            )


def _inflection_rows(group: xr.Dataset, base: dict[str, Any]) -> Iterator[ResultRow]:
    note = group.attrs["note"]
    for i, quantity in enumerate(group["quantity"].values):
        found, at_edge = (bool(group[name].isel(quantity=i)) for name in ("found", "at_edge"))
        verdict = (AT_EDGE if at_edge else FOUND) if found else NOT_FOUND
        for part in group["part"].values:
            point = group.isel(quantity=i).sel(part=part)
            ratio = part == "ratio"
            yield _row(
                **base | {"section": "inflection"},
                **_common(group),
                **{name: point[name].values for name in ("estimate", "low", "high")},
                quantity=str(quantity),
                units="1" if ratio else f"{point['units'].values} per share of the codebook",
                term=str(part),
                p_max_t=point["p"].values,
                verdict=verdict if ratio else None,
                note=(f"{note}; {EDGE_NOTE}" if verdict == AT_EDGE else note) if ratio else None,
            )


def _offer_rows(
    group: xr.Dataset, lost: xr.Dataset | None, base: dict[str, Any]
) -> Iterator[ResultRow]:
    """From which ratio on each score is stable; by distance the ratio offered, and the change of quality behind it."""
    counts = {name: group.attrs[name] for name in ("n_prompts", "n_images")}
    shared = base | counts | {"units": "1", "note": group.attrs["rule"]}
    for one in _points(lost, "quantity") if lost is not None else ():
        score = str(one["quantity"].values)
        yield _row(**shared, quantity=score, term="stable_from", estimate=one["stable_from"].values)
    used = group.attrs["score"]
    for point in _points(group, "quantity"):
        distance, verdict, effect = (
            str(point[name].values) for name in ("quantity", "verdict", "evidence")
        )
        offered = {
            "quantity": distance,
            "attribution": used or None,
            "estimate": point["estimate"].values,
        }
        yield _row(**shared, **offered, term="keep_ratio", verdict=verdict)
        if lost is not None and effect:
            decisive, more = next(_by_score(lost.sel(quantity=[used], effect=[effect])))
            (row,) = _effect_rows(decisive, base)
            verdict = "lost" if bool(decisive["lost"].values.all()) else "no significant loss"
            yield row.model_copy(
                update={"attribution": distance, "n_units": more["n_units"], "verdict": verdict}
            )


def _with_note(rows: Iterator[ResultRow], note: str = POOLED_NOTE) -> Iterator[ResultRow]:
    """What is to be known of the pooled quantities beside each of them."""
    for row in rows:
        yield row.model_copy(update={"note": note}) if row.quantity in POOLED else row


def _window_rows(group: xr.Dataset, base: dict[str, Any]) -> Iterator[ResultRow]:
    for j, condition in enumerate(group["condition"].values):
        yield _row(
            **base | {"section": "information"},
            quantity="tokens_under_argmax",
            units="1",
            term=str(condition),
            estimate=group["tokens"].isel(condition=j).values,
            **{name: group.attrs[name] for name in ("n_prompts", "n_images")},
            note=f"of {group['tokens'].attrs['n_tokens']} tokens an image",
        )
