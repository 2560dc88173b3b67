"""Base prompts from each source, and the lines that say what a source cannot give."""

from __future__ import annotations

import io
import json
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from generate.prompts.build import Asked, collect
from generate.prompts.checks import check
from generate.prompts.files import read_prompts
from generate.prompts.hub import KNOWN, known, read
from tests.generate.prompts.conftest import Command


@pytest.fixture
def dalle3(tmp_path: Path) -> Path:
    """Tar files of images, each beside a JSON file, as in the published DALL-E 3 captions."""
    (tmp_path / "dalle3/data").mkdir(parents=True)
    png = io.BytesIO()
    Image.new("RGB", (2, 2)).save(png, "PNG")
    captions = [
        "A fox asleep.",
        None,
        "a FOX, asleep!",
        "An owl in a barn.",
        "A red barge on a canal at dawn.",
    ]
    with tarfile.open(tmp_path / "dalle3/data/data-000000.tar", "w") as tar:
        for i, caption in enumerate(captions):
            row = {
                "image_name": f"{i}.png",
                "short_caption": caption,
                "long_caption": "At length.",
                "width": 2,
            }
            for suffix, content in (("json", json.dumps(row).encode()), ("png", png.getvalue())):
                member = tarfile.TarInfo(f"{i:05d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return tmp_path / "dalle3"


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A Parquet file with the columns of the MSCOCO captions, five captions an image."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "coco/data").mkdir(parents=True)
    table = pa.table(
        {
            "filename": [f"COCO_val2014_{i}.jpg" for i in range(4)],
            "cocoid": range(4),
            "sentences": [[f"A man with {i} kites.", "Somebody flies kites."] for i in range(4)],
        }
    )
    pq.write_table(table, tmp_path / "coco/data/test-00000-of-00001.parquet")
    return tmp_path / "coco"


def test_captions_of_dalle3_are_read_from_its_tar_files(dalle3: Path) -> None:
    asked = Asked(f"hf:{dalle3}", column=KNOWN["dalle3"].column, hub_split=KNOWN["dalle3"].split)
    prompts, passed = collect(asked)
    assert [prompt.text for prompt in prompts] == [
        "A fox asleep.", "An owl in a barn.", "A red barge on a canal at dawn.",
    ]  # fmt: skip
    assert [prompt.id for prompt in prompts] == ["dalle3-00001", "dalle3-00004", "dalle3-00005"]
    assert str(passed) == "1 empty, 1 repeated"


def test_of_the_captions_of_a_coco_image_the_first_is_taken(coco: Path) -> None:
    asked = Asked(
        f"hf:{coco}", n=3, column=KNOWN["coco2014"].column, hub_split=KNOWN["coco2014"].split
    )
    assert [prompt.text for prompt in collect(asked)[0]] == [
        f"A man with {i} kites." for i in range(3)
    ]


def test_a_seed_draws_captions_at_random_and_repeatably(
    coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` waits for seconds to start the threads that fill its buffer; here they have nothing to fetch."""
    wait = time.sleep
    monkeypatch.setattr(
        "datasets.iterable_dataset.time.sleep", lambda seconds: wait(min(seconds, 0.05))
    )
    local = replace(KNOWN["coco2014"], repository=str(coco))
    orders = [list(read(local, seed=seed)) for seed in (0, 0, 1, 2, 3)]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) > 1
    assert all(sorted(order) == sorted(read(local)) for order in orders)


def test_known_caption_sets_take_the_settings_given_and_keep_their_own() -> None:
    captions = known("coco2014", split="validation", column=None)
    assert (captions.repository, captions.split, captions.column) == (
        "yerevann/coco-karpathy",
        "validation",
        "sentences",
    )


def test_prompts_are_drawn_apart_from_those_of_another_set(
    tmp_path: Path, command: Command
) -> None:
    (tmp_path / "all.csv").write_text("text\n" + "".join(f"scene number {i}\n" for i in range(20)))
    for name, extra in (("study", ()), ("calibration", ("--exclude", tmp_path / "study.jsonl"))):
        status, _, _ = command(
            "build",
            "--source",
            tmp_path / "all.csv",
            "--n",
            10,
            "--seed",
            4,
            "--out",
            tmp_path / f"{name}.jsonl",
            *extra,
        )
        assert status == 0
    study, calibration = (
        read_prompts(tmp_path / f"{name}.jsonl") for name in ("study", "calibration")
    )
    assert not {prompt.text for prompt in study} & {prompt.text for prompt in calibration}
    assert [prompt.text for prompt in study] != sorted(prompt.text for prompt in study)


def test_the_grammar_words_the_prompts_of_the_trio(tmp_path: Path, command: Command) -> None:
    arguments = (
        "build",
        "--source",
        "trio",
        "--n",
        3,
        "--paraphrase",
        "grammar",
        "--per-length",
        4,
    )
    status, _, _ = command(*arguments, "--out", tmp_path / "trio.jsonl")
    assert status == 0
    prompts = read_prompts(tmp_path / "trio.jsonl")
    assert check(prompts, per_length=4) == []
    assert all(len(prompt.paraphrases.long) == 4 for prompt in prompts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--source", "gneral"), "source 'gneral' is unknown; give one of trio, general, imagenet, dalle3, coco2014"),
        (("--source", "gone.csv"), "gone.csv does not exist"),
        (("--source", "{base}", "--column", "caption"), "base.csv has no column 'caption'; its columns are id, text"),
        (("--source", "{base}", "--n", 3), "gives 2 prompts, 3 are asked for (passed over: none)"),
        (("--source", "{base}", "--max-words", 1), "gives 0 prompts, some are asked for (passed over: 2 too long)"),
        (("--source", "trio", "--column", "x"), "--column is for captions of a table"),
        (("--source", "{base}", "--hub-split", "test"), "--hub-split is for captions of a table"),
        (("--source", "trio", "--n", 2, "--seed", 1), "--seed is not for the trio"),
        (("--source", "hf:{coco}"), "with --column"),
        (("--source", "hf:{coco}", "--column", "text", "--hub-split", "test"), "has no column 'text'; its columns are"),
        (("--source", "hf:{coco}", "--column", "cocoid", "--hub-split", "test"), "holds int, not text"),
        (("--source", "hf:{coco}", "--column", "sentences", "--hub-split", "dev"), "split 'dev', cannot be read"),
        (("--source", "{base}", "--paraphrase", "grammar"), "prompt 'fox' has no attributes of the trio's grammar"),
        (("--source", "{base}", "--paraphrase", "endpoint"), "--paraphrase endpoint needs a --model"),
        (
            ("--source", "{base}", "--paraphrase", "endpoint", "--model", "m"),
            "environment variable OPENAI_API_KEY is not set",
        ),
        (
            ("--source", "{base}", "--paraphrase", "endpoint", "--model", "m", "--url", "https://a.org/v1?key=abc"),
            "the endpoint at a.org holds a user, a query or a fragment",
        ),
        (("--source", "{base}", "--split", "test"), "split is 'test'; give study or calibration"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_ends_in_one_line_and_writes_nothing(
    tmp_path: Path, coco: Path, command: Command, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "base.csv").write_text("id,text\nfox,the fox\nowl,the owl\n")
    given = [str(a).format(base=tmp_path / "base.csv", coco=coco) for a in arguments]
    status, _, err = command("build", *given, "--out", tmp_path / "set.jsonl")
    assert status == 1
    assert message in err.splitlines()[-1]
    assert not list(tmp_path.glob("set*"))


def test_a_finished_file_is_not_overwritten_unasked(prompt_file: Path, command: Command) -> None:
    before = prompt_file.read_bytes()
    status, _, err = command("build", "--source", "trio", "--n", 2, "--out", prompt_file)
    assert status == 1
    assert "exists: give another --out, or --overwrite" in err
    assert prompt_file.read_bytes() == before
    assert (
        command("build", "--source", "trio", "--n", 2, "--out", prompt_file, "--overwrite")[0] == 0
    )
    assert prompt_file.read_bytes() != before


def test_sets_are_listed_and_shown(prompt_file: Path, command: Command) -> None:
    status, out, _ = command("list")
    assert status == 0
    assert {"general", "trio", "dalle3", "coco2014"} <= set(out.replace("│", " ").split())
    status, out, _ = command("show", prompt_file)
    assert out.splitlines() == ["fox\tthe fox", "harbour\tthe harbour"]
    status, out, _ = command("show", prompt_file, "--id", "fox")
    assert len(out.splitlines()) == 16
    status, _, err = command("show", prompt_file, "--id", "wolf")
    assert status == 1
    assert "has no prompt 'wolf'" in err
