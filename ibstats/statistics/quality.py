"""Quality of a prompt's images in each condition (paper, section 4.2 and Fig. 3).

Every score is an array whose mean over its units is the estimate, so that one notion of interval, test and contrast
serves all. The unit of a per-image score is the prompt (`prompt`). A score of a whole set of images has none of its
own: its units are blocks of prompts (`block`), each with the jackknife pseudo-value that leaving it out gives.

Scores of the scene network are under its own name: they stand in for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ibstats.errors import IbstatsError, Unmeasurable, unknown
from ibstats.measure import Machine, are_kept, embeddings, reference_set
from ibstats.measure.clip import DEFAULT, Texts, texts
from ibstats.measure.scene_network import SIZE, SceneFeatures
from ibstats.selection import select
from ibstats.statistics.set_scores import FEWEST, SET_SCORES
from ibstats.statistics.uncertainty import Resampling, mean_interval
from ibstats.store import Store
from ibstats.variables import QUALITY
from schemas.io.layout import ResultsFolder

if TYPE_CHECKING:
    from schemas.study import Prompt

SCORES = (
    "clip_score",
    "clip_iqa",
    "fid",
    "kid",
    "reference_accuracy",
    "reference_frechet",
    "reference_kernel",
)
"""What a user may ask for; some give more than one quantity of `variables.QUALITY`."""

NETWORK_OF = {
    "clip_score": "clip",
    "clip_iqa": "clip",
    "fid": "inception",
    "kid": "inception",
    "reference_accuracy": "reference",
    "reference_frechet": "reference",
    "reference_kernel": "reference",
}

IQA_PROMPTS = ("Good photo.", "Bad photo.")
"""torchmetrics' pair `quality`: the score is the probability of the first."""

LONG_TEXTS = ("cut", "leave_out")
"""What is done with prompts longer than CLIP reads; either way they are counted and reported."""


def quality(
    store: Store,
    model: str,
    experiment: str = "factorial",
    scores: Sequence[str] = ("reference_accuracy",),
    *,
    references: Sequence[str] = (),
    clip: str = DEFAULT,
    long_texts: str = "cut",
    machine: Machine | None = None,
    allow_partial: bool = False,
) -> xr.Dataset:
    """Scores of every condition of any experiment: `(condition, prompt)`, and `(condition, block)` of whole sets.

    `references` are files of reference sets for fid and kid; the one prepared at the images' size is used. NaN marks
    prompts for which a score is undefined. Attributes of a variable: units, long_name, larger_is_better, network,
    settings, note. Raises MissingWeights when features can neither be computed nor be found beside the store.
    """
    machine = machine or Machine()
    for score in scores:
        if score not in SCORES:
            raise unknown("score", score, SCORES)
    if long_texts not in LONG_TEXTS:
        raise unknown("treatment of long texts", long_texts, LONG_TEXTS)
    selection = select(store, model, experiment, allow_partial=allow_partial)
    dataset = selection.dataset
    found: dict[str, xr.DataArray] = {}
    for name in dict.fromkeys(NETWORK_OF[score] for score in scores):
        wanted = [score for score in scores if NETWORK_OF[score] == name]
        chosen = _network(machine, name, clip)
        needs_set = [score for score in wanted if score in SET_SCORES]
        size = store.identity(model).image_size
        against = _reference(chosen, references, size) if needs_set else None

        features = embeddings(selection, chosen, each=machine.each)
        made: dict[str, xr.DataArray] = {}
        if name == "clip":
            prompt_texts = base_texts(dataset)
            known = texts(
                chosen, [*prompt_texts, *IQA_PROMPTS], ResultsFolder(store.path).shared_features
            )
            if "clip_score" in wanted:
                made["clip_score"] = clip_score(features, known, long_texts)
            if "clip_iqa" in wanted:
                made["clip_iqa"] = clip_iqa(features, known.features[-2:])
            made = {
                key: value.assign_attrs(note=_joined(value.attrs.get("note"), clip))
                for key, value in made.items()
            }
        if "reference_accuracy" in wanted:
            made |= reference_accuracy(
                features, chosen.attributes, prompt_attributes(dataset, model, experiment)
            )
        if against is not None:
            coordinates = features[..., : features.sizes["feature"] - chosen.n_logits]
            for score in needs_set:
                made |= SET_SCORES[score](coordinates, against, score)
        for key, value in made.items():
            found[key] = value.assign_attrs(_attributes(key) | features.attrs | value.attrs)
    return xr.Dataset(
        found, attrs={"n_images": dataset.sizes["sample"], "n_prompts": dataset.sizes["prompt"]}
    )


def _network(machine: Machine, name: str, clip: str) -> Any:
    """The network behind a score; CLIP is a setting of the analysis, the others are the machine's."""
    return machine.network(name, clip if name == "clip" else None)


def _joined(note: str | None, clip: str) -> str:
    return f"{note}; network {clip}" if note else f"network {clip}"


