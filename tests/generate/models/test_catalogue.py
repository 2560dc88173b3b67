from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from generate.cli import app
from generate.models import MODELS, catalogue, model_class
from generate.models.amused import Amused
from generate.models.public import PublicModel
from schemas.provenance import FIRST_LICENCES, ModelIdentity


def identity(family: str, grid: int, steps: int, scales: Sequence[int] = ()) -> ModelIdentity:
    return ModelIdentity(
        model="m", family=family, revision="", weights=[], codebook_size=8, grid=(grid, grid), image_size=(1, 1),
        steps=steps, options={}, scales=list(scales),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("grid", "steps", "expected"),
    [
        (16, 12, (35, 94, 127)),
        (32, 12, (138, 375, 511)),
        (16, 18, (35, 94, 127)),
        (32, 50, (143, 388, 493)),
        (16, 16, (44, 92, 120)),
    ],
)
def test_thirds_of_the_cosine_schedule_commit_few_tokens_early(
    grid: int, steps: int, expected: tuple[int, int, int]
) -> None:
    """Counts made by running upstream's schedulers (design note 1.4)."""
    masked = identity("masked", grid, steps)
    left = model_class("amused").open_after(masked)
    assert catalogue.thirds(masked, left) == expected


def test_thirds_of_the_arccos_schedule_are_those_of_maskgit() -> None:
    """Of 256 positions 256 (1 - 2/pi arccos x) are filled in at x = 1/3 and 2/3: 55.4 and 118.9."""
    masked = identity("masked", 16, 12)
    left = model_class("maskgit").open_after(masked)
    assert catalogue.thirds(masked, left) == (55, 63, 138)


def test_thirds_of_other_families() -> None:
    assert catalogue.thirds(identity("autoregressive", 4, 16)) == (6, 5, 5)
    assert catalogue.thirds(identity("autoregressive", 4, 16, scales=[4, 12])) == (6, 5, 5)
    assert catalogue.thirds(identity("diffusion", 4, 16)) is None
    assert catalogue.thirds(identity("scales", 4, 3, scales=[1, 4, 11])) == (1, 4, 11)
    assert catalogue.thirds(identity("scales", 4, 5, scales=[1, 1, 2, 4, 8])) == (2, 6, 8)


def test_models_are_listed_with_their_cards_and_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nonexistent")
    rows = {row.name: row for row in catalogue.rows()}
    assert set(rows) == set(MODELS)
    assert rows["amused"].codes == "8192 (13 bit)"
    assert rows["show-o"].quantizer == "lfq"
    assert rows["janus-pro"].here == "no"
    assert rows["trio-ar"].here == "shipped"
    table = catalogue.markdown()
    assert table.count("\n") == 2 + len(MODELS)
    row = "| `amused` | masked | 16x16, 32x32 | 8192 (13 bit) | vq | 873 M | 3.5 GB | 3.5 GB |"
    assert row in table


def test_every_known_model_says_what_was_verified() -> None:
    assert all(row.verified for row in catalogue.rows())


def test_parameters_of_the_trio_are_those_of_its_shipped_weights() -> None:
    files = model_class("trio-ar").files("vq")
    n = sum(tensor.numel() for file in files for tensor in load_file(file).values())
    assert round(n / 1e6, 2) == model_class("trio-ar").card.parameters


def test_inspect_says_what_would_be_loaded(amused_folder: Path) -> None:
    done = CliRunner().invoke(
        app,
        ["inspect", "amused", "--option", f"checkpoint={amused_folder}", "--option", "steps=3"],
        env={"COLUMNS": "200"},
    )
    assert done.exit_code == 0, done.output
    for part in (
        "8 x 8, 3 steps",
        "48 codes",
        "transformer/diffusion_pytorch_model.safetensors",
        "sha256",
        "preset 512",
        "7.2 in float32, 26 in tf32, 43 in bfloat16",
    ):
        assert part in done.output


def test_every_published_model_declares_a_whole_card() -> None:
    assert issubclass(Amused, PublicModel)
    for name in ("amused", "vq-diffusion", "janus-pro", "llamagen", "show-o"):
        card = catalogue.model_class(name).card
        assert all(vars(card).values())


def test_the_readmes_table_is_the_adapters_own() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert catalogue.markdown() in readme, "paste the output of `ibgenerate models --markdown`"


def test_runs_that_recorded_other_words_for_a_licence_go_on() -> None:
    for (name, licence), first in FIRST_LICENCES.items():
        assert model_class(name).card.licence == licence
        now, before = (ModelIdentity(model=name, licence=words) for words in (licence, first))
        assert now.fixing() == before.fixing()
