"""The study file: what a user asks for, and the prompt records a study may read."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

Version = Literal["1.0"]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Ratio = Annotated[float, Field(gt=0, le=1)]
SubsetMethod = Literal["drop_least_frequent", "drop_most_frequent", "drop_random"]
LengthClass = Literal["short", "medium", "long"]
LENGTH_WORDS: dict[LengthClass, tuple[int, int]] = {
    "short": (1, 12),
    "medium": (13, 22),
    "long": (23, 50),
}
"""Fewest and most words of a paraphrase in each length class; 50 English words stay within CLIP's
77 tokens.
"""
ParaphraseLength = Literal["short", "medium", "long", "mixed"]


Entry = TypeVar("Entry")


def _refuse_repeats(entries: list[Entry]) -> list[Entry]:
    """A list of conditions names each once; twice would be two conditions of one name."""
    for entry in entries:
        if entries.count(entry) > 1:
            raise ValueError(f"{entry!r} stands there twice; name each once")
    return entries


class Strict(BaseModel):
    """Refuses unknown keys, so that a misspelt setting is never silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Written(Strict):
    """What users write: nothing is taken for another type, so `seed: on` is no 1."""

    model_config = ConfigDict(strict=True)


class Paraphrases(Written):
    """Texts of one meaning, by length class.

    Each asserts every fact that the base prompt does, and none that it does not.
    """

    short: list[Text] = Field(default=[], description="The facts in the fewest words: at most 12.")
    medium: list[Text] = Field(default=[], description="A plain sentence or two: 13 to 22 words.")
    long: list[Text] = Field(
        default=[], description="The same facts at greater length: 23 to 50 words."
    )


class Prompt(Written):
    """One base prompt, one line of a prompt file.

    Its id names it in the store, so ids are unique within a study.
    """

    id: Name
    text: Text
    paraphrases: Paraphrases = Paraphrases()
    attributes: dict[str, str] = Field(
        default={}, description="What the text asserts, where it is known exactly (reference trio)."
    )


class ModelChoice(Written):
    """A model by name, with its sampling settings."""

    model: str = Field(
        description="A known name; for one of your own 'file.py:Class' or 'package.module:Class'."
    )
    label: Name | None = Field(
        default=None, description="Name in the store; defaults to the model's."
    )
    options: dict[str, Any] = Field(
        default={}, description="Sampling settings; unnamed ones keep the default."
    )


class PromptSource(Written):
    """Where prompts come from.

    The trio's grammar, a shipped set, or a file of prompt records.
    """

    source: str = Field(
        default="trio",
        description="'trio', 'general', 'imagenet', or the path of a .jsonl or .csv file.",
    )
    n: int | None = Field(
        default=None, ge=1, description="How many of them; default all (100 of the trio's)."
    )


OWN_CALIBRATION = ("general", "imagenet")
"""Sets of prompts that have a calibration split of their own."""
ENCODED = "encoded"
"""Codes of real images: a source of calibration, and what a run that holds them calls itself."""
ENCODED_IMAGES = 2000
"""Real images that a calibration counts, where it does not say."""


class Calibration(PromptSource):
    """Prompts on which code usage is counted; disjoint from the study's.

    Counting on the prompts that are tested would bias the subset probe. The source `encoded` counts
    codes of `n` real images (default 2000) instead: of a `run` of `ibgenerate encode`, or, for the
    trio, of fresh scenes.
    """

    n: int | None = Field(default=48, ge=1)
    samples: int = Field(default=4, ge=1)
    run: str | None = Field(
        default=None,
        description="Run of `ibgenerate encode` whose codes are counted, where the source is "
        "'encoded'; default the model's own images.",
    )

    @property
    def encoded(self) -> bool:
        """Whether codes of real images are counted, and not those of samples."""
        return self.source == ENCODED

    @model_validator(mode="before")
    @classmethod
    def _count_images(cls, data: Any) -> Any:
        """Of real images, `n` is their number; by default it is larger than that of prompts."""
        if not isinstance(data, dict):
            return data
        if data.get("source") != ENCODED:
            if data.get("run") is not None:
                raise ValueError("a run is named, so write source: encoded")
            return data
        if "samples" in data and data["samples"] != cls.model_fields["samples"].default:
            raise ValueError("real images are not sampled: leave samples out, and say n")
        return {"n": ENCODED_IMAGES, **{key: data[key] for key in data if data[key] is not None}}


FactorName = Literal["sampling", "prompt_type", "codebook"]


