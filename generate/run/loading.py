"""The models of a plan: what they are, what they read of its texts, and they themselves, loaded."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from generate.errors import StoreError
from generate.models import loaded, model_class
from generate.models.base import Model
from generate.study.planning import Plan
from generate.study.reading import Reading, Text, texts, twins
from schemas.provenance import ModelIdentity
from schemas.store import RunRecord


def identify(plan: Plan) -> dict[str, ModelIdentity]:
    """Identity of every model of a study, by its label in the store; loads no weights.

    Raises `ModelError` for a model or an option that is unknown, and for files that are not there.
    """
    found = {}
    for label, choice in zip(plan.models, plan.study.models, strict=True):
        adapter = model_class(choice.model, plan.base)
        found[label] = adapter.identify(choice.model, adapter.options(choice.options))
    return found


def load(plan: Plan, label: str, device: str) -> Model:
    """The model that a study calls `label`, ready to sample on a torch device.

    Raises `ModelError` if it cannot be loaded as the study asks.
    """
    choice = plan.study.models[plan.models.index(label)]
    return loaded(choice.model, choice.options, device, plan.base)


def load_recorded(plan: Plan, run: RunRecord, label: str, device: str) -> Model:
    """The model that a run calls `label`, loaded on a torch device.

    Raises `StoreError` if it is no longer the one that the run was made with.
    """
    model = load(plan, label, device)
    refuse_other_model(model, run, label)
    return model


def refuse_other_model(model: Model, run: RunRecord, label: str) -> None:
    """Raise `StoreError` if a model is no longer the one that a run was made with as `label`."""
    there = run.models[label]
    if model.identity.fixing() != there.fixing():
        raise StoreError(
            f"model '{label}' is not the one the store was made with (revision "
            f"{model.identity.revision}, there {there.revision}, or other files): restore it, or "
            "give another --out."
        )


def readings(plan: Plan) -> dict[str, list[Reading]]:
    """What every model that can tell sees of every text of a plan, by the model's label.

    Texts are in the order of `generate.study.reading.texts`. Warns if wordings of one prompt reach
    a model as the same tokens, so that they are not paraphrases to it.
    """
    all_texts = texts(plan.prompts)
    plain = [text for text, _, _ in all_texts]
    found = {}
    for label, choice in zip(plan.models, plan.study.models, strict=True):
        adapter = model_class(choice.model, plan.base)
        read = adapter.read(adapter.options(choice.options), plain)
        if read is not None:
            found[label] = read
            _warn_of_twins(label, plan, all_texts, read)
    return found


def _warn_of_twins(
    label: str, plan: Plan, all_texts: Sequence[Text], read: Sequence[Reading]
) -> None:
    found = twins(all_texts, read)
    if not found:
        return
    index, text, _ = found[0]
    n_cut = sum(reading.cut for reading in read)
    warnings.warn(
        f"{len(found)} pairs of wordings are the same to model '{label}' ({n_cut} texts are cut); "
        f"the first is of prompt '{plan.prompts[index].id}': '{text[:60]}'. Shorten or replace one "
        "of each, or read the paraphrase probe with that in mind.",
        stacklevel=2,
    )
