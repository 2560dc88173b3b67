"""Scores of a user's own: a class, or another program that answers line by line."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ibstats
from ibstats.analysis import provenance
from ibstats.errors import IbstatsError
from ibstats.measure import embeddings, process_score, score
from ibstats.quantities import quantity
from ibstats.selection import select
from schemas.analysis import Resampling
from tests.ibstats.measure.pixels import noise

CLASS = """
from ibstats.measure import ImageScore


class Redness(ImageScore):
    name = "NAME"
    long_name = "share of red, by the length of the prompt"
    better = "smaller"
    least, most = 0.0, 50.0

    def settings(self):
        return {"version": 1}

    def score(self, images, text):
        red = images[..., 0].mean(axis=(1, 2)) / 255
        return red * len(text)
"""

PROGRAM = """
import json, sys
from PIL import Image, ImageStat

print(json.dumps(FIRST), flush=True)
waiting = []
for line in sys.stdin:
    one = json.loads(line)
    red = ImageStat.Stat(Image.open(one["image"])).mean[0] / 255
    answer = {"id": one["id"], "score": red * len(one["text"])}
    print("a note", file=sys.stderr)
    ANSWER
"""

FIRST = {"name": "NAME", "version": "3", "better": "larger", "range": [0, None]}


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A class in a file, under a name that no other test uses."""
    file = tmp_path / "mine.py"
    file.write_text(CLASS.replace("NAME", f"redness_{abs(hash(tmp_path)):x}"))
    return f"{file}:Redness"


def program(
    folder: Path, first: object = FIRST, answer: str = "print(json.dumps(answer), flush=True)"
) -> str:
    """A command that scores like the class."""
    file = folder / "scorer.py"
    text = PROGRAM.replace("FIRST", repr(first)).replace("ANSWER", answer)
    file.write_text(text.replace("NAME", f"process_{abs(hash(folder)):x}"))
    return f"command:{shlex.quote(sys.executable)} {shlex.quote(str(file))}"


def expected(run: Path) -> xr.DataArray:
    """Mean redness of a prompt's images times the length of its text."""
    data = ibstats.open_store(run).dataset("toy-mim", "factorial")
    red = data["image"].isel(channel=0).mean(("sample", "y", "x")) / 255
    lengths = [len(str(text)) for text in data["text"].values]
    return red.transpose("condition", "prompt") * np.array(lengths)


def test_a_class_and_a_program_are_scores_like_ours(
    run_copy: Path, own: str, tmp_path: Path
) -> None:
    store = ibstats.open_store(run_copy)
    names = (own, program(tmp_path))
    settings = ibstats.Config(
        models=("toy-mim",),
        scores=names,
        metrics=("pixel_cosine",),
        parts=("quality",),
        resampling=Resampling(n_resamples=200),
    )
    tree = ibstats.analyse(store, settings)["toy-mim"]
    for name in names:
        made = score(name)
        value = tree["quality_per_prompt"][made.name].transpose("condition", "prompt")
        np.testing.assert_allclose(value.values, expected(run_copy).values, rtol=1e-6)
        assert quantity(made.name).user == name
        assert made.name in tree["quality"]["quantity"].values
        assert made.name in tree["quality_probes"]["quantity"].values
    assert quantity(score(own).name).better == "smaller"
    assert quantity(score(names[1]).name).better == "larger"
    followed = provenance(store, settings)["own_scores"]
    assert followed[own] == {"version": 1}
    assert followed[names[1]]["version"] == "3"


def test_what_was_scored_is_kept_by_the_texts_too(run_copy: Path, own: str) -> None:
    selection = select(ibstats.open_store(run_copy), "toy-mim", "factorial")
    prompts = list(map(str, selection.dataset["prompt"].values))
    short = embeddings(selection, score(own).of(dict.fromkeys(prompts, "a")))
    long = embeddings(selection, score(own).of(dict.fromkeys(prompts, "aaa")))
    np.testing.assert_allclose(long.values, 3 * short.values, rtol=1e-6)


@pytest.mark.parametrize(
    ("first", "answer", "message"),
    [
        ({"name": "No Good"}, "", "its first line must read like"),
        ({**FIRST, "better": "more"}, "", "its first line must read like"),
        (FIRST, "print('hello', flush=True)", "printed 'hello', but must print lines such as"),
        (FIRST, "sys.exit('out of memory')", "ended with status 1: out of memory"),
        (FIRST, "print(json.dumps({'id': '7'}), flush=True)", "must answer each once"),
        (FIRST, "print(json.dumps({**answer, 'score': None}), flush=True)", "must answer each"),
        (FIRST, "print(json.dumps({**answer, 'score': -1}), flush=True)", "its range is 0 to inf"),
        (FIRST, "waiting.append(answer)", "was silent for 1 s; does it flush each line"),
    ],
)
def test_a_program_that_does_not_keep_to_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: object, answer: str, message: str
) -> None:
    images = xr.DataArray(
        noise(1, 2, 4, 4), dims=("condition", "sample", "y", "x", "channel"), coords={"prompt": "p"}
    )

    def scored() -> None:
        made = score(program(tmp_path, first, answer or "pass"))
        if "silent" in message:
            monkeypatch.setattr(process_score, "PATIENCE", 1.0)
        made.of({"p": "text"}).row(images, "m")

    with pytest.raises(IbstatsError) as raised:
        scored()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(IbstatsError, match="the scorer 'no-such-program x' does not start"):
        score("command:no-such-program x")
    with pytest.raises(IbstatsError, match="the scorer '' does not start"):
        score("command:")


def test_answers_may_come_in_any_order(tmp_path: Path) -> None:
    answer = "waiting.append(answer); len(waiting) % 4 or "
    answer += "[print(json.dumps(one), flush=True) for one in waiting[:-5:-1]]"
    made = score(program(tmp_path, answer=answer))
    made.batch_size = 4
    images = noise(1, 8, 4, 4)[0]
    plain = images[..., 0].mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(made.score(images, "a"), plain, rtol=1e-6)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("return images[0]", "for 2 images; return one real number each"),
        ("return [float('nan')] * 2", "is not finite for 2 images"),
        ("return [0.0, 51.0]", "goes from 0 to 51, but its range is 0 to 50"),
    ],
)
def test_scores_that_are_none_are_one_line(tmp_path: Path, code: str, message: str) -> None:
    file = tmp_path / "mine.py"
    body = CLASS.replace("NAME", f"bad_{abs(hash(tmp_path)):x}")
    file.write_text(body.split("        red =")[0] + f"        {code}\n")
    made = score(f"{file}:Redness").of({"p": "text"})
    images = xr.DataArray(
        noise(1, 2, 4, 4), dims=("condition", "sample", "y", "x", "channel"), coords={"prompt": "p"}
    )
    with pytest.raises(IbstatsError, match=message):
        made.row(images, "m")
