"""Whether a model keeps what a study relies on, by sampling a few grids of it that are kept nowhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from generate.errors import ModelError
from generate.models import model_class
from generate.models.base import Model
from generate.run.returned import decode, sample
from generate.store.template import path_given
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from generate.traversal.trace import Trace

TEXTS = [
    "a picture of a green plus near the top",
    "there is a blue circle near the right",
    "just one little orange rhombus at the bottom",
    "a picture of just one red cross at the bottom left on a white background",
]
"""Texts of unequal length, a sample each, that the trio reads too."""
ROUNDING = 1e-3
"""Bits that rounding may make of nothing."""
ALL_STEPS = (Fraction(0), Fraction(1))


@dataclass(frozen=True)
class Finding:
    """One thing that a study relies on, and what is wrong with it, "" if nothing is."""

    what: str
    problem: str = ""


def check(
    name: str,
    options: Any,
    device: str,
    base: Path | None = None,
    texts: Sequence[str] = TEXTS,
) -> list[Finding]:
    """What of the contract of an adapter holds; the first finding is what cannot be sampled.

    `name` is that of a model as `generate.models.model_class` takes it, looked for in the folder
    `base`, and `options` an instance of its `Options`; `texts` are what it is asked to draw, a sample
    each. Raises `ModelError` if it cannot be loaded.

    >>> from generate.models.toy import ToyMasked
    >>> {finding.problem for finding in check("toy-masked", ToyMasked.options({}), "cpu")}
    {''}
    """
    adapter = model_class(name, base)
    identity = adapter.identify(name, options)
    model = adapter.load(identity, options, device)
    try:
        samples = _Samples(model, name, texts)
    except ModelError as error:
        return [Finding("shapes, types and ranges of what is returned", str(error))]
    findings = [Finding("shapes, types and ranges of what is returned")]
    again = adapter.identify(name, options).fixing()
    if again != identity.fixing() or model.identity.fixing() != identity.fixing():
        problem = "`identify` gives another identity each time, so a run could not go on."
        findings.append(Finding("the identity", problem))
    for what, look in CHECKS.items():
        try:
            problem = look(samples)
        except ModelError as error:
            problem = str(error)
        findings.append(Finding(what, problem))
    return findings


class _Samples:
    """A model, and its samples of some texts in one batch under no probe."""

    def __init__(self, model: Model, label: str, texts: Sequence[str]) -> None:
        self.model = model
        self.texts = texts
        self.label = label
        self.n_codes = model.identity.codebook_size
        self.free = self.traced()
        self.images = decode(model, label, self.free.tokens)

    def traced(
        self,
        allowed: NDArray[np.bool_] | None = None,
        *,
        argmax: bool = False,
        rows: slice = slice(None),
        path: int = 0,
        execution: int = 100,
    ) -> Trace:
        """Samples of some rows; another `path` is other noise of the order, `execution` of identities."""
        keys = np.arange(len(self.texts), dtype=np.uint64)
        noise = PhiloxNoise((keys + np.uint64(path))[rows], (keys + np.uint64(execution))[rows])
        probe = Probe(allowed, *ALL_STEPS) if argmax else Probe(allowed)
        return sample(self.model, self.label, self.texts[rows], probe, noise)

    def differing(self, trace: Trace, rows: slice = slice(None)) -> int:
        """Positions of some rows at which tokens differ from those of the batch."""
        return int((trace.tokens != self.free.tokens[rows]).sum())


def _same_again(samples: _Samples) -> str:
    n = samples.differing(samples.traced())
    if not n:
        return ""
    return f"{n} tokens are others for the same noise: something draws beside `noise`."


def _alone(samples: _Samples) -> str:
    n = 0
    for row in range(len(samples.texts)):
        rows = slice(row, row + 1)
        n += samples.differing(samples.traced(rows=rows), rows)
    if not n:
        return ""
    return (
        f"{n} of {samples.free.tokens.numel()} tokens are others for a sample alone than in a batch "
        f"of {len(samples.texts)}: a row looks at its neighbours or, if few differ, batches round differently."
    )


def _subset(samples: _Samples) -> str:
    allowed = np.arange(samples.n_codes) % 2 == 0
    for argmax in (False, True):
        tokens = samples.traced(allowed, argmax=argmax).tokens.cpu().numpy()
        n = int((~allowed[tokens]).sum())
        if n:
            return f"{n} tokens are of codes that the probe forbids: give `probe` to the traversal."
    return ""


def _whole_subset(samples: _Samples) -> str:
    n = samples.differing(samples.traced(np.ones(samples.n_codes, dtype=bool)))
    return f"{n} tokens change where all codes are allowed." if n else ""


def _argmax(samples: _Samples) -> str:
    one = samples.traced(argmax=True)
    other = samples.traced(argmax=True, execution=200)
    n = int((one.tokens != other.tokens).sum())
    if not n:
        return ""
    return (
        f"{n} tokens move with the noise of identities under argmax: give `probe` to the traversal."
    )


def _bits(samples: _Samples) -> str:
    most = float(samples.free.token_entropy.max())
    if most > math.log2(samples.n_codes) + ROUNDING:
        return (
            f"`token_entropy` reaches {most:.4g} bits, more than {samples.n_codes} codes can have."
        )
    single = np.zeros(samples.n_codes, dtype=bool)
    single[0] = True
    trace = samples.traced(single)
    for name in ("token_surprisal", "token_entropy"):
        bits = float(getattr(trace, name).abs().max())
        if bits > ROUNDING:
            return f"`{name}` is {bits:.4g} bits where one code is allowed, but must be 0."
    return ""


def _path(samples: _Samples) -> str:
    identity, trace = samples.model.identity, samples.free
    if identity.has_fixed_order:
        n = samples.differing(samples.traced(path=200))
        if not n:
            return ""
        return (
            f"{n} tokens move with the noise of the path, but a model of family "
            f"'{identity.family}' has one order: draw with the noise of execution alone."
        )
    if trace.token_step is None:
        return (
            f"`token_step` is not recorded, but the path of a {identity.family} model is its order."
        )
    if trace.path_surprisal is None:
        return (
            "`path_surprisal` is not recorded: path and execution cannot be told apart in bits; the "
            "option of that name, if the model has one, brings it."
        )
    if not path_given(identity):
        return (
            "`path_surprisal` is recorded, but the options do not say what it is given; have a field "
            "of that name in `Options`, exact or given_candidates, and pass it on to the traversal."
        )
    return ""


def _images(samples: _Samples) -> str:
    again = decode(samples.model, samples.label, samples.free.tokens)
    if not np.array_equal(samples.images, again):
        return "`decode` gives another image for the same grid."
    distinct = len(torch.unique(samples.free.tokens, dim=0))
    if distinct > 1 and len(np.unique(samples.images, axis=0)) == 1:
        return f"{distinct} different grids are decoded to one image."
    return ""


CHECKS: dict[str, Callable[[_Samples], str]] = {
    "the same noise gives the same tokens": _same_again,
    "a sample does not depend on its batch (1 against 4)": _alone,
    "a subset of the codebook is obeyed": _subset,
    "a subset of all codes changes nothing": _whole_subset,
    "argmax leaves no draw": _argmax,
    "surprisal and entropy are those of the law that is drawn from": _bits,
    "the path is recorded, where there is one": _path,
    "images follow from their grids": _images,
}
"""What a study relies on, and who says what is wrong with it."""
