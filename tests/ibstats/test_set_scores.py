"""Scores of sets in the space of any network: on photographs, with intervals and contrasts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ibstats
from ibstats import importing
from ibstats.errors import IbstatsError
from ibstats.measure import embeddings, network, reference_set
from ibstats.measure.reference_set.making import make
from ibstats.selection import select
from ibstats.statistics import set_scores
from schemas.analysis import Resampling
from tests.ibstats.measure.photographs import NAMES, photograph
from tests.ibstats.test_neighbours import theirs

SIDE = 64
CROPS = [(3 * step % 32, 5 * step % 32) for step in range(12)]


def crop(name: str, number: int) -> np.ndarray:
    """A part of a photograph, `SIDE` pixels a side."""
    y, x = CROPS[number]
    return photograph(name, 96)[y : y + SIDE, x : x + SIDE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and a reference set of other crops: `one` shows one photograph, `all` a prompt each."""
    root = tmp_path_factory.mktemp("sets")
    for number in range(4):
        for sample in range(3):
            for condition, name in {"all": NAMES[number], "one": NAMES[0]}.items():
                place = root / "out" / condition / f"p{number}"
                place.mkdir(parents=True, exist_ok=True)
                pixels = crop(name, (3 * number + sample) % 6)
                Image.fromarray(pixels).save(place / f"{sample}.png")
    spec, source = importing.asked(
        root / "out", {"images": "{condition}/{prompt}/{sample}.png", "baseline": "all"}
    )
    importing.write(importing.survey(spec, source), root / "run", lambda blocks: blocks)
    pictures = []
    for name in NAMES[:4]:
        for number in range(6, 12):
            pictures.append((name, Image.fromarray(crop(name, number))))
    lite = network("efficientnet_lite0")
    record, target = make(pictures, lite, name="photographs")
    reference_set.write(record, target, root / "photographs.npz")
    return root


def settings(folder: Path, **changes: object) -> ibstats.Config:
    given = {
        "network": "efficientnet_lite0",
        "references": (str(folder / "photographs.npz"),),
        "metrics": ("pixel_cosine",),
        "parts": ("quality",),
        "resampling": Resampling(n_resamples=200),
    }
    return ibstats.Config(**(given | changes))  # type: ignore[arg-type]


def test_scores_of_a_folder_come_with_intervals_contrasts_and_what_they_rest_on(
    folder: Path,
) -> None:
    """Without a score asked for: those that the reference set is of the right network for.

    Twelve images are fewer than 1280 features, so there is no extrapolated distance.
    """
    tree = ibstats.analyse(ibstats.open_store(folder / "run"), settings(folder))["imported"]
    group = tree["quality"]
    names = ["prdc_precision", "prdc_recall", "prdc_density", "prdc_coverage"]
    assert set(group["quantity"].values) == {"fd", *names}
    found = group.sel(quantity=names)
    assert (found["low"] <= found["estimate"]).all()
    assert (found["estimate"] <= found["high"]).all()
    estimate = group["estimate"]
    both = {"condition": ["all", "one"]}
    assert np.diff(estimate.sel(quantity="prdc_recall", **both))[0] < -0.2
    assert np.diff(estimate.sel(quantity="prdc_coverage", **both))[0] < -0.2
    assert np.diff(estimate.sel(quantity="fd", **both))[0] > 0
    notes = " ".join(map(str, group["note"].values.ravel()))
    assert "k = 3; 12 images a condition, 24 of reference set photographs" in notes
    assert "k = 5" in notes
    contrasts = tree["quality_contrasts"]
    assert set(names) <= set(contrasts["quantity"].values)
    assert float(contrasts["p"].sel(quantity="prdc_coverage").min()) < 1


def test_values_are_those_of_other_programs_on_the_same_features(folder: Path) -> None:
    selection = select(ibstats.open_store(folder / "run"), "imported", "imported")
    lite = network("efficientnet_lite0")
    features = embeddings(selection, lite)
    against = reference_set.read(folder / "photographs.npz")
    found = set_scores.manifolds(features, against)
    assert against.target.features is not None
    for condition in ("all", "one"):
        made = features.sel(condition=condition).values.reshape(12, -1).astype(np.float64)
        three = theirs(against.target.features, made, 3)
        five = theirs(against.target.features, made, 5)
        value = {name: float(one.sel(condition=condition).mean()) for name, one in found.items()}
        assert value["prdc_precision"] == pytest.approx(three["precision"])
        assert value["prdc_recall"] == pytest.approx(three["recall"])
        assert value["prdc_density"] == pytest.approx(five["density"])
        assert value["prdc_coverage"] == pytest.approx(five["coverage"])


def test_a_score_whose_reference_set_is_of_another_network_says_what_to_make(
    folder: Path,
) -> None:
    store = ibstats.open_store(folder / "run")
    for score, wanted in {"cmmd": "clip_336", "fd_dinov2": "dinov2", "fid": "inception"}.items():
        with pytest.raises(IbstatsError, match=f"the score needs those of '{wanted}'"):
            ibstats.analyse(store, settings(folder, scores=(score,)))
    with pytest.raises(IbstatsError, match="--network efficientnet_lite0"):
        ibstats.analyse(store, settings(folder, scores=("prdc",), references=()))
    with pytest.raises(IbstatsError, match="unknown feature network 'vgg'"):
        ibstats.analyse(store, settings(folder, network="vgg"))


def test_moments_alone_are_no_manifold(folder: Path, tmp_path: Path) -> None:
    known = reference_set.read(folder / "photographs.npz")
    target = type(known.target)(known.target.mean, known.target.covariance)
    record = known.record.model_copy(update={"n_features_kept": 0})
    reference_set.write(record, target, tmp_path / "moments.npz")
    store = ibstats.open_store(folder / "run")
    changed = {"references": (str(tmp_path / "moments.npz"),)}
    tree = ibstats.analyse(store, settings(folder, **changed))["imported"]
    assert set(tree["quality"]["quantity"].values) == {"fd"}
    with pytest.raises(IbstatsError, match="precision needs features, but"):
        ibstats.analyse(store, settings(folder, scores=("prdc",), **changed))
