"""Against arrays recorded from upstream's own code on the same weights (tests/recordings/record_infinity.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from typer.testing import CliRunner

from benchmarks import tiny
from generate.cli import app
from generate.errors import ModelError
from generate.models.infinity import Infinity
from generate.networks.infinity import rotation_table
from generate.networks.lfq import code_bits
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise, TokenLaw
from generate.traversal.replay import Replay
from tests.generate.parity import ParityNoise
from tests.recordings import recording
from tests.recordings.record_infinity import captions

TEXTS = ["red fox", "a red, red fox and a cat"]


@pytest.fixture(scope="module")
def recorded() -> dict[str, NDArray[np.generic]]:
    return recording("infinity")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Infinity:
    return loaded(tmp_path_factory.mktemp("infinity"))


def loaded(folder: Path, **given: object) -> Infinity:
    options = Infinity.options({**tiny.infinity(folder), **given})
    return Infinity.load(Infinity.identify("infinity", options), options, "cpu")


def noise() -> PhiloxNoise:
    keys = np.arange(2, dtype=np.uint64)
    return PhiloxNoise(keys, keys + np.uint64(9))


def tokens_of_four(bits: NDArray[np.generic]) -> Tensor:
    """Tokens (sample, token) of bits (sample, code, bit), four bits each."""
    return (torch.from_numpy(bits).reshape(2, -1, 4) * torch.tensor([8, 4, 2, 1])).sum(-1)


class BitNoise(ParityNoise):
    """Draws each bit of a token by itself, in upstream's order, and gives the token."""

    def identities(self, step: int, probabilities: Tensor) -> Tensor:
        n_samples, n_tokens, n_codes = probabilities.shape
        bits = code_bits(torch.arange(n_codes), n_codes.bit_length() - 1)
        ones = probabilities @ bits.float()
        each = torch.stack([1 - ones, ones], -1).flatten(1, 2)
        drawn = super().identities(step, each).view(n_samples, n_tokens, -1)
        places = 2 ** torch.arange(bits.shape[1] - 1, -1, -1)
        return (drawn * places).sum(-1)


def test_checkpoints_here_have_exactly_upstreams_keys(
    recorded: dict[str, NDArray[np.generic]], tmp_path: Path
) -> None:
    """Of the tokenizer all but its encoder."""
    tiny.infinity(tmp_path)
    network = torch.load(tmp_path / "infinity_2b_reg.pth", weights_only=True)
    tokenizer = torch.load(tmp_path / "infinity_vae_d32reg.pth", weights_only=True)["vae"]
    for name, state in (("network_keys", network), ("tokenizer_keys", tokenizer)):
        ours = {f"{key} {','.join(map(str, tensor.shape))}" for key, tensor in state.items()}
        theirs = set(recorded[name].astype(str))
        assert ours == {line for line in theirs if not line.startswith("encoder.")}


@pytest.mark.parametrize("token_bits", [1, 4, 8])
def test_bits_of_a_batch_equal_upstreams_one_by_one(
    token_bits: int, recorded: dict[str, NDArray[np.generic]], tmp_path: Path
) -> None:
    """`cfg` 3, `tau` 0.5, top-k 900 and top-p 0.9, with the draws of generators seeded 0 and 1."""
    model = loaded(tmp_path, token_bits=token_bits)
    trace = model.traverse(model.conditioned(captions()), Probe(), BitNoise([0, 1]))
    bits = code_bits(trace.tokens, token_bits).reshape(2, -1, 8)
    assert np.array_equal(bits.numpy(), recorded["bits"])
    laws = TokenLaw(top_p=0.9).probabilities(torch.from_numpy(recorded["logits"]), None)
    drawn = torch.from_numpy(recorded["bits"])[..., None]
    expected = -laws.gather(-1, drawn)[..., 0].log2().view(2, -1, token_bits).sum(-1)
    assert expected.sum(1).min() > 10
    assert torch.allclose(trace.token_surprisal, expected, atol=1e-4)