def _attributes(name: str) -> dict[str, Any]:
    meaning = QUALITY[name]
    return {
        "units": meaning.units,
        "long_name": meaning.long_name,
        "larger_is_better": int(meaning.larger_is_better),
        "note": "",
    }


def available(
    store: Store,
    model: str,
    experiment: str,
    references: Sequence[str],
    clip: str,
    machine: Machine,
) -> tuple[list[str], list[str]]:
    """Scores that can be had without a download for this model, and a line on each kind that cannot."""
    selection = select(store, model, experiment, allow_partial=True)
    complete = store.complete(model, experiment).all(axis=0)
    wanted = ["clip_score", "clip_iqa"]
    if references:
        bare = all(reference_set.read(file).target.features is None for file in references)
        wanted += ["fid"] if bare else ["fid", "kid"]
    if tuple(store.identity(model).image_size) == SIZE and _of_the_trio(
        store.run.prompts[: complete.size]
    ):
        wanted += ["reference_accuracy", "reference_frechet", "reference_kernel"]
    notes: list[str] = []
    if complete.sum() < FEWEST:
        sets = [score for score in wanted if score in SET_SCORES]
        wanted = [score for score in wanted if score not in sets]
        notes += [f"{', '.join(sets)} need {FEWEST} prompts or more"] if sets else []
    scores = []
    for name in dict.fromkeys(NETWORK_OF[score] for score in wanted):
        chosen, its = (
            _network(machine, name, clip),
            [score for score in wanted if NETWORK_OF[score] == name],
        )
        try:
            if not are_kept(selection, chosen):
                chosen.find_weights()
                selection.need("image")
            scores += its
        except Unmeasurable as error:
            notes.append(f"{', '.join(its)} left out: {error}")
    return scores, notes


def base_texts(dataset: xr.Dataset) -> list[str]:
    """The base prompt of each prompt, in order: what images are scored against, whatever wording made them."""
    kind, owner = dataset["text_kind"].values, dataset["text_prompt"].values
    names = dataset["text"].values
    original = {int(p): str(names[i]) for i, p in enumerate(owner) if kind[i] == "original"}
    return [original[int(p)] for p in _prompt_numbers(dataset)]


def _prompt_numbers(dataset: xr.Dataset) -> np.ndarray:
    """Number of each prompt in the run, from the text its first sample was given (prompts may be a selection)."""
    first = dataset["text_index"].isel(condition=0, sample=0).values
    return np.asarray(dataset["text_prompt"].values[first])


def prompt_attributes(dataset: xr.Dataset, model: str, experiment: str) -> list[dict[str, str]]:
    """What each prompt asserts, where it is known exactly."""
    named = [json.loads(str(text)) for text in dataset["prompt_attributes"].values]
    if not any(named):
        raise IbstatsError(
            f"the prompts of '{model}/{experiment}' have no known attributes, so reference_accuracy is undefined; it "
            "needs prompts of the trio's grammar, others can use clip_score"
        )
    return named


def _of_the_trio(prompts: Sequence[Prompt]) -> bool:
    """Whether prompts assert something, and only what the scene network can see."""
    known = SceneFeatures().attributes
    named = [prompt.attributes for prompt in prompts]
    return any(named) and all(
        value in known.get(name, ()) for one in named for name, value in one.items()
    )


def clip_score(features: xr.DataArray, known: Texts, long_texts: str = "cut") -> xr.DataArray:
    """`100 cos(image, base prompt)`, mean over a prompt's images, `(condition, prompt)`; unit-length features.

    Negative values stay negative (torchmetrics sets a negative mean to 0). Texts longer than the network reads are cut
    there with their end mark kept, or left out (NaN); the note counts them.
    Source: Hessel et al. (2021), arXiv:2104.08718, with torchmetrics' factor 100.
    """
    n = features.sizes["prompt"]
    text = known.features[:n].astype(np.float64)
    value = per_prompt(features, lambda x: 100 * np.einsum("psf,pf->p", x, text) / x.shape[1])
    long = known.n_tokens[:n] > known.limit
    note = "scored against the base prompt"
    if long.any():
        what = "scored on their beginning" if long_texts == "cut" else "left out"
        note += f"; {long.sum()} of {n} base prompts are longer than {known.limit} CLIP tokens and {what}"
        if long_texts == "leave_out":
            value = value.where(xr.DataArray(~long, dims="prompt"))
    return value.assign_attrs(note=note)


def clip_iqa(features: xr.DataArray, anchors: np.ndarray) -> xr.DataArray:
    """Probability of the first of two opposite texts, mean over a prompt's images, `(condition, prompt)`.

    Source: Wang, Chan & Loy (2023), arXiv:2207.12396, as in torchmetrics with a CLIP of transformers; the paper's own
    network is a ResNet-50 without position embeddings, whose values differ.
    """
    pair = 100 * anchors.astype(np.float64)
    return per_prompt(features, lambda x: (1 / (1 + np.exp(x @ (pair[1] - pair[0])))).mean(axis=1))


