from __future__ import annotations

from pathlib import Path

import pytest

from generate.models import toy
from generate.run.loading import readings
from generate.study.planning import plan
from generate.study.reading import Reading, texts
from generate.study.study_file import load_study


def test_texts_that_reach_a_model_as_the_same_tokens_are_warned_of(
    study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(options: object, given: list[str]) -> list[Reading]:
        return [Reading(tuple(text[:2].encode()), cut=len(text) > 2) for text in given]

    monkeypatch.setattr(toy.ToyMasked, "read", read)
    laid_out = plan(*load_study(str(study_file)))
    with pytest.warns(
        UserWarning,
        match=r"pairs of wordings are the same to model 'toy-masked' \(\d+ texts are cut\)",
    ):
        found = readings(laid_out)
    assert set(found) == {"toy-masked"}
    assert len(found["toy-masked"]) == len(texts(laid_out.prompts))
