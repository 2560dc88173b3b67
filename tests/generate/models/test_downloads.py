"""What is fetched of a published model: nothing large before everything small fits, by a stand-in of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from typer.testing import CliRunner

from benchmarks import tiny
from generate.cli import app
from generate.errors import DiskFullError, ModelError
from generate.models import hub
from generate.models.public import PublicModel
from tests.generate.models import published
from tests.generate.models.published import File
from tests.generate.models.stand_in import COMMIT, StandIn, point_to, served

LEARNED = "learned_classifier_free_sampling_embeddings/"


@pytest.fixture
def network_blocked() -> None:
    """The stand-in answers at an address of this machine, and nothing else is asked."""


@pytest.fixture(scope="module")
def repositories() -> dict[str, dict[str, File]]:
    return {name: published.files(name) for name in published.DOCUMENT["repositories"]}


@pytest.fixture
def stand_in(
    repositories: dict[str, dict[str, File]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StandIn]:
    for method in (PublicModel.find, PublicModel.examined):
        method.cache_clear()
    with served(StandIn(dict(repositories), tmp_path / "contents")) as answering:
        point_to(answering, tmp_path / "cache", monkeypatch)
        yield answering
    for method in (PublicModel.find, PublicModel.examined):
        method.cache_clear()


GEOMETRIES = [
    ("amused", {}, (8192, (16, 16), (256, 256), 12), 3.49),
    ("amused", {"preset": "512"}, (8192, (32, 32), (512, 512), 12), 3.51),
    ("meissonic", {}, (8192, (64, 64), (1024, 1024), 48), 6.03),
    ("vq-diffusion", {}, (4096, (32, 32), (256, 256), 100), 5.95),
    ("janus-pro", {}, (16384, (24, 24), (384, 384), 576), 4.15),
    (
        "janus-pro",
        {"checkpoint": "deepseek-ai/Janus-Pro-1B"},
        (16384, (24, 24), (384, 384), 576),
        4.18,
    ),
    ("llamagen", {}, (16384, (16, 16), (256, 256), 256), 14.80),
    ("infinity", {}, (256, (1, 42084), (1024, 1024), 13), 20.66),
    ("infinity", {"preset": "256"}, (256, (1, 2084), (256, 256), 7), 20.66),
    ("maskgit", {}, (16384, (24, 24), (384, 384), 32), 2.21),
    ("show-o", {"preset": "256"}, (8192, (16, 16), (256, 256), 16), 6.17),
    ("show-o", {}, (8192, (32, 32), (512, 512), 50), 6.17),
]


@pytest.mark.parametrize(("name", "given", "geometry", "download"), GEOMETRIES)
def test_published_files_have_their_geometry_before_a_weight_is_fetched(
    name: str,
    given: dict[str, str],
    geometry: tuple[object, ...],
    download: float,
    stand_in: StandIn,
) -> None:
    adapter, options = published.adapter_and_options(name, given)
    identity = adapter.foreseen(name, options)
    found = (identity.codebook_size, identity.grid, identity.image_size, identity.steps)
    assert found == geometry
    n_bytes = sum(one.bytes_to_fetch for one in adapter.examined(options).values())
    assert n_bytes / 1e9 == pytest.approx(download, abs=0.005)
    assert adapter.card.download == pytest.approx(download, abs=0.1)
    assert weights_sent(stand_in) == []


@pytest.mark.parametrize(("name", "given", "option"), published.CONFIGURED)
def test_a_file_taken_away_is_named(
    name: str,
    given: dict[str, str],
    option: str,
    repositories: dict[str, dict[str, File]],
    stand_in: StandIn,
) -> None:
    """Every file that the adapter asks for in turn, before anything is fetched."""
    adapter, options = published.adapter_and_options(name, given)
    repository = getattr(options, option)
    (source,) = (one for one in adapter.sources if one.option == option)
    for pattern in adapter.files_of(source, options):
        if pattern in ("*.json", "tokenizer/*"):
            continue
        there = {}
        for file, content in repositories[repository].items():
            if not any(map(PurePosixPath(file).match, pattern.split("|"))):
                there[file] = content
        stand_in.repositories[repository] = there
        PublicModel.find.cache_clear()
        with pytest.raises(ModelError) as told:
            adapter.foreseen(name, options)
        assert "\n" not in str(told.value)
        assert pattern.replace("|", " or ") in str(told.value)
        assert repository in str(told.value)
    assert weights_sent(stand_in) == []


WRONG = [
    ("janus-pro", {"checkpoint": "showlab/show-o"}, "no file model.safetensors"),
    (
        "vq-diffusion",
        {"checkpoint": "microsoft/vq-diffusion-ithq@fp16"},
        "no file learned_classifier_free_sampling_embeddings/config.json",
    ),
    ("vq-diffusion", {"checkpoint": "amused/amused-256"}, "no file learned_classifier"),
    (
        "amused",
        {"checkpoint": "microsoft/vq-diffusion-ithq"},
        "kind Transformer2DModel in transformer, but the adapter needs UVit2DModel",
    ),
    ("llamagen", {"checkpoint": "FoundationVision/LlamaGen"}, "no file t2i_XL_stage1_256"),
    ("llamagen", {"text_encoder": "showlab/show-o"}, "no file model.safetensors"),
    ("infinity", {"checkpoint": "FoundationVision/LlamaGen"}, "no file infinity_2b_reg"),
    ("show-o", {"image_tokenizer": "showlab/show-o"}, "of a Showo, but the adapter needs MAGVITv2"),
    ("show-o", {"checkpoint": "showlab/magvitv2"}, "of a MAGVITv2, but the adapter needs Showo"),
    ("show-o", {"checkpoint": "empty/config"}, "has no key '_class_name'"),
    ("janus-pro", {"checkpoint": "empty/config"}, "has no key 'model_type'"),
    ("amused", {"checkpoint": "nobody/nothing"}, "is not on the hub, or is private"),
]


@pytest.mark.parametrize(("name", "given", "message"), WRONG)
def test_a_wrong_repository_is_refused_before_a_weight_is_fetched(
    name: str, given: dict[str, str], message: str, stand_in: StandIn
) -> None:
    older = published.files("microsoft/vq-diffusion-ithq")
    branch = {file: about for file, about in older.items() if not file.startswith(LEARNED)}
    stand_in.repositories["microsoft/vq-diffusion-ithq"] = branch if "fp16" in str(given) else older
    janus = published.files("deepseek-community/Janus-Pro-1B")
    stand_in.repositories["empty/config"] = {
        **janus,
        "config.json": File({}, 3),
        "pytorch_model.safetensors": janus["model.safetensors"],
    }
    pairs = [part for key, value in given.items() for part in ("--option", f"{key}={value}")]
    done = CliRunner().invoke(app, ["inspect", name, *pairs])
    assert done.exit_code == 1
    assert isinstance(done.exception, ModelError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    adapter, options = published.adapter_and_options(name, given)
    with pytest.raises(ModelError):
        adapter.identify(name, options)
    assert weights_sent(stand_in) == []


def test_inspect_says_what_would_be_fetched_and_fetches_no_weights(stand_in: StandIn) -> None:
    done = CliRunner().invoke(app, ["inspect", "vq-diffusion"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    for part in (
        "32 x 32, 100 steps",
        "4096 codes",
        "MIT",
        "6.0 GB into",
        "5.44 GB, not here yet",
        "transformer/diffusion_pytorch_model.bin",
    ):
        assert part in done.output
    assert weights_sent(stand_in) == []


def test_inspect_says_what_keys_and_values_take_before_weights_are_fetched(
    stand_in: StandIn,
) -> None:
    """36 layers of 1280 numbers, keys and values, at 376 places, in both branches, 2 bytes each."""
    done = CliRunner().invoke(app, ["inspect", "llamagen"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    (line,) = (line for line in done.output.splitlines() if "keys and values, an image" in line)
    assert "139 MB" in line
    assert weights_sent(stand_in) == []


def test_a_download_is_announced_and_needs_room(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for what is to come, in all repositories of the model, is asked for before the first byte."""
    adapter, options = published.adapter_and_options("llamagen", {})
    monkeypatch.setattr(hub, "free_for_cache", lambda: 14_000_000_000)
    with pytest.raises(
        DiskFullError, match=r"takes 14\.8 GB more in .*, but there are 14\.0 GB free"
    ):
        adapter.identify("llamagen", options)
    assert weights_sent(stand_in) == []