def logits_along(model: Infinity, bits: NDArray[np.generic]) -> Tensor:
    """Logits (caption, code, bit, value) of the two captions, given all bits before."""
    states = [each.to(model.dtype) for each in captions()]
    given = model.conditioned(states)
    cache = model.network.empty_cache(given.states, given.mask)
    context_of = model.tokenizer.walk(2, "cpu")
    parts = torch.split(tokens_of_four(bits), model.identity.scales, dim=1)
    found = []
    for scale, previous in enumerate([None, *parts[:-1]]):
        context = context_of(previous, scale)
        if context is not None:
            context = model.guidance.rows(context)
        logits = model.network.scale_logits(cache, context, scale)
        found.append(model.guidance.logits(logits) / model.settings.temperature)
    return torch.cat(found, 1)


def test_logits_equal_upstreams(model: Infinity, recorded: dict[str, NDArray[np.generic]]) -> None:
    expected = torch.from_numpy(recorded["logits"])
    assert expected.std() > 1
    assert torch.allclose(logits_along(model, recorded["bits"]), expected, atol=1e-4)


def test_logits_in_bfloat16_are_close_to_upstreams(
    recorded: dict[str, NDArray[np.generic]], tmp_path: Path
) -> None:
    """The head stays in single precision, as upstream's does."""
    model = loaded(tmp_path, precision="bfloat16")
    assert model.network.head.weight.dtype == torch.float32
    assert model.network.word_embed.weight.dtype == torch.bfloat16
    expected = torch.from_numpy(recorded["logits"])
    error = logits_along(model, recorded["bits"]) - expected
    assert 0 < error.square().mean().sqrt() < 0.03 * expected.std()


def test_pixels_equal_upstreams(model: Infinity, recorded: dict[str, NDArray[np.generic]]) -> None:
    expected = torch.from_numpy(recorded["image"])
    assert expected.std() > 0.01
    images = model.tokenizer.decode(tokens_of_four(recorded["bits"]))
    assert torch.allclose(images.clamp(-1, 1), expected, atol=1e-4)


def test_positions_and_presets_are_upstreams(recorded: dict[str, NDArray[np.generic]]) -> None:
    """All 10521 positions of 1024 pixels; those of smaller images are the first of them."""
    for preset, name in (("1024", "1M"), ("512", "0.25M"), ("256", "0.06M")):
        sides = [int(side) for side in Infinity.options({"preset": preset}).scales.split(",")]
        assert sides == recorded[f"sides {name}"].tolist()
        table = rotation_table(sides, head_dim=4)
        expected = torch.from_numpy(recorded["table"]).float()[: len(table)]
        assert torch.allclose(table, expected, atol=1e-3)


def test_a_replay_has_the_bits_of_the_sample(model: Infinity) -> None:
    conditioning = model.encode(TEXTS)
    sampled = model.traverse(conditioning, Probe(), noise())
    replayed = model.traverse(conditioning, Probe(), Replay(sampled.tokens, noise()))
    assert torch.allclose(replayed.token_surprisal, sampled.token_surprisal, atol=1e-4)
    assert replayed.joint_surprisal is not None
    total = sampled.token_surprisal.double().sum(1)
    assert torch.allclose(replayed.joint_surprisal.sum(1), total, atol=1e-3)


def test_a_subset_by_bit_fixes_bits_and_leaves_the_others(tmp_path: Path) -> None:
    """Tokens of one bit, of which every other one may be 1 alone."""
    model = loaded(tmp_path, token_bits=1)
    allowed = np.ones((8, 2), dtype=bool)
    allowed[::2, 0] = False
    strata = np.array(model.identity.strata) % 8
    trace = model.traverse(model.encode(TEXTS), Probe(allowed[strata]), noise())
    bits = trace.tokens.view(2, -1, 8)
    assert (bits[..., ::2] == 1).all()
    assert (trace.token_surprisal.view(2, -1, 8)[..., ::2] == 0).all()
    assert (bits[..., 1::2] == 0).any()


def test_identity_says_what_the_tokens_of_a_code_are(model: Infinity) -> None:
    identity = model.identity
    assert (identity.levels, identity.tokens_per_code) == ([2, 2, 2, 2], 2)
    assert identity.scales == [2, 8, 32]
    assert (identity.grid, identity.image_size, identity.steps) == ((1, 42), (64, 64), 3)


