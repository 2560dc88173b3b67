"""Commands end in one line that says what to do."""

from __future__ import annotations

import os
import shutil
import socket
import warnings
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from generate import cli
from generate.cli import console
from generate.run import cost
from generate.run.cost import Estimate, Measured
from generate.store.samples import SampleStore
from generate.study.planning import recorded_plan
from schemas.io.ledger import Ledger
from schemas.store import Block, BlockRecord
from tests.generate.conftest import edited, prompt_lines


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["ibgenerate", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return int(exit_.value.code or 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["trio-arr"]}, "model 'trio-arr' is unknown; known are trio-ar"),
        ({"prompts": {"source": "gone.jsonl"}}, "gone.jsonl does not exist"),
        (
            {"sampels": 4},
            "unknown key 'sampels' (did you mean 'samples'?); allowed here: schema_version, name",
        ),
        (
            {"prompts": "mine.jsonl"},
            "must be a mapping (`key: value`). Write {source: mine.jsonl}.",
        ),
        ({"models": "toy-ar"}, "'models' is 'toy-ar': must be a list"),
        ({"experiments": {"a/b": {"kind": "factorial"}}}, "'a/b': may hold letters, digits"),
    ],
)
def test_what_a_user_can_repair_ends_in_one_line(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    changes: dict[str, object], message: str,
) -> None:  # fmt: skip
    study = edited(study_file, **changes)
    assert call(monkeypatch, "run", study, "--out", study.parent / "run", "--device", "cpu") == 1
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    assert printed.startswith("error:")
    assert message in printed


