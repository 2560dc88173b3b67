"""Diversity of every condition by every distance that can be had, and all that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import xarray as xr

from ibstats.analysis import changes
from ibstats.analysis.changes import Groups
from ibstats.analysis.margins import DEFAULT, declared, margins
from ibstats.analysis.measured import measured
from ibstats.errors import Unmeasurable
from ibstats.measure import Machine
from ibstats.selection import Selection
from ibstats.statistics import diversity, strategy, subset_ratio, windows
from ibstats.statistics.effects import compare
from ibstats.statistics.stacking import means, over_quantities, units
from schemas.analysis import Config, Resampling

EFFECTIVE_ORDERS = {"vendi": 1, "rke": 2}
"""Effective numbers of distinct images, from the cosine kernel of an embedding, and their orders."""


def diversity_groups(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[Groups, list[str]]:
    """Groups from distances: values by prompt, diversity, effective numbers, and what follows.

    Those are changes, waterfalls, strategy and, of a sweep, the inflection point. Gives no groups,
    and the reason, where there is no distance to be had.
    """
    how, design = settings.resampling, selection.design
    found, notes = measured(selection, settings, machine)
    if not found:
        return {}, notes
    per_prompt, effective = {}, {}
    for name, table in found.items():
        per_prompt[name] = diversity.mean_pairwise(table["distance"])
        if bool(table["squared_norm"].notnull().any()):
            same = slice(selection.n_samples)  # an effective number grows with the images
            equal = table.isel(sample=same, sample_other=same)
            for kind, order in EFFECTIVE_ORDERS.items():
                effective[f"{kind}_{name}"] = diversity.effective_number(equal, order)
    values = xr.Dataset(per_prompt)
    groups: Groups = {
        "per_prompt": values,
        "diversity": means(values, how).assign_attrs(section="diversity"),
    }
    if effective:
        of_images = xr.Dataset(effective)
        numbers = means(of_images, how)
        groups["effective_number"] = numbers.assign_attrs(section="effective_number")
        notes = [*notes, *_without_kernel(of_images)]
    made, said = changes.changes(values, design, how, changes.DIVERSITY)
    groups |= made
    groups |= _between_wordings(selection, found, how)
    groups |= changes.waterfalls(values, design, how)
    groups |= _strategy(selection, values, settings)
    groups |= _by_kind(selection, values, settings)
    return groups, notes + said


def _without_kernel(effective: xr.Dataset) -> list[str]:
    """A line for conditions in which the similarity of some images is undefined in every prompt."""
    absent: set[str] = set()
    for number in effective.data_vars.values():
        none = number.isnull().all("prompt")
        absent.update(map(str, number["condition"].values[none.values]))
    if not absent:
        return []
    return [
        f"effective numbers are missing: in {', '.join(sorted(absent))} some images of every prompt "
        "have features of length 0, to which no similarity is defined"
    ]


BETWEEN_NOTE = (
    "between wordings alone, less the original wording; over all pairs of the {m} images the change depends on their "
    "number, for {share:.0%} of these pairs share one of the {r} wordings"
)
"""What the change by a paraphrase is of, and what that over all pairs depends on."""


def _between_wordings(
    selection: Selection, found: Mapping[str, xr.Dataset], how: Resampling
) -> Groups:
    """Changes by paraphrases, of pairs of images of different wordings, which does not move with the images.

    Of conditions that spread every prompt over wordings, against the baseline, which does not. None
    where there are no such conditions, or the run does not record the wordings.
    """
    design = selection.design
    if not selection.has("text_index"):
        return {}
    texts = selection.dataset["text_index"]
    spread = diversity.spread_over_wordings(texts)
    family = []
    for contrast in design.probes() or design.against_baseline():
        if spread.get(contrast.condition) and not spread.get(contrast.against):
            family.append(contrast)
    if not family:
        return {}
    values = xr.Dataset(
        {name: diversity.between_wordings(one["distance"], texts) for name, one in found.items()}
    )
    made = over_quantities(values, partial(compare, contrasts=family, how=how))
    notes = []
    for contrast in family:
        share, r = diversity.pairs_of_one_wording(texts.sel(condition=contrast.condition))
        notes.append(BETWEEN_NOTE.format(m=selection.n_samples, share=share, r=r))
    made = made.drop_vars("note", errors="ignore")
    made = made.assign(note=("effect", np.array(notes, dtype=object)))
    return {"wording_effects": made.assign_attrs(section="wording_effect")}


def _strategy(selection: Selection, values: xr.Dataset, settings: Config) -> Groups:
    """Verdict of each distance, and the answers to the probes that it rests on.

    The margin is the declared one, else a share of the diversity without intervention; where that
    has none, there is no verdict.
    """
    design = selection.design
    if design.baseline is None or not strategy.has_rules(design):
        return {}
    whole = {}
    for name, value in values.data_vars.items():
        whole[str(name)] = float(units(value).sel(condition=design.baseline).mean())
    known = margins(settings, whole)
    claimed = values[[name for name in values.data_vars if name in known]]
    if not claimed.data_vars:
        return {}
    varies = strategy.path_varies(selection.dataset, design.baseline)

    def one(y: xr.DataArray) -> xr.Dataset:
        """The evidence of one distance."""
        return strategy.evidence(y, design, known[str(y.name)], varies, settings.resampling)

    evidence = over_quantities(claimed, one)
    path = "varies between samples" if varies else "is fixed"
    shared = ["n_prompts", "n_tests", "units"]
    verdicts = evidence[[*shared, "strategy"]].rename(strategy="verdict")
    answers = evidence.drop_vars("strategy").rename(outcome="verdict")
    inner = 1 - 2 * strategy.ALPHA
    said = (
        f"equivalent: the {inner:.0%} interval lies within the margin; p is of the two one-sided "
        "tests, p_holm of the difference"
    )
    notes = []
    for name in evidence["quantity"].values:
        notes.append(said if name in declared(settings) else f"{said}; {DEFAULT}")
    answers = answers.assign(note=("quantity", np.array(notes, dtype=object)))
    return {
        "strategy": verdicts.assign_attrs(section="strategy", note=f"the path {path}"),
        "equivalence": answers.assign_attrs(section="equivalence"),
    }


def _by_kind(selection: Selection, values: xr.Dataset, settings: Config) -> Groups:
    """What only one kind of ablation has: where a sweep bends, or how many tokens a window takes as modes."""
    if selection.kind == "subset_ratio":
        bend = partial(subset_ratio.inflection, how=settings.resampling)
        points = over_quantities(values, bend).assign_attrs(section="inflection")
        return {"inflection": points}
    if selection.kind == "argmax_window":
        try:
            dataset = selection.need("tokens", "argmax_window")
        except Unmeasurable:
            return {}
        tokens = windows.window_tokens(dataset, selection.identity)
        group = tokens.expand_dims(quantity=["tokens_under_argmax"]).to_dataset(name="estimate")
        note = f"of {tokens.attrs['n_tokens']} tokens an image"
        units = ("quantity", np.array(["1"], dtype=object))
        group = group.assign(units=units)
        attrs = {"section": "information", "note": note, "n_prompts": selection.n_prompts}
        return {"window_tokens": group.assign_attrs(attrs)}
    return {}
