"""The trio's autoregressive model by number of images: which numbers hold, and which are grey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from generate.run import prepare, run
from generate.study import load_study, plan
from ibstats.statistics import information, unseen
from ibstats.store import open_store

pytestmark = pytest.mark.slow

IMAGES = (4, 10, 20, 40, 80)
STUDY = {
    "name": "images",
    "models": [{"model": "trio-ar", "options": {"guidance": 1.0}}],
    "prompts": {"source": "trio", "n": 24},
    "samples": IMAGES[-1],
    "images": False,
    "experiments": {"window": {"kind": "argmax_window", "windows": ["none"]}},
}
HOLD = ("collision_information", "collision_conditional", "collision_entropy")
LEAN = ("conditional_entropy", "mutual_information")


def test_collision_numbers_hold_where_shannons_are_grey(tmp_path: Path) -> None:
    """I2 and H2 from 4 images agree with those from 80 within 2 standard errors."""
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(STUDY))
    laid_out = plan(*load_study(str(file)))
    run(laid_out, prepare(laid_out, tmp_path / "run"))
    store = open_store(tmp_path / "run")
    tokens = store.dataset("trio-ar", "window")["tokens"].isel(condition=[0]).load()
    n_codes = store.identity("trio-ar").codebook_size
    estimates: dict[str, list[float]] = {name: [] for name in (*HOLD, *LEAN)}
    errors: dict[str, list[float]] = {name: [] for name in (*HOLD, *LEAN)}
    grey = []
    for n_images in IMAGES:
        some = tokens.isel(sample=slice(n_images))
        made = information.measure(some, n_codes, ("per_prompt", "unseen", "collision"))
        values = made["per_prompt"].assign(made["collision"].data_vars).isel(condition=0)
        for name, found in estimates.items():
            found.append(float(values[name].mean()))
            errors[name].append(float(values[name].std(ddof=1)) / np.sqrt(values.sizes["prompt"]))
        mass = float(made["unseen"]["unseen_by_image"].mean())
        leans = unseen.leaning(made["unseen"]).sel(quantity="conditional_entropy")
        grey.append(bool(leans.values[0]))
        said = ", ".join(f"{name} {found[-1]:.3f}" for name, found in estimates.items())
        print(f"\n{n_images} images: {said}, unseen by images {mass:.3f}, grey {grey[-1]}")
    for name in HOLD:
        apart = np.abs(np.array(estimates[name]) - estimates[name][-1])
        assert (apart <= 2 * np.array(errors[name])).all(), name
    assert grey == [True, True, True, False, False]
    shannon = estimates["conditional_entropy"]
    assert shannon[-1] - shannon[0] > 0.2
