"""A sampling loop fills a run: checked at once, safe when `add` returns, the same however it was interrupted."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ibstats
from ibstats import Config, IbstatsError, Recorder, from_arrays, open_store
from ibstats.kernels.logits import surprisal_and_entropy
from ibstats.results.kept import obtain
from ibstats.statistics.uncertainty import Resampling
from tests.ibstats import conftest

QUICK = Resampling(n_resamples=200)
CODES, GRID, SIZE, N_SAMPLES = 16, (4, 4), (8, 8), 4
CONDITIONS, PROMPTS = ("cold", "warm"), ("a red cat", "a blue dog", "two birds")
MADE = {"codebook_size": CODES, "grid": GRID, "family": "autoregressive", "baseline": "cold"}


def drawn(condition: str, prompt: str, n: int = N_SAMPLES) -> dict[str, Any]:
    """Samples of a cell, always the same."""
    rng = np.random.default_rng([CONDITIONS.index(condition), PROMPTS.index(prompt)])
    tokens = rng.integers(0, CODES, (N_SAMPLES, *GRID))
    images = rng.integers(0, 256, (N_SAMPLES, *SIZE, 3), dtype=np.uint8)
    logits = rng.normal(size=(N_SAMPLES, *GRID, CODES))
    return {"images": images[:n], "tokens": tokens[:n], "logits": logits[:n]}


def cells() -> list[tuple[str, str]]:
    return list(itertools.product(CONDITIONS, PROMPTS))


def recorded(path: Path, order: list[tuple[str, str]], **changes: Any) -> Path:
    with Recorder(path, **MADE | changes) as run:
        for condition, prompt in order:
            run.add(condition=condition, prompt=prompt, **drawn(condition, prompt))
    return path


def interrupted(path: Path) -> None:
    """Two samples of the first cell, then Ctrl-C."""
    with Recorder(path, **MADE) as run:
        run.add(condition="cold", prompt=PROMPTS[0], **drawn("cold", PROMPTS[0], 2))
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("recorded") / "run", cells())


def test_uniform_logits_over_16_codes_on_a_4_by_4_grid_are_64_bits_an_image(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", **MADE) as run:
        for condition, prompt in cells():
            tokens = drawn(condition, prompt)["tokens"].reshape(N_SAMPLES, -1)
            logits = np.full((*tokens.shape, CODES), -3.0, np.float32)
            run.add(condition=condition, prompt=prompt, tokens=tokens, logits=logits)
    document = obtain(open_store(tmp_path / "run"), Config(parts=("ledger",), resampling=QUICK))
    bits = {row.quantity: row.estimate for row in document.rows if row.condition == "warm"}
    for name in ("joint", "execution_causal", "tokens", "tokens_rao_blackwell"):
        assert bits[name] == pytest.approx(64, abs=1e-5)
    assert bits["path_causal"] == 0


def test_surprisal_and_entropy_are_those_of_the_law_spelled_out() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=5, size=(7, 11))
    logits[:, 3] = -np.inf
    codes = rng.choice([0, 1, 2, 4, 5], 7)
    surprisal, entropy = surprisal_and_entropy(logits + 1000, codes)
    for row, code, bits, mean in zip(logits, codes, surprisal, entropy, strict=True):
        weights = [math.exp(x) for x in row]
        law = [weight / math.fsum(weights) for weight in weights]
        assert bits == pytest.approx(-math.log2(law[code]), rel=1e-10)
        assert mean == pytest.approx(-math.fsum(p * math.log2(p) for p in law if p), rel=1e-10)
    assert np.isnan(surprisal_and_entropy(np.full((1, 3), -np.inf), [0])[1]).all()


def test_a_loop_that_was_killed_goes_on_and_gives_the_same_run(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    code = (
        "import os, sys\nfrom tests.ibstats.test_recorder import *\n"
        f"with Recorder({str(path)!r}, **MADE) as run:\n"
        "    for condition, prompt in cells()[:3]:\n"
        "        run.add(condition=condition, prompt=prompt, **drawn(condition, prompt))\n"
        "    print('dying', flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    with pytest.raises(AssertionError):
        conftest.elsewhere(code)
    assert not path.exists()
    index = tmp_path / ".run.recording" / "index.jsonl"
    with index.open("a") as stream:
        stream.write('{"file": "00000003.npz", "cond')  # cut while it was written
    with Recorder(path, **MADE) as run:
        for condition, prompt in reversed(cells()):
            if run.count(condition=condition, prompt=prompt) < N_SAMPLES:
                for number in range(N_SAMPLES):  # one at a time, where it was all at once
                    given = drawn(condition, prompt)
                    one = {name: values[number : number + 1] for name, values in given.items()}
                    run.add(condition=condition, prompt=prompt, sample=number, **one)
    one, other = open_store(path), open_store(whole)
    assert one.snapshot() == other.snapshot()
    assert one.run.config_sha256 == other.run.config_sha256
    assert [problem for _, problem in one.verify() if problem] == []
    assert not index.exists()


def test_a_loop_may_run_again_from_its_beginning(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    with Recorder(path, **MADE) as run:
        with pytest.raises(IbstatsError, match=r"has 2 samples of an interrupted .*`sample=0`"):
            run.add(condition="cold", prompt=PROMPTS[0], **drawn("cold", PROMPTS[0]))
        with pytest.raises(IbstatsError, match="was recorded with other samples"):
            run.add(condition="cold", prompt=PROMPTS[0], sample=0, **drawn("warm", PROMPTS[0]))
        with pytest.raises(IbstatsError, match="has 2 samples, so sample 3 cannot be next"):
            run.add(condition="cold", prompt=PROMPTS[0], sample=3, **drawn("cold", PROMPTS[0]))
        for condition, prompt in cells():
            run.add(condition=condition, prompt=prompt, sample=0, **drawn(condition, prompt))
    assert open_store(path).snapshot() == open_store(whole).snapshot()


def test_arrays_pictures_and_tensors_make_the_same_run(whole: Path, tmp_path: Path) -> None:
    import torch

    with Recorder(tmp_path / "tensors", **MADE) as run:
        for condition, prompt in cells():
            given = drawn(condition, prompt)
            pictures = [Image.fromarray(image) for image in given["images"]]
            tensors = {name: torch.from_numpy(given[name]) for name in ("tokens", "logits")}
            run.add(condition=condition, prompt=prompt, images=pictures, **tensors)
    stacked = {}
    for name in ("images", "tokens", "logits"):
        rows = [[drawn(one, prompt)[name] for prompt in PROMPTS] for one in CONDITIONS]
        stacked[name] = np.array(rows)
    arrays = from_arrays(
        tmp_path / "arrays", prompts=PROMPTS, conditions=CONDITIONS, **stacked, **MADE
    )
    digests = {open_store(path).snapshot() for path in (tmp_path / "tensors", arrays)}
    # prompts of `from_arrays` keep natural order, as everywhere
    assert digests == {open_store(whole).snapshot()}


def test_half_precision_and_flat_logits_are_taken_as_they_are(tmp_path: Path) -> None:
    import torch

    logits = torch.randn(2, 16, CODES, dtype=torch.bfloat16)
    with Recorder(tmp_path / "run", **MADE | {"baseline": None}) as run:
        run.add(prompt="p", tokens=torch.zeros(2, 16, dtype=torch.long), logits=logits)
    dataset = open_store(tmp_path / "run").dataset("recorded", "imported")
    expected = -torch.log_softmax(logits.double(), -1)[..., 0] / math.log(2)
    found = dataset["token_surprisal"][0, 0].values.reshape(2, 16)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)


def test_texts_levels_and_paths_reach_the_store(tmp_path: Path) -> None:
    texts = {"p1": "a cat", "p2": "a dog"}
    levels = {"greedy": {"sampling": "argmax"}, "free": {"sampling": "stochastic"}}
    settings = {"codebook_size": CODES, "grid": GRID, "family": "masked", "prompts": texts}
    with Recorder(tmp_path / "run", conditions=levels, baseline="free", **settings) as run:
        for name, condition in itertools.product(texts, levels):
            run.add(
                prompt=name,
                condition=condition,
                tokens=np.zeros((2, *GRID), int),
                surprisals=np.ones((2, *GRID)),
                token_step=np.arange(16).reshape(GRID)[None].repeat(2, 0) // 4,
                path_surprisal=np.full((2, 4), 2.5),
                joint_surprisal=np.full((2, 4), 6.5),
            )
    store = open_store(tmp_path / "run")
    dataset = store.dataset("recorded", "imported")
    assert dataset["text"].values.tolist() == ["a cat", "a dog"]
    assert dataset["condition"].values.tolist() == ["greedy", "free"]
    assert dataset["argmax_window"].values.tolist() == ["0:1", ""]
    assert store.identity("recorded").steps == 4
    document = obtain(store, Config(parts=("ledger",), resampling=QUICK))
    bits = {(row.condition, row.quantity): row.estimate for row in document.rows}
    assert (bits["free", "path_causal"], bits["free", "joint"]) == (10.0, 26.0)
    assert (bits["free", "execution_marginal"], bits["greedy", "execution_marginal"]) == (16.0, 0.0)
    assert bits["free", "path_upper_schedule"] == pytest.approx(
        math.log2(math.factorial(16) / 24**4)
    )


TOKENS = np.zeros((2, *GRID), int)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "has neither images nor tokens"),
    "floats": ({"images": np.zeros((2, 8, 8, 3))}, r"8-bit; of values from 0 to 1 make"),
    "channels first": ({"images": np.zeros((2, 3, 8, 8), np.uint8)}, r"permute\(0, 2, 3, 1\)"),
    "grid": ({"tokens": np.zeros((2, 15), int)}, "has tokens of 2 x 15, not of 4 x 4"),
    "code": ({"tokens": TOKENS + 16}, r"holds the code 16, but codes run 0\.\.15"),
    "kind": ({"tokens": TOKENS * 1.0}, "codes are whole numbers"),
    "vocabulary": (
        {"tokens": TOKENS, "logits": np.zeros((2, *GRID, 20))},
        "last dim are the 16 codes",
    ),
    "impossible": (
        {"tokens": TOKENS, "logits": np.array([-np.inf] + [0.0] * 15) + np.zeros((2, 16, 1))},
        "token whose logit is -inf",
    ),
    "no law": ({"tokens": TOKENS, "logits": np.full((2, 16, 16), np.nan)}, "are no law"),
    "nats": ({"tokens": TOKENS, "surprisals": TOKENS - 1.0}, "in bits and never below 0"),
    "numbers": (
        {"tokens": TOKENS, "images": np.zeros((3, 8, 8, 3), np.uint8)},
        "2 of `tokens`, but 3 of `image`",
    ),
    "no tokens": ({"logits": np.zeros((2, 16, 16))}, "but no tokens"),
    "both": (
        {"tokens": TOKENS, "logits": np.zeros((2, 16, 16)), "surprisals": TOKENS * 1.0},
        "logits and surprisals; give one",
    ),
    "transparent": ({"images": [Image.new("RGBA", SIZE)]}, "is transparent"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_recorded_is_one_line_at_once(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    run = Recorder(tmp_path / "run", **MADE)
    with pytest.raises(IbstatsError, match=message) as raised:
        run.add(prompt="p", **given)
    assert "\n" not in str(raised.value)
    assert run.count(prompt="p") == 0
    run.close()


def test_samples_unlike_those_before_are_refused_and_other_settings_too(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run = Recorder(path)
    run.add(prompt="p", condition="a", images=np.zeros((2, *SIZE, 3), np.uint8))
    with pytest.raises(IbstatsError, match="image of 9 x 8, but samples before have image of"):
        run.add(prompt="p", condition="b", images=np.zeros((2, 9, 8, 3), np.uint8))
    run.add(prompt="p", condition="b", images=np.zeros((2, *SIZE, 3), np.uint8))
    run.add(prompt="q", condition="b", images=np.zeros((2, *SIZE, 3), np.uint8))
    with pytest.raises(IbstatsError, match="another process is recording"):
        Recorder(path)
    with pytest.raises(IbstatsError, match="1 of 2 prompts are incomplete"):
        run.finish()
    with pytest.raises(IbstatsError, match="begun with codebook_size=0, not 8"):
        Recorder(path, codebook_size=8)
    assert Recorder(path, drop_incomplete=True).finish() == path
    assert open_store(path).dataset("recorded", "imported").sizes["prompt"] == 1
    with pytest.raises(IbstatsError, match=r"is there already; open it with ibstats\.open"):
        Recorder(path)


def test_a_damaged_piece_is_named(tmp_path: Path) -> None:
    run = Recorder(tmp_path / "run")
    run.add(prompt="p", images=np.zeros((2, *SIZE, 3), np.uint8))
    piece = tmp_path / ".run.recording" / "00000000.npz"
    content = bytearray(piece.read_bytes())
    content[200] ^= 1
    piece.write_bytes(content)
    with pytest.raises(IbstatsError, match="damaged or gone, with 2 samples of prompt 'p'"):
        run.finish()
    assert piece.exists()


def test_a_run_answers_in_frames_distances_and_figures(whole: Path, tmp_path: Path) -> None:
    run = ibstats.open(whole)
    table = run.summary(metrics=("pixel_cosine",), resampling=QUICK)
    wanted = [
        "model",
        "experiment",
        "condition",
        "quantity",
        "estimate",
        "low",
        "high",
        "p",
        "n",
        "unit",
        "method",
        "note",
    ]
    assert set(wanted) <= set(table.columns)
    diversity = table[table["section"] == "diversity"].set_index("condition")
    distances = run.distances("pixel_cosine")["distance"].sel(condition="warm").values
    above = np.triu_indices(N_SAMPLES, 1)
    mean = distances[:, above[0], above[1]].mean()
    assert diversity.loc["warm", "estimate"] == pytest.approx(mean, rel=1e-12)
    assert diversity.loc["warm", "n"] == len(PROMPTS)
    changed = run.summary("contrast", metrics=("pixel_cosine",), resampling=QUICK)
    assert changed["against"].tolist() == ["cold"]
    assert run.select().n_prompts == 3
    assert "<table" in run._repr_html_()
    assert repr(run).startswith("<Run ")
    with pytest.raises(IbstatsError, match="unknown section 'divrsity'"):
        run.summary("divrsity")
    settings = Config(metrics=("pixel_cosine",), parts=("diversity",), resampling=QUICK)
    tree = ibstats.analyse(str(whole), settings)
    found = tree["recorded/diversity"]["estimate"].sel(condition="warm").item()
    assert found == pytest.approx(mean, rel=1e-12)


def test_figures_are_drawn_on_the_axes_given_and_on_new_ones(whole: Path, run: Path) -> None:
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    mine = ibstats.open(whole)
    axes = Figure().subplots()
    settings = {"resampling": QUICK, "parts": ("diversity",)}
    assert mine.plot.cells("pixel_cosine", ax=axes, **settings) is axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cold", "warm"]
    axes = mine.plot.changes("pixel_cosine", **settings)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["warm - cold"]
    pyplot.close("all")
    with pytest.raises(IbstatsError, match="no numbers of kind 'waterfall'"):
        mine.plot.waterfall("pixel_cosine", **settings)
    toys = ibstats.open(run)
    axes = toys.plot.probes("pixel_cosine", ax=Figure().subplots(), **settings)
    assert axes.get_legend() is not None
    with pytest.raises(IbstatsError, match="a waterfall is of one model, name it: toy-ar"):
        toys.plot.waterfall("pixel_cosine", **settings)
    drawn = toys.plot.waterfall("pixel_cosine", model="toy-mim", ax=Figure().subplots(), **settings)
    assert drawn.get_title(loc="left") == "toy-mim"
    with pytest.raises(IbstatsError, match="several models, name one: toy-ar, toy-mim"):
        toys.select()


def test_recording_and_opening_need_no_torch(tmp_path: Path) -> None:
    path = str(tmp_path / "run")
    code = (
        "import sys\nimport numpy as np\nimport ibstats\n"
        f"with ibstats.Recorder({path!r}, codebook_size=4, grid=(2, 2)) as run:\n"
        "    for prompt in ('a', 'b', 'c'):\n"
        "        images = np.random.default_rng(len(prompt)).integers(0, 255, (3, 8, 8, 3))\n"
        "        run.add(prompt=prompt, images=images.astype('uint8'),\n"
        "                tokens=np.zeros((3, 4), int), logits=np.zeros((3, 4, 4)))\n"
        f"print(len(ibstats.open({path!r}).summary(metrics=('pixel_cosine',))))\n"
        "assert 'torch' not in sys.modules\n"
    )
    assert int(conftest.elsewhere(code)) > 3
