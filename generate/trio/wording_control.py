"""The paraphrase probe on real renders: how much diversity wording adds when nothing is learnt.

Scenes are drawn from the very law the training images follow, for prompts of the study split:
attributes not named are free, wording shifts lightness and scale as `scenes` says. A model that
learnt this law perfectly would answer the paraphrase probe by the difference found here.
"""

import numpy as np

from generate.trio import scenes
from generate.trio.captions import LENGTHS, Meaning
from generate.trio.prompt_sets import prompt_set
from generate.trio.scenes import Floats, Ints

ARMS = ("original", *LENGTHS, "mixed")


def wording_rows(arm: str, count: int, rng: np.random.Generator) -> Ints:
    """Wordings (count, 3) of one prompt's samples.

    The arm "original" is one medium wording for all; a length has one of that length for each,
    "mixed" one of any.
    """
    rows = scenes.draw_wordings(count, rng)
    if arm == "original":
        rows[:] = rows[0]
        rows[:, 0] = LENGTHS.index("medium")
    elif arm != "mixed":
        rows[:, 0] = LENGTHS.index(arm)
    return rows


def render_prompt(meaning: Meaning, arm: str, count: int, rng: np.random.Generator) -> Floats:
    """Renders (count, 32, 32, 3) in [0, 1] that show `meaning`, in the wordings of `arm`.

    `rng` draws what the meaning leaves open, then wordings, then jitter, and as much in every arm:
    from one seed the arms show the same scenes.
    """
    attributes = scenes.draw_attributes(count, rng)
    for column, (name, values) in enumerate(scenes.ATTRIBUTES.items()):
        if name in meaning:
            attributes[:, column] = values.index(meaning[name])
    return scenes.render(attributes, wording_rows(arm, count, rng), rng)


def pixel_cosine_distance(images: Floats) -> float:
    """Mean of 1 - cosine over unordered pairs of images (count, y, x, channel).

    NaN for fewer than two images, and where one is all black.
    """
    flat = images.reshape(len(images), -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return float(1 - (flat @ flat.T)[np.triu_indices(len(flat), 1)].mean())


def lightness_spread(images: Floats) -> float:
    """Standard deviation over images (count, y, x, channel) of their mean pixel, in [0, 1].

    Taken with n - 1; NaN for a single image.
    """
    return float(images.mean((1, 2, 3)).std(ddof=1))


def fully_named(meaning: Meaning, rng: np.random.Generator) -> dict[str, str]:
    """`meaning` with a random value for every attribute it leaves open.

    Values are equally likely; in the order of `ATTRIBUTES`.
    """
    drawn = scenes.draw_attributes(1, rng)[0]
    named = {}
    for (name, values), index in zip(scenes.ATTRIBUTES.items(), drawn, strict=True):
        named[name] = values[index]
    return named | dict(meaning)


def control(
    *, prompts: int, samples: int, seed: int, all_named: bool = False
) -> dict[str, dict[str, float]]:
    """Both measures for each arm, averaged over study prompts.

    By arm, `pixel_cosine_distance` (mean 1 - cosine of pairs) and `lightness_spread` (standard
    deviation of the mean pixel, in [0, 1]) over `samples` renders a prompt; `all_named` leaves no
    attribute free.
    """
    rng = np.random.default_rng(seed)
    records = prompt_set("study", prompts, seed)
    meanings: list[Meaning] = [record["attributes"] for record in records]
    if all_named:
        meanings = [fully_named(meaning, rng) for meaning in meanings]
    figures: dict[str, dict[str, float]] = {}
    for arm in ARMS:
        rng = np.random.default_rng(seed)  # the same scenes and jitter in every arm
        sets = [render_prompt(meaning, arm, samples, rng) for meaning in meanings]
        distances = list(map(pixel_cosine_distance, sets))
        spreads = list(map(lightness_spread, sets))
        figures[arm] = {
            "pixel_cosine_distance": float(np.mean(distances)),
            "lightness_spread": float(np.mean(spreads)),
        }
    return figures
