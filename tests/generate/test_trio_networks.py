"""The trio's networks: cached equals uncached, folded equals trained, files restore networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from generate.trio import muon, scenes, weights
from generate.trio.captions import VOCABULARY, tokenise
from generate.trio.reference import Reference, TrainableReference
from generate.trio.tokenizer import Tokenizer, load_tokenizer, save_tokenizer
from generate.trio.transformer import (
    BitwiseHead,
    GridTransformer,
    IndependentBits,
    TransformerConfig,
    load_transformer,
    save_transformer,
)

SMALL = TransformerConfig(
    causal=True, vocabulary=len(VOCABULARY), codes=16, width=32, layers=2, heads=2, hidden=48
)


def transformer(*, causal: bool) -> GridTransformer:
    torch.manual_seed(0)
    network = GridTransformer(replace(SMALL, causal=causal))
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return network.eval().requires_grad_(False)


@pytest.fixture
def words() -> torch.Tensor:
    return torch.from_numpy(tokenise(["a red circle on a black background", "", "large thing top"]))


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(16, (3, 64), generator=torch.Generator().manual_seed(1))


def test_cached_logits_equal_uncached(words, tokens):
    network = transformer(causal=True)
    prefix, previous = network.encode_caption(words), torch.full((3,), 16)
    cache = network.cache(prefix)
    whole = network.grid_logits(prefix, tokens)
    for position in range(64):
        step = network.next_logits(cache, previous, position)
        torch.testing.assert_close(step, whole[:, position], atol=2e-5, rtol=1e-5)
        previous = tokens[:, position]


def test_causal_logits_ignore_the_token_itself_and_later_ones(words, tokens):
    network = transformer(causal=True)
    prefix, changed = network.encode_caption(words), tokens.clone()
    changed[:, 40:] = (changed[:, 40:] + 1) % 16
    before, after = network.grid_logits(prefix, tokens), network.grid_logits(prefix, changed)
    torch.testing.assert_close(before[:, :41], after[:, :41])
    assert not torch.allclose(before[:, 41:], after[:, 41:])


def test_masked_logits_see_the_whole_grid(words, tokens):
    network = transformer(causal=False)
    prefix, changed = network.encode_caption(words), tokens.clone()
    changed[:, 63] = 16
    assert not torch.allclose(
        network.grid_logits(prefix, tokens)[:, 0], network.grid_logits(prefix, changed)[:, 0]
    )


def test_padding_does_not_reach_the_grid(words, tokens):
    network = transformer(causal=False)
    cut = network.grid_logits(network.encode_caption(words[:, :12]), tokens)
    torch.testing.assert_close(
        cut, network.grid_logits(network.encode_caption(words), tokens), atol=1e-5, rtol=1e-5
    )


def test_the_caption_matters(words, tokens):
    network = transformer(causal=True)
    prefix = network.encode_caption(words)
    shuffled = prefix.select(torch.tensor([1, 2, 0]))
    assert not torch.allclose(
        network.grid_logits(prefix, tokens), network.grid_logits(shuffled, tokens)
    )


def test_prefixes_are_selected_by_row(words):
    whole = transformer(causal=True).encode_caption(words)
    some = whole.select(torch.tensor([2, 0, 0]))
    torch.testing.assert_close(some.keys, whole.keys[:, [2, 0, 0]])
    torch.testing.assert_close(some.mask, whole.mask[[2, 0, 0]])


def test_transformer_file_restores_config_and_logits_to_half_precision(tmp_path, words, tokens):
    network = transformer(causal=True)
    save_transformer(network, tmp_path / "w.safetensors")
    loaded = load_transformer(tmp_path / "w.safetensors")
    assert loaded.config == network.config
    one, two = (n.grid_logits(n.encode_caption(words), tokens) for n in (network, loaded))
    torch.testing.assert_close(one, two, atol=0.05, rtol=0.05)


def test_tokenizer_file_restores_codes(tmp_path):
    torch.manual_seed(0)
    tokenizer = Tokenizer().eval()
    save_tokenizer(tokenizer, tmp_path / "t.safetensors")
    loaded, codes = load_tokenizer(tmp_path / "t.safetensors"), torch.arange(256).reshape(4, 8, 8)
    images = loaded.decode(codes)
    assert images.shape == (4, 3, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 1
    assert loaded.encode(images).shape == (4, 8, 8)
    torch.testing.assert_close(images, tokenizer.decode(codes), atol=5e-3, rtol=0)


def test_rarely_used_codes_restart_at_encodings():
    torch.manual_seed(0)
    tokenizer = Tokenizer()
    latents = torch.nn.functional.normalize(torch.randn(1, 8, 8, 16), dim=-1)
    tokenizer.quantizer.usage.fill_(0.0)
    tokenizer.quantizer.follow(latents, torch.zeros(1, 8, 8, dtype=torch.long))
    cosine = (tokenizer.quantizer.codebook[1:] @ latents.flatten(0, -2).T).max(1).values
    torch.testing.assert_close(cosine, torch.ones(255))


def test_folding_the_batch_norm_changes_nothing():
    torch.manual_seed(0)
    trained, shipped = TrainableReference(), Reference().eval()
    images = torch.rand(40, 3, 32, 32)
    for _ in range(5):
        trained(images)
    trained.eval()
    shipped.load_state_dict(trained.folded())
    for attribute, logits in trained(images).items():
        torch.testing.assert_close(shipped(images)[attribute], logits, atol=1e-4, rtol=1e-4)
        assert logits.shape == (40, len(scenes.ATTRIBUTES[attribute]))


def test_missing_weights_name_the_recipe(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"generate\.trio\.train"):
        weights.load(tmp_path / "none.safetensors")


def test_orthogonalised_matrices_have_singular_values_near_one():
    stack = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 40, 16)).astype(np.float32))
    values = torch.linalg.svdvals(muon.orthogonalise(stack))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_bitwise_head_is_the_law_of_independent_bits():
    """The softmax over codes, against the product over bits of the chance of each, code by code."""
    torch.manual_seed(0)
    head = BitwiseHead(5, 8)
    hidden = torch.randn(3, 5)
    odds = hidden @ head.weight.T + head.bias
    law = head(hidden).softmax(-1)
    for row in range(3):
        for code in range(8):
            expected = 1.0
            for bit, digit in enumerate(f"{code:03b}"):
                one = odds[row, bit].sigmoid()
                expected *= one if digit == "1" else 1 - one
            torch.testing.assert_close(law[row, code], expected)


def test_a_network_with_a_bitwise_head_is_written_and_read(tmp_path, words, tokens):
    torch.manual_seed(0)
    network = GridTransformer(replace(SMALL, causal=False, bitwise=True)).half().float().eval()
    assert network.head.weight.shape == (4, 32)
    save_transformer(network, tmp_path / "bitwise.safetensors")
    loaded = load_transformer(tmp_path / "bitwise.safetensors")
    one = network.grid_logits(network.encode_caption(words), tokens)
    two = loaded.grid_logits(loaded.encode_caption(words), tokens)
    assert one.shape == (3, 64, 16)
    torch.testing.assert_close(one, two)


def test_bits_of_240_codes_are_refused():
    with pytest.raises(ValueError, match="codes is 240: bits take a power of two"):
        GridTransformer(replace(SMALL, codes=240, bitwise=True))


def test_independent_bits_have_their_chances_and_their_entropies_summed():
    """The marginals of the bits stay, and the entropy becomes their sum: against sums over codes."""
    torch.manual_seed(1)
    law = (3 * torch.randn(5, 16).double()).softmax(-1)
    found = IndependentBits(16).double()(law.log()).softmax(-1)
    for row, its in zip(law, found, strict=True):
        entropy = 0.0
        for bit in range(4):
            ones = [code for code in range(16) if code >> bit & 1]
            chance = row[ones].sum()
            torch.testing.assert_close(its[ones].sum(), chance)
            entropy -= float(chance * chance.log() + (1 - chance) * (1 - chance).log())
        assert float(-(its * its.log()).sum()) == pytest.approx(entropy)


def test_a_law_of_independent_bits_stays_as_it_is_however_sure():
    """Sums over bits of log odds up to 60: single chances are below the least float32 of one less one."""
    logits = torch.tensor([[60.0, -3.0, 0.5], [-60.0, 60.0, 9.0]]) @ IndependentBits(8).ones.T
    found = IndependentBits(8)(logits)
    torch.testing.assert_close(found.log_softmax(-1), logits.log_softmax(-1), atol=1e-3, rtol=1e-4)
