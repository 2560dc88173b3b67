"""Reference sets: made from images, recorded with their rule, refused where unlike; quality on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from rich.console import Console

from ibstats.cli import console
from ibstats.errors import IbstatsError
from ibstats.kernels import frechet
from ibstats.measure import Embedding, Machine, named, reference_set
from ibstats.measure.reference_set import making
from ibstats.report import files
from ibstats.results.kept import obtain
from ibstats.selection import select
from ibstats.statistics import scores
from ibstats.statistics.uncertainty import Resampling
from ibstats.store import open_store
from schemas.analysis import Config
from tests.ibstats.conftest import write_run
from tests.ibstats.test_cli import call

ROOT = Path(__file__).parents[2]


class Colours(Embedding):
    """Mean colour and spread of the pixels: six features, in place of Inception."""

    name = "inception"

    def __init__(self, version: str = "1", **ignored: Any) -> None:
        super().__init__(batch_size=4)
        self.version = version

    def asked(self) -> dict[str, Any]:
        return {"input": "as they are"}

    def settings(self) -> dict[str, Any]:
        return self.asked() | {"weights_sha256": self.version}

    def embed(self, images: np.ndarray) -> np.ndarray:
        x = images.reshape(len(images), -1, 3).astype(np.float32) / 255
        return np.concatenate([x.mean(axis=1), x.std(axis=1)], axis=1)


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(named.NETWORKS, "inception", f"{__name__}:Colours")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven pictures of several sizes and modes, and a file that is none."""
    rng, where = np.random.default_rng(0), tmp_path / "pictures" / "deep"
    where.mkdir(parents=True)
    for i in range(10):
        Image.fromarray(rng.integers(0, 256, (20 + i, 33 - i, 3), dtype=np.uint8)).save(
            where / f"{i}.png"
        )
    Image.fromarray(rng.integers(0, 256, (40, 20), dtype=np.uint8)).save(where.parent / "grey.jpg")
    (where / "README.txt").write_text("not an image")
    return where.parent


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(console, "out", Console(width=120))
    return lambda *arguments: call(capsys, monkeypatch, *map(str, arguments))


