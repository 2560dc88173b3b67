"""Against arrays recorded from upstream's own code on the same weights (tests/recordings/record_var.py)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from typer.testing import CliRunner

import ibstats
from benchmarks import tiny
from benchmarks.named_weights import named_tensor
from generate.cli import app
from generate.errors import ModelError
from generate.models.checkpoint import Checkpoint
from generate.models.class_names import class_names, class_of
from generate.models.var import VAR, load_network
from generate.networks.scale_sum import ScaleSum
from generate.networks.var_tokenizer import Residuals
from generate.prompts.sources import load_set, overlap
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from generate.traversal.replay import Replay
from tests.generate.parity import ParityNoise
from tests.recordings import recording
from tests.recordings.record_var import CLASSES, SCALES


@pytest.fixture(scope="module")
def recorded() -> dict[str, NDArray[np.generic]]:
    return recording("var")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> VAR:
    options = VAR.options(tiny.var(tmp_path_factory.mktemp("var")))
    return VAR.load(VAR.identify("var", options), options, "cpu")


def noise() -> PhiloxNoise:
    keys = np.arange(2, dtype=np.uint64)
    return PhiloxNoise(keys, keys + np.uint64(9))


def texts() -> list[str]:
    return [class_names()[number] for number in CLASSES]


def test_checkpoints_here_have_exactly_upstreams_keys(
    recorded: dict[str, NDArray[np.generic]], tmp_path: Path
) -> None:
    tiny.var(tmp_path)
    files = {"network_keys": "var_d16.pth", "tokenizer_keys": "vae_ch160v4096z32.pth"}
    for name, file in files.items():
        state = torch.load(tmp_path / file, weights_only=True)
        ours = {f"{key} {','.join(map(str, tensor.shape))}" for key, tensor in state.items()}
        assert ours == set(recorded[name].astype(str))


def test_tokens_and_logits_of_a_batch_equal_upstreams_one_by_one(
    model: VAR, recorded: dict[str, NDArray[np.generic]]
) -> None:
    """`cfg` 3, top-k 20 and top-p 0.95, with the draws of generators seeded 0 and 1."""
    trace = model.traverse(model.encode(texts()), Probe(), ParityNoise([0, 1]))
    assert np.array_equal(trace.tokens.numpy(), recorded["tokens"])
    logits = torch.from_numpy(recorded["logits"])
    assert logits.std() > 0.1
    laws = model.law.probabilities(logits, None)
    expected = laws.gather(-1, trace.tokens[..., None])[..., 0]
    assert torch.allclose(torch.exp2(-trace.token_surprisal), expected, atol=1e-5)


def test_logits_of_all_scales_at_once_equal_upstreams_where_a_layer_is_shared(
    recorded: dict[str, NDArray[np.generic]],
) -> None:
    """As in d36, whose blocks share the layer that makes their modulation."""
    state = {}
    for line in recorded["shared_keys"].astype(str):
        name, shape = line.split(" ")
        state[name] = named_tensor(name, tuple(map(int, shape.split(","))))
    network = load_network(Checkpoint("recorded", Path(), "", ()), state, SCALES)
    contexts = named_tensor("contexts", (2, 20, 32), scale=1.0)
    found = network.all_logits(torch.tensor(CLASSES), contexts)
    expected = torch.from_numpy(recorded["shared_logits"])
    assert expected.std() > 0.1
    assert torch.allclose(found, expected, atol=1e-5)


def test_pixels_equal_upstreams(model: VAR, recorded: dict[str, NDArray[np.generic]]) -> None:
    tokens = torch.from_numpy(recorded["tokens"])
    images = model.tokenizer.decode(tokens) / 2 + 0.5
    expected = torch.from_numpy(recorded["image"])
    assert expected.std() > 0.01
    assert torch.allclose(images.clamp(0, 1), expected, atol=1e-5)


def test_a_replay_in_one_pass_has_the_bits_of_the_sample(model: VAR) -> None:
    conditioning = model.encode(texts())
    sampled = model.traverse(conditioning, Probe(), noise())
    replayed = model.traverse(conditioning, Probe(), Replay(sampled.tokens, noise()))
    assert torch.allclose(replayed.token_surprisal, sampled.token_surprisal, atol=1e-4)
    assert replayed.joint_surprisal is not None
    assert torch.allclose(
        replayed.joint_surprisal.sum(1), sampled.token_surprisal.double().sum(1), atol=1e-3
    )


def test_guidance_rises_from_none_at_the_coarsest_scale(model: VAR) -> None:
    strengths = [model.guidance_at(scale).scale for scale in range(len(SCALES))]
    assert strengths == pytest.approx([1.0, 2.5, 4.0])


def test_the_convolution_of_a_scale_is_the_one_it_was_trained_with(
    recorded: dict[str, NDArray[np.generic]],
) -> None:
    """Of the ten published scales two lie halfway between two of the four convolutions."""
    residuals = Residuals(codes=2, dim=1, convolutions=4)
    with torch.no_grad():
        for number, convolution in enumerate(residuals.quant_resi["qresi_ls"]):  # type: ignore[arg-type]
            convolution.weight.zero_()
            convolution.bias.fill_(number)
    taken = []
    for scale in range(10):
        with torch.no_grad():
            refined = residuals.refined(torch.zeros(1, 1, 1, 1), scale / 9)
        taken.append(round(2 * float(refined)))
    assert taken == recorded["convolutions"].tolist()


def test_contexts_are_what_the_walk_gives(model: VAR) -> None:
    tokens = torch.randint(97, (2, 21), generator=torch.Generator().manual_seed(0))
    tokenizer: ScaleSum = model.tokenizer
    walk = tokenizer.walk(2, "cpu")
    assert walk(None, 0) is None
    parts = torch.split(tokens, [1, 4, 16], dim=1)
    walked = [walk(parts[scale - 1], scale) for scale in (1, 2)]
    contexts = tokenizer.contexts(tokens)
    assert torch.equal(torch.cat(walked, 1), contexts)  # type: ignore[arg-type]
    last = tokenizer.total(tokens) - tokenizer.added(parts[2], 2)
    assert torch.allclose(contexts[:, -16:], tokenizer.pooled(last, 2), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("golden retreiver", "did you mean 'golden retriever'"),
        ("1000", "names no class of ImageNet"),
        ("", "names no class of ImageNet"),
        ("-1", "names no class of ImageNet"),
    ],
)
def test_a_text_that_names_no_class_is_one_line(model: VAR, text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model.encode([text])
    with pytest.raises(ModelError, match=message):
        VAR.read(model.settings, [text])


def test_every_class_has_a_name_of_its_own() -> None:
    assert [class_of(name) for name in class_names()] == list(range(1000))
    assert [class_of(str(number)) for number in range(1000)] == list(range(1000))


def test_the_shipped_set_holds_every_class_but_the_two_called_cardigan() -> None:
    study, calibration = load_set("imagenet", "study"), load_set("imagenet", "calibration")
    assert not overlap(study, calibration)
    numbers = []
    for prompt in [*study, *calibration]:
        assert prompt.id == f"class-{class_of(prompt.text):03d}"
        numbers.append(class_of(prompt.text))
    assert sorted(numbers) == sorted(set(range(1000)) - {264, 474})


def test_check_takes_texts_that_the_model_can_draw(tmp_path: Path) -> None:
    options = []
    for name, value in tiny.var(tmp_path).items():
        options += ["--option", f"{name}={value}"]
    command = ["check", "var", *options, "--device", "cpu"]
    assert "names no class" in CliRunner().invoke(app, command, env={"COLUMNS": "300"}).output
    done = CliRunner().invoke(app, [*command, "--prompts", "imagenet"], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output


def test_a_study_of_classes_runs_and_is_analysed_without_a_word_on_wording(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    document = {
        "name": "classes",
        "samples": 2,
        "models": [{"model": "var", "options": tiny.var(tmp_path / "weights")}],
        "prompts": {"source": "imagenet", "n": 2},
        "calibration": {"n": 2, "samples": 1},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    command = ["run", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*command, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    store = ibstats.open_store(tmp_path / "run")
    assert store.identity("var").family == "scales"
    data = store.dataset("var")
    assert set(data["text"].values) <= set(class_names())
    assert data.sizes["condition"] == 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two prompts are too few for honest intervals
        tree = ibstats.analyse(store, ibstats.Config(metrics=("pixel_cosine",), n_shuffles=5))
    assert tree["var/diversity"].to_dataset()["estimate"].notnull().all()


@pytest.mark.parametrize("scales", ["", "4", "1,1,2", "4,2", "1,x", "0,2", "1_2"])
def test_scales_that_do_not_rise_are_one_line(scales: str) -> None:
    with pytest.raises(ModelError, match="it must be rising sides"):
        VAR.scale_sizes(VAR.options({"scales": scales}))


def test_weights_of_other_scales_are_refused_before_they_are_read(tmp_path: Path) -> None:
    options = VAR.options(tiny.var(tmp_path) | {"scales": "1,2,3"})
    with pytest.raises(
        ModelError, match=r"has 21 positions in var_d16\.pth, but the option 'scales' asks for 14"
    ):
        VAR.identify("var", options)


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("var_d16.pth", "blocks.1.ffn.fc2.weight"),
        ("vae_ch160v4096z32.pth", "quantize.quant_resi.qresi_ls.2.bias"),
    ],
)
def test_a_tensor_too_few_or_too_many_is_refused(tmp_path: Path, file: str, key: str) -> None:
    options = VAR.options(tiny.var(tmp_path))
    state = torch.load(tmp_path / file, weights_only=True)
    less = {name: tensor for name, tensor in state.items() if name != key}
    more = {**state, "rope": torch.zeros(1)}
    for changed, message in (
        (less, f"1 missing keys, first '{key}'"),
        (more, "1 unexpected keys, first 'rope'"),
    ):
        torch.save(changed, tmp_path / file)
        with pytest.raises(ModelError) as refused:
            VAR.load(VAR.identify("var", options), options, "cpu")
        assert message in str(refused.value)
