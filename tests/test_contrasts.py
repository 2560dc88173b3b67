"""`ibgenerate rescore --contrast` on toys, read by `ibstats information`, against enumerated laws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from typer.testing import CliRunner

from generate.cli import app as generate_app
from generate.errors import StoreError
from generate.models import model_class
from generate.models.toy import Toy
from generate.models.toy_law import enumerate_law
from generate.run.blocks import run
from generate.run.contrasts import parse_contrast
from generate.run.preparing import prepare
from generate.study.planning import plan
from generate.study.probes import Probe
from generate.study.study_file import load_study
from generate.traversal.draw import PhiloxNoise
from generate.traversal.replay import Replay
from ibstats.cli import app
from ibstats.statistics import contrasts
from ibstats.statistics.rescored import Rescored
from ibstats.statistics.uncertainty import Resampling
from ibstats.store import open_store
from schemas.study import OrderName

N_PROMPTS, N_SAMPLES, PATHS = 4, 20, 4
MODELS = {
    "ar": {"model": "toy-ar"},
    "blind": {"model": "toy-ar", "options": {"sharpness": 0.0}},
    "masked": {"model": "toy-masked"},
    "reveals": {"model": "toy-diffusion", "options": {"positions": 3}},
    "revises": {"model": "toy-diffusion", "options": {"positions": 3, "replaced": 0.3}},
}
FIXED, CHOSEN = ("ar", "blind"), ("masked", "reveals")
ORIGINAL, REWORDED = "stochastic-original-full", "stochastic-paraphrase-full"


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of toys, scored under every kind of contrast."""
    folder = tmp_path_factory.mktemp("contrasts")
    lines = []
    for i in range(N_PROMPTS):
        wordings = {"short": [f"prompt {i} said so", f"prompt {i} said otherwise"]}
        lines.append(json.dumps({"id": f"p{i}", "text": f"prompt {i}", "paraphrases": wordings}))
    (folder / "study.jsonl").write_text("\n".join(lines))
    others = [json.dumps({"id": f"o{i}", "text": f"another {i}"}) for i in range(6)]
    (folder / "others.jsonl").write_text("\n".join(others))
    document = {
        "name": "contrasts",
        "samples": N_SAMPLES,
        "models": [{"label": label} | choice for label, choice in MODELS.items()],
        "prompts": {"source": "study.jsonl"},
        "calibration": {"source": str(folder / "others.jsonl"), "n": 1},
        "experiments": {
            "factorial": {"keep_ratio": 1.0, "paraphrases": 2, "paraphrase_length": "short"}
        },
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    laid_out = plan(*load_study(str(folder / "study.yaml")))
    run(laid_out, prepare(laid_out, folder / "run"))
    for contrast in ("study", "wordings", "empty", "6"):
        named = [part for label in (*FIXED, *CHOSEN) for part in ("--model", label)]
        command = ["rescore", str(folder / "run"), "--contrast", contrast, "--paths", str(PATHS)]
        result = CliRunner().invoke(generate_app, [*command, *named, "--device", "cpu"])
        assert result.exit_code == 0, result.output
    return folder / "run"


def toy(label: str) -> Toy:
    choice = MODELS[label]
    adapter = model_class(str(choice["model"]))
    options = adapter.options(choice.get("options", {}))  # type: ignore[arg-type]
    model = adapter.load(adapter.identify(str(choice["model"]), options), options, "cpu")
    assert isinstance(model, Toy)
    return model


def of_kind(run_dir: Path, label: str, contrast: str) -> Rescored:
    for found in contrasts.find(open_store(run_dir), label, "factorial"):
        if found.record.contrast == contrast:
            return found
    raise AssertionError(f"{label} has no {contrast}")


def log_laws(
    label: str, texts: list[str], tokens: np.ndarray, probe: Probe | None = None
) -> np.ndarray:
    """log2 q(z|text) of grids (sample, position) by enumeration, (sample, text)."""
    laws = [enumerate_law(toy(label), text, probe).token_law for text in texts]
    rows = []
    for grid in map(tuple, tokens.tolist()):
        rows.append([np.log2(law[grid]) for law in laws])
    return np.array(rows)


def grids(run_dir: Path, label: str, condition: str, prompt: int) -> np.ndarray:
    data = open_store(run_dir).dataset(label, "factorial")["tokens"]
    chosen = data.sel(condition=condition).isel(prompt=prompt)
    return np.asarray(chosen.values).reshape(N_SAMPLES, -1)


@pytest.mark.parametrize("label", FIXED)
def test_of_a_fixed_order_every_likelihood_is_that_of_the_enumerated_law(
    scored: Path, label: str
) -> None:
    texts = [f"prompt {i}" for i in range(N_PROMPTS)]
    found = of_kind(scored, label, "study")
    bits = contrasts.information(found).isel(paths=0, condition=0)
    for prompt in range(N_PROMPTS):
        exact = log_laws(label, texts, grids(scored, label, ORIGINAL, prompt))
        got = found.data["log_weight"].values[0, prompt, :, 0]
        np.testing.assert_allclose(got, exact, atol=2e-5)
        mixture = np.log2(np.exp2(exact).mean(axis=1))
        told = (exact[:, prompt] - mixture).mean()
        entropy = -mixture.mean()
        assert float(bits.sel(quantity="prompt_information")[prompt]) == pytest.approx(
            told, abs=5e-5
        )
        assert float(bits.sel(quantity="grid_entropy")[prompt]) == pytest.approx(entropy, abs=5e-5)
        left = float(bits.sel(quantity="grid_conditional")[prompt])
        assert left == pytest.approx(-exact[:, prompt].mean(), abs=5e-5)
    assert (bits.sel(quantity="prompt_information_cap") == np.log2(N_PROMPTS)).all()


def test_a_model_that_ignores_its_text_tells_nothing_of_it(scored: Path) -> None:
    for contrast in ("study", "wordings", "empty", "6"):
        bits = contrasts.information(of_kind(scored, "blind", contrast))
        told = [name for name in bits["quantity"].values if "cap" not in name]
        told = [name for name in told if "grid" not in name]
        assert told
        assert abs(bits.sel(quantity=told)).max() < 1e-9


@pytest.mark.parametrize("label", [*FIXED, *CHOSEN])
def test_the_surprisal_of_the_own_text_is_the_stored_one(scored: Path, label: str) -> None:
    data = open_store(scored).dataset(label, "factorial").sel(condition=ORIGINAL)
    if label in FIXED:
        stored = data["token_surprisal"].astype(np.float64).sum(("row", "col")).values
        own = of_kind(scored, label, "study").data["own_log_weight"].values[0, :, :, 0]
        np.testing.assert_allclose(-own, stored, atol=1e-4)
        return
    stored = data["joint_surprisal"].astype(np.float64).sum("step").values
    found = of_kind(scored, label, "study").data
    ratio = found["own_log_weight"].values[0, :, :, 0]
    among = found["log_weight"].values[0, :, :, 0]
    own = np.stack([among[prompt, :, prompt] for prompt in range(N_PROMPTS)])
    np.testing.assert_allclose(own, ratio, rtol=0, atol=1e-9)  # the same text in another batch
    proposal = ratio + stored  # log2 q - log2 r, and -log2 q: what is left is -log2 r
    assert (proposal > -1e-4).all()


@pytest.mark.parametrize("label", CHOSEN)
def test_brackets_of_a_chosen_path_hold_the_enumerated_information(
    scored: Path, label: str
) -> None:
    texts = [f"prompt {i}" for i in range(N_PROMPTS)]
    bits = contrasts.information(of_kind(scored, label, "study")).isel(condition=0)
    own, mixed = [], []
    for prompt in range(N_PROMPTS):
        law = log_laws(label, texts, grids(scored, label, ORIGINAL, prompt))
        own.append(-law[:, prompt].mean())
        mixed.append(-np.log2(np.exp2(law).mean(axis=1)).mean())
    truths = {
        "prompt_information": np.subtract(mixed, own).mean(),
        "grid_entropy": np.mean(mixed),
        "grid_conditional": np.mean(own),
    }
    spread = bits.std("prompt", ddof=1) / N_PROMPTS**0.5
    slack = 3 * spread.max("quantity").values + 0.02
    for name, truth in truths.items():
        low = bits.sel(quantity=f"{name}_lower").mean("prompt").values
        high = bits.sel(quantity=f"{name}_upper").mean("prompt").values
        assert (low < truth + slack).all(), name
        assert (high > truth - slack).all(), name
        assert high[-1] - low[-1] < high[0] - low[0], name


@pytest.mark.parametrize("name", ["raster", "entropy_bounded"])
def test_tokens_of_an_order_without_noise_have_one_path_so_that_all_is_exact(
    tmp_path: Path, name: OrderName
) -> None:
    """The path of `entropy_bounded` is another one under each text."""
    bound = 1.0
    experiment = {"kind": "order", "orders": [name], "path": ["own"], "sampling": ["stochastic"]}
    document = {
        "name": "orders",
        "samples": N_SAMPLES,
        "models": [{"label": "masked"} | MODELS["masked"]],
        "prompts": {"source": "study.jsonl"},
        "experiments": {"order": experiment | {"entropy_bound": bound}},
    }
    prompts = [{"id": f"p{i}", "text": f"prompt {i}"} for i in range(N_PROMPTS)]
    (tmp_path / "study.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    laid_out = plan(*load_study(str(tmp_path / "study.yaml")))
    run(laid_out, prepare(laid_out, tmp_path / "run"))
    condition = f"2-{name}"
    for contrast in ("study", "empty"):
        asked = ["--experiment", "order", "--condition", condition, "--contrast", contrast]
        command = ["rescore", str(tmp_path / "run"), *asked]
        result = CliRunner().invoke(generate_app, [*command, "--device", "cpu"])
        assert result.exit_code == 0, result.output
    texts, probe = [prompt["text"] for prompt in prompts], Probe(order=name, entropy_bound=bound)
    store = open_store(tmp_path / "run")
    bits = {}
    for found in contrasts.find(store, "masked", "order"):
        bits[found.record.contrast] = contrasts.information(found).isel(paths=0, condition=0)
    among, unprompted = bits["study"], bits["empty"]
    for prompt in range(N_PROMPTS):
        tokens = store.dataset("masked", "order")["tokens"].sel(condition=condition)
        grid = tokens.isel(prompt=prompt).values.reshape(N_SAMPLES, -1)
        exact = log_laws("masked", [*texts, ""], grid, probe)
        own, mixture = exact[:, prompt], np.log2(np.exp2(exact[:, :-1]).mean(axis=1))
        told = float(among.sel(quantity="prompt_information")[prompt])
        assert told == pytest.approx((own - mixture).mean(), abs=5e-5)
        alignment = float(unprompted.sel(quantity="alignment")[prompt])
        assert alignment == pytest.approx((own - exact[:, -1]).mean(), abs=5e-5)

    result = CliRunner().invoke(
        app, ["information", str(tmp_path / "run"), "--experiment", "order"]
    )
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "I(X;Z) of the whole image" in said
    assert "alignment" in said


def test_wordings_stand_among_the_wordings_of_their_own_prompt(scored: Path) -> None:
    found = of_kind(scored, "ar", "wordings")
    assert found.record.conditions == [REWORDED]
    bits = contrasts.information(found).isel(paths=0, condition=0)
    assert (bits.sel(quantity="wording_information_cap") == 1.0).all()
    for prompt in range(N_PROMPTS):
        texts = [f"prompt {prompt} said so", f"prompt {prompt} said otherwise"]
        exact = log_laws("ar", texts, grids(scored, "ar", REWORDED, prompt))
        own = exact[np.arange(N_SAMPLES), np.arange(N_SAMPLES) % 2]
        told = (own - np.log2(np.exp2(exact).mean(axis=1))).mean()
        got = float(bits.sel(quantity="wording_information")[prompt])
        assert got == pytest.approx(told, abs=5e-5)


def test_other_prompts_bound_from_both_sides_and_never_beyond_their_cap(scored: Path) -> None:
    bits = contrasts.information(of_kind(scored, "ar", "6")).isel(paths=0, condition=0)
    assert list(bits["quantity"].values) == [
        "prompt_information_lower",
        "prompt_information_upper",
        "prompt_information_cap",
        "grid_conditional",
    ]
    low, high, cap, _ = bits.values
    np.testing.assert_allclose(cap, np.log2(7))
    assert (low <= cap).all()
    assert low.mean() < high.mean()


def test_alignment_is_scored_without_the_intervention_and_of_fixed_orders_alone(
    scored: Path,
) -> None:
    found = of_kind(scored, "ar", "empty")
    assert len(found.record.conditions) == 8
    assert found.record.unrestricted
    bits = contrasts.information(found).sel(condition="argmax-original-full").isel(paths=0)
    for prompt in range(N_PROMPTS):
        grid = grids(scored, "ar", "argmax-original-full", prompt)
        law = log_laws("ar", [f"prompt {prompt}", ""], grid)
        told = (law[:, 0] - law[:, 1]).mean()
        assert float(bits.sel(quantity="alignment")[prompt]) == pytest.approx(told, abs=5e-5)
    assert contrasts.information(of_kind(scored, "masked", "empty")).sizes["quantity"] == 0


def test_nothing_is_said_beyond_what_can_be() -> None:
    """By hand: a lower bound below zero, an interval that a cap cuts, and prompts without a bound."""
    by = {
        "prompt_information_lower": [2.0, 1.9, 0.5, 2.0],
        "prompt_information_upper": [5.0, 3.0, np.inf, 4.0],
        "prompt_information_cap": [2.0, 2.0, 2.0, 2.0],
        "grid_conditional_lower": [-9.0, -2.0, 1.0, -4.0],
    }
    coords = {"quantity": list(by), "paths": [1], "condition": ["a"], "prompt": list("wxyz")}
    values = np.array(list(by.values()))[:, None, None]
    bits = xr.DataArray(values, coords, ("quantity", "paths", "condition", "prompt"))
    made = contrasts.intervals(bits, Resampling(n_resamples=200)).isel(paths=0, condition=0)
    low, high, cap, left = (made.sel(quantity=name) for name in by)
    assert float(low["estimate"]) == pytest.approx(1.6)
    assert float(low["low"]) < 1.6
    assert float(low["high"]) == 2.0
    assert np.isnan(high["estimate"])
    assert float(cap["estimate"]) == 2.0
    assert np.isnan(cap["low"])
    assert (left["estimate"], left["low"]) == (0.0, 0.0)
    assert contrasts.capped(made) == {"prompt_information_lower": "prompt_information_cap"}


def test_the_command_prints_what_was_scored_and_says_what_lacks(scored: Path) -> None:
    result = CliRunner().invoke(app, ["information", str(scored), "--model", "ar"])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "I(X;Z) of the whole image" in said
    assert "6 other prompts" in said
    assert "H(Z|X) of the whole image, given its prompt" in said
    assert "nan" not in said
    result = CliRunner().invoke(app, ["information", str(scored), "--model", "masked"])
    assert result.exit_code == 0, result.output
    assert "alignment is left out" in " ".join(result.output.split())
    result = CliRunner().invoke(app, ["information", str(scored), "--model", "revises"])
    assert "ibgenerate rescore" in " ".join(result.output.split())


def test_what_cannot_be_contrasted_is_one_line(scored: Path) -> None:
    def refused(*options: str) -> str:
        command = ["rescore", str(scored), *options, "--device", "cpu"]
        result = CliRunner().invoke(generate_app, command)
        assert result.exit_code == 1, result.output
        return " ".join([*result.output.split(), str(result.exception)])

    assert "revises tokens" in refused("--contrast", "study", "--model", "revises")
    assert "cannot be had" in refused("--contrast", "7", "--model", "ar")
    reworded = refused("--contrast", "6", "--model", "ar", "--condition", REWORDED)
    assert "has paraphrases" in reworded
    assert "fixed order" in refused("--model", "ar")
    for given in ("all", "-3", "0", "1.5"):
        with pytest.raises(StoreError, match="--contrast is"):
            parse_contrast(given)


def test_teacher_forcing_at_once_equals_the_walk() -> None:
    """Of trio-ar, which has both roads, in the law before and under argmax."""
    adapter = model_class("trio-ar")
    options = adapter.options({"guidance": 1.5})
    model = adapter.load(adapter.identify("trio-ar", options), options, "cpu")
    keys = np.arange(6, dtype=np.uint64).reshape(2, 3)
    texts = ["a red circle", "a blue square", "a red circle"]
    trace = model.traverse(model.encode(texts), Probe(), PhiloxNoise(*keys))
    again = model.traverse(model.encode(texts), Probe(), Replay(trace.tokens, PhiloxNoise(*keys)))
    torch.testing.assert_close(again.token_surprisal, trace.token_surprisal, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(again.token_entropy, trace.token_entropy, atol=1e-4, rtol=1e-4)
    assert again.joint_surprisal is not None
    torch.testing.assert_close(again.joint_surprisal.float(), again.token_surprisal)