class Factorial(Written):
    """The 2x2x2: sampling x wording x codebook (paper section 3.4), or fewer of its factors."""

    kind: Literal["factorial"] = "factorial"
    factors: list[FactorName] | None = Field(
        default=None,
        min_length=1,
        description="Factors that are crossed; the others stay as without intervention. Default "
        "all three, or `[sampling, codebook]` where no prompt has paraphrases.",
    )
    keep_ratio: Ratio = Field(
        default=0.5, description="Share of the codebook kept under the subset probe."
    )
    subset_method: SubsetMethod = "drop_least_frequent"
    paraphrases: int = Field(
        default=5, ge=2, description="Paraphrases a prompt's samples are spread over."
    )
    paraphrase_length: ParaphraseLength = "mixed"

    @field_validator("factors")
    @classmethod
    def _distinct(cls, factors: list[FactorName] | None) -> list[FactorName] | None:
        return factors and _refuse_repeats(factors)


class CrossedNoise(Written):
    """Every path draw meets every execution draw: whose randomness is diversity?

    Original wording and full codebook. Sample s of a prompt has the path noise of sample
    s // executions and the execution noise of sample s % executions; with several renderings of
    each, s is the number of the token grid, not of the image. What is equal is made once: the samples
    of one execution noise where a model's order is fixed, those of one path noise under argmax.
    """

    kind: Literal["crossed_noise"] = "crossed_noise"
    paths: int = Field(default=4, ge=2, description="Path draws per prompt.")
    executions: int = Field(
        default=4, ge=2, description="Execution draws per prompt; each meets every path draw."
    )
    renderings: int = Field(
        default=1,
        ge=1,
        description="Images of each token grid, for models whose decoder draws noise of its own.",
    )
    sampling: list[Literal["stochastic", "argmax"]] = Field(
        default=["stochastic"],
        min_length=1,
        max_length=2,
        description="Sampling of its conditions.",
    )
    prompts: int | None = Field(
        default=None,
        ge=2,
        description="The first so many of the study's prompts; default all of them.",
    )

    @property
    def samples(self) -> int:
        """Images per prompt."""
        return self.paths * self.executions * self.renderings


BelowOne = Annotated[float, Field(gt=0, lt=1)]


OrderName = Literal["confidence", "random", "raster", "halton", "entropy", "entropy_bounded"]
FIXED_ORDERS: tuple[OrderName, ...] = ("raster", "halton")
"""Orders of one path, whatever the tokens."""
NOISELESS_ORDERS: tuple[OrderName, ...] = (*FIXED_ORDERS, "entropy_bounded")
"""Orders without path noise: tokens have one path each, so that their probability is known."""
PathNoise = Literal["own", "shared"]


class Order(Written):
    """In which order a masked model commits positions, on the same weights and schedule.

    The confidence order, own path noise and draws are always there, to compare with. Raster, halton
    and entropy_bounded have no path noise, so they have one condition where the others have two.
    The last has no schedule either: the entropies of a step say how many positions it commits.
    """

    kind: Literal["order"] = "order"
    orders: list[OrderName] = Field(
        default=["confidence", "random", "raster", "halton", "entropy"], min_length=1
    )
    path: list[PathNoise] = Field(
        default=["own", "shared"],
        min_length=1,
        description="Whether every sample has path noise of its own, or all of a prompt that of "
        "the first.",
    )
    sampling: list[Literal["stochastic", "argmax"]] = Field(
        default=["stochastic", "argmax"], min_length=1
    )
    entropy_bound: float = Field(
        default=8.0,
        gt=0,
        description="Bits, of the order `entropy_bounded`: a step commits the positions of least "
        "entropy as long as the entropies of all but the last of them add up to no more. Steps are "
        "at most those of the model, the last of which commits what is left.",
    )

    _distinct = field_validator("orders", "path", "sampling")(_refuse_repeats)


