"""Rows of Parquet files become the run that files of the same samples become."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

from ibstats import IbstatsError, Recorder, extras, importing, open_store
from ibstats.cli import app

CODES = 9


def rows(*, as_hub: bool = False) -> list[dict[str, Any]]:
    """Two conditions of three prompts with three samples each."""
    rng = np.random.default_rng(0)
    found = []
    for prompt, condition, _ in itertools.product(("p1", "p2", "p10"), ("cold", "warm"), range(3)):
        content = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)).save(content, "png")
        image: Any = content.getvalue()
        if as_hub:
            image = {"bytes": image, "path": None}
        tokens = rng.integers(0, CODES, (2, 2)).tolist()
        row = {"prompt": prompt, "condition": condition, "image": image, "tokens": tokens}
        found.append({**row, "other": 1})
    return found


def written(file: Path, of: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(of), file)
    return file


def folder_run(root: Path) -> str:
    """The snapshot of the same samples, imported from files."""
    numbers: dict[Path, int] = {}
    grids: dict[Path, list[Any]] = {}
    for row in rows():
        place = root / "files" / row["condition"] / row["prompt"]
        place.mkdir(parents=True, exist_ok=True)
        number = numbers[place] = numbers.get(place, -1) + 1
        (place / f"{number}.png").write_bytes(row["image"])
        grids.setdefault(place, []).append(row["tokens"])
        np.save(place / "tokens.npy", np.array(grids[place]))
    patterns = {
        "images": "{condition}/{prompt}/{sample}.png",
        "tokens": "{condition}/{prompt}/tokens.npy",
    }
    found = importing.survey(importing.Spec(**patterns, codebook=CODES), root / "files")
    importing.write(found, root / "run")
    return open_store(root / "run").snapshot()


@pytest.mark.parametrize("as_hub", [False, True], ids=["bytes", "hub"])
def test_rows_make_the_run_that_files_make(tmp_path: Path, *, as_hub: bool) -> None:
    of = rows(as_hub=as_hub)
    written(tmp_path / "data/part-2.parquet", of[:7])
    written(tmp_path / "data/part-10.parquet", of[7:])
    out = tmp_path / "out"
    asked = ["import", str(tmp_path / "data"), "--codebook", str(CODES), "--baseline", "cold"]
    looked = CliRunner().invoke(app, [*asked, "--dry-run"])
    assert looked.exit_code == 0, looked.output
    assert "2 conditions x 3 prompts, 3 samples each: 18 rows in all" in looked.output
    done = CliRunner().invoke(app, [*asked, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert open_store(out).snapshot() == folder_run(tmp_path / "folder")
    assert open_store(out).run.experiments["imported"].baseline == "cold"


def test_an_import_of_rows_that_was_interrupted_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "data.parquet", rows())
    kept, added = Recorder.add, []

    def dying(self: Recorder, **given: Any) -> None:
        if len(added) == 3:
            raise KeyboardInterrupt
        added.append(given["prompt"])
        kept(self, **given)

    monkeypatch.setattr(Recorder, "add", dying)
    with pytest.raises(KeyboardInterrupt):
        importing.import_rows([file], tmp_path / "run", {"codebook": CODES})
    monkeypatch.setattr(Recorder, "add", kept)
    importing.import_rows([file], tmp_path / "run", {"codebook": CODES})
    assert open_store(tmp_path / "run").snapshot() == folder_run(tmp_path / "folder")


def test_rows_that_cannot_be_imported_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none.parquet").write_text("hello")
    named = [{**row, "image": {"bytes": None, "path": "a.png"}} for row in rows()]
    cases = {
        "none": (tmp_path / "none.parquet", "is no readable Parquet file"),
        "columns": (
            written(tmp_path / "a.parquet", [{"caption": "x", "image": b""}]),
            "has the columns caption, image; an import takes `prompt`",
        ),
        "named": (written(tmp_path / "b.parquet", named), "holds no bytes of a picture"),
        "broken": (
            written(tmp_path / "c.parquet", [{"prompt": "p", "image": b"no picture"}]),
            "that is not readable",
        ),
        "empty": (written(tmp_path / "d.parquet", rows()).parent / "d.parquet", "how many codes"),
    }
    for name, (file, message) in cases.items():
        with pytest.raises(IbstatsError, match=message) as raised:
            importing.import_rows([file], tmp_path / f"run-{name}")
        assert "\n" not in str(raised.value)
        assert not (tmp_path / f"run-{name}").exists()
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(IbstatsError, match=r"needs pyarrow; pip install 'ibstats\[parquet\]'"):
        list(importing.told([tmp_path / "a.parquet"]))


def test_rows_may_name_prompts_apart_from_their_texts(tmp_path: Path) -> None:
    of = [{**row, "prompt_id": row["prompt"], "prompt": "the same words"} for row in rows()]
    file = written(tmp_path / "a.parquet", of)
    importing.import_rows([file], tmp_path / "run", {"codebook": CODES})
    prompts = open_store(tmp_path / "run").prompts
    assert [prompt.id for prompt in prompts] == ["p1", "p2", "p10"]
    assert {prompt.text for prompt in prompts} == {"the same words"}
    of[-1]["prompt"] = "others"
    with pytest.raises(IbstatsError, match="has two texts of the prompt_id 'p10'"):
        importing.import_rows([written(tmp_path / "b.parquet", of)], tmp_path / "none")
    assert not (tmp_path / "none").exists()
