"""Cosine distances in the space of any network, named on the command line, in an analysis."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics.pairwise import cosine_distances

import ibstats
from ibstats import importing
from ibstats.analysis import provenance
from ibstats.errors import IbstatsError
from ibstats.measure import metric, network
from ibstats.measure.embedding_cosine import EmbeddingCosine
from ibstats.quantities import quantity
from tests.ibstats.measure.photographs import NAMES, photograph, photographs
from tests.ibstats.measure.pixels import noise

OWN = """
from ibstats.measure import Embedding


class Corner(Embedding):
    name = "NAME"
    n_logits = 1

    def settings(self):
        return {"version": 1}

    def embed(self, images):
        return images[:, :2, :2].reshape(len(images), -1).astype("float32")
"""


def test_distances_are_those_of_scikit_learn_on_the_same_features() -> None:
    images = photographs(96)[:5]
    chosen = metric("embedding_cosine")
    features = network("efficientnet_lite0").embed(images)
    measured = chosen.measure(images[None])
    np.testing.assert_allclose(measured.distance[0], cosine_distances(features), atol=1e-6)
    np.testing.assert_allclose(measured.squared_norm, 0.5)


def test_readings_of_a_network_are_no_coordinates(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN.replace("NAME", "corner"))
    images = noise(1, 4, 6, 6)
    chosen = metric(f"embedding_cosine:{file}:Corner")
    flat = images[0, :, :2, :2].reshape(4, -1).astype(np.float64)[:, :-1]
    np.testing.assert_allclose(
        chosen.measure(images).distance[0], cosine_distances(flat), atol=1e-7
    )
    assert chosen.name == "embedding_cosine_corner"
    assert quantity(chosen.name).user == f"embedding_cosine:{file}:Corner"


def test_a_network_of_ones_own_may_not_have_a_name_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN.replace("NAME", "clip"))
    with pytest.raises(IbstatsError, match="needs a name of its own: 'clip' is ours"):
        network(f"{file}:Corner")


def test_the_long_name_of_the_default_is_the_default() -> None:
    assert metric("embedding_cosine:efficientnet_lite0").name == metric("embedding_cosine").name
    with pytest.raises(IbstatsError, match="unknown feature network 'vgg'; known: clip"):
        metric("embedding_cosine:vgg")


def test_it_travels_to_a_worker_without_its_weights() -> None:
    chosen = metric("embedding_cosine")
    images = noise(1, 3, 64, 64)
    before = chosen.measure(images).distance
    content = pickle.dumps(chosen)
    assert len(content) < 10_000
    np.testing.assert_array_equal(pickle.loads(content).measure(images).distance, before)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`alike`: crops of one photograph a prompt; `varied`: another photograph each time."""
    root = tmp_path_factory.mktemp("photographs")
    for number in range(4):
        for sample in range(3):
            alike = np.roll(photograph(NAMES[number], 80), sample, axis=0)
            varied = photograph(NAMES[(number + 4 * sample) % len(NAMES)], 80)
            for condition, pixels in {"alike": alike, "varied": varied}.items():
                folder = root / "out" / condition / f"p{number}"
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{sample}.png")
    given = {"images": "{condition}/{prompt}/{sample}.png", "baseline": "alike"}
    spec, folder = importing.asked(root / "out", given)
    importing.write(importing.survey(spec, folder), root / "run", lambda blocks: blocks)
    return root / "run"


def test_a_folder_of_photographs_gets_a_learned_distance_and_no_scene_network(
    imported: Path,
) -> None:
    store = ibstats.open_store(imported)
    settings = ibstats.Config(parts=("diversity",))
    tree = ibstats.analyse(store, settings)["imported"]
    measured = set(tree["diversity"]["quantity"].values)
    assert measured >= {"pixel_cosine_distance", "embedding_cosine_efficientnet_lite0"}
    assert "reference_distance" not in measured
    group = tree["diversity"].sel(quantity="embedding_cosine_efficientnet_lite0")
    alike = group.sel(condition="alike")
    varied = group.sel(condition="varied")
    assert float(alike["high"]) < 0.2 < float(varied["low"])
    numbers = tree["effective_number"]["estimate"]
    vendi = numbers.sel(quantity="vendi_embedding_cosine_efficientnet_lite0")
    assert 1 < vendi.sel(condition="alike") < vendi.sel(condition="varied") < 3
    assert json.dumps(provenance(store, settings)["metrics"]).count("embedding_cosine") == 1


def test_vendi_and_rke_are_those_of_the_eigenvalues_of_the_features(imported: Path) -> None:
    """exp of the Shannon entropy, inverse of the sum of squares, of the eigenvalues of K / n."""
    tree = ibstats.analyse(ibstats.open_store(imported), ibstats.Config(parts=("diversity",)))
    numbers = tree["imported/effective_number"]["estimate"].sel(condition="varied")
    vendi, rke = [], []
    for number in range(4):
        names = [NAMES[(number + 4 * sample) % len(NAMES)] for sample in range(3)]
        images = np.stack([photograph(name, 80) for name in names])
        features = network("efficientnet_lite0").embed(images).astype(np.float64)
        values = np.linalg.eigvalsh((1 - cosine_distances(features)) / 3)
        vendi.append(np.exp(-(values * np.log(values)).sum()))
        rke.append(1 / (values**2).sum())
    name = "embedding_cosine_efficientnet_lite0"
    assert float(numbers.sel(quantity=f"vendi_{name}")) == pytest.approx(np.mean(vendi), rel=1e-5)
    assert float(numbers.sel(quantity=f"rke_{name}")) == pytest.approx(np.mean(rke), rel=1e-5)


def test_what_is_no_embedding_is_one_line() -> None:
    with pytest.raises(IbstatsError, match="is no Embedding; derive it"):
        metric("embedding_cosine:ibstats.measure.pixel:PixelCosine")
    assert isinstance(metric("embedding_cosine:inception"), EmbeddingCosine)
