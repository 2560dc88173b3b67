"""The quantizers: ids and vectors, against their papers' formulas and an outside implementation."""

import itertools

import numpy as np
import pytest
import torch
from vector_quantize_pytorch import FSQ, LFQ

from generate.trio import stage_quantizers, weights
from generate.trio.quantizers import DIALS, LAB, Bsq, Fsq, Geometry, Lfq, Vq, entropy_loss
from generate.trio.stage_quantizers import (
    count_pairs,
    fit_dials,
    fit_heads,
    fit_tokenizers,
    fork,
    translate,
    with_bitwise_head,
)
from generate.trio.stage_tokenizer import draw_images
from generate.trio.tokenizer import Tokenizer, load_tokenizer
from generate.trio.transformer import BitwiseHead, load_transformer

GEOMETRIES = [
    *LAB.values(),
    Geometry("fsq", (2, 3, 7)),
    Geometry("fsq", (16, 16)),
    Geometry("fsq", (5,)),
    Geometry("lfq", (2,) * 3),
    Geometry("bsq", (2,) * 10),
    Geometry("vq", (7,)),
]


def name_of(geometry: Geometry) -> str:
    return f"{geometry.kind}-{'x'.join(map(str, geometry.levels))}"


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=name_of)
def test_every_id_comes_back_from_its_vector_and_from_its_digits(geometry):
    quantizer = geometry.make()
    ids = torch.arange(quantizer.codes)
    digits = quantizer.digits(ids)
    assert digits.tolist() == [list(row) for row in itertools.product(*map(range, geometry.levels))]
    assert torch.equal(quantizer.ids(digits), ids)
    vectors = quantizer.vectors(ids)
    assert vectors.shape == (quantizer.codes, quantizer.dim)
    if geometry.kind == "fsq":  # a latent that the tanh takes to the vector
        vectors = latents_of(quantizer, vectors)
    assert torch.equal(quantizer.encode(vectors), ids)


def latents_of(quantizer: Fsq, vectors: torch.Tensor) -> torch.Tensor:
    inside = (vectors * quantizer.width + quantizer.offset) / quantizer.reach
    return inside.clamp(-0.99999, 0.99999).atanh() - (quantizer.offset / quantizer.reach).atanh()


@pytest.mark.parametrize("levels", [(2,) * 17, (257, 256), (600, 900, 700)])
def test_ids_of_codebooks_without_a_table_come_back(levels):
    quantizer = Fsq(levels)
    ids = torch.randint(quantizer.codes, (500,), generator=torch.Generator().manual_seed(0))
    ids = torch.cat([ids, torch.tensor([0, quantizer.codes - 1])])
    assert torch.equal(quantizer.ids(quantizer.digits(ids)), ids)
    assert torch.equal(quantizer.encode(latents_of(quantizer, quantizer.vectors(ids))), ids)
    for wrong in (-1, quantizer.codes):
        with pytest.raises(IndexError, match=f"0 to {quantizer.codes - 1}"):
            quantizer.vectors(torch.tensor([wrong]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=name_of)
def test_extreme_and_half_precision_latents_stay_in_range(geometry, dtype):
    quantizer = geometry.make().train()
    torch.manual_seed(0)
    scale = torch.tensor([0.0, 1e-3, 1.0, 1e4, -1e4])[:, None, None]
    latents = (scale * torch.randn(5, 40, quantizer.dim)).to(dtype).requires_grad_()
    vectors, ids, loss = quantizer(latents)
    assert vectors.dtype == dtype
    assert ids.min() >= 0
    assert ids.max() < quantizer.codes
    (vectors.float().sum() + loss).backward()
    assert latents.grad[1:].isfinite().all()  # at zero, a unit vector has none in 16 bits


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=name_of)
def test_training_and_encoding_give_the_same_ids_and_their_vectors(geometry):
    torch.manual_seed(0)
    quantizer = geometry.make().eval()
    latents = torch.randn(3, 8, 8, quantizer.dim)
    vectors, ids, loss = quantizer(latents)
    assert torch.equal(ids, quantizer.encode(latents))
    torch.testing.assert_close(vectors, quantizer.vectors(ids))
    assert loss == 0


@pytest.mark.parametrize("levels", [(8, 6, 5), (4, 4, 4, 4), (7, 5, 5, 5, 5), (8, 8, 8, 6, 5)])
def test_fsq_ids_equal_those_of_vector_quantize_pytorch(levels):
    """Its digits run the other way, least significant first, and its margin is outward."""
    theirs = FSQ(list(reversed(levels))).eval()
    ours = Fsq(levels, margin=-1e-3)
    latents = 2 * torch.randn(20_000, len(levels), generator=torch.Generator().manual_seed(1))
    vectors, ids = theirs(latents.flip(-1)[None])
    assert torch.equal(ours.encode(latents), ids[0].long())
    torch.testing.assert_close(ours(latents).vectors, vectors[0].flip(-1))


