"""Quality of a prompt's images in each condition (paper, section 4.2 and Fig. 3).

Every score is an array whose mean over its units is the estimate, so that one notion of interval, test and contrast
serves all. The unit of a per-image score is the prompt (`prompt`). A score of a whole set of images has none of its
own: its units are blocks of prompts (`block`), each with the jackknife pseudo-value that leaving it out gives.

Scores of the scene network are under its own name: they stand in for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import xarray as xr

from ibstats.errors import IbstatsError, unknown
from ibstats.measure.clip import Texts
from ibstats.statistics.by_prompt import per_prompt


def base_texts(dataset: xr.Dataset) -> list[str]:
    """The base prompt of each prompt, in order: what images are scored against.

    Whatever wording made an image, it is scored against the original one.
    """
    kind, owner = dataset["text_kind"].values, dataset["text_prompt"].values
    names = dataset["text"].values
    original = {int(p): str(names[i]) for i, p in enumerate(owner) if kind[i] == "original"}
    return [original[int(p)] for p in _prompt_numbers(dataset)]


def _prompt_numbers(dataset: xr.Dataset) -> np.ndarray:
    """Number of each prompt in the run, from the text its first sample was given (prompts may be a selection)."""
    first = dataset["text_index"].isel(condition=0, sample=0).values
    return np.asarray(dataset["text_prompt"].values[first])


def prompt_attributes(dataset: xr.Dataset, model: str, experiment: str) -> list[dict[str, str]]:
    """What each prompt asserts, where it is known exactly: values by the name of the attribute.

    Raises IbstatsError where no prompt asserts anything; `model` and `experiment` are for it.
    """
    named = [json.loads(str(text)) for text in dataset["prompt_attributes"].values]
    if not any(named):
        raise IbstatsError(
            f"the prompts of '{model}/{experiment}' have no known attributes, so reference_accuracy is undefined; it "
            "needs prompts of the trio's grammar, others can use clip_score"
        )
    return named


def clip_score(features: xr.DataArray, known: Texts, long_texts: str = "cut") -> xr.DataArray:
    """`100 cos(image, base prompt)`, mean over a prompt's images, `(condition, prompt)`.

    `features (condition, prompt, sample, feature)` and those of the texts have unit length.
    Negative values stay negative (torchmetrics sets a negative mean to 0). Texts longer than the
    network reads are cut there with their end mark kept, or left out (NaN); the note counts them.
    Source: Hessel et al. (2021), arXiv:2104.08718, with torchmetrics' factor 100.
    """
    n = features.sizes["prompt"]
    text = known.features[:n].astype(np.float64)
    value = per_prompt(features, lambda x: 100 * np.einsum("psf,pf->ps", x, text))
    long = known.n_tokens[:n] > known.limit
    note = "scored against the base prompt"
    if long.any():
        what = "scored on their beginning" if long_texts == "cut" else "left out"
        note += f"; {long.sum()} of {n} base prompts are longer than {known.limit} CLIP tokens and {what}"
        if long_texts == "leave_out":
            value = value.where(xr.DataArray(~long, dims="prompt"))
    return value.assign_attrs(note=note)


def clip_iqa(features: xr.DataArray, anchors: np.ndarray) -> xr.DataArray:
    """Probability of the first of two opposite texts, mean over a prompt's images.

    `features (condition, prompt, sample, feature)` and `anchors (2, feature)`, the texts, have unit
    length; gives `(condition, prompt)`.
    Source: Wang, Chan & Loy (2023), arXiv:2207.12396, as in torchmetrics with a CLIP of
    transformers; the paper's own network is a ResNet-50 without position embeddings, whose values
    differ.
    """
    pair = 100 * anchors.astype(np.float64)
    return per_prompt(features, lambda x: 1 / (1 + np.exp(x @ (pair[1] - pair[0]))))


def reference_accuracy(
    features: xr.DataArray,
    attributes: Mapping[str, Sequence[str]],
    named: Sequence[Mapping[str, str]],
) -> dict[str, xr.DataArray]:
    """Share of the attributes a prompt names that its images show, together and each.

    `features (condition, prompt, sample, feature)` end with the logits of the network, one for each
    value of `attributes`; `named` is what each prompt asserts. Gives `(condition, prompt)` by name,
    NaN where a prompt names none. Raises IbstatsError for a value that the network does not know.
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
        right[name] = per_prompt(logits, partial(_right, target)).where(
            xr.DataArray(target >= 0, dims="prompt")
        )
    together = xr.concat(list(right.values()), dim="attribute").mean("attribute")
    each = {f"reference_accuracy_{name}": value for name, value in right.items()}
    return {"reference_accuracy": together, **each}


def _right(target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Whether the likeliest value of each image is the target of its prompt: 1 or 0."""
    return np.asarray(logits.argmax(axis=-1) == target[:, None])
