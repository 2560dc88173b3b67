"""Importance weights of paths given the stored tokens: what `ibgenerate rescore` adds.

RUN/rescored/<model>/<experiment>/paths<K>-seed<S>/data.zarr/      one Dataset, Zarr v3
RUN/rescored/<model>/<experiment>/paths<K>-seed<S>/rescored.json   what is scored; written once it is laid out
RUN/rescored/<model>/<experiment>/paths<K>-seed<S>/pieces/         one record a condition and prompt

The store itself is never changed: this belongs to it by `snapshot`. As in a run, a piece is there
once its record is, written after its objects, and a reader checks every object that a record names.
Before version 1.1 there were no records of pieces, and `complete` alone said what is scored; 1.2
added contrasts: the same images under texts that they were not made from.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.provenance import Hardware, ModelIdentity, Software
from schemas.store import StoredObject
from schemas.study import Strict
from schemas.variables import Variable

SCHEMA: Literal["ibstats-rescored"] = "ibstats-rescored"
VERSION = "1.2"

STUDY, WORDINGS, EMPTY = "study", "wordings", "empty"
"""Contrasts by name, see `RescoreRecord.contrast`; any other one is a number of prompts."""

_IMAGE = ("condition", "prompt", "sample")

VARIABLES: dict[str, Variable] = {
    "log_weight": Variable(
        (*_IMAGE, "path"),
        "float64",
        "bit",
        "log2 of q(P, Z | X) / r(P | Z, X); path 0 made the tokens, "
        "the others are drawn from the proposal r",
        float("nan"),
        per_block=True,
    ),
    "joint_bits": Variable(
        _IMAGE,
        "float64",
        "bit",
        "-log2 q(P, Z | X) of the path that made the tokens",
        float("nan"),
        per_block=True,
    ),
    "path_bits": Variable(
        _IMAGE,
        "float64",
        "bit",
        "sum over steps of -log2 q(S_t | s_t) along the path that made the tokens",
        float("nan"),
        per_block=True,
    ),
    "complete": Variable(
        ("condition", "prompt"),
        "bool",
        "1",
        "scored (a copy of the records of the pieces, never the authority)",
        False,
        per_block=True,
    ),
    "condition": Variable(("condition",), "string", "1", "name of the condition", ""),
    "prompt": Variable(("prompt",), "string", "1", "prompt id", ""),
}
"""Variables by name. An impossible path has log_weight -inf; NaN is an image whose own path is not
known.
"""


_PATH_WEIGHT = (
    "path 0 made the tokens, the others are drawn from a proposal r that knows no text; "
    "where the order is fixed there is one path and r = 1"
)
CONTRAST_VARIABLES: dict[str, Variable] = {
    "log_weight": Variable(
        (*_IMAGE, "path", "contrast"),
        "float64",
        "bit",
        f"log2 of q(P, Z | contrast) / r(P | Z): {_PATH_WEIGHT}",
        float("nan"),
        per_block=True,
    ),
    "own_log_weight": Variable(
        (*_IMAGE, "path"),
        "float64",
        "bit",
        f"log2 of q(P, Z | X) / r(P | Z), X the text the image was made from: {_PATH_WEIGHT}",
        float("nan"),
        per_block=True,
    ),
    **{name: VARIABLES[name] for name in ("complete", "condition", "prompt")},
    "contrast": Variable(("contrast",), "string", "1", "what stands in the place of X", ""),
}
"""Variables of a contrast. NaN in `log_weight` is a contrast that a prompt does not have; -inf is a
path, or where the order is fixed a grid, that cannot be.
"""


class RescoreRecord(Strict):
    """`rescored.json`: what is scored, by which model. Never changes.

    A rescoring whose `snapshot` is not that of the store belongs to another one.
    """

    schema_name: Literal["ibstats-rescored"] = SCHEMA
    schema_version: str = VERSION
    run_id: str
    snapshot: str = Field(
        description="Digest of the committed blocks of this model and experiment that were scored."
    )
    model: str
    identity: ModelIdentity
    experiment: str
    conditions: list[str]
    prompts: list[str]
    n_samples: int
    n_paths: int = Field(
        ge=0, description="Proposed paths per image, K; 0 in a contrast where the order is fixed."
    )
    seed: int
    proposal: str
    contrast: str = Field(
        default="",
        description="Texts under which images are scored besides their own: `study` (the prompts of the "
        "run), `wordings` (those of the own prompt), `empty`, or a number of other prompts of the "
        "same source. Empty where only paths are scored.",
    )
    contrasts: list[str] = Field(
        default=[], description="Names of the contrasts: ids of prompts, or numbers of wordings."
    )
    unrestricted: bool = Field(
        default=False,
        description="Whether the images are scored under the law without argmax and codebook subset, "
        "whatever their condition.",
    )
    software: Software
    hardware: Hardware
    created: str
    template: list[StoredObject] = Field(
        default=[], description="What was written into `data.zarr` when it was laid out."
    )
    sha256: str = Field(
        default="", description="Digest of all the above, against damage to the record itself."
    )


def variables_of(record: RescoreRecord) -> dict[str, Variable]:
    """Give what the Dataset of a rescoring holds, by name.

    A contrast has an axis of texts more, and no bits of the path by itself.
    """
    return CONTRAST_VARIABLES if record.contrast else VARIABLES


class PieceRecord(Strict):
    """One scored piece: the images of a condition and prompt, by position in the rescoring.

    It is written after the objects it names, whole or not at all.
    """

    schema_version: str = VERSION
    snapshot: str = Field(description="That of the rescoring, so that pieces of two never mix.")
    condition: int = Field(ge=0)
    prompt: int = Field(ge=0)
    objects: list[StoredObject] = Field(description="Every file of the piece.")
    sha256: str = Field(
        default="", description="Digest of all the above, against damage to the record itself."
    )