def per_prompt(features: xr.DataArray, score: Callable[[np.ndarray], np.ndarray]) -> xr.DataArray:
    """A score of `(prompt, sample, feature)` for each condition, `(condition, prompt)`; one condition in memory."""
    table = features.transpose("condition", "prompt", "sample", "feature")
    values = [
        score(np.asarray(table[condition].values, dtype=np.float64))
        for condition in range(len(table))
    ]
    coords = {
        name: c for name, c in features.coords.items() if set(c.dims) <= {"condition", "prompt"}
    }
    return xr.DataArray(np.stack(values), dims=("condition", "prompt"), coords=coords)


def reference_accuracy(
    features: xr.DataArray,
    attributes: Mapping[str, Sequence[str]],
    named: Sequence[Mapping[str, str]],
) -> dict[str, xr.DataArray]:
    """Share of the attributes a prompt names that its images show, together and each; NaN where it names none.

    `attributes` are the values behind the last columns of the features, the logits.
    """
    start = features.sizes["feature"] - sum(map(len, attributes.values()))
    right: dict[str, xr.DataArray] = {}
    for name, values in attributes.items():
        logits = features.isel(feature=slice(start, start + len(values)))
        start += len(values)
        for one in named:
            if one.get(name, values[0]) not in values:
                raise unknown(f"{name} in the attributes of a prompt", one[name], values)
        target = np.array([values.index(one[name]) if name in one else -1 for one in named])
        right[name] = per_prompt(logits, partial(_share, target)).where(
            xr.DataArray(target >= 0, dims="prompt")
        )
    together = xr.concat(list(right.values()), dim="attribute").mean("attribute")
    each = {f"reference_accuracy_{name}": value for name, value in right.items()}
    return {"reference_accuracy": together, **each}


def _share(target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Share of each prompt's images whose likeliest value is the target."""
    return np.asarray((logits.argmax(axis=-1) == target[:, None]).mean(axis=1))


def _reference(chosen: Any, files: Sequence[str], size: tuple[int, int]) -> reference_set.LoadedSet:
    """The reference set to compare with: the trio's own, or the given one that was prepared at the images' size."""
    if isinstance(chosen, SceneFeatures):
        files = [str(reference_set.SHIPPED)]
    if not files:
        raise IbstatsError(
            "fid and kid need a reference set; make one with `ibstats reference FOLDER --out stats.npz` and pass "
            "--reference stats.npz"
        )
    known = [reference_set.read(file) for file in files]
    fitting = [one for one in known if tuple(one.record.size) == tuple(size)] or known
    try:
        settings = chosen.settings()
    except Unmeasurable:
        settings = fitting[0].record.settings | chosen.asked()
    reference_set.check(fitting[0], chosen.name, settings, size)
    return fitting[0]


def units(value: xr.DataArray) -> xr.DataArray:
    """One score over its units, named `prompt` whatever they are; units for which it is undefined are left out."""
    named = value.rename(block="prompt") if "block" in value.dims else value
    kept: xr.DataArray = named.dropna("prompt", how="any")
    return kept


def over_scores(values: xr.Dataset, statistic: Callable[[xr.DataArray], xr.Dataset]) -> xr.Dataset:
    """A statistic of each score that has two or more units, stacked over `quantity`.

    Numbers that differ between scores are variables: `n_units`, `n_prompts`, `df`, `n_tests`; so is `note`.
    """
    made = []
    for name, value in values.data_vars.items():
        x = units(value)
        if x.sizes["prompt"] < 2:
            continue
        one = statistic(x)
        attrs = one.attrs
        n_prompts = values.attrs["n_prompts"] if value.dims[-1] == "block" else x.sizes["prompt"]
        extra: dict[str, Any] = {"n_units": x.sizes["prompt"], "n_prompts": n_prompts}
        extra |= {key: attrs[key] for key in ("df", "n_tests") if key in attrs}
        extra |= {key: value.attrs[key] for key in ("units", "note", "larger_is_better")}
        made.append(
            one.expand_dims(quantity=[name]).assign(
                {k: ("quantity", [v]) for k, v in extra.items()}
            )
        )
    if not made:
        return xr.Dataset()
    stacked: xr.Dataset = xr.concat(made, dim="quantity", combine_attrs="override")
    return stacked.assign_attrs(n_images=values.attrs["n_images"])


def intervals(values: xr.Dataset, how: Resampling) -> xr.Dataset:
    """Estimate and interval of every score in every condition, `(quantity, condition)`; shares keep to [0, 1]."""
    found = over_scores(values, lambda x: mean_interval(x, how))
    for name in found["quantity"].values:
        if QUALITY[str(name)].is_share:
            for bound in ("low", "high"):
                found[bound].loc[{"quantity": name}] = (
                    found[bound].sel(quantity=name).clip(0.0, 1.0)
                )
    return found