def test_a_text_longer_than_512_tokens_is_cut_and_said_so(model: Infinity) -> None:
    short, long = Infinity.read(model.settings, ["a red fox", "red " * 600])
    assert (short.cut, long.cut) == (False, True)
    assert model.encode_text("red " * 600).shape == (len(long.tokens), 256) == (512, 256)


@pytest.mark.parametrize("token_bits", [0, 3, 16])
def test_tokens_that_do_not_divide_a_code_are_one_line(tmp_path: Path, token_bits: int) -> None:
    options = Infinity.options(tiny.infinity(tmp_path) | {"token_bits": token_bits})
    with pytest.raises(ModelError, match=r"'token_bits' of Infinity is \d+; it must divide the 8"):
        Infinity.identify("infinity", options)


def test_more_scales_than_the_weights_know_are_one_line(tmp_path: Path) -> None:
    sides = ",".join(map(str, range(1, 17)))
    options = Infinity.options(tiny.infinity(tmp_path) | {"scales": sides})
    with pytest.raises(ModelError, match=r"'scales' of Infinity has 16 sides, .* knows 15 scales"):
        Infinity.identify("infinity", options)


def changed(path: Path, key: str, tensor: Tensor | None) -> None:
    """Give a file of weights another tensor of a name, or None to take it away."""
    content = torch.load(path, weights_only=True)
    state = content.get("vae", content)
    if tensor is None:
        del state[key]
    else:
        state[key] = tensor
    torch.save(content, path)


WRONG = [
    ("infinity_2b_reg", "cfg_uncond", None, "transformer: 1 missing keys, first 'cfg_uncond'"),
    (
        "infinity_vae_d32reg",
        "decoder.conv_in.conv.weight",
        None,
        "tokenizer: 1 missing keys, first 'decoder.conv_in.weight'",
    ),
    (
        "infinity_vae_d32reg",
        "decoder.conv_in.conv.weight",
        torch.zeros(128, 16, 3, 3),
        "has codes of 8 bits in infinity_2b_reg.pth, but of 16 in infinity_vae_d32reg.pth",
    ),
]


@pytest.mark.parametrize(("file", "key", "tensor", "message"), WRONG)
def test_a_wrong_checkpoint_is_one_line_before_a_weight_is_read(
    tmp_path: Path, file: str, key: str, tensor: Tensor | None, message: str
) -> None:
    options = Infinity.options(tiny.infinity(tmp_path))
    changed(tmp_path / f"{file}.pth", key, tensor)
    with pytest.raises(ModelError) as refused:
        Infinity.identify("infinity", options)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "key", "tensor", "message"),
    [
        ("infinity_2b_reg", "rope", torch.zeros(1), "1 unexpected keys, first 'rope'"),
        (
            "infinity_2b_reg",
            "block_chunks.1.module.0.ca.mat_q.bias",
            None,
            "1 missing keys, first 'blocks.2.ca.mat_q.bias'",
        ),
        ("infinity_vae_d32reg", "mask", torch.zeros(1), "1 unexpected keys, first 'mask'"),
        (
            "infinity_vae_d32reg",
            "decoder.up.3.upsample.conv.conv.bias",
            None,
            "1 missing keys, first 'decoder.up.3.upsample.conv.bias'",
        ),
    ],
)
def test_a_tensor_too_few_or_too_many_is_refused(
    tmp_path: Path, file: str, key: str, tensor: Tensor | None, message: str
) -> None:
    options = Infinity.options(tiny.infinity(tmp_path))
    changed(tmp_path / f"{file}.pth", key, tensor)
    with pytest.raises(ModelError) as refused:
        Infinity.load(Infinity.identify("infinity", options), options, "cpu")
    assert message in str(refused.value)


def test_check_finds_nothing_wrong(tmp_path: Path) -> None:
    options = []
    for name, value in tiny.infinity(tmp_path).items():
        options += ["--option", f"{name}={value}"]
    done = CliRunner().invoke(app, ["check", "infinity", *options, "--device", "cpu"])
    assert done.exit_code == 0, done.output