class SubsetRatio(Written):
    """Ever less of the codebook, original wording (paper section 4.4.1, Fig. 4).

    The full codebook is always there, to compare with.
    """

    kind: Literal["subset_ratio"] = "subset_ratio"
    ratios: list[Ratio] = Field(
        default=[0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        min_length=1,
        description="Shares kept.",
    )
    subset_method: SubsetMethod = "drop_least_frequent"

    _distinct = field_validator("ratios")(_refuse_repeats)


class ArgmaxWindow(Written):
    """Argmax in a part of the steps, all else untouched (section 4.4.2, Fig. 5a).

    No argmax is always there, to compare with.
    """

    kind: Literal["argmax_window"] = "argmax_window"
    windows: list[Text] = Field(
        default=["early", "middle", "late", "all"],
        min_length=1,
        description="early, middle or late (thirds of the steps), all, or two shares of the steps "
        "such as '1/4:1/2'.",
    )

    _distinct = field_validator("windows")(_refuse_repeats)


class ParaphraseLengths(Written):
    """Paraphrases of one length class (section 4.4.3, Fig. 5b).

    The original wording is always there, to compare with.
    """

    kind: Literal["paraphrase_length"] = "paraphrase_length"
    lengths: list[Literal["original"] | ParaphraseLength] = Field(
        default=["short", "medium", "long", "mixed"], min_length=1
    )
    paraphrases: int = Field(
        default=5, ge=2, description="Paraphrases a prompt's samples are spread over."
    )

    _distinct = field_validator("lengths")(_refuse_repeats)


class SubsetMethods(Written):
    """Which codes go, at one size of the subset (section 4.4.4, Fig. 5c).

    The full codebook is always there, to compare with.
    """

    kind: Literal["subset_method"] = "subset_method"
    keep_ratio: BelowOne = Field(
        default=0.5, description="Share of the codebook kept by every method."
    )
    methods: list[SubsetMethod] = Field(
        default=["drop_least_frequent", "drop_most_frequent", "drop_random"], min_length=1
    )
    random_draws: int = Field(
        default=3, ge=1, description="Random subsets, each a condition of its own."
    )

    _distinct = field_validator("methods")(_refuse_repeats)


class Enhancement(Written):
    """The proposed way to more diversity beside its two halves and the baseline.

    Mixed-length paraphrases while the most frequent codes are disabled, and each half alone
    (section 4.5, Fig. 6-7).
    """

    kind: Literal["enhancement"] = "enhancement"
    ratios: list[BelowOne] = Field(
        default=[0.5, 0.6, 0.7, 0.8, 0.9],
        min_length=1,
        description="Shares of the codebook kept; Fig. 7 has 0.8.",
    )
    subset_method: SubsetMethod = "drop_most_frequent"
    paraphrases: int = Field(
        default=5, ge=2, description="Paraphrases a prompt's samples are spread over."
    )
    paraphrase_length: ParaphraseLength = "mixed"

    _distinct = field_validator("ratios")(_refuse_repeats)


Ablation = SubsetRatio | ArgmaxWindow | ParaphraseLengths | SubsetMethods | Enhancement | Order
"""Experiments that vary one probe, the two of the enhancement, or the order, against the cell
without intervention.
"""


def _kind(experiment: Any) -> str:
    """Kind of an experiment as written; one that names none is a factorial."""
    given = (
        experiment.get("kind", "factorial")
        if isinstance(experiment, dict)
        else getattr(experiment, "kind", "")
    )
    return str(given)


Experiment = Annotated[
    Annotated[Factorial, Tag("factorial")]
    | Annotated[CrossedNoise, Tag("crossed_noise")]
    | Annotated[SubsetRatio, Tag("subset_ratio")]
    | Annotated[ArgmaxWindow, Tag("argmax_window")]
    | Annotated[ParaphraseLengths, Tag("paraphrase_length")]
    | Annotated[SubsetMethods, Tag("subset_method")]
    | Annotated[Enhancement, Tag("enhancement")]
    | Annotated[Order, Tag("order")],
    Discriminator(_kind),
]


def _kinds() -> list[str]:
    """Kinds of experiment, in the order of the paper."""
    union, _ = get_args(Experiment)
    found = []
    for member in get_args(union):
        _, tag = get_args(member)
        found.append(tag.tag)
    return found


ABLATIONS = tuple(kind for kind in _kinds() if kind not in ("factorial", "crossed_noise"))
"""Kinds of experiment that compare arms with the condition without intervention."""


class Study(Written):
    """A whole study, one YAML file.

    What is not said keeps its default, which the run records.
    """

    schema_version: Version = "1.0"
    name: Name
    seed: int = Field(default=0, ge=0, lt=2**63)
    models: list[ModelChoice] = Field(min_length=1)
    prompts: PromptSource = PromptSource()
    calibration: Calibration = Calibration()
    samples: int = Field(
        ge=2, description="Images per prompt and condition; pairs need at least two."
    )
    experiments: dict[Name, Experiment] = Field(default={"factorial": Factorial()}, min_length=1)
    images: bool = Field(default=True, description="Store images; tokens are always stored.")
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=64,
        description="Samples per forward, fixed for the whole run; "
        "'auto' is as many as fit the GPU.",
    )
    block_prompts: int | None = Field(
        default=None, ge=1, description="Prompts per block; default near 256 images."
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_model_names(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("models"), list):
            models = [{"model": m} if isinstance(m, str) else m for m in data["models"]]
            return {**data, "models": models}
        return data

    @model_validator(mode="before")
    @classmethod
    def _calibrate_in_the_kind_of_the_prompts(cls, data: Any) -> Any:
        """A shipped set has calibration prompts of its own.

        Code usage on the trio's captions says nothing of it.
        """
        if isinstance(data, dict) and isinstance(prompts := data.get("prompts"), dict):
            calibration = data.get("calibration", {})
            if (
                (name := prompts.get("source")) in OWN_CALIBRATION
                and isinstance(calibration, dict)
                and "source" not in calibration
            ):
                return {**data, "calibration": {**calibration, "source": name}}
        return data