def test_a_set_of_a_folder_holds_the_moments_of_its_prepared_images(
    ask, colours, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sets" / "set.npz"
    status, printed, _ = ask("reference", folder, "--out", out, "--size", "16")
    assert status == 0
    assert (
        "11 images of 'pictures' at 16x16 (centre-crop), 6 features of 'inception', 11 rows kept"
        in printed
    )
    found = reference_set.read(out)
    prepared = [
        reference_set.prepare(image, (16, 16), "centre-crop")
        for _, image in reference_set.images_of(str(folder))
    ]
    plain = frechet.moments(Colours().embed(np.stack(prepared)))
    np.testing.assert_allclose(found.target.mean, plain.mean, rtol=1e-6)
    np.testing.assert_allclose(found.target.covariance, plain.covariance, rtol=1e-5, atol=1e-9)
    assert found.record.settings == Colours().settings()
    import jsonschema

    schema = json.loads((ROOT / "schemas/reference_set.schema.json").read_text())
    jsonschema.validate(json.loads(found.record.model_dump_json()), schema)


def test_centre_crop_keeps_the_shape_of_things_and_stretch_does_not() -> None:
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 255  # a white square in the middle
    cropped = reference_set.prepare(Image.fromarray(wide), (10, 10), "centre-crop")
    assert cropped.min() > 200
    assert reference_set.prepare(Image.fromarray(wide), (10, 10), "stretch")[:, [0, -1]].max() < 50
    with pytest.raises(IbstatsError, match="10x30, not 10x10; choose --resize"):
        reference_set.prepare(Image.fromarray(wide), (10, 10), "none")


def test_a_data_set_gives_what_its_folder_gives(colours, folder: Path, tmp_path: Path) -> None:
    import datasets

    pictures = [image.copy() for _, image in reference_set.images_of(str(folder))]
    rows = datasets.Dataset.from_dict(
        {"photo": pictures}, features=datasets.Features({"photo": datasets.Image()})
    )
    rows.save_to_disk(tmp_path / "saved")
    (tmp_path / "files").mkdir()
    rows.to_parquet(tmp_path / "files" / "train.parquet")
    expected = making.build(str(folder), tmp_path / "a.npz", size="16")
    for source in ("saved", "files"):
        made = making.build(
            f"hf:{tmp_path / source}", tmp_path / "b.npz", size="16", name="pictures"
        )
        assert made == expected
    with pytest.raises(IbstatsError, match="unknown image column 'image'; known: photo"):
        making.build(f"hf:{tmp_path / 'saved'}", tmp_path / "c.npz", size="16", column="image")


def test_a_broken_image_is_one_line_that_names_it_and_nothing_is_written(
    ask, colours, folder: Path, tmp_path
) -> None:
    whole = (folder / "deep" / "3.png").read_bytes()
    (folder / "deep" / "5x.png").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "set.npz"
    status, printed, error = ask("reference", folder, "--out", out, "--size", "16")
    assert (status, printed) == (1, "")
    assert "deep/5x.png' is not a readable image" in error
    assert len(error.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures"]


def test_moments_of_another_program_are_taken_as_declared(ask, colours, tmp_path: Path) -> None:
    np.savez(tmp_path / "fid.npz", mu=np.zeros(6), sigma=np.eye(6))
    out = tmp_path / "set.npz"
    assert (
        "declare both: --size 256 --images"
        in ask("reference", tmp_path / "fid.npz", "--out", out)[2]
    )
    assert (
        ask("reference", tmp_path / "fid.npz", "--out", out, "--size", "16", "--images", "50")[0]
        == 0
    )
    record = reference_set.read(out).record
    assert (record.resize, record.n_images, record.n_features_kept) == ("declared", 50, 0)
    with pytest.raises(
        IbstatsError, match=r"fid.npz' does not say how its images were prepared; import it"
    ):
        reference_set.read(tmp_path / "fid.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("reference", "NONE", "--out", "OUT"), "give a folder of images, hf:NAME of a data set"),
        (("reference", "EMPTY", "--out", "OUT"), "holds no image files"),
        (
            ("reference", "FOLDER", "--out", "OUT", "--size", "big"),
            "size is 'big', but must read 256 or 256x384",
        ),
        (
            ("reference", "FOLDER", "--out", "OUT", "--size", "16", "--resize", "x"),
            "unknown resize rule 'x'",
        ),
        (
            ("reference", "FOLDER", "--out", "OUT", "--network", "vgg"),
            "known: clip, clip_336, dinov2, efficientnet_lite0, inception, reference",
        ),
        (("reference", "FOLDER", "--out", "OUT"), "it is 21x32, not 20x33; choose --resize"),
        (("reference", "NONE.npz", "--out", "OUT"), "no file 'NONE.npz'"),
        (
            ("reference", "FOLDER", "--out", "OUT", "--images", "1"),
            "a distribution needs two or more",
        ),
        (
            ("quality", "RUN", "--score", "fidd"),
            "unknown score 'fidd'; known: clip_score, clip_iqa, fid",
        ),
        (
            ("quality", "RUN", "--score", "fid"),
            "scores of sets need a reference set of 'inception'; make one with `ibstats reference",
        ),
        (("quality", "RUN", "--score", "fid", "--reference", "NONE.npz"), "no reference set"),
        (("quality", "RUN", "--score", "reference_accuracy"), "images are 16x16"),
        (
            ("quality", "RUN", "--score", "clip_score", "--long-texts", "shrink"),
            "must be one of 'cut', 'leave_out'",
        ),
    ],
)
def test_a_known_error_is_one_line(
    ask, colours, run: Path, folder: Path, tmp_path: Path, arguments, message
) -> None:
    (tmp_path / "empty").mkdir()
    places = {
        "RUN": run,
        "OUT": tmp_path / "out.npz",
        "FOLDER": folder,
        "EMPTY": tmp_path / "empty",
    }
    status, printed, error = ask(*(places.get(a, a) for a in arguments))
    assert (status, printed) == (1, "")
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out.npz").exists()


def made_set(tmp_path: Path, **changes: Any) -> Path:
    """A reference set at the size of the toy run."""
    rng = np.random.default_rng(0)
    images = [
        ("x", Image.fromarray(rng.integers(20, 235, (16, 16, 3), dtype=np.uint8)))
        for _ in range(30)
    ]
    record, target = making.make(images, Colours(), name="noise", size=(16, 16), resize="none")
    reference_set.write(record.model_copy(update=changes), target, tmp_path / "set.npz")
    return tmp_path / "set.npz"


def scored(run: Path, model: str, names: list[str], *files: Path) -> xr.Dataset:
    """Scores of a model against reference sets."""
    settings = Config(references=tuple(map(str, files)))
    return scores.scores(select(open_store(run), model, "factorial"), names, settings, Machine())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"network": "reference"},
            "holds features of 'reference', but the score needs those of 'inception'",
        ),
        (
            {"settings": {"weights_sha256": "2"}},
            "made with weights_sha256 '2', but the images are measured with '1'",
        ),
        (
            {"settings": {"input": "bicubic"}},
            "made with input 'bicubic', but the images are measured with 'as they",
        ),
        ({"size": (32, 32)}, "was prepared at 32x32 .none., but the images compared are 16x16"),
    ],
)
def test_unlike_features_are_not_compared(
    colours, run: Path, tmp_path: Path, changes: dict, message: str
) -> None:
    file = made_set(tmp_path, **changes)
    with pytest.raises(IbstatsError, match=message):
        scored(run, "toy-ar", ["fid"], file)


