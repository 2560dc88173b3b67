"""The variables of a Dataset of the store: dims, dtype, unit and meaning of each.

Of a Dataset only `condition`, `prompt` and `complete` must be there. Images, tokens, surprisals,
noise keys, texts and calibration may each lack; a variable that lacks is not stored at all, and
none is ever made up.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """One array of an experiment's Dataset: what it means and how it is stored.

    `dims` are in order; `fill` is what stands where nothing was written.
    """

    dims: tuple[str, ...]
    dtype: str
    units: str
    long_name: str
    fill: int | float | bool | str
    optional: bool = True
    """Whether a Dataset may be without it."""
    per_block: bool = False
    """Written block by block; the others are written once, when the run is made."""


_SAMPLE = ("condition", "prompt", "sample")
_TOKEN = (*_SAMPLE, "row", "col")

NAN = float("nan")

VARIABLES: dict[str, Variable] = {
    "image": Variable(
        dims=(*_SAMPLE, "y", "x", "channel"),
        dtype="uint8",
        units="1",
        long_name="decoded image, 8-bit RGB",
        fill=0,
        per_block=True,
    ),
    "tokens": Variable(
        dims=_TOKEN,
        dtype="uint16",  # uint32 with fill 2**32 - 1 for a codebook of more than 65535 entries
        units="1",
        long_name="code of each grid position",
        fill=65535,
        per_block=True,
    ),
    "token_surprisal": Variable(
        dims=_TOKEN,
        dtype="float32",
        units="bit",
        long_name="-log2 p of the token, in the law it was drawn from before argmax",
        fill=NAN,
        per_block=True,
    ),
    "token_entropy": Variable(
        dims=_TOKEN,
        dtype="float32",
        units="bit",
        long_name="entropy of the law the token was drawn from, before argmax",
        fill=NAN,
        per_block=True,
    ),
    "token_step": Variable(
        dims=_TOKEN,
        dtype="uint16",
        units="1",
        long_name="step of the last change of the position (absent where the order is fixed)",
        fill=65535,
        per_block=True,
    ),
    "path_surprisal": Variable(
        dims=(*_SAMPLE, "step"),
        dtype="float32",
        units="bit",
        long_name="-log2 q(S_t | given, s_t) of the positions changed at each step; "
        "attribute `given`: state or candidates",
        fill=NAN,
        per_block=True,
    ),
    "joint_surprisal": Variable(
        dims=(*_SAMPLE, "step"),
        dtype="float32",
        units="bit",
        long_name="-log2 q(S_t, z_S | s_t) of the positions changed at each step and their tokens",
        fill=NAN,
        per_block=True,
    ),
    "recovered": Variable(
        dims=_TOKEN,
        dtype="bool",
        units="1",
        long_name="the code that the decoded image, in 8 bits, is encoded as is the token",
        fill=False,
        per_block=True,
    ),
    "squared_error": Variable(
        dims=_SAMPLE,
        dtype="float32",
        units="1",
        long_name="mean squared error of the reconstruction, pixels in [0, 1]",
        fill=NAN,
        per_block=True,
    ),
    "complete": Variable(
        dims=("condition", "prompt"),
        dtype="bool",
        units="1",
        long_name="block committed (a copy of the ledger, never the authority)",
        fill=False,
        per_block=True,
        optional=False,
    ),
    "sample_count": Variable(
        dims=("condition", "prompt"),
        dtype="int32",
        units="1",
        long_name="samples that there are, the first so many; absent where all are there",
        fill=0,
    ),
    "text_tokens": Variable(
        dims=("text",),
        dtype="int32",
        units="1",
        long_name="tokens of the text that reach the model, -1 if unknown",
        fill=-1,
    ),
    "text_cut": Variable(
        dims=("text",),
        dtype="bool",
        units="1",
        long_name="the model does not see the end of the text",
        fill=False,
    ),
    "text_index": Variable(
        dims=_SAMPLE,
        dtype="int32",
        units="1",
        long_name="row of `text` given to the model",
        fill=-1,
    ),
    "path_key": Variable(
        dims=_SAMPLE,
        dtype="uint64",
        units="1",
        long_name="Philox key of the path noise",
        fill=0,
    ),
    "execution_key": Variable(
        dims=_SAMPLE,
        dtype="uint64",
        units="1",
        long_name="Philox key of the execution noise",
        fill=0,
    ),
    "rendering_key": Variable(
        dims=_SAMPLE,
        dtype="uint64",
        units="1",
        long_name="Philox key of the rendering noise (absent where decoding is deterministic)",
        fill=0,
    ),
    "codebook_keep": Variable(
        dims=("condition", "code"),
        dtype="bool",
        units="1",
        long_name="codes the condition may use",
        fill=True,
    ),
    "stratum_keep": Variable(
        dims=("condition", "stratum", "code"),
        dtype="bool",
        units="1",
        long_name="codes the condition may use at the positions of a stratum, where strata keep "
        "codes of their own; `codebook_keep` are then those of any stratum",
        fill=True,
    ),
    "calibration_count": Variable(
        dims=("code",),
        dtype="int64",
        units="1",
        long_name="uses of the code on the calibration prompts",
        fill=0,
    ),
    "stratum_count": Variable(
        dims=("stratum", "code"),
        dtype="int64",
        units="1",
        long_name="uses of the code on the calibration prompts, at the positions of a stratum",
        fill=0,
    ),
}
"""Data variables by name. A prompt with fewer samples than the plan's `n_samples` is filled up with
`fill`.
"""


def _label(dtype: str, long_name: str, fill: int | float | str = "") -> Variable:
    """A coordinate along the conditions."""
    return Variable(("condition",), dtype, "1", long_name, fill)


COORDINATES: dict[str, Variable] = {
    "condition": Variable(
        ("condition",), "string", "1", "name of the condition", "", optional=False
    ),
    "sampling": _label("string", "argmax or stochastic"),
    "prompt_type": _label("string", "original or paraphrase"),
    "codebook": _label("string", "subset or full"),
    "keep_ratio": _label("float64", "share of the codebook kept", 1.0),
    "subset_method": _label("string", "how kept codes were chosen, empty for full"),
    "argmax_window": _label("string", "share of the steps under argmax, 'from:to'"),
    "paraphrase_length": _label("string", "length class of the paraphrases"),
    "n_paraphrases": _label(
        "int32", "paraphrases the samples are spread over, 0 for the original", 0
    ),
    "subset_draw": _label("int32", "number of the random subset, from 0", 0),
    "order": _label("string", "order in which a masked model commits positions", "confidence"),
    "path_noise": _label("string", "own of every sample, or shared by those of a prompt", "own"),
    "entropy_bound": _label(
        "float64",
        "bits of entropy that a step of the entropy-bounded order commits at once, else 0",
        0,
    ),
    "subset_counts": _label("string", "sha256 of the calibration counts that chose the codes kept"),
    "subset_ties": _label(
        "string", "order of codes with equal counts: random, by the study's seed; absent: by id"
    ),
    "subset_overlap": _label(
        "float64", "share of the codes kept that a calibration without end would keep", NAN
    ),
    "subset_tie_share": _label(
        "float64", "share of the codebook with the count at which it is cut", NAN
    ),
    "subset_unseen": _label(
        "float64", "share of the calibration's tokens on codes that one image alone shows", NAN
    ),
    "prompt": Variable(("prompt",), "string", "1", "prompt id", "", optional=False),
    "prompt_attributes": Variable(
        ("prompt",), "string", "1", "asserted attributes as JSON, '{}' if unknown", "{}"
    ),
    "image_name": Variable(("sample",), "string", "1", "file that was encoded", ""),
    "text": Variable(("text",), "string", "1", "prompt or paraphrase", ""),
    "text_prompt": Variable(("text",), "int32", "1", "index of the prompt the text belongs to", -1),
    "text_kind": Variable(("text",), "string", "1", "original, short, medium, long or other", ""),
}
"""Coordinates by name. Dims without one here (`sample row col step stratum code y x channel`) are
positions from 0.