def test_the_papers_inward_margin_moves_few_ids():
    latents = 2 * torch.randn(20_000, 4, generator=torch.Generator().manual_seed(1))
    inward, outward = Fsq((4, 4, 4, 4)), Fsq((4, 4, 4, 4), margin=-1e-3)
    assert 0.99 < (inward.encode(latents) == outward.encode(latents)).double().mean() < 1


@pytest.mark.parametrize("bits", [3, 8, 11])
def test_lfq_ids_and_entropy_equal_those_of_vector_quantize_pytorch(bits):
    theirs = LFQ(dim=bits, codebook_size=2**bits, entropy_loss_weight=1.0).train()
    ours = Lfq((2,) * bits, entropy_weight=1.0).train()
    latents = torch.randn(1, 512, bits, generator=torch.Generator().manual_seed(2))
    answer, parts = theirs(latents, inv_temperature=1.0, return_loss_breakdown=True)
    vectors, ids, loss = ours(latents)
    assert torch.equal(ids, answer.indices.long())
    assert torch.equal(vectors.detach(), answer.quantized)
    expected = parts.per_sample_entropy - parts.batch_entropy
    assert float(loss) == pytest.approx(float(expected), abs=1e-3)


def test_bsq_vectors_and_ids_equal_those_of_vector_quantize_pytorch():
    theirs = LFQ(dim=8, codebook_size=256, spherical=True).eval()
    ours = Bsq((2,) * 8)
    latents = torch.randn(1, 2048, 8, generator=torch.Generator().manual_seed(3))
    answer = theirs(latents)
    assert torch.equal(ours.encode(latents), answer.indices.long())
    torch.testing.assert_close(ours(latents).vectors, answer.quantized)


def test_the_entropy_loss_is_that_of_the_enumerated_law():
    logits = torch.randn(30, 4, generator=torch.Generator().manual_seed(4)).double()
    ones = logits.sigmoid().numpy()
    law = np.ones((30, 16))
    for token, code in itertools.product(range(30), range(16)):
        for bit in range(4):
            one = ones[token, bit]
            law[token, code] *= one if code >> (3 - bit) & 1 else 1 - one

    def entropy(p: np.ndarray) -> float:
        return float(-(p * np.log(p)).sum(-1).mean())

    joint = entropy(law) - entropy(law.mean(0))
    pairs = law.mean(0).reshape(4, 4)
    grouped = entropy(law) - entropy(pairs.sum(1)) - entropy(pairs.sum(0))
    marginal = ones.mean(0)
    single = entropy(law) - sum(entropy(np.array([p, 1 - p])) for p in marginal)
    for group, expected in ((4, joint), (2, grouped), (1, single)):
        assert float(entropy_loss(logits, group=group)) == pytest.approx(expected, abs=1e-12)


def test_the_laws_of_bsq_are_softmax_of_squared_distances():
    quantizer = Bsq((2,) * 3, entropy_weight=1.0, inverse_temperature=2.5).train()
    latents = torch.randn(50, 3, generator=torch.Generator().manual_seed(5))
    unit = quantizer.project(latents)
    codes = quantizer.vectors(torch.arange(8))
    law = torch.softmax(-2.5 * torch.cdist(unit, codes).square(), -1)
    ones = law @ (codes > 0).float()
    of_the_batch = torch.special.entr(ones.mean(0)) + torch.special.entr(1 - ones.mean(0))
    expected = torch.special.entr(law).sum(-1).mean() - of_the_batch.sum()
    assert float(quantizer(latents).loss) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (Geometry("lfq", (2, 3)), "signs have two"),
        (Geometry("fsq", ()), "at least one"),
        (Geometry("fsq", (8, 1)), "each of 2 or more"),
        (Geometry("vq", (16, 16)), "one number"),
        (Geometry("rvq", (8,)), "choose one of vq, fsq, lfq, bsq"),
    ],
)
def test_a_geometry_that_cannot_be_is_refused_in_one_line(geometry, message):
    with pytest.raises(ValueError, match=message):
        geometry.make()


def test_a_joint_entropy_of_too_many_bits_is_refused():
    with pytest.raises(ValueError, match="at most 14 bits, or bsq"):
        Lfq((2,) * 15).train()(torch.randn(4, 15))


def test_the_first_batch_places_the_codebook():
    torch.manual_seed(0)
    quantizer = Vq((32,), dim=4).train()
    latents = torch.randn(200, 4)
    quantizer(latents)
    cosine = (quantizer.codebook @ quantizer.project(latents).T).max(1).values
    assert (cosine > 0.99).all()


def test_the_shipped_tokenizer_reads_as_vq_and_keeps_its_codes():
    tensors, _ = weights.load(weights.SHIPPED / "tokenizer.safetensors")
    tokenizer = load_tokenizer()
    assert (tokenizer.config.quantizer, tokenizer.codes) == ("vq", 256)
    images = draw_images(16, np.random.default_rng(0))
    with torch.inference_mode():
        latents = torch.nn.functional.normalize(
            tokenizer.encoder(images * 2 - 1).permute(0, 2, 3, 1), dim=-1
        )
        codebook = tensors.get("codebook", tensors.get("quantizer.codebook"))
        assert torch.equal(tokenizer.encode(images), (latents @ codebook.T).argmax(-1))


