"""Calibration on real images: counts of their codes, from the trio's scenes or an encoded run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from typer.testing import CliRunner

from generate.cli import app
from generate.errors import ModelError, StoreError
from generate.models import model_class
from generate.run import preparing
from generate.run.real_images import count
from generate.study.planning import plan
from generate.trio.tokenizer import load_tokenizer
from schemas.study import Calibration, Study


def asked(**settings: object) -> Calibration:
    return Calibration.model_validate({"source": "encoded", **settings})


def model(name: str):
    adapter = model_class(name)
    options = adapter.options({})
    return adapter.load(adapter.identify(name, options), options, "cpu")


def record(name: str, calibration: Calibration, base: Path, seed: int = 3):
    return count(model(name), calibration, base, label=name, seed=seed, advance=lambda n: None)


def encoded(folder: Path, ids: np.ndarray, codes: int) -> Path:
    np.save(folder / "ids.npy", ids)
    out = folder / "enc"
    arguments = ["--tokens", str(folder / "ids.npy"), "--codes", str(codes), "--out", str(out)]
    done = CliRunner().invoke(app, ["encode", *arguments])
    assert done.exit_code == 0, done.output
    return out


def test_counts_of_an_encoded_run_are_those_of_its_first_images(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 256, (9, 4, 4))
    encoded(tmp_path, ids, 256)
    found = record("trio-mim", asked(n=7, run="enc"), tmp_path)
    assert found.counts == np.bincount(ids[:7].ravel(), minlength=256).tolist()
    assert found.half_counts == np.bincount(ids[:7:2].ravel(), minlength=256).tolist()
    shown = np.sum([np.bincount(image.ravel(), minlength=256) > 0 for image in ids[:7]], axis=0)
    assert found.image_counts == shown.tolist()


def test_the_trio_counts_fresh_scenes_by_its_own_tokenizer(tmp_path: Path) -> None:
    one, same = (record("trio-mim", asked(n=300), tmp_path) for _ in range(2))
    other = record("trio-mim", asked(n=300), tmp_path, seed=4)
    assert sum(one.counts) == 300 * 64
    assert one.counts_sha256 == same.counts_sha256 != other.counts_sha256
    tokenizer = load_tokenizer()
    ids = np.concatenate(list(model("trio-ar").codes_of_images(300, 3)))
    assert np.bincount(ids.ravel(), minlength=256).tolist() == one.counts
    with torch.inference_mode():
        assert tokenizer.decode(torch.from_numpy(ids[:2]).view(-1, 8, 8)).shape == (2, 3, 32, 32)


def test_runs_of_another_codebook_or_with_too_few_images_are_refused(tmp_path: Path) -> None:
    encoded(tmp_path, np.zeros((3, 2, 2), int), 16)
    with pytest.raises(ModelError, match="has 256 codes of its own: encode with its tokenizer"):
        record("trio-mim", asked(n=2, run="enc"), tmp_path)
    (tmp_path / "toy").mkdir()
    encoded(tmp_path / "toy", np.zeros((3, 2, 2), int), 3)
    with pytest.raises(StoreError, match="has 3 images, but the calibration asks for n: 9"):
        record("toy-ar", asked(n=9, run="toy/enc"), tmp_path)
    with pytest.raises(ModelError, match="model 'toy-ar' has no images of its own"):
        record("toy-ar", asked(n=9), tmp_path)


def test_codes_of_scales_are_counted_by_scale_and_need_a_place_in_one(tmp_path: Path) -> None:
    """A row of 4 codes is the row of the toy's scales; a grid of 9 is another thing."""
    (tmp_path / "row").mkdir()
    ids = np.random.default_rng(0).integers(0, 3, (5, 4))
    encoded(tmp_path / "row", ids, 3)
    found = record("toy-scales", asked(n=5, run="row/enc"), tmp_path)
    for part, place in zip(found.strata, (ids[:, :1], ids[:, 1:2], ids[:, 2:]), strict=True):
        assert part.counts == np.bincount(place.ravel(), minlength=3).tolist()
    encoded(tmp_path, np.zeros((3, 3, 3), int), 3)
    with pytest.raises(ModelError, match="holds 9 codes an image, but those of model 'toy-scales'"):
        record("toy-scales", asked(n=2, run="enc"), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 9}, "real images are not sampled"),
        ({"source": "trio", "run": "enc"}, "write source: encoded"),
        ({"n": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message) -> None:
    with pytest.raises(ValidationError, match=message):
        asked(**settings)


def test_two_thousand_images_are_counted_where_nothing_is_said() -> None:
    assert asked().n == 2000
    assert Calibration().n == 48


def test_a_study_takes_its_subsets_from_real_images(tmp_path: Path) -> None:
    study = Study.model_validate(
        {
            "name": "images",
            "samples": 2,
            "models": ["trio-mim"],
            "prompts": {"n": 2},
            "calibration": {"source": "encoded", "n": 64},
        }
    )
    laid_out = plan(study, tmp_path)
    assert (laid_out.calibration_prompts, laid_out.n_calibration) == ([], 64)
    store = preparing.prepare(laid_out, tmp_path / "run")
    fixed = store.fixed("trio-mim", "factorial")
    assert fixed["calibration_count"].sum() == 64 * 64
    dropped = fixed["calibration_count"][
        ~fixed["codebook_keep"][list(fixed["codebook"]).index("subset")]
    ]
    assert dropped.max() <= np.median(fixed["calibration_count"])
    again = preparing.calibrate(laid_out, tmp_path / "run")
    assert again["trio-mim"].counts_sha256 == store.run.calibration_sha256["trio-mim"]
