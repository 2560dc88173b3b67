"""The training loop: it ends in time, averages weights and continues from its checkpoint."""

import numpy as np
import pytest
import torch

from generate.trio import fitting, stage_transformer
from generate.trio.fitting import Fit, learning_rate_factor
from generate.trio.tokenizer import Tokenizer


def fit(folder, *, minutes: float, draws: list[float] | None = None) -> Fit:
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1)
    result = Fit(network, [optimiser], folder / "toy.pt", minutes=minutes, seed=1)

    def step(rng: np.random.Generator, steps: int, progress: float) -> torch.Tensor:
        x = torch.from_numpy(rng.normal(size=(16, 3)).astype(np.float32))
        if draws is not None:
            draws.append(float(x[0, 0]))
        return (network(x) - x.sum(1, keepdim=True)).square().mean()

    result.run(step, name="toy")
    return result


def test_rate_warms_up_stays_and_ends_at_zero():
    assert learning_rate_factor(0, 0.0) == pytest.approx(1 / fitting.WARMUP_STEPS)
    assert learning_rate_factor(1000, 0.2) == 1.0
    assert learning_rate_factor(1000, 1.0) == 0.0


def test_a_run_learns_and_a_second_one_continues_it(tmp_path):
    first_draws, second_draws = [], []
    first = fit(tmp_path, minutes=0.01, draws=first_draws)
    second = fit(tmp_path, minutes=0.02, draws=second_draws)
    assert second.steps == len(first_draws) + len(second_draws)
    assert not set(first_draws) & set(second_draws)
    torch.testing.assert_close(second.average.weight, torch.ones(1, 3), atol=0.1, rtol=0)
    assert 0.6 <= first.seconds < second.seconds


def test_a_finished_run_does_no_work(tmp_path):
    first = fit(tmp_path, minutes=0.01)
    again = fit(tmp_path, minutes=0.01)
    assert again.steps == first.steps
    torch.testing.assert_close(again.average.weight, first.average.weight)


def test_training_samples_are_captions_and_codes_of_the_same_scenes():
    torch.manual_seed(0)
    tokenizer = Tokenizer().eval()
    words, codes = stage_transformer.draw_samples(tokenizer, 130, np.random.default_rng(0))
    assert words.shape == (130, 24)
    assert codes.shape == (130, 64)
    batches = stage_transformer.batches_of_like_length(words, codes, np.random.default_rng(0))
    assert sorted(len(part) for part, _ in batches) == [2, 64, 64]
    assert sum(int((part != 0).sum()) for part, _ in batches) == int((words != 0).sum())
    share_without_caption = ((words != 0).sum(1) == 1).float().mean()
    assert 0.03 < share_without_caption < 0.2
