"""A published run is read by the tools it is for, and by our own import, as what it was."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

from ibstats import Config, IbstatsError, extras, open_store, publishing
from ibstats.cli import app
from ibstats.publishing import crate, shards
from ibstats.selection import select
from ibstats.statistics.uncertainty import Resampling
from tests.ibstats.conftest import write_run

SETTINGS = Config(
    metrics=("pixel_cosine",), parts=("diversity",), resampling=Resampling(n_resamples=60)
)
TERMS = publishing.Terms.of("CC-BY-4.0", creator="Nobody & Sons")
N_PROMPTS, N_SAMPLES, BASELINE = 5, 3, "stochastic-original-full"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of two models, and its publication."""
    root = tmp_path_factory.mktemp("publishing")
    families = {"toy-mim": "masked", "toy-ar": "autoregressive"}
    run = write_run(root / "run", n_prompts=N_PROMPTS, n_samples=N_SAMPLES, families=families)
    outcome = publishing.publish(open_store(run), root / "hub", TERMS, SETTINGS)
    assert outcome == "made"
    return run, root / "hub"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its name in it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rows(folder: Path, model: str = "toy-mim") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in sorted(folder.glob(f"data/{model}/*/*.parquet")):
        found += parquet.read_table(file).to_pylist()
    return found


