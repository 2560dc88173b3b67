from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import tiny
from generate.models.vq_diffusion import VQDiffusion
from generate.study.probes import Probe
from generate.traversal import diffusion
from generate.traversal.draw import PhiloxNoise, TokenLaw
from generate.traversal.transition import Transition, mask_and_replace

N_CODES, N_POSITIONS = 20, 12


@pytest.fixture(scope="module")
def model(vq_diffusion_folder: Path) -> VQDiffusion:
    options = VQDiffusion.options({"checkpoint": str(vq_diffusion_folder)})
    return VQDiffusion.load(VQDiffusion.identify("vq-diffusion", options), options, "cpu")


def two_stage(p_x0: Tensor, x_t: Tensor, transition: Transition) -> Tensor:
    """Sum over x0 of p(x0) q(x_{t-1} | x_t, x0), (batch, code or MASK, position), one state after another."""
    law = torch.zeros(p_x0.shape[0], N_CODES + 1, N_POSITIONS)
    same = torch.eye(N_CODES)
    for b, i in np.ndindex(*x_t.shape):
        state, p = int(x_t[b, i]), p_x0[b, :, i]
        if state == N_CODES:
            q = same * transition.mask_reveal + (1 - same) * transition.mask_jump / (
                N_CODES - 1
            )  # (x0, x_{t-1})
            law[b, state, i] = transition.mask_stay
        else:
            differs = (1 - same) * transition.other_jump / (
                N_CODES - 2
            ) + same * transition.other_reveal
            differs[:, state] = transition.other_stay
            equal = torch.full((N_CODES,), transition.same_jump / (N_CODES - 1))
            equal[state] = transition.same_stay
            q = differs.index_copy(0, torch.tensor([state]), equal[None])
        law[b, :N_CODES, i] += p @ q
    return law


@pytest.mark.parametrize("upstream_t", [99, 98, 60, 20, 1])
def test_two_stages_have_the_law_of_the_upstream_posterior(
    model: VQDiffusion, upstream_t: int
) -> None:
    from diffusers import VQDiffusionScheduler

    generator = torch.Generator().manual_seed(upstream_t)
    log_p = torch.randn(2, N_CODES, N_POSITIONS, generator=generator).mul(2).log_softmax(1)
    x_t = torch.randint(0, N_CODES + 1, (2, N_POSITIONS), generator=generator)
    x_t[:, :4] = N_CODES
    expected = (
        VQDiffusionScheduler(N_CODES + 1).q_posterior(log_p, x_t, torch.tensor(upstream_t)).exp()
    )
    ours = two_stage(log_p.exp(), x_t, Transition.at(model.schedule, upstream_t + 1, N_CODES))
    assert torch.allclose(ours, expected, atol=1e-5)


def test_the_last_step_redraws_every_position(model: VQDiffusion) -> None:
    last = Transition.at(model.schedule, 1, N_CODES)
    assert (last.mask_reveal, last.same_stay, last.other_reveal) == (1.0, 1.0, 1.0)


def test_whole_chains_have_the_law_of_the_upstream_loop() -> None:
    """Final codes under logits that depend on a position's state and the time; 20,000 independent positions."""
    from diffusers import VQDiffusionScheduler

    n_chains, n_codes, n_steps = 20_000, 3, 6
    table = (
        torch.randn(n_codes + 1, n_steps, n_codes, generator=torch.Generator().manual_seed(3)) * 1.5
    )
    scheduler = VQDiffusionScheduler(n_codes + 1, num_train_timesteps=n_steps)
    scheduler.set_timesteps(n_steps)
    sample = torch.full((1, n_chains), n_codes)
    generator = torch.Generator().manual_seed(0)
    for t in scheduler.timesteps:
        log_p = table[sample, int(t)].log_softmax(-1).mT
        sample = scheduler.step(log_p, t, sample, generator=generator).prev_sample
    trace = diffusion.traverse(
        lambda tokens, t: table[tokens, t - 1],
        1,
        n_chains,
        n_codes,
        schedule=mask_and_replace(n_steps, n_codes, alpha=(0.99999, 9e-6), gamma=(9e-6, 0.99999)),
        law=TokenLaw(),
        probe=Probe(),
        noise=PhiloxNoise(np.zeros(1, np.uint64), np.ones(1, np.uint64)),
    )
    upstream, ours = (
        torch.bincount(x.flatten(), minlength=n_codes) / n_chains for x in (sample, trace.tokens)
    )
    assert (
        upstream - ours
    ).abs().sum() / 2 < 0.015  # two standard errors of the distance at this n