def test_forks_share_the_body_and_not_the_bottleneck():
    torch.manual_seed(0)
    trunk = Tokenizer()
    for name in LAB:
        forked = fork(trunk, LAB[name])
        assert forked.codes == LAB[name].make().codes
        assert torch.equal(forked.encoder[1].weight, trunk.encoder[1].weight)
        assert torch.equal(forked.decoder[-2].weight, trunk.decoder[-2].weight)
        ours, body = forked.encoder[-1].weight, trunk.encoder[-1].weight
        assert ours.shape != body.shape or not torch.equal(ours, body)


def test_the_lab_trains_ships_and_resumes(tmp_path):
    fit_tokenizers(tmp_path, length=2, seed=1, export=tmp_path / "weights")
    first = (tmp_path / "weights" / "tokenizer-lfq.safetensors").read_bytes()
    assert (tmp_path / "tokenizer.safetensors").is_file()
    fit_tokenizers(tmp_path, length=2, seed=1, export=tmp_path / "weights")
    assert (tmp_path / "weights" / "tokenizer-lfq.safetensors").read_bytes() == first
    for name in ("fsq", "fsq-865", "lfq", "bsq"):
        path = tmp_path / "weights" / weights.file_name("tokenizer", name)
        loaded = load_tokenizer(path)
        assert (loaded.config.quantizer, tuple(loaded.config.levels)) == LAB[name]
        images = draw_images(4, np.random.default_rng(0))
        assert loaded.decode(loaded.encode(images)).shape == images.shape


def test_a_vocabulary_translated_into_itself_gives_the_same_law():
    old = load_transformer(weights.SHIPPED / "masked.safetensors")
    new = translate(old, 1e9 * torch.eye(256))
    words = torch.randint(1, 70, (3, 8), generator=torch.Generator().manual_seed(0))
    tokens = torch.full((3, 64), 256)
    tokens[:, ::3] = torch.randint(256, (3, 22), generator=torch.Generator().manual_seed(1))
    one = old.grid_logits(old.encode_caption(words), tokens).softmax(-1)
    two = new.grid_logits(new.encode_caption(words), tokens).softmax(-1)
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


def test_a_coarser_vocabulary_has_the_mean_embedding_and_the_summed_law():
    old = load_transformer(weights.SHIPPED / "masked.safetensors")
    pair = torch.arange(256) // 2
    counts = 1e9 * torch.nn.functional.one_hot(pair, 128).T.float()
    new = translate(old, counts)
    mean = old.code.weight[:256].view(128, 2, -1).mean(1)
    torch.testing.assert_close(new.code.weight[:128], mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(new.code.weight[128], old.code.weight[256])


def test_pairs_of_codes_are_counted_place_by_place():
    torch.manual_seed(0)
    one, other = Tokenizer().eval(), load_tokenizer()
    images = draw_images(5, np.random.default_rng(0))
    counts = count_pairs(one, other, images)
    expected = torch.zeros(256, 256)
    with torch.no_grad():
        for a, b in zip(one.encode(images).flatten(), other.encode(images).flatten(), strict=True):
            expected[a, b] += 1
    assert torch.equal(counts, expected)


def test_every_dial_trains_and_can_be_read(tmp_path):
    fit_dials(tmp_path, length=1, seed=1)
    for name, geometry in DIALS.items():
        loaded = load_tokenizer(tmp_path / weights.file_name("tokenizer", name))
        assert (loaded.config.quantizer, loaded.config.levels) == geometry


def test_a_head_whose_logits_are_sums_over_bits_becomes_bitwise_without_loss():
    """Logits of codes that are sums over their bits, and a constant: the bitwise law is the same."""
    old = load_transformer(weights.SHIPPED / "masked-lfq.safetensors")
    ones = BitwiseHead(128, 256).ones
    rng = torch.Generator().manual_seed(0)
    each = torch.randn(8, 128, generator=rng)
    old.head.weight.copy_(ones @ each + torch.randn(128, generator=rng))
    old.head.bias.copy_(ones @ torch.randn(8, generator=rng) - 3)
    law = torch.rand(256, generator=rng)
    new = with_bitwise_head(old, law / law.sum())
    hidden = torch.randn(4, 128, generator=rng)
    torch.testing.assert_close(
        new.logits(hidden).softmax(-1), old.logits(hidden).softmax(-1), atol=1e-4, rtol=1e-3
    )


def test_both_heads_train_from_one_translation(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_quantizers, "COUNTED_SCENES", 64)
    monkeypatch.setattr(stage_quantizers, "BATCHES_AT_ONCE", 1)
    fit_heads(tmp_path, length=1, tokenizers=weights.SHIPPED)
    for name in ("lfq", "bsq"):
        codes = load_transformer(tmp_path / f"masked-{name}.safetensors")
        bits = load_transformer(tmp_path / f"masked-{name}-bitwise.safetensors")
        assert (codes.config.bitwise, bits.config.bitwise) == (False, True)
        assert bits.config.codes == codes.config.codes == 256
