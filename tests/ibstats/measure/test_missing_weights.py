"""What is said of weights that are not here: it goes into notes of results, which are published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ibstats.errors import MissingWeights
from ibstats.measure import metric
from ibstats.measure.inception import Inception

FINDERS: dict[str, Callable[[], object]] = {
    "torchvision": lambda: metric("lpips_alex", download=False).find_weights(),
    "torch-fidelity": lambda: Inception(download=False).find_weights(),
    "hub": lambda: metric("embedding_cosine:facebook/dinov2-base", download=False).find_weights(),
}


@pytest.mark.parametrize("kept_by", FINDERS)
def test_a_message_does_not_name_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_by: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(MissingWeights, match="which is not in '~/") as said:
        FINDERS[kept_by]()
    assert str(tmp_path) not in str(said.value)