@pytest.mark.filterwarnings(
    "ignore:Accessing config attribute:FutureWarning"
)  # upstream's pipeline does both
@pytest.mark.filterwarnings("ignore:`Transformer2DModelOutput` is deprecated:FutureWarning")
def test_logits_and_pixels_equal_those_of_the_upstream_pipeline(
    model: VQDiffusion, vq_diffusion_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both loops shown the same states, guided and with one text cut, as upstream's own components compute them."""
    from diffusers import VQDiffusionPipeline, VQDiffusionScheduler
    from diffusers.pipelines.deprecated.vq_diffusion.pipeline_vq_diffusion import (
        LearnedClassifierFreeSamplingEmbeddings,
    )

    pipeline = VQDiffusionPipeline(
        vqvae=model.vqvae,
        text_encoder=model.text_encoder,
        tokenizer=VQDiffusion.tokenizer(model.settings).tokenizer,
        transformer=model.transformer,
        scheduler=VQDiffusionScheduler(21),
        learned_classifier_free_sampling_embeddings=LearnedClassifierFreeSamplingEmbeddings.from_pretrained(
            vq_diffusion_folder,
            subfolder="learned_classifier_free_sampling_embeddings",
            low_cpu_mem_usage=False,
        ),
    )
    pipeline.set_progress_bar_config(disable=True)
    text = "a red cat, a dog! " * 20
    states, laws = [], []
    step = VQDiffusionScheduler.step

    def record(
        self: object, model_output: Tensor, timestep: Tensor, sample: Tensor, **_: object
    ) -> object:
        states.append(sample)
        laws.append(model_output.exp())
        return step(self, model_output, timestep, sample, **_)

    monkeypatch.setattr(VQDiffusionScheduler, "step", record)
    generator = torch.Generator().manual_seed(0)
    image = pipeline(text, num_inference_steps=3, generator=generator, output_type="np").images[0]
    seen: list[Tensor] = []

    def replay(
        grid_logits: diffusion.GridLogits, *_: object, law: TokenLaw, **__: object
    ) -> object:
        seen.extend(
            law.probabilities(grid_logits(states[index], 3 - index), None) for index in range(3)
        )
        return None

    monkeypatch.setattr(diffusion, "traverse", replay)
    model.traverse(
        model.encode([text]), Probe(), PhiloxNoise(np.zeros(1, np.uint64), np.ones(1, np.uint64))
    )
    for ours, law in zip(seen, laws, strict=True):
        assert torch.allclose(ours.mT, law, atol=1e-5)
    assert image.shape == (16, 16, 3)


def test_truncation_keeps_the_codes_that_upstream_keeps(model: VQDiffusion) -> None:
    from diffusers import VQDiffusionPipeline

    log_p = torch.randn(2, N_CODES, 5, generator=torch.Generator().manual_seed(1)).log_softmax(1)
    upstream = VQDiffusionPipeline.truncate(None, log_p, 0.86).exp()  # type: ignore[arg-type]
    ours = TokenLaw(top_p=0.86).probabilities(log_p.mT, None).mT
    assert torch.allclose(ours, upstream / upstream.sum(1, keepdim=True), atol=1e-6)


def test_a_checkpoint_without_learned_embeddings_encodes_the_empty_text(tmp_path: Path) -> None:
    options = VQDiffusion.options({"checkpoint": str(tiny.vq_diffusion(tmp_path, learnable=False))})
    model = VQDiffusion.load(VQDiffusion.identify("vq-diffusion", options), options, "cpu")
    _, unconditional = model.encode(["dog"])
    assert torch.equal(unconditional, model.encode_text(""))