def subprocess_json(code: str, folder: Path, cache: Path) -> Any:
    """What a program printed as JSON; libraries that warn or keep a cache are not ours to mend."""
    environment = {**os.environ, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_rows_are_the_samples_of_the_run(published: tuple[Path, Path]) -> None:
    run, hub = published
    dataset = select(open_store(run), "toy-ar", "factorial").dataset
    found = rows(hub, "toy-ar")
    assert len(found) == dataset.sizes["condition"] * N_PROMPTS * N_SAMPLES
    texts = {prompt.id: prompt.text for prompt in open_store(run).prompts}
    for row in found:
        place = {"condition": row["condition"], "prompt": row["prompt_id"]}
        one = dataset.set_index(condition="condition").sel(place).isel(sample=row["sample"])
        assert row["tokens"] == one["tokens"].values.tolist()
        with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
            assert (np.asarray(picture) == one["image"].values).all()
        assert row["prompt"] == row["text"] == texts[row["prompt_id"]]
        assert (row["model"], row["experiment"]) == ("toy-ar", "factorial")


DATASETS = """
import hashlib, json
from datasets import get_dataset_config_names
names = get_dataset_config_names(folder)
digests = [hashlib.sha256(row["image"].tobytes()).hexdigest() for row in rows]
print(json.dumps({"names": names, "kind": type(rows.features["image"]).__name__,
                  "tokens": rows["tokens"][:], "digests": digests}))
"""


def test_the_library_of_the_hub_reads_it(published: tuple[Path, Path], tmp_path: Path) -> None:
    _, hub = published
    (on_card,) = re.findall(r"```python\n(.*?)```", (hub / "README.md").read_text(), re.DOTALL)
    code = on_card.replace("folder = ...", f"folder = {str(hub)!r}") + DATASETS
    read = subprocess_json(code, hub, tmp_path)
    assert read["names"] == ["toy-mim+factorial", "toy-ar+factorial"]
    assert read["kind"] == "Image"
    expected = rows(hub)
    assert read["tokens"] == [row["tokens"] for row in expected]
    pixels = [Image.open(io.BytesIO(row["image"]["bytes"])).tobytes() for row in expected]
    assert read["digests"] == [hashlib.sha256(one).hexdigest() for one in pixels]


CROISSANT = """
import json, logging, mlcroissant
data = mlcroissant.Dataset(jsonld="croissant.json")
records = list(data.records("toy-mim+factorial"))
first = {key.split("/")[-1]: value for key, value in records[0].items()}
print(json.dumps({"errors": sorted(data.metadata.issues.errors), "n": len(records),
                  "size": first["image"].size, "prompt": first["prompt"].decode(),
                  "tokens": first["tokens"]}))
"""


def test_the_library_of_croissant_reads_it(published: tuple[Path, Path], tmp_path: Path) -> None:
    _, hub = published
    read = subprocess_json(CROISSANT, hub, tmp_path)
    first = rows(hub)[0]
    assert read == {
        "errors": [],
        "n": len(rows(hub)),
        "size": [16, 16],
        "prompt": first["prompt"],
        "tokens": first["tokens"],
    }
    described = json.loads((hub / "croissant.json").read_text())
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert described["license"] == TERMS.url
    assert described["creator"]["name"] == TERMS.creator


CONTEXT = {
    *("about", "author", "conformsTo", "contentSize", "datePublished", "description", "hasPart"),
    *("encodingFormat", "identifier", "instrument", "license", "mentions", "name", "object"),
    *("publisher", "result", "softwareVersion"),
}
"""Terms of the context of RO-Crate 1.1.3, of those that we use; looked up there."""


def test_the_crate_describes_every_file_and_refers_to_nothing_else(
    published: tuple[Path, Path],
) -> None:
    _, hub = published
    crate = json.loads((hub / "ro-crate-metadata.json").read_text())
    graph, (_, further) = crate["@graph"], crate["@context"]
    terms = {key for entity in graph for key in entity if not key.startswith("@")}
    assert terms == CONTEXT | set(further)
    by_id = {entity["@id"]: entity for entity in graph}
    assert len(by_id) == len(graph)
    descriptor, root = by_id["ro-crate-metadata.json"], by_id["./"]
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert {"name", "description", "datePublished", "license"} <= set(root)
    listed = {part["@id"] for part in root["hasPart"]}
    assert listed == set(contents(hub)) - {"ro-crate-metadata.json"}
    for name in listed:
        content = (hub / name).read_bytes()
        assert by_id[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert by_id[name]["contentSize"] == str(len(content))
    assert references(graph) - {"https://w3id.org/ro/crate/1.1"} <= set(by_id)
    for entity in graph:
        assert [
            key for key, value in entity.items() if isinstance(value, list) and len(value) < 2
        ] == []
    assert by_id[root["publisher"]["@id"]]["name"] == TERMS.creator


def references(value: Any) -> set[str]:
    """What the entities of a graph refer to."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if not isinstance(value, dict):
        return set()
    if set(value) == {"@id"}:
        return {value["@id"]}
    return references(list(value.values()))


def test_its_own_import_gives_the_same_diversity_and_the_same_rows(
    published: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command that stands on the card."""
    _, hub = published
    lines = (hub / "README.md").read_text().splitlines()
    (command,) = [line for line in lines if line.startswith("    ibstats import ")]
    shutil.copytree(hub / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    again = open_store("runs/test")
    assert again.run.experiments["imported"].baseline == BASELINE
    publishing.publish(again, Path("hub"), TERMS, SETTINGS)
    assert len(diversities(hub)) == 8
    assert diversities(tmp_path / "hub") == diversities(hub)
    kept = ("image", "tokens", "prompt", "prompt_id", "condition", "sample")
    assert in_order(rows(tmp_path / "hub"), kept) == in_order(rows(hub), kept)


def diversities(hub: Path) -> dict[str, float]:
    """The mean distance in each condition of a model, as the publication tells it."""
    found = {}
    for row in json.loads((hub / "results.json").read_text())["rows"]:
        if (row["section"], row["model"]) == ("diversity", "toy-mim"):
            found[row["condition"]] = row["estimate"]
    return found


def in_order(found: list[dict[str, Any]], columns: tuple[str, ...]) -> list[list[Any]]:
    found = sorted(found, key=lambda row: (row["condition"], row["prompt_id"], row["sample"]))
    return [list(map(row.__getitem__, columns)) for row in found]


def test_the_card_names_licence_numbers_methods_and_digests(published: tuple[Path, Path]) -> None:
    run, hub = published
    _, head, text = (hub / "README.md").read_text().split("---\n", 2)
    read = yaml.safe_load(head)
    assert read["license"] == "cc-by-4.0"
    assert read["size_categories"] == ["n<1K"]
    for config in read["configs"]:
        assert list(hub.glob(config["data_files"]))
    assert open_store(run).snapshot() in text
    results = json.loads((hub / "results.json").read_text())
    assert results["analysis_sha256"] in text
    assert "We analysed samples of toy-mim" in text
    assert "@misc{wu2025deconstructing," in text
    (row, *_) = [one for one in results["rows"] if one["section"] == "probe"]
    assert f"{row['estimate']:.2f}" in text
    assert (hub / "run.json").read_bytes() == (run / "run.json").read_bytes()


def test_large_selections_are_several_files_of_the_same_rows(
    published: tuple[Path, Path], tmp_path: Path
) -> None:
    run, hub = published
    asked: list[shards.Piece] = []

    def each(pieces: list[shards.Piece]) -> list[shards.Piece]:
        asked.extend(pieces)
        return pieces

    selection = select(open_store(run), "toy-mim", "factorial")
    made = list(shards.write_shards(selection, tmp_path, each, most_bytes=1))
    assert len(made) == len(asked) == 8 * 2
    assert max(shard.rows for shard in made) == 4 * N_SAMPLES
    assert rows(tmp_path) == rows(hub)


def test_what_is_there_is_never_touched(published: tuple[Path, Path], tmp_path: Path) -> None:
    run, hub = published
    store, before = open_store(run), contents(hub)
    assert publishing.publish(store, hub, TERMS, SETTINGS) == "done"
    with pytest.raises(IbstatsError, match="holds another publication"):
        publishing.publish(store, hub, publishing.Terms.of("MIT"), SETTINGS)
    assert contents(hub) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    (tmp_path / "file").write_text("dear")
    for place in ("mine", "file"):
        with pytest.raises(IbstatsError, match=f"{place}' is there and no publication"):
            publishing.publish(store, tmp_path / place, TERMS, SETTINGS)
    assert contents(tmp_path) == {"mine/letter.txt": b"dear", "file": b"dear"}


def test_a_publication_that_fails_leaves_nothing(
    published: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*given: Any) -> None:
        assert list(tmp_path.rglob("*.parquet"))
        raise KeyboardInterrupt

    monkeypatch.setattr("ibstats.publishing.making.crate", failing)
    with pytest.raises(KeyboardInterrupt):
        publishing.publish(open_store(published[0]), tmp_path / "hub", TERMS, SETTINGS)
    assert not list(tmp_path.iterdir())


def test_prompts_that_are_not_complete_are_left_out_and_the_card_says_so(tmp_path: Path) -> None:
    families = {"toy-mim": "masked"}
    run = write_run(tmp_path / "run", n_samples=2, families=families, images=False, skip=((0, 1),))
    with pytest.raises(IbstatsError, match="has 4 of 6 prompts complete"):
        publishing.publish(open_store(run), tmp_path / "hub", TERMS, SETTINGS)
    partly = SETTINGS.but(allow_partial=True, parts=("information",))
    publishing.publish(open_store(run), tmp_path / "hub", TERMS, partly)
    assert {row["prompt_id"] for row in rows(tmp_path / "hub")} == {f"p00{n}" for n in range(4)}
    assert "image" not in rows(tmp_path / "hub")[0]
    card = (tmp_path / "hub/README.md").read_text()
    assert "has 4 of 6 prompts: the others are not complete" in card
    assert "Latent tokens of toy-mim" in card


def test_the_licence_is_asked_for_and_never_guessed(published: tuple[Path, Path]) -> None:
    asked = ["publish", str(published[0]), "--to", "nowhere"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert "--license" in done.output
    for wrong in ("free", "http://example.org", "https://"):
        with pytest.raises(IbstatsError, match=r"known: CC0-1\.0, .*or its address"):
            publishing.Terms.of(wrong)


@pytest.mark.parametrize("name", publishing.LICENCES)
def test_licences_have_names_on_the_hub(name: str) -> None:
    head = publishing.Terms.of(name.lower()).head()
    assert set(head) == {"license"}
    assert head["license"] in HUB


HUB = {
    *("apache-2.0", "mit", "odc-by", "odbl", "cc0-1.0", "cdla-permissive-2.0"),
    *("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
}
"""Identifiers of the hub's documentation, "Repository licenses"."""


def test_without_pyarrow_the_extra_is_named(
    published: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(IbstatsError, match=r"needs pyarrow; pip install 'ibstats\[parquet\]'"):
        publishing.publish(open_store(published[0]), tmp_path / "hub", TERMS, SETTINGS)


def test_a_folder_that_is_no_publication_has_no_identifier(tmp_path: Path) -> None:
    for wrong in ("", "[]", "{}", '{"@graph": [{}]}', '{"@graph": 1}'):
        (tmp_path / "ro-crate-metadata.json").write_text(wrong)
        assert crate.identifier_of(tmp_path) is None
