"""A copy that did not finish is called one, whatever had arrived when it stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ibstats
from generate.errors import StoreError
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.store.samples import SampleStore
from generate.study.planning import plan
from generate.study.study_file import load_study
from tests.faults.damages import files_of
from tests.generate.conftest import edited, write_study


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    study = edited(write_study(folder), models=["toy-masked"], block_prompts=2)
    laid_out = plan(*load_study(str(study)))
    run(laid_out, prepare(laid_out, folder / "run"))
    return folder / "run"


def copied(whole: Path, root: Path, names: list[Path]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(whole / name, root / name)
    return root


def read(root: Path) -> object:
    return ibstats.open_store(root).dataset("toy-masked")


def by_rsync(path: Path) -> tuple[bool, str]:
    """Files of a folder first, then its folders, each in the order of their names."""
    return len(path.parts) > 1, str(path)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.85])
def test_rsync_that_stopped_half_way_is_recognised(
    whole: Path, tmp_path: Path, share: float
) -> None:
    files = sorted(files_of(whole), key=by_rsync)
    root = copied(whole, tmp_path / "run", files[: int(share * len(files))])
    with pytest.raises(ibstats.IbstatsError, match="if it was copied, copy it again") as told:
        read(root)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("lacks", ["run.json", "data.zarr", "tokens/c.", "text"])
def test_a_bucket_that_was_synced_in_any_order_is_recognised(
    whole: Path, tmp_path: Path, lacks: str
) -> None:
    files = [file for file in files_of(whole) if lacks not in str(file)]
    root = copied(whole, tmp_path / "run", files)
    with pytest.raises(ibstats.IbstatsError, match="if it was copied, copy it again"):
        read(root)
    if lacks != "tokens/c.":  # those are made again
        with pytest.raises(StoreError, match="if it was copied, copy it again"):
            SampleStore.open(root)


def test_one_lost_file_is_damage_and_a_run_without_images_is_whole(
    whole: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(whole, tmp_path / "run"))
    lost = next((root / "data.zarr/toy-masked/factorial/tokens").glob("c.*"))
    lost.rename(tmp_path / "lost")
    with pytest.raises(ibstats.IbstatsError, match=r"is missing, .*verify --repair"):
        read(root)
    (tmp_path / "lost").rename(lost)
    shutil.rmtree(root / "data.zarr/toy-masked/factorial/image")
    read(root)


def test_a_run_that_was_killed_is_to_be_finished_and_not_copied(
    whole: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(whole, tmp_path / "run"))
    max((root / "ledger").rglob("*.json")).unlink()
    with pytest.raises(ibstats.IbstatsError, match="finish the run with `ibgenerate run`") as told:
        read(root)
    assert "copied" not in str(told.value)
