"""How much faster ibstats is than the usual tool for the same number, both timed in one run and compared."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks import checks
from benchmarks.timing import Result, one_thread, timed

FIVE = ("plugin", "miller_madow", "grassberger", "chao_shen", "chao_wang_jost")
"""Estimators that are timed together."""


def images(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, n, size, size, 3), dtype=np.uint8)


def lpips(n: int, asked: str) -> Result:
    """All pairs of n images at 256 px against batched pair calls of the `lpips` package, AlexNet."""
    import torch

    from ibstats.measure.lpips import LpipsAlex, untrained

    network = untrained("alex").eval().requires_grad_(False)
    pixels = images(n, 256)
    first, second = np.triu_indices(n, 1)
    tensor = torch.from_numpy(pixels[0]).permute(0, 3, 1, 2).float() / 127.5 - 1

    def peer() -> np.ndarray:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(first), 32):
                rows = slice(start, start + 32)
                parts.append(network(tensor[first[rows]], tensor[second[rows]]).flatten())
        return torch.cat(parts).numpy()

    metric = LpipsAlex(network=network)
    both = timed(
        peer, lambda: metric.measure(pixels).distance[0][first, second], 5 if n <= 10 else 2
    )
    return Result(both.peer, both.ours, asked, float(np.abs(both.made / both.expected - 1).max()))


def ssim() -> Result:
    """All pairs of 10 images at 256 px against batched torchmetrics pairs, process time of one thread (its mean
    includes a padded border).
    """
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure as peer_ssim

    from ibstats.measure.ssim import Ssim

    pixels = images(10, 256)
    pixels = (pixels * 0.3 + pixels[:, :1] * 0.7).astype(np.uint8)
    first, second = np.triu_indices(10, 1)
    tensor = torch.from_numpy(pixels[0]).permute(0, 3, 1, 2).float()

    def peer() -> np.ndarray:
        with torch.inference_mode():
            scores = peer_ssim(
                tensor[first],
                tensor[second],
                data_range=255.0,
                sigma=1.5,
                kernel_size=11,
                reduction="none",
            )
        return scores.numpy()

    with one_thread():
        both = timed(
            peer,
            lambda: 1 - Ssim().measure(pixels).distance[0][first, second],
            3,
            time.process_time,
        )
    return Result(both.peer, both.ours, ">= 15", float(np.abs(both.made - both.expected).max()))


def contrasts() -> Result:
    """Seven contrasts with F and p of 300 prompts against statsmodels AnovaRM."""
    import pandas as pd
    from statsmodels.stats.anova import AnovaRM

    from ibstats.kernels import factorial

    y = np.random.default_rng(0).normal(size=(300, 2, 2, 2))
    index = pd.MultiIndex.from_product(
        [range(300), *[range(2)] * 3], names=["unit", "first", "second", "third"]
    )
    frame = pd.DataFrame({"y": y.ravel()}, index=index).reset_index()
    within = ["first", "second", "third"]
    both = timed(
        lambda: AnovaRM(frame, "y", "unit", within=within).fit().anova_table,
        lambda: factorial.rm_anova(y, ("first", "second", "third")),
    )
    difference = max(
        abs(row.F / both.expected.loc[name, "F Value"] - 1) for name, row in both.made.items()
    )
    return Result(both.peer, both.ours, ">= 1000", float(difference))


def bootstrap() -> Result:
    """BCa intervals of seven contrasts of 100 prompts, 10000 resamples, process time, against scipy.stats.bootstrap."""
    from scipy import stats

    from ibstats.kernels import resampling

    x = np.random.default_rng(0).exponential(size=(100, 7))

    def peer() -> np.ndarray:
        interval = stats.bootstrap(
            (x,),
            np.mean,
            axis=0,
            n_resamples=10_000,
            batch=10_000,
            vectorized=True,
            rng=np.random.default_rng(1),
        ).confidence_interval
        return np.stack([interval.low, interval.high])

    both = timed(
        peer,
        lambda: np.stack(
            resampling.bootstrap_mean(x, "bca", 10_000, 0.95, np.random.default_rng(1))
        ),
        5,
        time.process_time,
    )
    return Result(both.peer, both.ours, ">= 8", float(np.abs(both.made - both.expected).max()))


def entropies() -> Result:
    """Five estimates from one counting of 1e7 stored tokens, 16384 codes, against numpy.bincount and the plug-in."""
    from ibstats.kernels import entropy

    p = 1 / np.arange(1, 16385)
    drawn = np.random.default_rng(0).choice(16384, size=10**7, p=p / p.sum())
    tokens = drawn.astype(np.uint16)

    def peer() -> float:
        share = np.bincount(tokens, minlength=16384) / tokens.size
        share = share[share > 0]
        return float(-(share * np.log2(share)).sum())

    def ours() -> list[float]:
        counted = entropy.count_codes(tokens, 16384)
        return [float(entropy.estimate(counted, name, 16384)) for name in FIVE]

    both = timed(peer, ours, 3, time.process_time)
    return Result(both.peer, both.ours, ">= 1", abs(both.made[0] - both.expected))


def fid(n: int, asked: str) -> Result:
    """Frechet distance of n images, 2048 features, against torchmetrics' matrix square root on the same moments."""
    import torch
    from torchmetrics.image.fid import _compute_fid

    from ibstats.kernels import frechet

    rng = np.random.default_rng(0)
    mix = rng.normal(size=(2048, 2048)) / 45
    target = frechet.moments(np.abs(rng.normal(size=(5000, 2048)) @ mix))
    x = np.abs(rng.normal(size=(n, 2048)) @ mix) + 0.01
    real = torch.from_numpy(target.mean), torch.from_numpy(target.covariance)

    def peer() -> float:
        return float(
            _compute_fid(
                torch.from_numpy(x.mean(axis=0)), torch.from_numpy(np.cov(x, rowvar=False)), *real
            )
        )

    both = timed(peer, lambda: frechet.frechet(x, frechet.Target(target.mean, target.covariance)))
    return Result(both.peer, both.ours, asked, abs(both.made / both.expected - 1))


