"""Photos and ids become a run of codes: the same ids, whole, and refusals in one line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from benchmarks.tiny.quantizers import vq_model
from generate.cli import app
from generate.encode.photos import photos_of, read_photo
from generate.encode.tokenizers import tokenizer_of
from generate.errors import GenerateError
from generate.trio.stage_tokenizer import draw_images
from generate.trio.tokenizer import load_tokenizer
from generate.trio.weights import SHIPPED
from ibstats.cli import app as ibstats
from ibstats.store import open_store

RUNNER = CliRunner()

MINE = '''
import torch

class Parity:
    """One code a picture: whether its red is odd."""
    codes = 2
    def encode(self, images):
        red = (images[:, 0, 0, 0] * 255).round().long()
        return (red % 2).view(-1, 1, 1)

class Broken:
    codes = 2
    def encode(self, images):
        return torch.full((len(images), 1, 1), 7)
'''


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    scenes = (draw_images(6, np.random.default_rng(0)).permute(0, 2, 3, 1) * 255).round()
    for number, scene in enumerate(scenes.numpy().astype(np.uint8)):
        where = folder / "more" if number > 3 else folder
        Image.fromarray(scene).save(where / f"scene {number}.png")
    return folder


def encode(*arguments: object) -> tuple[int, str]:
    done = RUNNER.invoke(app, ["encode", *map(str, arguments)])
    if isinstance(done.exception, GenerateError):
        return 1, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_photos_are_encoded_as_the_tokenizer_does_and_named(photos: Path, tmp_path: Path):
    code, said = encode(photos, "--tokenizer", "vq", "--out", tmp_path / "run")
    assert code == 0, said
    store = open_store(tmp_path / "run")
    dataset = store.dataset("vq", "encoded")
    names = [str(path.relative_to(photos)) for path in photos_of(photos)]
    assert dataset["image_name"].values.tolist() == names
    images = torch.stack([read_photo(path, (32, 32)) for path in photos_of(photos)])
    tokenizer = load_tokenizer()
    with torch.inference_mode():
        ids = tokenizer.encode(images)
        restored = (tokenizer.decode(ids) * 255).round() / 255
        again = tokenizer.encode(restored)
    assert (dataset["tokens"].values[0, 0] == ids.numpy()).all()
    assert (dataset["recovered"].values[0, 0] == (again == ids).numpy()).all()
    error = (restored - images).square().mean((1, 2, 3)).numpy()
    np.testing.assert_allclose(dataset["squared_error"].values[0, 0], error, rtol=1e-5)
    identity = store.identity("vq")
    assert (identity.codebook_size, identity.grid, identity.levels) == (256, (8, 8), [])
    assert [problem for _, problem in store.verify() if problem] == []
    shown = RUNNER.invoke(ibstats, ["codebook", str(tmp_path / "run")])
    assert shown.exit_code == 0, shown.output
    assert "PSNR" in shown.output
    reported = RUNNER.invoke(ibstats, ["report", str(tmp_path / "run")])
    assert "codes of images are read by `ibstats codebook`" in str(reported.exception)


@pytest.mark.parametrize("size", [65_535, 65_536, 2**18])
def test_ids_at_the_edges_of_the_codebook_come_back(tmp_path: Path, size: int):
    ids = np.array([[[0, size - 1], [size // 2, 65_534]]])
    np.save(tmp_path / "ids.npy", ids)
    code, said = encode("--tokens", tmp_path / "ids.npy", "--codes", size, "--out", tmp_path / "r")
    assert code == 0, said
    stored = open_store(tmp_path / "r").dataset("ids", "encoded")["tokens"].values
    assert (stored[0, 0] == ids).all()
    assert stored.dtype == (np.uint16 if size < 65_536 else np.uint32)
    shown = RUNNER.invoke(ibstats, ["codebook", str(tmp_path / "r")])
    assert shown.exit_code == 0, shown.output


def test_levels_stand_for_the_number_of_codes_and_a_sequence_is_a_row(tmp_path: Path):
    np.save(tmp_path / "ids.npy", np.arange(12).reshape(2, 6) * 1000)
    arguments = ("--levels", "8,8,8,6,5", "--label", "mine", "--out", tmp_path / "r")
    code, said = encode("--tokens", tmp_path / "ids.npy", *arguments)
    assert code == 0, said
    identity = open_store(tmp_path / "r").identity("mine")
    assert (identity.codebook_size, identity.levels) == (15_360, [8, 8, 8, 6, 5])
    assert identity.grid == (1, 6)
    folder = tmp_path / "out"
    done = RUNNER.invoke(
        ibstats, ["codebook", str(tmp_path / "r"), "--out", str(folder), "--format", "svg"]
    )
    assert done.exit_code == 0, done.output
    made = {path.name for path in folder.iterdir()}
    assert {"codebook-use.csv", "codebook-digits.csv", "codebook-ranks.svg"} <= made
    assert "codebook-digits.svg" in made


def test_a_class_of_the_users_encodes(photos: Path, tmp_path: Path):
    file = tmp_path / "my_tokenizer.py"
    file.write_text(MINE)
    code, said = encode(
        photos, "--tokenizer", f"{file}:Parity", "--size", "8x4", "--out", tmp_path / "r"
    )
    assert code == 0, said
    dataset = open_store(tmp_path / "r").dataset("Parity", "encoded")
    assert dataset["tokens"].shape == (1, 1, 6, 1, 1)
    assert "recovered" not in dataset
    code, said = encode(photos, "--tokenizer", f"{file}:Broken", "--out", tmp_path / "b")
    assert (code, "the ids hold 7, but codes run 0..1" in said) == (1, True)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("ids", "more", "message"),
    [
        (np.array([[[5]]]), ["--codes", 5], "the ids hold 5, but codes run 0..4"),
        (np.array([[[-1]]]), ["--codes", 5], "the ids hold -1"),
        (np.array([[[0.5]]]), ["--codes", 5], "float64 (1, 1, 1), but ids are whole numbers"),
        (np.arange(4), ["--codes", 5], "int64 (4,)"),
        (np.zeros((0, 2, 2), int), ["--codes", 5], "holds no ids"),
        (np.array([[[0]]]), [], "say --codes"),
        (np.array([[[0]]]), ["--codes", 5, "--levels", "2,3"], "has 6 codes, but --codes says 5"),
        (np.array([[[0]]]), ["--levels", "8,x"], "--levels is '8,x'"),
        (np.array([[[0]]]), ["--codes", 0], "--codes is 0"),
        (np.array([[[0]]]), ["--codes", 5, "--tokenizer", "vq"], "are ids already"),
    ],
)
def test_ids_that_cannot_be_are_refused_in_one_line(tmp_path: Path, ids, more, message: str):
    np.save(tmp_path / "ids.npy", ids)
    code, said = encode("--tokens", tmp_path / "ids.npy", *more, "--out", tmp_path / "r")
    assert code == 1
    assert message in said
    assert "\n" not in said
    assert not (tmp_path / "r").exists()


def test_what_cannot_be_read_is_named(photos: Path, tmp_path: Path):
    good, deep, ids = tmp_path / "good", tmp_path / "deep", tmp_path / "ids.npy"
    shutil.copytree(photos, good)
    deep.mkdir()
    Image.fromarray(np.full((32, 32), 300, np.uint16)).save(deep / "deep.png")
    np.save(ids, np.zeros((5, 2, 2), int))
    (photos / "scene 0.png").write_bytes(b"no picture")
    out = ("--out", tmp_path / "r")
    for arguments, message in (
        ((photos, "--tokenizer", "vq", *out), "scene 0.png' is no picture"),
        ((tmp_path / "none", "--tokenizer", "vq", *out), "no folder"),
        (("--tokens", tmp_path / "none.npy", "--codes", 5, *out), "no file"),
        ((photos, "--tokenizer", "vqq", *out), "known are vq, fsq"),
        ((photos, "--tokenizer", "diffusers:VQModel", *out), "names no weights"),
        ((photos, *out), "say which --tokenizer"),
        ((photos, "--tokenizer", "vq"), "--out RUN"),
        ((photos, "--tokenizer", "vq", "--size", "big", *out), "--size is 'big'"),
        ((good, "--tokenizer", "vq", "--size", 33, *out), "takes no pictures of 33 x 33 pixels"),
        ((deep, "--tokenizer", "vq", *out), "deep.png' has pixels of mode 'I;16'"),
        ((good, "--tokenizer", "vq", "--seed", 1, *out), "--seed are for scenes of the trio"),
        (
            ("--tokens", ids, "--codes", 4, "--images", 3, *out),
            "--images and --seed are for scenes",
        ),
        (("--tokens", photos / "scene 1.png", "--codes", 4, *out), "is no .npy file"),
    ):
        code, said = encode(*arguments)
        assert code == 1
        assert message in said, said


def test_scenes_of_the_trio_are_pictures_too(tmp_path: Path):
    weights = SHIPPED / "tokenizer.safetensors"
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        name = "vq" if out == "a" else f"trio@{weights}"
        code, said = encode(
            "trio", "--images", 5, "--seed", seed, "--tokenizer", name, "--out", tmp_path / out
        )
        assert code == 0, said
    stores = [open_store(tmp_path / name) for name in "abc"]
    tokens = [
        store.dataset(*layout)["tokens"].values
        for store, layout in zip(
            stores,
            [("vq", "encoded"), ("tokenizer", "encoded"), ("tokenizer", "encoded")],
            strict=True,
        )
    ]
    assert (tokens[0] == tokens[1]).all()
    assert not (tokens[1] == tokens[2]).all()
    assert stores[0].run.config_sha256 != stores[2].run.config_sha256
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"none")
    code, said = encode("trio", "--tokenizer", f"trio@{broken}", "--out", tmp_path / "d")
    assert (code, "holds no tokenizer of the trio" in said) == (1, True)


def test_a_run_that_is_there_is_left_alone(tmp_path: Path):
    np.save(tmp_path / "ids.npy", np.zeros((2, 2, 2), int))
    arguments = ("--tokens", tmp_path / "ids.npy", "--codes", 4, "--out", tmp_path / "r")
    assert encode(*arguments)[0] == 0
    code, said = encode(*arguments)
    assert (code, "is there already" in said) == (1, True)


def test_photos_are_turned_upright_laid_over_white_and_cropped(tmp_path: Path):
    wide = np.zeros((10, 20, 3), np.uint8)
    wide[:, 5:15] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert read_photo(tmp_path / "wide.png", (10, 10)).min() == 1
    clear = Image.new("RGBA", (4, 4), (9, 9, 9, 0))
    clear.save(tmp_path / "clear.png")
    assert read_photo(tmp_path / "clear.png", None).min() == 1
    turned = Image.new("RGB", (4, 8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert tuple(read_photo(tmp_path / "turned.jpg", None).shape) == (3, 4, 8)


def test_tokenizers_of_installed_libraries_encode_and_decode(tmp_path: Path):
    from transformers import (
        ChameleonVQVAE,
        ChameleonVQVAEConfig,
        Emu3VQVAE,
        Emu3VQVAEConfig,
        JanusVQVAE,
        JanusVQVAEConfig,
    )

    torch.manual_seed(0)
    vq_model([8, 16]).save_pretrained(tmp_path / "vq")
    config = JanusVQVAEConfig(
        embed_dim=8,
        num_embeddings=50,
        latent_channels=32,
        base_channels=32,
        channel_multiplier=[1, 1],
        num_res_blocks=1,
        num_patches=16,
    )
    JanusVQVAE(config).save_pretrained(tmp_path / "janus")
    small = {"embed_dim": 8, "latent_channels": 8, "base_channels": 32, "num_res_blocks": 1}
    small["channel_multiplier"] = [1, 1]
    chameleon = ChameleonVQVAEConfig(**small, num_embeddings=30, resolution=32)
    ChameleonVQVAE(chameleon).save_pretrained(tmp_path / "chameleon")
    emu3 = Emu3VQVAEConfig(
        **small, codebook_size=40, attn_resolutions=[], hidden_size=32, num_attention_heads=1
    )
    Emu3VQVAE(emu3).save_pretrained(tmp_path / "emu3")
    images = torch.rand(2, 3, 32, 32)
    for name, codes in (
        (f"diffusers:VQModel@{tmp_path / 'vq'}", 48),
        (f"transformers:JanusVQVAE@{tmp_path / 'janus'}", 50),
        (f"transformers:ChameleonVQVAE@{tmp_path / 'chameleon'}", 30),
        (f"transformers:Emu3VQVAE@{tmp_path / 'emu3'}", 40),
    ):
        tokenizer = tokenizer_of(name, "cpu")
        with torch.inference_mode():
            ids = tokenizer.encode(images)
            if tokenizer.decode is not None:
                assert tokenizer.decode(ids).shape == images.shape
        assert tokenizer.codes == codes
        assert ids.shape == (2, 16, 16)
        assert 0 <= int(ids.min()) <= int(ids.max()) < codes
