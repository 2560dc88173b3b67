"""What every adapter of a published model keeps, shown on its tiny checkpoint."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from benchmarks import tiny
from benchmarks.operations import INFINITY_2B
from benchmarks.published import NETWORKS
from generate.models import causal, model_class
from generate.models.base import Model
from generate.models.public import PublicModel
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from schemas.study import OrderName

TEXTS = ["red fox", "goldfish", "golden retriever", "tabby", "Egyptian cat"]
"""Names of classes of ImageNet, which models that take any text take too."""
THIRDS = [
    (Fraction(0), Fraction(1, 3)),
    (Fraction(1, 3), Fraction(2, 3)),
    (Fraction(2, 3), Fraction(1)),
]

CHECKPOINTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "amused": lambda folder: {"checkpoint": str(tiny.amused(folder)), "steps": 6},
    "meissonic": lambda folder: {**tiny.meissonic(folder), "steps": 6},
    "vq-diffusion": lambda folder: {"checkpoint": str(tiny.vq_diffusion(folder, steps=9))},
    "janus-pro": lambda folder: {"checkpoint": str(tiny.janus(folder)), "precision": "float32"},
    "emu3": tiny.emu3,
    "glm-image": tiny.glm_image,
    "llamagen": tiny.llamagen,
    "show-o": tiny.showo,
    "maskgit": tiny.maskgit,
    "mmada": tiny.mmada,
    "lumina-dimoo": tiny.lumina_dimoo,
    "var": tiny.var,
    "infinity": tiny.infinity,
}
OF_CLASSES = ("var", "maskgit")
"""Models that draw classes, not texts."""


@pytest.fixture(scope="module", params=CHECKPOINTS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    adapter = model_class(request.param)
    options = adapter.options(CHECKPOINTS[request.param](tmp_path_factory.mktemp(request.param)))
    return adapter.load(adapter.identify(request.param, options), options, "cpu")


@dataclass
class Recorder:
    """Passes a noise on, and notes at which steps identities were drawn and which path noise was given."""

    noise: PhiloxNoise

    def __post_init__(self) -> None:
        self.drawn: list[int] = []
        self.paths: list[Tensor] = []

    def identities(self, step: int, probabilities: Tensor) -> Tensor:
        self.drawn.append(step)
        return self.noise.identities(step, probabilities)

    def path(self, step: int, n: int) -> Tensor:
        self.paths.append(self.noise.path(step, n))
        return self.paths[-1]


def noise(n: int = 2, first: int = 0) -> Recorder:
    keys = np.arange(first, first + n, dtype=np.uint64)
    return Recorder(PhiloxNoise(keys, keys + np.uint64(100)))


def tokens(model: Model, probe: Probe, given: Recorder, texts: list[str] | None = None) -> Tensor:
    return model.traverse(model.encode(texts or TEXTS[:2]), probe, given).tokens


def test_identity_says_what_was_loaded(model: Model) -> None:
    identity = model.identity
    assert identity.weights
    assert all(len(file.sha256) == 64 and file.bytes > 0 for file in identity.weights)
    assert identity.quantizer in ("vq", "vq-l2", "lfq", "bsq")
    assert not identity.levels or math.prod(identity.levels) == identity.codebook_size
    assert bool(identity.levels) == (identity.quantizer in ("lfq", "bsq"))
    assert identity.capacity == np.log2(identity.codebook_size)
    assert identity.revision.startswith("sha256-")


def test_memory_of_an_image_is_that_of_the_keys_and_values_that_it_keeps(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of `transformers` hold the prompt, too, whose length no description tells."""
    assert isinstance(model, PublicModel)
    said = model.bytes_of_image(model.settings)
    if model.family not in ("autoregressive", "scales"):
        assert said is None
        return
    caches: list[Any] = []
    for owner, name in [
        (transformers, "StaticCache"),
        (getattr(model, "network", None), "empty_cache"),
    ]:
        make = getattr(owner, name, None)
        if make is not None:
            monkeypatch.setattr(owner, name, noting(make, caches))
    conditioning = model.encode(TEXTS[:2])
    model.traverse(conditioning, Probe(), noise())
    (cache,) = caches
    held = sum(each.keys.nbytes + each.values.nbytes for each in getattr(cache, "layers", [cache]))
    kept = model.keys_and_values(model.found, model.settings)
    assert said is not None
    assert kept is not None
    n_prompt = conditioning.ids.shape[1] if isinstance(conditioning, causal.Conditioning) else 0
    assert held == 2 * said * (kept.length + n_prompt) // kept.length


def noting(make: Callable[..., Any], made: list[Any]) -> Callable[..., Any]:
    def noted(*given: Any, **named: Any) -> Any:
        made.append(make(*given, **named))
        return made[-1]

    return noted


def test_keys_and_values_of_published_models_are_known_before_they_are_fetched() -> None:
    there = {"checkpoint": SimpleNamespace(bytes_to_fetch=1)}
    with torch.device("meta"):
        llamagen = NETWORKS["llamagen"]()
    for name, config in (("infinity", INFINITY_2B), ("llamagen", llamagen.config)):
        adapter = model_class(name)
        assert adapter.keys_and_values(there, adapter.options({})) == config.kept
    bfloat16, branches = 2, 2
    assert bfloat16 * branches * INFINITY_2B.kept.numbers == pytest.approx(5.5e9, rel=0.01)