def test_a_published_checkpoint_is_fetched_once_and_announced(
    stand_in: StandIn, tmp_path: Path
) -> None:
    """A tiny checkpoint in the files of 2022, by way of the hub."""
    folder = tiny.vq_diffusion(stand_in.contents / "tiny" / "vq-diffusion")
    there = {}
    for path in folder.rglob("*"):
        if path.is_file():
            there[path.relative_to(folder).as_posix()] = File(None, path.stat().st_size)
    stand_in.repositories["tiny/vq-diffusion"] = there
    adapter, options = published.adapter_and_options(
        "vq-diffusion", {"checkpoint": "tiny/vq-diffusion"}
    )
    with pytest.warns(UserWarning, match=r"fetching .* GB of tiny/vq-diffusion .*licence: MIT"):
        identity = adapter.identify("vq-diffusion", options)
    assert identity.revision == COMMIT
    assert sorted(weights_sent(stand_in)) == sorted(
        f"tiny/vq-diffusion/{file.name}" for file in identity.weights
    )
    assert adapter.load(identity, options, "cpu").encode(["dog"]).shape[1:] == (77, 32)
    PublicModel.find.cache_clear()
    PublicModel.examined.cache_clear()
    adapter.identify("vq-diffusion", options)
    assert len(stand_in.sent) == len(set(stand_in.sent))


def weights_sent(stand_in: StandIn) -> list[str]:
    return [
        name for name in stand_in.sent if name.endswith((".safetensors", ".bin", ".pt", ".pth"))
    ]