Each factor of an experiment has a coordinate of its name along `condition` too, its level, "" where
it has none.
"""

OPTIONAL_BEFORE = frozenset(
    {
        "image",
        "token_step",
        "path_surprisal",
        "joint_surprisal",
        "n_paraphrases",
        "subset_draw",
        "order",
        "path_noise",
        "entropy_bound",
        "subset_counts",
        "subset_ties",
        "subset_overlap",
        "subset_tie_share",
        "subset_unseen",
        "sample_count",
        "stratum_keep",
        "stratum_count",
        "rendering_key",
    }
)
"""What a run made from a study may lack; it has all else. (A store of 1.0 need not say what it was
made with.)
"""


def factor_coordinate(name: str) -> Variable:
    """Give the coordinate that holds the level of a factor for each condition.

    >>> factor_coordinate("temperature").dims
    ('condition',)
    """
    return COORDINATES.get(name) or _label("string", f"level of the factor {name}")


def token_dtype(codebook_size: int) -> tuple[str, int]:
    """Give the dtype of `tokens` and its fill, which is never a legal token.

    >>> token_dtype(16384), token_dtype(2**18)
    (('uint16', 65535), ('uint32', 4294967295))
    """
    if codebook_size <= 2**16 - 1:
        return "uint16", 2**16 - 1
    return "uint32", 2**32 - 1
