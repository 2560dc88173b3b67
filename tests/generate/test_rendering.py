"""A decoder that draws: noise of its own, images of one token grid, and its share of the diversity."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from generate.models import model_class
from generate.models.trio import TrioRendered
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.study.noise import normals, stream_keys
from generate.study.planning import plan
from ibstats.analysis import analyse
from ibstats.statistics.uncertainty import Resampling
from ibstats.store import Store, open_store
from schemas.analysis import Config
from schemas.study import Study

CROSSED = {"kind": "crossed_noise", "paths": 2, "executions": 2, "renderings": 3}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("rendering")
    steps = {"steps": 4, "guidance": 1.0}
    study = Study.model_validate(
        {
            "name": "rendering",
            "samples": 2,
            "models": [
                {"model": "trio-rendered", "options": steps},
                {
                    "model": "trio-rendered",
                    "label": "still",
                    "options": {**steps, "rendering": 0.0},
                },
                {"model": "trio-mim", "options": steps},
            ],
            "prompts": {"source": "trio", "n": 3},
            "experiments": {"crossed": CROSSED},
        }
    )
    laid_out = plan(study, folder)
    run(laid_out, prepare(laid_out, folder / "run"))
    return open_store(folder / "run")


def rendered() -> TrioRendered:
    adapter = model_class("trio-rendered")
    options = adapter.options({})
    model = adapter.load(adapter.identify("trio-rendered", options), options, "cpu")
    assert isinstance(model, TrioRendered)
    return model


def test_normals_are_standard_and_independent_of_the_other_streams() -> None:
    keys = stream_keys(0, ["a"], 400, "rendering")[0]
    drawn = normals(keys, 100)
    assert abs(drawn.mean()) < 4 / 200
    assert abs(drawn.std() - 1) < 4 / 200 / np.sqrt(2)
    assert not set(keys) & set(stream_keys(0, ["a"], 400, "path")[0])


def test_images_of_one_grid_share_tokens_and_bits_and_nothing_of_the_rendering(
    store: Store,
) -> None:
    data = store.dataset("trio-rendered", "crossed").isel(condition=0)
    for name in ("path_key", "execution_key", "tokens", "token_surprisal", "path_surprisal"):
        grids = data[name].values.reshape(3, 4, 3, -1)
        assert (grids == grids[:, :, :1]).all(), name
    assert len(np.unique(data["rendering_key"])) == 3 * 12
    images = data["image"].values.reshape(3, 4, 3, -1)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (images[:, :, one] != images[:, :, other]).any(axis=-1).all()
    paths = data["path_key"].values.reshape(3, 2, 2, 3)
    assert (paths == paths[:, :, :1, :1]).all()
    assert len(np.unique(paths)) == 3 * 2


def test_an_image_is_made_again_from_its_tokens_and_its_key(store: Store) -> None:
    one = store.dataset("trio-rendered", "crossed").isel(condition=0, prompt=1)
    tokens = torch.from_numpy(one["tokens"].values.reshape(12, 64).astype(np.int64))
    model = rendered()
    for rows in (slice(0, 12), slice(5, 6)):
        images = model.render(tokens[rows], one["rendering_key"].values[rows])
        apart = np.abs(images.astype(int) - one["image"].values[rows].astype(int))
        assert apart.max() <= 1  # by rounding in another batch
    assert (model.decode(tokens[:3]) == model.decode(tokens[:1])).all()


def test_only_a_decoder_that_draws_has_keys(store: Store) -> None:
    assert store.identity("trio-rendered").rendering
    assert "rendering_key" not in store.dataset("trio-mim", "crossed")
    still, plain = store.dataset("still", "crossed"), store.dataset("trio-mim", "crossed")
    assert (still["tokens"] == plain["tokens"]).all()
    assert (still["image"] == plain["image"]).all()


def test_shares_of_path_execution_and_rendering_add_up(store: Store) -> None:
    how = Resampling(n_resamples=200)
    config = Config(
        experiment="crossed", parts=("shares",), metrics=("pixel_cosine",), resampling=how
    )
    tree = analyse(store, config)
    found = {}
    for model in store.models():
        shares = tree[f"{model}/shares_crossed"].to_dataset()["estimate"].squeeze()
        found[model] = shares
        parts = shares.sel(part=["path", "execution", "interaction", "rendering"])
        assert float(parts.sum()) == pytest.approx(1)
        pairs = tree[f"{model}/pairs_crossed"].to_dataset()["estimate"].squeeze()
        assert float(pairs.sel(part="tokens_shared")) == pytest.approx(
            float(shares.sel(part="rendering")), abs=0.15
        )
    assert float(found["trio-rendered"].sel(part="rendering")) > 0.01
    for model in ("still", "trio-mim"):
        assert float(found[model].sel(part="rendering")) == 0