def test_fid_of_a_run_is_that_of_its_features_and_kid_needs_the_features_of_the_set(
    colours, run_copy: Path, tmp_path: Path
) -> None:
    store, file = open_store(run_copy), made_set(tmp_path)
    made = scored(run_copy, "toy-mim", ["fid", "kid"], file)
    images = store.dataset("toy-mim")["image"].values
    target = reference_set.read(file).target
    for condition in (0, 7):
        features = Colours().embed(images[condition].reshape(-1, 16, 16, 3))
        expected = frechet.frechet(features, target)
        assert float(made["fid"][condition].mean()) == pytest.approx(expected, rel=1e-6)
    moments_only = reference_set.read(file)
    bare = frechet.Target(moments_only.target.mean, moments_only.target.covariance)
    reference_set.write(moments_only.record, bare, tmp_path / "bare.npz")
    with pytest.raises(
        IbstatsError, match=r"kid needs features, but reference set '.*bare.npz' holds moments only"
    ):
        scored(run_copy, "toy-mim", ["kid"], tmp_path / "bare.npz")


def test_the_set_prepared_at_the_size_of_the_images_is_used(
    colours, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = made_set(tmp_path / "other", size=(32, 32))
    assert "fid" in scored(run, "toy-mim", ["fid"], other, made_set(tmp_path))


def test_fid_of_two_prompts_is_undefined_and_says_so(colours, tmp_path: Path) -> None:
    small = open_store(
        write_run(tmp_path / "small", n_prompts=2, block_prompts=2, families={"m": "masked"})
    )
    with pytest.raises(IbstatsError, match=r"fid is undefined for 2 prompt.*three or more"):
        scored(tmp_path / "small", "m", ["fid"], made_set(tmp_path))
    settings = Config(references=(str(made_set(tmp_path)),), clip="no/clip")
    selection = select(small, "m", "factorial")
    names, notes = scores.available(selection, settings, Machine(download=False))
    assert names == []
    assert notes[0] == "fid, kid, prdc need 3 prompts or more"
    assert "'no/clip', which is not in" in notes[1]


def test_what_nobody_asked_for_is_left_out_when_it_cannot_be_had(
    colours, run: Path, tmp_path: Path
) -> None:
    machine, file = Machine(download=False), made_set(tmp_path)
    given = reference_set.read(file)
    bare = frechet.Target(given.target.mean, given.target.covariance)
    record = given.record.model_copy(update={"n_features_kept": 0})
    reference_set.write(record, bare, tmp_path / "bare.npz")
    for references, expected in (
        ([], []),
        ([file], ["fid", "kid", "prdc"]),
        ([tmp_path / "bare.npz"], ["fid"]),
    ):
        settings = Config(references=tuple(map(str, references)), clip="no/clip")
        selection = select(open_store(run), "toy-ar", "factorial")
        assert scores.available(selection, settings, machine)[0] == expected


def test_quality_prints_scores_probes_effects_and_frontier_and_exports_them(
    ask, colours, run_copy: Path, tmp_path: Path
) -> None:
    asked = (
        "--score",
        "fid",
        "--score",
        "kid",
        "--reference",
        str(made_set(tmp_path)),
        "--metric",
        "pixel_cosine",
    )
    asked += ("--model", "toy-mim", "--resamples", "200")
    status, printed, error = ask("quality", run_copy, *asked)
    assert status == 0, error
    for part in (
        "FID ↓",
        "KID ↓",
        "What each probe does",
        "Effects on ",
        "frontier",
        "noise, 30 images",
    ):
        assert part in printed
    assert ask("quality", run_copy, *asked)[1] == printed
    config = Config(
        metrics=("pixel_cosine",),
        models=("toy-mim",),
        parts=("quality",),
        scores=("fid", "kid"),
        references=(asked[5],),
        resampling=Resampling(n_resamples=200),
    )
    document = obtain(open_store(run_copy), config)
    rows = [row for row in document.rows if row.section == "quality" and row.quantity == "fid"]
    assert len(rows) == 8
    for row in rows:
        assert row.low <= row.estimate <= row.high
        assert (row.n_prompts, row.n_images) == (6, 5)
    assert {row.section for row in document.rows} >= {"quality_effect", "quality_probe", "frontier"}
    scored = {(row.quantity, row.term): row for row in document.rows if row.section == "quality"}
    for row in (row for row in document.rows if row.section == "frontier"):
        assert row.verdict in {"frontier", "dominated"}
        same = scored[row.quantity, row.term]
        for made in (
            "estimate",
            "low",
            "high",
            "interval_method",
            "level",
            "n_resamples",
            "seed",
            "n_prompts",
        ):
            assert getattr(row, made) == getattr(same, made)
    made = files.export(open_store(run_copy), config, tmp_path / "latex", "latex")
    names = {file.stem for file in made}
    assert {"quality-fid", "quality-kid", "frontier"} <= names
    table = (tmp_path / "latex/quality-fid.tex").read_text()
    for row in rows:
        assert f"{row.estimate:.4f}" in table
        assert f"{row.low:.4f}" in table
    drawn = files.draw_all(open_store(run_copy), config, tmp_path / "figures", ["png"])
    assert {file.name for file in drawn} >= {
        "quality-probes.png",
        "frontier-fid.png",
        "frontier-kid.png",
    }


@pytest.mark.parametrize(
    ("mu", "sigma", "message"),
    [
        (np.zeros(7), np.eye(7), "of 7 features, but 'inception' has 6"),
        (np.full(6, np.nan), np.eye(6), "mean in .* has 6 of 6 numbers that are not finite"),
        (np.zeros(6), np.full((6, 6), np.inf), "covariance in .* 36 of 36 numbers"),
        (np.float64(0), np.eye(6), r"mean \(\) and covariance \(6, 6\)"),
        (np.zeros((6, 1)), np.eye(6), r"mean \(6, 1\)"),
        (np.zeros(0), np.zeros((0, 0)), r"mean \(0,\)"),
        (np.zeros(6), np.eye(6) * 1j, "covariance in .* is complex128, not real numbers"),
        (np.zeros(6), np.triu(np.ones((6, 6))), "covariance in .* is not symmetric"),
        (np.zeros(6), np.diag([1, 1, 1, 1, 1, -0.1]), "negative eigenvalue .-0.1"),
    ],
)
def test_moments_that_are_none_are_refused_in_one_line(
    colours, tmp_path: Path, mu: Any, sigma: Any, message: str
) -> None:
    np.savez(tmp_path / "fid.npz", mu=mu, sigma=sigma)
    with pytest.raises(IbstatsError, match=message):
        making.build(str(tmp_path / "fid.npz"), tmp_path / "set.npz", size="16", n_images=100)
    assert not (tmp_path / "set.npz").exists()


def test_a_singular_covariance_in_single_precision_is_one(colours, tmp_path: Path) -> None:
    few = np.random.default_rng(0).normal(size=(4, 6))
    sigma = np.cov(few, rowvar=False).astype(np.float32)
    np.savez(tmp_path / "fid.npz", mu=few.mean(axis=0), sigma=sigma)
    out = tmp_path / "set.npz"
    assert making.build(str(tmp_path / "fid.npz"), out, size="16", n_images=100).dimensions == 6