def test_a_file_where_the_run_should_lie_ends_in_one_line(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = study_file.parent / "taken"
    taken.write_text("mine")
    assert call(monkeypatch, "run", study_file, "--out", taken, "--device", "cpu") == 1
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    assert printed.startswith("error:")
    assert "a file lies where a folder is needed" in printed
    assert taken.read_text() == "mine"


def test_prompts_of_one_text_are_named_before_a_study_is_sampled(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids keep them apart, and two of them would count as two prompts."""
    out = study_file.parent / "new"
    arguments = ("run", study_file, "--out", out, "--device", "cpu", "--dry-run")
    assert call(monkeypatch, *arguments) == 0
    assert "have the text of another" not in capsys.readouterr().err
    source = study_file.with_name("study.jsonl")
    again = prompt_lines("again", 1).replace("again prompt", "S, Prompt!")
    source.write_text(source.read_text() + again)
    assert call(monkeypatch, *arguments) == 0
    said = capsys.readouterr().err
    assert "have the text of another: 1 (first: 'again0' that of 's0')" in said


def test_an_existing_store_of_another_study_is_refused(
    store: SampleStore,
    study_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = edited(study_file, samples=7)
    assert call(monkeypatch, "run", study, "--out", store.root) == 1
    assert "made with samples = 6, the study says 7" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_named(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert (
        call(monkeypatch, "run", study_file, "--out", study_file.parent / "run", "--device", "cuda")
        == 1
    )
    assert (
        "device 'cuda' is not available here; use --device with one of: cpu"
        in capsys.readouterr().err
    )


def test_status_verify_and_run_agree_on_a_finished_store(
    store: SampleStore,
    study_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "status", store.root, "--digest") == 0
    status = capsys.readouterr().out
    assert call(monkeypatch, "verify", store.root) == 0
    assert "no problem in 48 of 48 blocks" in capsys.readouterr().out
    assert call(monkeypatch, "run", study_file, "--out", store.root) == 0
    done = capsys.readouterr().out
    assert "48 of 48 blocks done, 0 of them now" in done
    assert done.split("digest ")[1].strip() in status


def test_verify_fails_on_damage_until_it_is_repaired(
    store: SampleStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = next(store.root.glob("data.zarr/toy-masked/factorial/tokens/c.*"))
    victim.write_bytes(b"")
    assert call(monkeypatch, "verify", store.root) == 1
    assert "0 bytes instead of" in capsys.readouterr().out
    assert call(monkeypatch, "verify", store.root, "--repair") == 0
    assert call(monkeypatch, "verify", store.root) == 0
    assert "no problem in 47 of 48 blocks" in capsys.readouterr().out


def test_interrupting_says_how_to_go_on(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("generate.run.blocks.run", interrupt)
    assert (
        call(monkeypatch, "run", study_file, "--out", study_file.parent / "run", "--device", "cpu")
        == 130
    )
    assert "run the same command to go on" in capsys.readouterr().err


def test_models_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "models") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("trio-ar", "trio-mim", "trio-diffusion", "trio-raster"))


def test_a_dry_run_says_what_a_study_costs_and_makes_nothing(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """3 models x 8 cells x 5 prompts x 6 samples, and 4 prompts x 4 samples each for code usage."""
    out = study_file.parent / "run"
    monkeypatch.setenv("COLUMNS", "200")
    assert (
        call(
            monkeypatch,
            "run",
            study_file,
            "--out",
            out,
            "--device",
            "cpu",
            "--dry-run",
            "--workers",
            "2",
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "720 images left" in printed
    assert "with 2 workers of that speed, and 48 images are sampled for code usage alone" in printed
    assert "a batch of 16 on cpu" in printed
    assert not out.exists()


def test_a_dry_run_on_a_gpu_says_what_other_precisions_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """12,000 images of VQ-Diffusion in float32 at .1 a second, and by the card's .097 / .32 / .83."""
    study = tmp_path / "study.yaml"
    (tmp_path / "prompts.jsonl").write_text(prompt_lines("study", 2))
    models = [{"model": "vq-diffusion"}, {"model": "toy-masked"}]
    experiments = {"factorial": {"kind": "factorial", "factors": ["sampling"]}}
    study.write_text(
        yaml.safe_dump(
            {
                "name": "hours",
                "samples": 2,
                "models": models,
                "prompts": {"source": "prompts.jsonl"},
                "experiments": experiments,
            }
        )
    )
    each = Measured(10.0, 1e4, None, "a card")
    found = [Estimate(name, 12_000, 12_000, 0, 1, each) for name in ("vq-diffusion", "toy-masked")]
    monkeypatch.setattr("generate.cli.run.pick_device", lambda device: device)
    monkeypatch.setattr("generate.run.rehearsal.forecast", lambda plan, store, device: found)
    for device, n_lines in (("cuda", 1), ("cpu", 0)):
        asked = ("run", study, "--out", tmp_path / "run", "--device", device, "--dry-run")
        assert call(monkeypatch, *asked) == 0
        printed = capsys.readouterr().out
        line = "vq-diffusion: 33.3 hours in float32; about 10.1 in tf32, 3.9 in bfloat16, by the"
        assert printed.count(line) == printed.count("hours in") == n_lines


def test_status_reads_the_records_of_some_blocks_alone(
    store: SampleStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cost, "MEASURED", 3)
    asked: list[int] = []
    read_all = Ledger.read_all

    def counted(
        self: Ledger, blocks: Iterable[Block], committed: set[Block]
    ) -> dict[Block, BlockRecord]:
        found = read_all(self, blocks, committed)
        asked.append(len(found))
        return found

    monkeypatch.setattr(Ledger, "read_all", counted)
    assert call(monkeypatch, "status", store.root) == 0
    assert asked == [3] * len(store.run.models)
    assert "digest" not in capsys.readouterr().out


def test_the_cost_of_what_is_left_is_measured_on_the_committed_blocks(
    store: SampleStore,
    study_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(console.out, "width", 200)
    for record in store.root.glob("ledger/toy-masked/factorial/c0007-*.json"):
        record.unlink()
    shutil.rmtree(store.root / "ledger/toy-diffusion")
    (block,) = (
        b
        for b in recorded_plan(store.run, store.prompts).blocks()
        if b.name == "c0007-b000001" and b.model == "toy-masked"
    )
    with store.claims.claimed(block):
        assert call(monkeypatch, "status", store.root) == 0
    status = capsys.readouterr().out
    assert "left: 270 of 720 images" in status
    assert (
        f"running: toy-masked/factorial/c0007-b000001 on {socket.gethostname()}, pid {os.getpid()}"
        in status
    )
    assert (
        "h with 1 process, by committed blocks (not counting toy-diffusion, of which none is committed)"
        in status
    )
    assert (
        call(monkeypatch, "run", study_file, "--out", store.root, "--device", "cpu", "--dry-run")
        == 0
    )
    planned = capsys.readouterr().out
    assert "270 images left" in planned
    assert "14 committed blocks" in planned
    assert "a batch of 16 on cpu" in planned
    assert len(list(store.root.glob("ledger/*/*/*.json"))) == 30


def test_a_cluster_that_is_not_there_ends_in_one_line(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, options = study_file.parent / "run", study_file.with_name("options.yaml")
    arguments = (
        "run",
        study_file,
        "--out",
        out,
        "--device",
        "cpu",
        "--cluster",
        "tcp://127.0.0.1:9",
        "--wait",
        "0.5",
    )
    assert call(monkeypatch, *arguments) == 1
    assert "error: no Dask scheduler answers at 'tcp://127.0.0.1:9'" in capsys.readouterr().err
    options.write_text("[memory]")
    assert call(monkeypatch, *arguments, "--cluster-options", options) == 1
    assert "holds a list, but must be a mapping" in capsys.readouterr().err


@pytest.mark.parametrize("width", [60, 80, 102, 105, 120, 200])
def test_tables_keep_their_words_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setattr("generate.cli.console.out.width", width)
    assert call(monkeypatch, "models") == 0
    said = capsys.readouterr().out
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= width
    for word in ("autoregressive", "diffusion", "vq-diffusion", "openrail++", "Apache-2.0"):
        assert word in said


def test_a_log_gets_lines_of_progress_and_no_blank_ones(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("schemas.progress.QUICK", 0.0)
    where = study_file.parent / "logged"
    assert call(monkeypatch, "run", study_file, "--out", where, "--device", "cpu") == 0
    lines = capsys.readouterr().err.splitlines()
    assert any("images in 0:0" in line for line in lines)
    assert all(line.strip() for line in lines)
    again = study_file.parent / "silent"
    arguments = ("--out", again, "--device", "cpu", "--progress", "none")
    assert call(monkeypatch, "run", study_file, *arguments) == 0
    assert "images" not in capsys.readouterr().err


def test_a_warning_is_one_line_without_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as what a download takes; those to programmers keep the place that they are about."""

    def command() -> None:
        warnings.warn("fetching 6.0 GB\nof it", stacklevel=1)
        warnings.warn("an old name", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr("generate.cli.app", command)
    with pytest.warns(DeprecationWarning, match="an old name") as told:
        cli.main()
    assert len(told) == 1
    assert capsys.readouterr().err == "warning: fetching 6.0 GB of it\n"