def imports() -> Result:
    """`import xarray` against `import ibstats`, fresh interpreters."""

    def start(name: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True)

    both = timed(start("xarray"), start("ibstats"), 5)
    return Result(both.peer, both.ours, ">= 0.77", 0.0)


def path(how: str, asked: str) -> Result:
    """Process time of 32 images of trio-mim with this `path_surprisal`, against recording nothing of the path."""

    from generate.models import loaded
    from generate.study.probes import Probe
    from generate.traversal import PhiloxNoise

    keys = np.arange(2 * 32, dtype=np.uint64).reshape(2, -1)

    def sampler(recorded: str) -> Callable[[], np.ndarray]:
        model = loaded("trio-mim", {"path_surprisal": recorded})
        conditioning = model.encode(["a red ring"] * 32)
        return lambda: model.traverse(conditioning, Probe(), PhiloxNoise(*keys)).tokens.numpy()

    with one_thread():
        both = timed(sampler("none"), sampler(how), 3, time.process_time)
    return Result(both.peer, both.ours, asked, float((both.made != both.expected).mean()))


def path_step() -> Result:
    """Exact path bits of one step, 2 samples of 256 positions and 8192 codes, against those given the candidates."""
    import torch

    from generate.traversal.path_probability import (
        exact_surprisals,
        set_surprisal_given_candidates,
    )

    generator = torch.Generator().manual_seed(0)
    laws = torch.softmax(2 * torch.randn(2, 256, 8192, generator=generator), dim=-1)
    tokens = laws.argmax(dim=-1)
    is_open = torch.ones(tokens.shape, dtype=torch.bool)
    commit = torch.zeros_like(is_open)
    commit[:, :20] = True
    log_p = laws.amax(dim=-1).log()
    with one_thread():
        both = timed(
            lambda: set_surprisal_given_candidates(log_p, is_open, commit, 2.0),
            lambda: exact_surprisals(laws, tokens, is_open, commit, 2.0),
            5,
            time.process_time,
        )
    return Result(both.peer, both.ours, ">= 0.05", float("nan"))


