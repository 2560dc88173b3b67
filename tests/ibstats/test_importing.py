"""Samples from anywhere become a run: equal to the last bit, with what lacks left out, or refused in one line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from typer.testing import CliRunner

from ibstats import Config, analyse, importing, open_store, select
from ibstats.cli import app
from ibstats.errors import IbstatsError
from ibstats.importing import reading
from ibstats.importing.spec import ARRAYS, made_spec
from ibstats.measure import distances, metric
from ibstats.report import codebooks, files
from ibstats.report.table import Paragraph
from ibstats.results import runs
from ibstats.results.kept import obtain
from ibstats.statistics import information, kept_codes, quality
from ibstats.statistics.uncertainty import Resampling
from schemas.errors import StoreError
from schemas.io import writer
from tests.ibstats import conftest

QUICK = Resampling(n_resamples=200)
NUMBERS = ("estimate", "low", "high", "p", "p_holm", "p_sign_flip", "d_z", "bayes_factor")
LAYOUT = "{condition}/{prompt}/{sample}.png"
CONDITIONS, PROMPTS, N_SAMPLES, SIZE, CODES = ("cold", "warm"), ("p1", "p2", "p10"), 3, (12, 14), 9


def imported(folder: Path, out: Path, **fields: Any) -> Path:
    """Import a folder into a run; the run."""
    found = importing.survey(importing.Spec(**fields), folder)
    assert importing.write(found, out) == "made"
    return out


def picture(seed: int, spread: float = 60) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(np.clip(rng.normal(128, spread, (*SIZE, 3)), 0, 255).astype(np.uint8))


def folder_of_images(root: Path, suffix: str = "png") -> Path:
    """Two conditions of three prompts with three images each."""
    for number, (condition, prompt, sample) in enumerate(
        itertools.product(CONDITIONS, PROMPTS, range(N_SAMPLES))
    ):
        place = root / condition / prompt
        place.mkdir(parents=True, exist_ok=True)
        picture(number, 20 if condition == "cold" else 60).save(place / f"{sample}.{suffix}")
    return root


def folder_of_tokens(root: Path, grid: tuple[int, ...] = (3, 4)) -> Path:
    rng = np.random.default_rng(1)
    for condition, prompt in itertools.product(CONDITIONS, PROMPTS):
        place = root / condition
        place.mkdir(parents=True, exist_ok=True)
        tokens = rng.integers(0, CODES, (N_SAMPLES, *grid))
        np.savez(place / f"{prompt}.npz", tokens=tokens, surprisal=rng.random(tokens.shape))
    return root


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return folder_of_images(tmp_path / "images")


def written_texts(dataset: xr.Dataset, folder: Path) -> tuple[str, str]:
    """Files of the prompts, and of the wording that each sample was made from."""
    prompts, texts = [], []
    base = quality.base_texts(dataset)
    for row, prompt in enumerate(map(str, dataset["prompt"].values)):
        prompts.append({"id": prompt, "text": base[row]})
        for number, cell in enumerate(conftest.CELLS):
            for sample, text in enumerate(dataset["text_index"].values[number, row]):
                given = {"condition": "-".join(cell), "prompt": prompt, "sample": str(sample)}
                texts.append(given | {"text": str(dataset["text"].values[text])})
    files = folder / "prompts.jsonl", folder / "texts.jsonl"
    for file, rows in zip(files, (prompts, texts), strict=True):
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(files[0]), str(files[1])


@pytest.mark.parametrize("model", ["toy-mim"])
def test_a_run_written_out_and_imported_gives_the_same_numbers(
    run: Path, tmp_path: Path, model: str
) -> None:
    original = select(open_store(run), model, "factorial")
    dataset = original.dataset.load()
    recorded = ["tokens", *(name for name in ARRAYS if name in dataset)]
    assert "path_surprisal" in recorded
    for number, cell in enumerate(conftest.CELLS):
        for prompt in range(dataset.sizes["prompt"]):
            here = dataset.isel(condition=number, prompt=prompt)
            place = tmp_path / "out" / "/".join(cell) / str(here["prompt"].values)
            place.mkdir(parents=True)
            np.savez(place / "arrays.npz", **{name: here[name].values for name in recorded})
            for sample, image in enumerate(here["image"].values):
                Image.fromarray(image).save(place / f"{sample}.png")
    cells = "{sampling}/{prompt_type}/{codebook}/{prompt}"
    fields = {
        "model": model,
        "images": f"{cells}/{{sample}}.png",
        "tokens": f"{cells}/arrays.npz:tokens",
        "arrays": {name: f"{cells}/arrays.npz:{name}" for name in recorded[1:]},
        "path_given": dataset["path_surprisal"].attrs.get("given", "state"),
        "family": original.identity.family,
        "codebook": conftest.CODES,
        "baseline": "stochastic-original-full",
        "conditions": {"-".join(cell): {} for cell in conftest.CELLS},
        "allowed_codes": {},
    }
    for cell, keep in zip(conftest.CELLS, dataset["codebook_keep"].values, strict=True):
        if not keep.all():
            fields["allowed_codes"]["-".join(cell)] = np.flatnonzero(keep).tolist()
    fields["prompts"], fields["texts"] = written_texts(dataset, tmp_path)
    again = select(
        open_store(imported(tmp_path / "out", tmp_path / "run", **fields)), model, "imported"
    )
    order = {"condition": dataset["condition"].values}
    for name in ("image", "tokens"):
        found = again.dataset[name].sel(order)
        assert found.dtype == dataset[name].dtype
        np.testing.assert_array_equal(found, dataset[name])
    for name in ("pixel_cosine", "ssim"):
        one, other = (distances(of, metric(name))["distance"] for of in (original, again))
        np.testing.assert_array_equal(other.sel(order), one)
    texts = []
    for of in (original.dataset, again.dataset.sel(order)):
        texts.append(of["text"].values[of["text_index"].values])
    np.testing.assert_array_equal(texts[1], texts[0])
    parts = ("diversity", "information")  # the fixture states no argmax windows, so no bits
    config = Config(models=(model,), parts=parts, resampling=QUICK)
    rows = []
    for of in (original, again):
        document = obtain(of.store, config)
        found = {}
        for row in document.rows:
            key = (row.section, row.term, row.quantity, row.condition, row.attribution, row.paths)
            found[key] = [getattr(row, name) for name in NUMBERS]
        rows.append(found)
    assert len(rows[0]) > 100
    sections = {key[0] for key in rows[0]}
    assert {"effect", "probe", "waterfall", "information"} <= sections
    for key, value in rows[0].items():
        if key[2] not in kept_codes.RECORDED:  # of its calibration, which was not imported
            assert rows[1][key] == value, key


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "npy"])
def test_pictures_of_each_kind_are_read_as_their_library_reads_them(
    tmp_path: Path, suffix: str
) -> None:
    root = tmp_path / "out"
    folder_of_images(root, suffix if suffix != "npy" else "png")
    if suffix == "npy":
        for file in root.rglob("*.png"):
            np.save(file.with_suffix(".npy"), np.asarray(Image.open(file)))
    run = imported(root, tmp_path / "run", images=f"{{condition}}/{{prompt}}/{{sample}}.{suffix}")
    store = open_store(run)
    assert store.holds("imported", "imported") == {"condition", "prompt", "complete", "image"}
    dataset = store.dataset("imported", "imported")
    assert list(dataset["prompt"].values) == list(PROMPTS)
    wanted = root / "warm" / "p10" / f"2.{suffix}"
    expected = np.load(wanted) if suffix == "npy" else np.asarray(Image.open(wanted).convert("RGB"))
    np.testing.assert_array_equal(dataset["image"].sel(condition="warm", prompt="p10")[2], expected)
    assert [problem for _, problem in store.verify() if problem] == []


def test_images_alone_with_a_baseline_give_changes_and_say_what_lacks(
    images: Path, tmp_path: Path
) -> None:
    run = imported(images, tmp_path / "run", images=LAYOUT, baseline="cold")
    store = open_store(run)
    config = Config(metrics=("pixel_cosine",), resampling=QUICK)
    document = obtain(store, config)
    contrasts = [row for row in document.rows if row.section == "contrast"]
    assert [row.term for row in contrasts] == ["warm - cold"]
    for what in ("entropies are left out", "bits of path and execution are left out"):
        assert sum(what in note for note in document.notes) == 1
    made = files.export(store, config, tmp_path / "export", "latex")
    assert "changes-contrast.tex" in [file.name for file in made]


def test_a_distance_is_that_of_the_definition(images: Path, tmp_path: Path) -> None:
    store = open_store(imported(images, tmp_path / "run", images=LAYOUT))
    found = distances(select(store, "imported", "imported"), metric("pixel_cosine"))["distance"]
    pixels = []
    for sample in (0, 2):
        pixels.append(np.asarray(Image.open(images / "warm/p2" / f"{sample}.png"), float).ravel())
    one, other = pixels
    cosine = one @ other / np.sqrt(one @ one * (other @ other))
    here = found.sel(condition="warm", prompt="p2").values[0, 2]
    assert here == pytest.approx(1 - cosine, abs=1e-6)


def test_a_misspelt_family_or_array_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(IbstatsError, match="family 'autoregresive' is hardly another than 'autor"):
        made_spec({"images": LAYOUT, "family": "autoregresive"}, "spec")
    assert made_spec({"images": LAYOUT, "family": "rectified flow"}, "spec").family
    with pytest.raises(
        IbstatsError, match=r"unknown array in '.*npz' 'tokns'; known: tokens, surp"
    ):
        imported(
            folder_of_tokens(tmp_path / "out"),
            tmp_path / "run",
            tokens="{condition}/{prompt}.npz:tokns",
            codebook=CODES,
        )


def test_numbers_of_all_images_are_those_of_the_table_of_fewer(tmp_path: Path) -> None:
    """An estimate of bits is cut at what the codes can hold, wherever it stands."""
    draw = np.random.default_rng(5).integers(0, 8, (4, 6, 4, 4))
    for number, tokens in enumerate(draw):
        np.save(tmp_path / f"p{number}.npy", tokens)
    spec = importing.Spec(tokens="{prompt}.npy", codebook=8)
    importing.write(importing.survey(spec, tmp_path), tmp_path / "run")
    rows = obtain(open_store(tmp_path / "run"), Config(resampling=QUICK)).rows
    cells = {row.quantity: row.estimate for row in rows if row.section == "information"}
    parts = [row for row in rows if row.section == "rarefaction"]
    whole = [row for row in parts if (row.n_prompts, row.n_images) == (4, 6)]
    assert cells["codebook_entropy"] == 3
    assert whole
    for row in whole:
        assert row.estimate == pytest.approx(cells[row.quantity], abs=1e-12)
    assert max(row.estimate for row in parts if row.quantity == "codebook_entropy") <= 3


def test_tokens_alone_flat_or_not_give_entropies(tmp_path: Path) -> None:
    fields = {"tokens": "{condition}/{prompt}.npz:tokens", "codebook": CODES}
    square = imported(folder_of_tokens(tmp_path / "square"), tmp_path / "a", **fields)
    flat = folder_of_tokens(tmp_path / "flat", (12,))
    flat = imported(flat, tmp_path / "b", grid=(3, 4), **fields)
    one, other = open_store(square), open_store(flat)
    assert one.snapshot() == other.snapshot()
    document = obtain(one, Config(resampling=QUICK))
    assert {"information"} <= {row.section for row in document.rows}
    assert not [row for row in document.rows if row.section == "diversity"]
    assert any("no condition is named the baseline" in note for note in document.notes)
    planned = CliRunner().invoke(app, ["power", str(square), "--difference", "0.1"])
    assert "no distance of 'imported' can be planned with" in str(planned.exception)


def test_zarr_arrays_and_groups_are_read(tmp_path: Path) -> None:
    import zarr

    square = folder_of_tokens(tmp_path / "square")
    for file in square.rglob("*.npz"):
        group = zarr.open_group(
            tmp_path / "zarr" / file.parent.name / f"{file.stem}.zarr", mode="w"
        )
        for name, values in np.load(file).items():
            group.create_array(name, data=values)
        array = tmp_path / "plain" / file.parent.name / f"{file.stem}.zarr"
        zarr.save_array(array, np.load(file)["tokens"])
    snapshots = set()
    for folder, key in (("square", "npz:tokens"), ("zarr", "zarr:tokens"), ("plain", "zarr")):
        fields = {"tokens": f"{{condition}}/{{prompt}}.{key}", "codebook": CODES}
        run = imported(tmp_path / folder, tmp_path / f"run-{folder}", **fields)
        snapshots.add(open_store(run).snapshot())
    assert len(snapshots) == 1
    with pytest.raises(IbstatsError, match=r"holds (surprisal, tokens|tokens, surprisal); say whi"):
        imported(tmp_path / "zarr", tmp_path / "x", tokens="{condition}/{prompt}.zarr", codebook=9)
    next((tmp_path / "plain").rglob("zarr.json")).write_text("{")
    with pytest.raises(IbstatsError, match=r"\.zarr' cannot be read") as raised:
        imported(tmp_path / "plain", tmp_path / "y", tokens="{condition}/{prompt}.zarr", codebook=9)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "png"])
def test_pictures_are_turned_as_their_orientation_says(tmp_path: Path, suffix: str) -> None:
    place = tmp_path / "out" / "p"
    place.mkdir(parents=True)
    upright = picture(0)
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[reading.ORIENTATION] = 6  # to be turned by 90 degrees clockwise
    lossless = {"lossless": True} if suffix == "webp" else {}
    turned.save(place / f"0.{suffix}", exif=exif, **lossless)
    run = imported(tmp_path / "out", tmp_path / "run", images=f"{{prompt}}/{{sample}}.{suffix}")
    found = open_store(run).dataset("imported", "imported")["image"].values[0, 0, 0]
    assert found.shape == (*SIZE, 3)
    tolerance = 80 if suffix == "jpg" else 0
    assert np.abs(found.astype(int) - np.asarray(upright)).mean() <= tolerance


@pytest.mark.parametrize("given", [[0, 1, 2, 3, 4], "0..4", "kept.npy", "kept.txt"])
def test_a_condition_is_held_to_the_codes_it_may_use(
    tmp_path: Path, given: list[int] | str
) -> None:
    folder = folder_of_tokens(tmp_path / "tokens")
    for file in (folder / "cold").glob("*.npz"):
        np.savez(file, tokens=np.load(file)["tokens"] % 5)
    np.save(tmp_path / "kept.npy", np.arange(5))
    (tmp_path / "kept.txt").write_text("0\n1, 2\n3 4\n")
    written = {"tokens": "{condition}/{prompt}.npz:tokens", "codebook": CODES, "folder": "tokens"}
    spec = tmp_path / "spec.yaml"
    spec.write_text(json.dumps(written | {"allowed_codes": {"cold": given}}))
    found = importing.survey(*importing.read_spec(spec))
    assert "codes of cold: 5 of 9" in found.lines()
    importing.write(found, tmp_path / "run")
    store = open_store(tmp_path / "run")
    keep = store.dataset("imported", "imported")["codebook_keep"].values
    assert keep.tolist() == [[True] * 5 + [False] * 4, [True] * 9]
    rows = obtain(store, Config(resampling=QUICK)).rows
    capacity = {row.condition: row.estimate for row in rows if row.quantity == "capacity"}
    assert capacity == pytest.approx({"cold": np.log2(5), "warm": np.log2(9)})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"warm": "0..4"}, r"warm/p\w+\.npz' holds the code \d, which its condition may not use"),
        ({"hot": [1]}, "unknown condition of `allowed_codes` 'hot'; known: cold, warm"),
        ({"warm": "0..9"}, "'warm' hold 9, but codes run 0..8"),
        ({"warm": []}, "'warm' are none; name the codes it may use"),
        ({"warm": "none.txt"}, "'none.txt' is no range like 0..1023 and no file of ids"),
    ],
)
def test_allowed_codes_that_mean_nothing_are_refused(
    tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    folder = folder_of_tokens(tmp_path / "tokens")
    fields = {"tokens": "{condition}/{prompt}.npz:tokens", "codebook": CODES}
    with pytest.raises(IbstatsError, match=said) as raised:
        imported(folder, tmp_path / "run", allowed_codes=given, **fields)
    assert "\n" not in str(raised.value)
    codes = np.full((1, 1, 2, 3, 4), 7)
    with pytest.raises(IbstatsError, match="'p' in condition 'warm' holds the code 7, which its"):
        importing.from_arrays(
            tmp_path / "recorded",
            prompts=["p"],
            conditions=["warm"],
            tokens=codes,
            codebook_size=CODES,
            allowed_codes={"warm": "0..4"},
        )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"condition": "hot", "prompt": "p1"},
            "unknown condition in '.*' 'hot'; known: cold, warm",
        ),
        ({"condition": "cold", "prompt": "p3"}, "unknown prompt in '.*' 'p3'; known: p1, p2"),
        ({"condition": "cold", "prompt": "p1", "sample": "7"}, "'7'; known: 0, 1, 2"),
        ({"condition": "cold", "prompt": "p1"}, "a sample of prompt 'p1' in .* 'cold' two texts"),
        ({"condition": "cold"}, "texts 2 of '.*' lacks `condition`, `prompt` or `text`"),
    ],
)
def test_texts_that_mean_nothing_are_refused(
    images: Path, tmp_path: Path, row: dict[str, str], said: str
) -> None:
    first = {"condition": "cold", "prompt": "p1", "sample": "1", "text": "a feline"}
    file = tmp_path / "texts.jsonl"
    file.write_text(f"{json.dumps(first)}\n{json.dumps(row | {'text': 'a tom'})}", "utf-8")
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("id,text\np1,a cat\np2,a dog\np10,a bird\n", encoding="utf-8")
    fields = {"images": LAYOUT, "texts": str(file)}
    with pytest.raises(IbstatsError, match=said):
        importing.survey(importing.Spec(**fields, prompts=str(prompts)), images)
    with pytest.raises(IbstatsError, match="but not of what: give the texts of the prompts too"):
        importing.survey(importing.Spec(**fields), images)


def test_surprisals_come_along(tmp_path: Path) -> None:
    run = imported(
        folder_of_tokens(tmp_path / "out"),
        tmp_path / "run",
        tokens="{condition}/{prompt}.npz:tokens",
        arrays={"token_surprisal": "{condition}/{prompt}.npz:surprisal"},
        codebook=CODES,
    )
    dataset = open_store(run).dataset("imported", "imported")
    expected = np.load(tmp_path / "out/cold/p2.npz")["surprisal"].astype(np.float32)
    found = dataset["token_surprisal"].sel(condition="cold", prompt="p2")
    np.testing.assert_array_equal(found, expected)


def test_two_factors_are_crossed_and_one_condition_stands_alone(tmp_path: Path) -> None:
    for a, b in itertools.product(("low t", "high t"), ("x", "y")):
        folder_of_images(tmp_path / "out" / a / b)
    layout = "{temperature}/{policy}/cold/{prompt}/{sample}.png"
    run = imported(tmp_path / "out", tmp_path / "run", images=layout, baseline="low t-x")
    config = Config(metrics=("pixel_cosine",), parts=("diversity",), resampling=QUICK)
    document = obtain(open_store(run), config)
    terms = {row.term for row in document.rows if row.section == "effect"}
    assert {"temperature", "policy", "temperature:policy"} <= terms
    design = open_store(run).run.experiments["imported"]
    assert (design.factors[0].low, design.factors[0].high) == ("low t", "high t")
    alone = imported(tmp_path / "out/low t/x/cold", tmp_path / "one", images="{prompt}/{sample}.*")
    notes = analyse(open_store(alone), config).attrs["notes"]
    assert any("there is one condition" in note for note in notes)


def test_unequal_numbers_are_recorded_and_said_once(images: Path, tmp_path: Path) -> None:
    (images / "warm/p10/2.png").unlink()
    run = imported(images, tmp_path / "run", images=LAYOUT, baseline="cold")
    store = open_store(run)
    assert store.run.experiments["imported"].n_samples == N_SAMPLES
    said = (
        "'imported/imported' has 2 to 3 samples per prompt and condition; the first 2 of each are "
        "used, 5 of 17 are left out"
    )
    with pytest.warns(UserWarning, match=said):
        store.dataset("imported", "imported")
    used = select(store, "imported", "imported").unequal
    assert "bits use all 17; what moves with their number" in used
    config = Config(metrics=("pixel_cosine",), resampling=QUICK)
    assert analyse(store, config).attrs["notes"].count(used) == 1
    assert runs.compare(store, store, settings=config).notes.count(used) == 1
    shown = [
        ["describe", str(run)],
        ["diversity", str(run), "--metric", "pixel_cosine", "--resamples", "200"],
        ["report", str(run), "--metric", "pixel_cosine", "--resamples", "200"],
    ]
    printed = []
    for arguments in shown:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        printed.append(" ".join(result.output.split()))
    assert "2 to 3" in printed[0]
    for output in printed[1:]:
        assert used in output
        assert "2 to 3 images" in output
    page = (run / "results" / "report.html").read_text(encoding="utf-8")
    assert "bits use all 17" in page


def test_of_unequal_numbers_every_prompt_is_the_mean_of_its_own_pairs(tmp_path: Path) -> None:
    """Distances, scores, collision entropies and bits of all samples, by hand."""
    rng, counts = np.random.default_rng(3), {"p1": 2, "p2": 4, "p3": 3, "p4": 2}
    pixels, codes, bits = {}, {}, {}
    with importing.Recorder(
        tmp_path / "run", model="m", codebook_size=5, grid=(2, 2), family="autoregressive"
    ) as recorder:
        for condition, (prompt, number) in itertools.product(("a", "b"), counts.items()):
            count = number if condition == "a" else 3
            pixels[condition, prompt] = rng.integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
            codes[condition, prompt] = rng.integers(0, 5, (count, 2, 2))
            bits[condition, prompt] = rng.random((count, 2, 2), dtype=np.float32)
            recorder.add(
                prompt=prompt,
                condition=condition,
                images=pixels[condition, prompt],
                tokens=codes[condition, prompt],
                surprisals=bits[condition, prompt],
            )
    store = open_store(tmp_path / "run")
    selection = select(store, "m", "imported")
    assert selection.n_samples == 2
    assert selection.sample_counts.tolist() == [[2, 4, 3, 2], [3, 3, 3, 3]]
    config = Config(metrics=("pixel_cosine",), resampling=QUICK)
    tree = analyse(store, config)
    found = tree["m/per_prompt"]["pixel_cosine_distance"]
    for (condition, prompt), images in pixels.items():
        rows = images.reshape(len(images), -1).astype(float)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        pairs = [1 - one @ other for one, other in itertools.combinations(rows, 2)]
        made = float(found.sel(condition=condition, prompt=prompt))
        assert made == pytest.approx(np.mean(pairs), abs=1e-12)
    document = obtain(store, config)
    numbers = {}
    for row in document.rows:
        if row.condition == "a" and row.estimate is not None:
            numbers[row.section, row.quantity] = row
    within, between = [], []
    means = {}
    for prompt in counts:
        own = codes["a", prompt].reshape(-1, 4)
        agree = []
        for one, other in itertools.combinations(own, 2):
            agree.append((one[:, None] == other).mean())
        within.append(np.mean(agree))
        means[prompt] = np.stack([(own == code).mean(axis=1) for code in range(5)]).mean(axis=1)
    for one, other in itertools.combinations(means.values(), 2):
        between.append(one @ other)
    for name, value in (("within", within), ("between", between)):
        row = numbers["information", f"collision_{name}"]
        assert row.estimate == pytest.approx(np.mean(value), abs=1e-12)
        assert (row.n_images, row.n_images_most) == (2, 4)
    drawn = [bits["a", prompt].sum(axis=(1, 2)).mean() for prompt in counts]
    assert numbers["ledger", "joint"].estimate == pytest.approx(np.mean(drawn), rel=1e-6)
    assert numbers["diversity", "pixel_cosine_distance"].n_images_most == 4
    shannon = numbers["information", "codebook_entropy"]
    assert (shannon.n_images, shannon.n_images_most) == (2, None)
    two = np.stack([codes["a", prompt][:2] for prompt in counts])[None]
    tokens = xr.DataArray(two, dims=("condition", "prompt", "sample", "row", "col"))
    expected = information.per_prompt(tokens, 5, config.estimator)["codebook_entropy"].mean()
    assert shannon.estimate == pytest.approx(min(float(expected), np.log2(5)))


def test_codes_left_out_of_a_codebook_table_are_said(tmp_path: Path) -> None:
    tokens = folder_of_tokens(tmp_path / "tokens")
    np.savez(tokens / "warm/p2.npz", tokens=np.zeros((1, 3, 4), int))
    run = imported(tokens, tmp_path / "run", tokens="{condition}/{prompt}.npz:tokens", codebook=9)
    _, parts = codebooks.codebook([open_store(run)], ["run"], n_tokens=None, seed=0)
    said = [part.words for part in parts if isinstance(part, Paragraph)]
    assert [line.partition("; ")[2] for line in said] == [
        "the first 1 of each are used, 10 of 16 are left out"
    ]


def test_names_of_any_script_are_kept_as_texts(tmp_path: Path) -> None:
    for prompt in ("a red cat [1]", "猫", "犬 & <b>"):
        folder_of_images(tmp_path / "made")
        (tmp_path / "made/cold/p1").rename(tmp_path / "made/cold" / prompt)
        (tmp_path / "made/warm/p1").rename(tmp_path / "made/warm" / prompt)
    found = importing.survey(importing.Spec(images=LAYOUT), tmp_path / "made")
    importing.write(found, tmp_path / "run")
    prompts = open_store(tmp_path / "run").prompts
    assert {"猫", "犬 & <b>", "a red cat [1]"} <= {prompt.text for prompt in prompts}
    assert len({prompt.id for prompt in prompts}) == len(prompts) == 5


def test_texts_and_the_order_of_prompts_come_from_a_prompt_file(
    images: Path, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text("id,text\np2,a dog\np10,a bird\np1,a cat\n", encoding="utf-8")
    fields = {"images": LAYOUT, "prompts": str(file)}
    dataset = open_store(imported(images, tmp_path / "run", **fields)).dataset(
        "imported", "imported"
    )
    assert list(dataset["text"].values) == ["a dog", "a bird", "a cat"]
    assert list(dataset["prompt"].values) == ["p2", "p10", "p1"]
    with Image.open(images / "warm/p10/1.png") as picture:
        found = dataset["image"].sel(condition="warm", prompt="p10", sample=1)
        np.testing.assert_array_equal(found, np.asarray(picture))
    assert dataset["text_index"].isel(prompt=1).values.tolist() == [[1] * 3] * 2
    file.write_text("id,text\np1,a cat\n", encoding="utf-8")
    with pytest.raises(IbstatsError, match="has no prompt 'p2'"):
        imported(images, tmp_path / "other", **fields)
    file.write_text("id,text\np2,a dog\np10,a bird\np1,a cat\np2,a wolf\n", encoding="utf-8")
    with pytest.raises(IbstatsError, match="has two texts of the id 'p2': 'a dog' and 'a wolf'"):
        imported(images, tmp_path / "other", **fields)


def doubled(root: Path) -> None:
    (root / "warm/p1/0.jpg").write_bytes((root / "warm/p1/0.png").read_bytes())


def other_size(root: Path) -> None:
    Image.new("RGB", (5, 6)).save(root / "warm/p1/0.png")


def transparent(root: Path) -> None:
    Image.new("RGBA", SIZE[::-1], (1, 2, 3, 4)).save(root / "warm/p1/0.png")


def sixteen_bits(root: Path) -> None:
    Image.fromarray(np.full(SIZE, 700, dtype=np.uint16)).save(root / "warm/p1/0.png")


def cut_short(root: Path) -> None:
    file = root / "warm/p1/0.png"
    file.write_bytes(file.read_bytes()[:200])


def no_picture(root: Path) -> None:
    (root / "warm/p1/0.png").write_text("hello")


def incomplete(root: Path) -> None:
    for file in (root / "warm/p2").iterdir():
        file.unlink()


def untouched(root: Path) -> None:
    assert root.is_dir()


BAD: dict[str, tuple[Callable[[Path], None], dict[str, Any], str]] = {
    "no match": (untouched, {"images": "{prompt}_{sample}.gif"}, r"no file of .* matches .*p1/0"),
    "no prompt": (untouched, {"images": "{condition}/{sample}.png"}, "does not name {prompt}"),
    "both": (untouched, {"images": "{condition}/{a}/{prompt}.png"}, "not both"),
    "doubled": (doubled, {"images": "{condition}/{prompt}/{sample}.*"}, "two files are sample '0'"),
    "sizes": (other_size, {}, r"1 files have another size .* is 6 x 5, .* is 12 x 14"),
    "baseline": (untouched, {"baseline": "hot"}, "unknown baseline 'hot'; known: cold, warm"),
    "transparent": (transparent, {}, r"0\.png' is transparent"),
    "16 bits": (sixteen_bits, {}, r"0\.png' is of kind I;16"),
    "cut short": (cut_short, {}, r"0\.png' is not a readable image"),
    "no picture": (no_picture, {}, r"0\.png' is not a readable image"),
    "incomplete": (incomplete, {}, r"1 of 3 prompts .* 'p2' has no images in condition 'warm'"),
    "levels": (untouched, {"images": "cold/{a}/{prompt}.png"}, r"levels p1, p2, p10, but a factor"),
    "no tokens": (
        untouched,
        {"tokens": "{condition}/{prompt}/{sample}.png", "codebook": 9},
        r"holds no `tokens`: give \.npy",
    ),
}


@pytest.mark.parametrize(("spoil", "fields", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_imported_is_one_line_and_leaves_nothing(
    images: Path,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    fields: dict[str, Any],
    message: str,
) -> None:
    spoil(images)
    with pytest.raises(IbstatsError, match=message) as raised:
        imported(images, tmp_path / "run", **{"images": LAYOUT, **fields})
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_incomplete_prompts_are_left_out_on_request(images: Path) -> None:
    incomplete(images)
    found = importing.survey(importing.Spec(images=LAYOUT), images, drop_incomplete=True)
    assert found.prompts.labels == ["p1", "p10"]
    assert any("1 incomplete prompts are left out: 'p2'" in line for line in found.lines())


@pytest.mark.parametrize(
    ("codebook", "message"), [(0, "--codebook 16"), (3, r"holds the code 8, .* run 0\.\.2")]
)
def test_codes_need_a_codebook_that_holds_them(tmp_path: Path, codebook: int, message: str) -> None:
    root = folder_of_tokens(tmp_path / "out")
    with pytest.raises(IbstatsError, match=message):
        imported(
            root, tmp_path / "run", tokens="{condition}/{prompt}.npz:tokens", codebook=codebook
        )


def test_an_import_that_was_killed_goes_on_and_gives_the_same_run(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = imported(images, tmp_path / "whole", images=LAYOUT)
    monkeypatch.setattr("ibstats.importing.making.BLOCK_BYTES", 1)
    found = importing.survey(importing.Spec(images=LAYOUT), images)
    kept, added = writer.RunWriter.add, []

    def dying(self: writer.RunWriter, *given: Any, **how: Any) -> str:
        if len(added) == 2:
            raise KeyboardInterrupt
        added.append(given[0])
        return kept(self, *given, **how)

    monkeypatch.setattr(writer.RunWriter, "add", dying)
    with pytest.raises(KeyboardInterrupt):
        importing.write(found, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(writer.RunWriter, "add", kept)
    made: list[Any] = []

    def counted(blocks: Any) -> Any:
        for block in blocks:
            made.append(block)
            yield block

    assert importing.write(found, tmp_path / "run", counted) == "made"
    assert len(made) == 6 - 2
    assert open_store(tmp_path / "run").snapshot() == open_store(whole).snapshot()
    assert importing.write(found, tmp_path / "run") == "done"
    other_size(images)
    with pytest.raises((IbstatsError, StoreError), match=r"another size|another run"):
        imported(images, tmp_path / "run", images=LAYOUT)


def test_the_command_looks_writes_and_tells(images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    asked = ["import", str(images), "--layout", LAYOUT, "--baseline", "cold", "--out", str(run)]
    looked = CliRunner().invoke(app, [*asked, "--dry-run"])
    assert looked.exit_code == 0, looked.output
    assert "2 conditions x 3 prompts, 3 samples each: 18 in all" in looked.output
    assert "lacks tokens (so no entropies)" in looked.output
    assert not run.exists()
    assert CliRunner().invoke(app, asked).exit_code == 0
    told = CliRunner().invoke(app, ["describe", str(run)]).output
    assert "imported" in told
    refused = CliRunner().invoke(app, ["ablations", str(run)])
    assert isinstance(refused.exception, IbstatsError)
    assert "was imported and holds no ablation" in str(refused.exception)


def test_a_spec_names_folder_conditions_and_factors(images: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "folder: images\nname: theirs\nimages: '{condition}/{prompt}/{sample}.png'\n"
        "conditions: {warm: {t: '1.0'}, cold: {t: '0.1'}}\nfactors: {t: ['0.1', '1.0']}\n"
    )
    read, folder = importing.asked(spec, {"model": "m", "baseline": None})
    found = importing.survey(read, folder)
    assert (found.conditions, read.model) == (["warm", "cold"], "m")
    assert (found.meaning.factors[0].low, found.meaning.factors[0].high) == ("0.1", "1.0")
    spec.write_text("images: x\ncolour: red\n")
    with pytest.raises(IbstatsError, match="colour is 'red': Extra inputs"):
        importing.asked(spec, {})
    with pytest.raises(IbstatsError, match="name a pattern of images"):
        importing.asked(images, {})


def test_importing_and_reporting_need_no_torch(images: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom importlib.util import find_spec\nfrom ibstats import extras\n"
        "extras.find_spec = lambda name: None if name.startswith('torch') else find_spec(name)\n"
        "from typer.testing import CliRunner; from ibstats.cli import app\n"
        f"for line in (['import', {str(images)!r}, '--layout', {LAYOUT!r}, '--baseline', 'cold', "
        f"'--out', {str(tmp_path / 'run')!r}], ['diversity', {str(tmp_path / 'run')!r}]):\n"
        "    done = CliRunner().invoke(app, line)\n"
        "    assert done.exit_code == 0, (done.output, done.exception)\n"
        "assert 'torch' not in sys.modules\n"
        "print(done.output)"
    )
    assert "pixel cosine" in conftest.elsewhere(code)
