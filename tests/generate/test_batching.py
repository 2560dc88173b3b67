from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generate.models.base import Model
from generate.run import blocks
from generate.run.batching import CPU_BATCH, MOST, batch_size, largest
from generate.run.loading import load_recorded
from generate.run.preparing import prepare
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study


def refuse(label: str) -> Model:
    raise AssertionError(f"{label} need not be loaded")


def automatic(laid_out: Plan) -> Plan:
    return dataclasses.replace(
        laid_out, study=laid_out.study.model_copy(update={"batch_size": "auto"})
    )


def test_the_studys_batch_is_taken_and_recorded(study_file: Path, tmp_path: Path) -> None:
    laid_out = plan(*load_study(str(study_file)))
    sizes = {label: batch_size(laid_out, label, refuse, "cuda") for label in laid_out.models}
    assert sizes == dict.fromkeys(laid_out.models, laid_out.study.batch_size)
    assert prepare(laid_out, tmp_path / "run").run.batch_sizes == sizes


def test_automatic_batches_on_a_cpu_are_fixed(study_file: Path, tmp_path: Path) -> None:
    laid_out = automatic(plan(*load_study(str(study_file))))
    assert set(prepare(laid_out, tmp_path / "run").run.batch_sizes.values()) == {CPU_BATCH}


@pytest.mark.parametrize(
    ("available", "expected"),
    [(24_000, 128), (12_000, 64), (2_000, 4), (100, 1), (10**9, MOST)],
)
def test_as_many_samples_as_fit_in_powers_of_two(available: int, expected: int) -> None:
    """Weights of 1,000 and 100 a sample: 0.8 x 24,000 leaves room for 182."""
    assert largest(1_100, 1_500, available) == expected


def test_what_a_text_fixes_is_sampled_once_and_copied(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out = plan(*load_study(str(study_file)))
    store = prepare(laid_out, tmp_path / "run")
    conditions = list(laid_out.experiments["factorial"])
    sizes: list[int] = []
    for label in laid_out.models:
        model = load_recorded(laid_out, store.run, label, "cpu")
        monkeypatch.setattr(type(model), "traverse", counting(type(model), sizes))
        for block in laid_out.blocks():
            if (block.model, block.experiment) != (label, "factorial"):
                continue
            sizes.clear()
            made = blocks.generate_block(laid_out, store, model, block)
            fixed = store.fixed(label, "factorial")
            texts = fixed["text_index"][block.condition, block.start : block.stop]
            whole = conditions[block.condition].argmax_window == "0:1"
            alone = model.family == "autoregressive" and whole
            assert sum(sizes) == (len(np.unique(texts)) if alone else texts.size)
            if alone:
                assert_copies(made["tokens"], made["image"], texts)


def counting(adapter: type[Model], sizes: list[int]) -> Any:
    traverse = adapter.traverse

    def counted(self: Model, conditioning: Any, probe: Any, noise: Any) -> Any:
        sizes.append(len(noise.path_keys))
        return traverse(self, conditioning, probe, noise)

    return counted


def assert_copies(tokens: np.ndarray, images: np.ndarray, texts: np.ndarray) -> None:
    """Samples of one text are equal, tokens and images alike."""
    for prompt in range(len(texts)):
        for sample, text in enumerate(texts[prompt]):
            first = list(texts[prompt]).index(text)
            assert (tokens[prompt, sample] == tokens[prompt, first]).all()
            assert (images[prompt, sample] == images[prompt, first]).all()
