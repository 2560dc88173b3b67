"""What an adapter returns is looked at before it is cast: one line, never another number."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from generate.errors import ModelError
from generate.models.base import to_pixels
from generate.models.toy import ToyMasked
from generate.run import returned
from generate.run.blocks import run
from generate.run.calibration import calibrate
from generate.run.preparing import prepare
from generate.study.planning import Plan
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from schemas.store import FailureRecord
from schemas.study import Prompt

TEXTS = ["a cat", "a dog"]
KEYS = np.arange(2, dtype=np.uint64)


def model() -> ToyMasked:
    options = ToyMasked.options({})
    return ToyMasked.load(ToyMasked.identify("toy-masked", options), options, "cpu")


def sampled(change: dict[str, Any]) -> None:
    """What becomes of a traversal of which some fields are others."""
    honest = model()
    traverse = honest.traverse

    def changed(*given: Any) -> Any:
        trace = traverse(*given)
        return dataclasses.replace(
            trace, **{name: of(getattr(trace, name)) for name, of in change.items()}
        )

    honest.traverse = changed  # type: ignore[method-assign]
    returned.sample(honest, "mine", TEXTS, Probe(), PhiloxNoise(KEYS, KEYS))


@pytest.mark.parametrize(
    ("name", "of", "message"),
    [
        ("tokens", lambda x: x + 2**16, r"hold code 6\d+, but its codes run 0\.\."),
        ("tokens", lambda x: x - 2**16, r"hold code -6\d+.*offsets of special tokens"),
        ("tokens", lambda x: x + 2**32, r"hold code 429\d+"),
        ("tokens", lambda x: x.float(), "`tokens` as torch.float32; give integers"),
        ("tokens", lambda x: x > 0, "`tokens` as torch.bool; give integers"),
        ("tokens", lambda x: x[:1], r"`tokens` \(1, .*but it is \(2, "),
        ("tokens", lambda x: x.numpy(), "a ndarray as `tokens`; give a tensor of integers"),
        ("token_step", lambda x: x + 2**16, "holds step 65.*steps run 0"),
        ("token_step", lambda x: x - 1, "holds step -1"),
        ("token_step", lambda x: x.float(), "`token_step` as torch.float32"),
        ("token_surprisal", lambda x: x * torch.nan, "`token_surprisal` .*not finite.*half"),
        ("token_surprisal", lambda x: x.long(), "`token_surprisal` as torch.int64; give floating"),
        ("token_surprisal", lambda x: -x - 1, "goes down to -.*bits are 0 or more"),
        ("token_entropy", lambda x: x + torch.inf, "`token_entropy` .*not finite"),
        ("token_entropy", lambda x: None, "a NoneType as `token_entropy`"),
        ("path_surprisal", lambda x: x[:, :-1], r"`path_surprisal` \(2, "),
        ("path_surprisal", lambda x: x * torch.nan, "`path_surprisal` .*not finite"),
    ],
)
def test_what_a_traversal_may_not_return_is_refused_in_one_line(
    name: str, of: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as told:
        sampled({name: of})
    assert "\n" not in str(told.value)
    assert "model 'mine'" in str(told.value)


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (lambda x: x.astype(np.float32) / 255, r"float32 in \[0\.3.*; return levels 0..255"),
        (lambda x: x.astype(np.float64) / 127.5 - 1, r"float64 in \[-0\.3.*; return"),
        (lambda x: x * 1.02 - 2, "float64 in "),
        (lambda x: x.astype(np.int64) + 256, r"int64 in \["),
        (lambda x: x.astype(np.uint16), "uint16 in"),
        (lambda x: x > 0, "bool; return"),
        (lambda x: x.astype(np.float32) * np.nan, "float32, .* values not finite"),
        (lambda x: x.transpose(0, 3, 1, 2), r"images \(2, 3, .*\(sample, y, x, channel\)"),
        (lambda x: x[..., :1], "images "),
        (lambda x: x[:1], "images "),
        (torch.from_numpy, "a Tensor; return a NumPy array of uint8"),
        (lambda x: None, "a NoneType; return"),
    ],
)
def test_what_decode_may_not_return_is_refused_in_one_line(of: Any, message: str) -> None:
    honest = model()
    decode = honest.decode
    honest.decode = lambda tokens: of(decode(tokens))  # type: ignore[method-assign]
    tokens = torch.zeros((2, int(np.prod(honest.identity.grid))), dtype=torch.int64)
    with pytest.raises(ModelError, match=message):
        returned.decode(honest, "mine", tokens)


def test_what_is_right_passes_unchanged() -> None:
    sampled({})
    honest = model()
    tokens = torch.zeros((2, int(np.prod(honest.identity.grid))), dtype=torch.int64)
    np.testing.assert_array_equal(
        returned.decode(honest, "mine", tokens), honest.decode(tokens), strict=True
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.full((4, 3, 2, 2), torch.nan).half(), "4 of 4 images.*keep the decoder in float32"),
        (torch.full((1, 3, 2, 2), torch.inf), "not finite in 1 of 1"),
        (torch.full((1, 3, 2, 2), 200, dtype=torch.uint8), "torch.uint8 .*takes floats"),
        (torch.zeros((3, 2, 2)), r"\(3, 2, 2\), but takes"),
    ],
)
def test_pixels_are_made_of_finite_floats_alone(image: Tensor, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        to_pixels(image)


def test_calibration_refuses_what_is_no_code() -> None:
    honest = model()
    traverse = honest.traverse

    def shifted(*given: Any) -> Any:
        trace = traverse(*given)
        return dataclasses.replace(trace, tokens=trace.tokens + 2**16)

    honest.traverse = shifted  # type: ignore[method-assign]
    prompts = [Prompt(id="cat", text="a cat")]
    with pytest.raises(ModelError, match="`tokens` of model 'mine' hold code 6"):
        calibrate(honest, prompts, 2, label="mine", seed=0, batch_size=2, advance=lambda n: None)


def test_a_block_of_such_a_model_fails_and_is_not_stored(
    toy_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = prepare(toy_plan, tmp_path / "run")
    decode = ToyMasked.decode
    monkeypatch.setattr(
        ToyMasked, "decode", lambda self, tokens: decode(self, tokens).astype(np.float32) / 255
    )
    found = run(toy_plan, store)
    assert found.failed
    lines = set()
    for file in (store.root / "failed").rglob("*.json"):
        lines.add(FailureRecord.model_validate_json(file.read_bytes()).error)
    assert found.first_error in lines
    line = min(lines)
    assert "`decode` of model 'toy-masked' gave float32 in [" in line