def draw() -> Result:
    """Codes drawn from 4096 laws of 8192 codes, against one float64 CDF over all codes; process time of one thread."""
    import torch

    from generate.traversal.draw import inverse_cdf

    generator = torch.Generator().manual_seed(0)
    laws = torch.softmax(2 * torch.randn(4096, 8192, generator=generator), dim=-1)
    uniform = torch.rand(4096, dtype=torch.float64, generator=generator)

    def one_cdf() -> torch.Tensor:
        cdf = laws.double().cumsum(dim=-1)
        return torch.searchsorted(cdf, (uniform * cdf[:, -1])[:, None], right=True)[:, 0]

    with one_thread():
        both = timed(one_cdf, lambda: inverse_cdf(laws, uniform), 3, time.process_time)
    return Result(both.peer, both.ours, ">= 8", float((both.made != both.expected).double().mean()))


def share(name: str, asked: str) -> Result:
    """The floating-point operations of 72 grids of this model, as one matrix product after another and as sampled:
    the ratio is the share of the machine's own speed that sampling reaches, in process time of one thread.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from generate.models import loaded
    from generate.study.probes import Probe
    from generate.traversal.draw import PhiloxNoise

    n_grids, side = 72, 512
    model = loaded(name, {"guidance": 1.0})
    keys = np.arange(2 * n_grids, dtype=np.uint64).reshape(2, -1)

    def grids(n: int) -> np.ndarray:
        conditioning = model.encode(["a red ring"] * n)
        return model.traverse(conditioning, Probe(), PhiloxNoise(*keys[:, :n])).tokens.numpy()

    with FlopCounterMode(display=False) as counter:
        grids(1)
    n_products = round(counter.get_total_flops() * n_grids / (2 * side**3))
    left, right = torch.randn(2, side, side, generator=torch.Generator().manual_seed(0))
    made = torch.empty_like(left)

    def products() -> None:
        for _ in range(n_products):
            torch.mm(left, right, out=made)

    with one_thread():
        both = timed(products, lambda: grids(n_grids), 3, time.process_time)
    return Result(both.peer, both.ours, asked, float("nan"))


def workers() -> Result:
    """Images of the reference trio by two warm workers on this machine against one, a torch thread each."""
    from benchmarks.workers import one_and_two

    (one, first), (two, second) = one_and_two()
    return Result(one, two, ">= 1.8", float(first != second))


def workers_bare() -> Result:
    """The same networks in two bare processes at once against one after the other: what `workers` can reach here."""
    from benchmarks.workers import bare

    return Result(*bare(), "stated", float("nan"))


ALL: dict[str, Callable[[], Result]] = {
    "lpips-10": partial(lpips, 10, ">= 9"),
    "lpips-50": partial(lpips, 50, ">= 40"),
    "ssim": ssim,
    "contrasts": contrasts,
    "bootstrap": bootstrap,
    "entropies": entropies,
    "fid-240": partial(fid, 240, ">= 20"),
    "fid-1000": partial(fid, 1000, ">= 10"),
    "fid-4000": partial(fid, 4000, ">= 1"),
    "imports": imports,
    "path-given-candidates": partial(path, "given_candidates", ">= 0.87"),
    "path-exact": partial(path, "exact", ">= 0.77"),
    "path-step": path_step,
    "draw": draw,
    "share-ar": partial(share, "trio-ar", ">= 0.35"),
    "share-mim": partial(share, "trio-mim", ">= 0.6"),
    "share-diffusion": partial(share, "trio-diffusion", ">= 0.6"),
    "share-var": partial(share, "trio-var", "stated"),
    "workers": workers,
    "workers-bare": workers_bare,
    "checked-opening": checks.opening,
    "checked-table-means": partial(checks.kept_table, "means", "stated"),
    "checked-table-intervals": partial(checks.kept_table, "intervals", ">= 0.9"),
    "checked-sampling": checks.sampling,
}
"""Ratios by name; the first line of each docstring says what is timed."""