def test_trace_and_images_have_the_declared_shapes(model: Model) -> None:
    trace = model.traverse(model.encode(TEXTS[:2]), Probe(), noise())
    n_positions = model.identity.grid[0] * model.identity.grid[1]
    assert (
        trace.tokens.shape
        == trace.token_surprisal.shape
        == trace.token_entropy.shape
        == (2, n_positions)
    )
    assert trace.token_surprisal.isfinite().all()
    assert 0 <= int(trace.tokens.min()) <= int(trace.tokens.max()) < model.identity.codebook_size
    images = model.decode(trace.tokens)
    assert images.shape == (2, *model.identity.image_size, 3)
    assert images.dtype == np.uint8


def test_a_sample_does_not_depend_on_its_batch(model: Model) -> None:
    together = tokens(model, Probe(), noise(5), TEXTS)
    pairs = torch.cat([tokens(model, Probe(), noise(2, first=i), TEXTS[i : i + 2]) for i in (0, 2)])
    alone = tokens(model, Probe(), noise(1, first=4), TEXTS[4:])
    assert torch.equal(together, torch.cat([pairs, alone]))


def test_a_disabled_code_never_appears_and_a_whole_subset_changes_nothing(model: Model) -> None:
    full = tokens(model, Probe(), noise())
    whole = np.ones(model.identity.codebook_size, dtype=bool)
    assert torch.equal(tokens(model, Probe(allowed=whole), noise()), full)
    half = whole.copy()
    half[full.unique()[::2]] = False
    assert half[tokens(model, Probe(allowed=half), noise())].all()
    argmax = tokens(model, Probe(half, Fraction(0), Fraction(1)), noise())
    assert half[argmax].all()
    one = np.zeros_like(whole)
    one[3] = True
    assert (tokens(model, Probe(allowed=one), noise()) == 3).all()


def test_argmax_leaves_path_noise_alone_and_its_thirds_make_up_the_whole(model: Model) -> None:
    stochastic, argmax = noise(), noise()
    random = tokens(model, Probe(), stochastic)
    modes = tokens(model, Probe(None, Fraction(0), Fraction(1)), argmax)
    assert argmax.drawn == []
    assert len(argmax.paths) == len(stochastic.paths)
    assert all(map(torch.equal, argmax.paths, stochastic.paths))
    assert not torch.equal(random, modes)
    steps = set(stochastic.drawn)
    assert steps == set(range(model.identity.steps))
    skipped = []
    for window in THIRDS:
        given = noise()
        tokens(model, Probe(None, *window), given)
        skipped += sorted(steps - set(given.drawn))
    assert skipped == sorted(steps)


def test_samples_of_one_text_differ_by_their_path_alone_under_argmax(model: Model) -> None:
    trace = model.traverse(
        model.encode([TEXTS[1], TEXTS[1]]), Probe(None, Fraction(0), Fraction(1)), noise()
    )
    if model.identity.family in ("autoregressive", "scales"):
        assert torch.equal(trace.tokens[0], trace.tokens[1])
    else:
        assert trace.token_step is not None
        assert not torch.equal(trace.token_step[0], trace.token_step[1])


@pytest.mark.parametrize(
    "model", [name for name in CHECKPOINTS if name not in OF_CLASSES], indirect=True
)
def test_reading_says_what_was_cut_and_which_texts_are_one(model: Model) -> None:
    short, long, longer = "a red cat", "a red dog " * 60, "a red dog " * 61
    readings = type(model).read(model.settings, [short, long, longer])  # type: ignore[attr-defined]
    assert readings is not None
    assert not readings[0].cut
    if readings[1].cut:
        assert readings[1].tokens == readings[2].tokens
    else:
        assert readings[1].tokens != readings[2].tokens


@pytest.mark.parametrize(
    "model", ["amused", "meissonic", "maskgit", "mmada", "lumina-dimoo", "show-o"], indirect=True
)
@pytest.mark.parametrize("order", get_args(OrderName))
def test_argmax_with_one_path_noise_leaves_nothing_to_chance(
    model: Model, order: OrderName
) -> None:
    """The 2 x 2 of an order has an exact zero: what differs there leaks from elsewhere."""
    keys = np.arange(3, dtype=np.uint64)
    shared = PhiloxNoise(np.full(3, 5, np.uint64), keys)
    probe = Probe(argmax_to=Fraction(1), order=order)
    trace = model.traverse(model.encode([TEXTS[1]] * 3), probe, shared)
    assert len(trace.tokens.unique(dim=0)) == 1
    assert trace.token_step is not None
    committed = np.bincount(trace.token_step[0].numpy(), minlength=model.identity.steps)
    assert committed.sum() == trace.tokens.shape[1]
    assert (committed > 0).all()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_model_goes_with_its_last_name(name: str, tmp_path: Path) -> None:
    """No cache, hook or circle keeps it for the collector, which a GPU cannot wait for."""
    adapter = model_class(name)
    options = adapter.options(CHECKPOINTS[name](tmp_path))
    gc.collect()
    gc.disable()
    try:
        model = adapter.load(adapter.identify(name, options), options, "cpu")
        trace = model.traverse(model.encode(TEXTS[:2]), Probe(), noise())
        model.decode(trace.tokens)
        gone = weakref.ref(model)
        del model, trace
        assert gone() is None
    finally:
        gc.enable()
