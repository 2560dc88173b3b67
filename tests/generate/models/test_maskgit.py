"""Against arrays recorded from upstream's own code on the same weights (tests/recordings/record_maskgit.py)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor
from typer.testing import CliRunner

import ibstats
from benchmarks import tiny
from generate.cli import app
from generate.errors import ModelError
from generate.models.class_names import class_names
from generate.models.maskgit import MaskGit, arccos_schedule, renamed
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from generate.traversal.order import halton
from tests.recordings import record_maskgit, recording

FILE = "ImageNet_384_large.pth"


@pytest.fixture(scope="module")
def recorded() -> dict[str, NDArray[np.generic]]:
    return recording("maskgit")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MaskGit:
    options = MaskGit.options(tiny.maskgit(tmp_path_factory.mktemp("maskgit")))
    assert (options.steps, options.guidance, options.last_sharpness) == (
        record_maskgit.STEPS,
        record_maskgit.GUIDANCE,
        record_maskgit.SHARPNESS,
    )
    return MaskGit.load(MaskGit.identify("maskgit", options), options, "cpu")


def texts() -> list[str]:
    return [class_names()[number] for number in record_maskgit.CLASSES]


class DrawsWithMask:
    """Upstream's draws, from one generator a sample: a race of all codes and MASK."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def identities(self, step: int, probabilities: Tensor) -> Tensor:
        _, n_positions, n_codes = probabilities.shape
        race = []
        for generator in self.generators:
            drawn = torch.empty(n_positions, n_codes + 1).exponential_(1, generator=generator)
            race.append(drawn[:, :n_codes])
        return (probabilities / torch.stack(race)).argmax(-1)

    def path(self, step: int, n: int) -> Tensor:
        """Asked for, and of no effect: the order is fixed."""
        return torch.full((len(self.generators), n), 0.5)


def test_checkpoints_here_have_exactly_upstreams_keys(
    recorded: dict[str, NDArray[np.generic]], tmp_path: Path
) -> None:
    tiny.maskgit(tmp_path)
    state = renamed(torch.load(tmp_path / FILE, weights_only=True)["model_state_dict"])
    ours = {f"{key} {','.join(map(str, tensor.shape))}" for key, tensor in state.items()}
    assert ours == set(recorded["keys"].astype(str))


def test_logits_equal_upstreams(model: MaskGit, recorded: dict[str, NDArray[np.generic]]) -> None:
    classes = model.encode(texts()[:1])
    found = model.network(torch.full((2, 16), 97), classes)
    expected = torch.from_numpy(recorded["logits"])
    assert expected.std() > 0.1
    assert torch.allclose(found, expected, atol=1e-5)


def test_tokens_of_a_batch_equal_upstreams_one_by_one(
    model: MaskGit, recorded: dict[str, NDArray[np.generic]]
) -> None:
    """In the Halton order; the last step is of sharper laws than the first."""
    probe = Probe(order="halton")
    trace = model.traverse(model.encode(texts()), probe, DrawsWithMask([0, 1]))
    assert np.array_equal(trace.tokens.numpy(), recorded["tokens"])
    assert trace.token_step is not None
    committed = torch.bincount(trace.token_step[0], minlength=6)
    assert committed.tolist() == recorded["committed"].tolist()


def test_the_schedule_is_upstreams(recorded: dict[str, NDArray[np.generic]]) -> None:
    left = np.array([24 * 24, *arccos_schedule(24 * 24, 32)])
    assert (-np.diff(left)).tolist() == recorded["committed_of_large"].tolist()


def test_upstreams_halton_order_is_ours_across_for_down(
    recorded: dict[str, NDArray[np.generic]],
) -> None:
    places = halton((24, 24)).view(24, 24)
    rows, columns = recorded["halton"].T
    assert places[columns, rows].tolist() == list(range(24 * 24))


def test_committed_tokens_stay(model: MaskGit) -> None:
    """Upstream's sampler by confidence draws them again, which no trace of one step a token could say."""
    seen: list[Tensor] = []
    handle = model.network.register_forward_pre_hook(lambda _, given: seen.append(given[0][:2]))
    try:
        keys = np.arange(2, dtype=np.uint64)
        model.traverse(model.encode(texts()), Probe(), PhiloxNoise(keys, keys + np.uint64(9)))
    finally:
        handle.remove()
    for before, after in itertools.pairwise(seen):
        assert ((before == after) | (before == 97)).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"image_size": 80},
            "has 16 positions in ImageNet_384_large.pth, but 80 pixels ask for 25",
        ),
        ({"image_size": 72}, "is 72; it must be a multiple of 16"),
        ({"heads": 4}, "option 'heads' of MaskGit is 4, but the attention .* has 30 numbers"),
    ],
)
def test_settings_of_another_file_are_refused_before_it_is_read(
    tmp_path: Path, changed: dict[str, int], message: str
) -> None:
    options = MaskGit.options({**tiny.maskgit(tmp_path), **changed})
    with pytest.raises(ModelError, match=message):
        MaskGit.identify("maskgit", options)


def test_a_tensor_too_few_or_too_many_is_refused(tmp_path: Path) -> None:
    options = MaskGit.options(tiny.maskgit(tmp_path))
    kept = torch.load(tmp_path / FILE, weights_only=True)
    state = kept["model_state_dict"]
    key = "_orig_mod.transformer.layers.1.ff.w2.weight"
    less = {name: tensor for name, tensor in state.items() if name != key}
    more = {**state, "in_proj.weight": torch.zeros(1)}
    for changed, message in (
        (less, "1 missing keys, first 'transformer.layers.1.ff.w2.weight'"),
        (more, "1 unexpected keys, first 'in_proj.weight'"),
    ):
        torch.save({**kept, "model_state_dict": changed}, tmp_path / FILE)
        with pytest.raises(ModelError) as refused:
            MaskGit.load(MaskGit.identify("maskgit", options), options, "cpu")
        assert message in str(refused.value)


def test_a_study_of_classes_has_four_cells_and_an_order_of_its_own(tmp_path: Path) -> None:
    """Prompts without paraphrases make a 2 x 2; the order `halton` runs on the same weights."""
    (tmp_path / "weights").mkdir()
    document = {
        "name": "classes",
        "samples": 2,
        "models": [{"model": "maskgit", "options": tiny.maskgit(tmp_path / "weights")}],
        "prompts": {"source": "imagenet", "n": 2},
        "calibration": {"n": 2, "samples": 1},
        "experiments": {
            "factorial": {"kind": "factorial"},
            "order": {"kind": "order", "orders": ["confidence", "halton"]},
        },
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    command = ["run", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*command, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    store = ibstats.open_store(tmp_path / "run")
    assert store.identity("maskgit").quantizer == "vq-l2"
    assert store.dataset("maskgit").sizes["condition"] == 4
    orders = store.dataset("maskgit", "order")
    assert orders["tokens"].max() < 97
