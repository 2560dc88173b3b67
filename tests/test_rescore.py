"""`ibgenerate rescore` on toys, read by `ibstats`, against the enumerated entropies."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from generate.cli import app as generate_app
from generate.errors import StoreError
from generate.models import model_class
from generate.models.toy import Toy
from generate.models.toy_law import enumerate_law
from generate.run import rescore as scorer
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.store.audit import verify
from generate.store.samples import SampleStore
from generate.study.planning import plan, recorded_plan
from generate.study.study_file import load_study
from ibstats.cli import app
from ibstats.errors import CorruptStore, IbstatsError
from ibstats.results.kept import obtain
from ibstats.statistics import rescored
from ibstats.statistics.uncertainty import Resampling
from ibstats.store import open_store
from schemas.analysis import Config
from schemas.provenance import WeightFile
from schemas.store import seal

N_PROMPTS, N_SAMPLES, PATHS = 4, 60, 8
MODELS = {
    "ar": {"model": "toy-ar"},
    "masked": {"model": "toy-masked", "options": {"path_surprisal": "given_candidates"}},
    "reveals": {"model": "toy-diffusion", "options": {"positions": 3}},
    "revises": {"model": "toy-diffusion", "options": {"positions": 3, "replaced": 0.2}},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rescore")
    prompts = [
        {"id": f"p{i}", "text": f"prompt {i}", "paraphrases": {"short": ["a", "b"]}}
        for i in range(N_PROMPTS)
    ]
    (folder / "study.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    document = {
        "name": "rescore",
        "samples": N_SAMPLES,
        "models": [{"label": label} | choice for label, choice in MODELS.items()],
        "prompts": {"source": "study.jsonl"},
        "experiments": {
            "factorial": {"keep_ratio": 1.0, "paraphrases": 2, "paraphrase_length": "short"}
        },
    }
    document["calibration"] = {"source": "calibration.jsonl", "n": 1}
    (folder / "calibration.jsonl").write_text(json.dumps({"id": "c", "text": "another"}))
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    laid_out = plan(*load_study(str(folder / "study.yaml")))
    run(laid_out, prepare(laid_out, folder / "run"))
    return folder / "run"


@pytest.fixture(scope="module")
def scored(root: Path) -> Path:
    before = digest(root / "data.zarr")
    result = CliRunner().invoke(
        generate_app, ["rescore", str(root), "--paths", str(PATHS), "--device", "cpu"]
    )
    assert result.exit_code == 0, result.output
    assert "masked: 240 images x 9 paths = 2160 traversals of 3 steps" in " ".join(
        result.output.split()
    )
    assert digest(root / "data.zarr") == before  # the data of a run never change
    return root


def digest(folder: Path) -> str:
    content = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return content.hexdigest()


def mean_entropy(label: str, quantity: str) -> float:
    choice = MODELS[label]
    adapter = model_class(str(choice["model"]))
    options = adapter.options(choice.get("options", {}))  # type: ignore[arg-type]
    model = adapter.load(adapter.identify(str(choice["model"]), options), options, "cpu")
    assert isinstance(model, Toy)
    return float(
        np.mean([getattr(enumerate_law(model, f"prompt {i}"), quantity) for i in range(N_PROMPTS)])
    )


@pytest.mark.parametrize("label", ["masked", "reveals", "revises"])
def test_the_bracket_holds_the_enumerated_entropy_and_tightens(scored: Path, label: str) -> None:
    store = open_store(scored)
    found = rescored.find(store, label, "factorial")
    assert found is not None
    bits = rescored.brackets(found, revised=label == "revises").mean("prompt").isel(condition=0)
    slack = 4 * 2.0 / (N_PROMPTS * N_SAMPLES) ** 0.5
    lower, upper = (bits.sel(quantity=name).values for name in ("tokens_lower", "tokens_upper"))
    exact = mean_entropy(label, "tokens")
    assert (lower < exact + slack).all()
    assert (upper > exact - slack).all()
    assert (np.diff(upper) <= 1e-9).all()  # the same paths in larger groups
    assert (upper - lower)[-1] < 0.5 * (upper - lower)[0]
    assert found.data["log_weight"].notnull().all()
    if label == "revises":
        assert "residual_lower" not in bits["quantity"]
        assert (
            float(bits.sel(quantity="residual_upper")[-1])
            > mean_entropy(label, "path_given_tokens") - slack
        )
    else:
        residual = mean_entropy(label, "path_given_tokens")
        assert float(bits.sel(quantity="residual_lower")[-1]) < residual + slack
        assert float(bits.sel(quantity="residual_upper")[-1]) > residual - slack
        assert float(bits.sel(quantity="joint")[0]) == pytest.approx(
            mean_entropy(label, "both"), abs=slack
        )


def test_a_rescoring_that_was_cut_short_goes_on_and_ends_the_same(
    scored: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(scored, copy)
    work = scorer.plan_rescoring(
        SampleStore.open(copy), "masked", experiment="factorial", n_paths=PATHS
    )
    whole = work.arrays["log_weight"][...]
    work.stored.withdraw((0, 2))
    work.arrays["log_weight"][0, 2] = np.nan
    told = []
    scorer.rescore(work, progress=lambda what, done, total: told.append((done, total)))
    assert told == [(work.n_rows, work.n_rows)]
    np.testing.assert_array_equal(work.arrays["log_weight"][...], whole)


def test_what_is_damaged_of_a_rescoring_is_refused_and_repaired_piece_by_piece(
    scored: Path, tmp_path: Path
) -> None:
    """An absent chunk would read as images whose own path is unknown; a swapped one as others."""
    copy = Path(shutil.copytree(scored, tmp_path / "run"))
    place = copy / f"rescored/masked/factorial/paths{PATHS}-seed0"
    chunks = place / "data.zarr/log_weight"
    expected = digest(place)
    assert rescored.find(open_store(copy), "masked", "factorial") is not None
    first, second = (chunks / f"c.0.{prompt}.0.0" for prompt in (0, 1))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    (place / "pieces/c0000-p000002.json").unlink()
    for _ in range(2):
        with pytest.raises(CorruptStore, match=r"is damaged .*verify --repair` drops it.*rescore`"):
            rescored.find(open_store(copy), "masked", "factorial")
    lines = [line for _, line in open_store(copy).verify() if line]
    assert len(lines) == 3
    store = SampleStore.open(copy)
    assert len(verify(recorded_plan(store.run, store.prompts), store)) == 3
    told = CliRunner().invoke(generate_app, ["verify", str(copy), "--repair"])
    assert told.exit_code == 0, told.output
    work = scorer.plan_rescoring(
        SampleStore.open(copy), "masked", experiment="factorial", n_paths=PATHS
    )
    scorer.rescore(work)
    assert digest(place) == expected
    assert rescored.find(open_store(copy), "masked", "factorial") is not None


def test_a_rescoring_that_was_killed_before_its_record_is_begun_anew(
    scored: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(scored, tmp_path / "run"))
    place = copy / f"rescored/masked/factorial/paths{PATHS}-seed0"
    (place / "rescored.json").unlink()
    with pytest.raises(CorruptStore, match=r"rescored.json' is damaged .missing.; `ibgenerate"):
        rescored.find(open_store(copy), "masked", "factorial")
    shutil.rmtree(place / "pieces")
    assert rescored.find(open_store(copy), "masked", "factorial") is None
    work = scorer.plan_rescoring(
        SampleStore.open(copy), "masked", experiment="factorial", n_paths=PATHS
    )
    work.open_or_create()
    assert len(work.pieces()) == N_PROMPTS


def test_what_was_scored_from_other_data_is_refused_by_name(scored: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(scored, copy)
    file = copy / f"rescored/masked/factorial/paths{PATHS}-seed0/rescored.json"
    record = json.loads(file.read_text())
    record |= {"snapshot": "0" * 64}
    file.write_text(json.dumps(record | {"sha256": seal(record)}))
    with pytest.raises(IbstatsError, match=f"paths{PATHS}-seed0' was scored from another snapshot"):
        rescored.find(open_store(copy), "masked", "factorial")
    with pytest.raises(StoreError, match="made for another snapshot: delete it to score anew"):
        scorer.rescore(
            scorer.plan_rescoring(
                SampleStore.open(copy), "masked", experiment="factorial", n_paths=PATHS
            )
        )


def test_other_weights_than_the_stores_are_refused(
    scored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = scorer.plan_rescoring(
        SampleStore.open(scored), "masked", experiment="factorial", n_paths=2
    )
    theirs = work.record.identity.model_copy(
        update={"weights": [WeightFile(name="w", bytes=1, sha256="ab" * 32)]}
    )
    other = scorer.Rescoring(work.store, work.record.model_copy(update={"identity": theirs}))
    with pytest.raises(
        StoreError, match=r"not the one .* \(weights seed-0 here, abababababab there"
    ):
        scorer.rescore(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "ar"}, "'ar' has a fixed order"),
        ({"model": "none"}, "has no model 'none'; it has ar, masked"),
        ({"experiment": "none"}, "has no experiment 'none'; it has factorial"),
        ({"conditions": ["none"]}, "has no condition 'none'; it has argmax-original-subset"),
        ({"n_paths": 0}, "--paths is 0"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(
    root: Path, changes: dict, message: str
) -> None:
    given = {"model": "masked", "experiment": "factorial", "n_paths": 2} | changes
    with pytest.raises(StoreError, match=message):
        scorer.plan_rescoring(SampleStore.open(root), given.pop("model"), **given)


def test_bounds_stand_in_the_command_the_report_and_its_rows(scored: Path) -> None:
    result = CliRunner().invoke(
        app, ["decompose", str(scored), "--model", "masked", "--resamples", "100"]
    )
    assert result.exit_code == 0, result.output
    assert "masked: bounds by rescored paths" in result.output
    config = Config(parts=("ledger",), resampling=Resampling(n_resamples=100))
    document = obtain(open_store(scored), config)
    rows = {(r.model, r.quantity, r.attribution): r for r in document.rows if r.section == "ledger"}
    low, high = (rows["masked", f"tokens_{side}", f"{PATHS} paths"] for side in ("lower", "upper"))
    assert low.estimate is not None
    assert high.estimate is not None
    assert low.low is not None
    assert low.low <= low.estimate < high.estimate
    assert rows["reveals", "residual_lower", "1 path"].n_images == N_SAMPLES
    assert ("ar", "tokens_lower", f"{PATHS} paths") not in rows


def test_under_argmax_the_joint_entropy_takes_the_place_of_an_infinite_bound(root: Path) -> None:
    work = scorer.plan_rescoring(
        SampleStore.open(root),
        "reveals",
        experiment="factorial",
        n_paths=2,
        conditions=["argmax-original-full"],
        seed=9,
    )
    scorer.rescore(work)
    own = rescored.read(open_store(root), work.key)
    bits = rescored.brackets(own)
    assert np.isneginf(own.data["log_weight"].values).any()
    assert np.isfinite(bits.values).all()
    assert (bits.sel(quantity="tokens_upper") <= bits.sel(quantity="joint") + 1e-9).all()
    shutil.rmtree(root / work.key)
