"""A reader who types what the pages show: what lies in the folder before, and what is typed in place of what."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from generate.trio.stage_tokenizer import draw_images
from tests.pages import parts, run
from tests.source import ROOT

SIZES: dict[str, Any] = {
    "samples": 4,
    "prompts": {"n": 3},
    "calibration": {"n": 3, "samples": 2},
    "batch_size": 16,
}
"""What a study of a page is given in place of its own numbers, so that it takes seconds."""

STUDY = """
name: here
samples: 2
models: [{model: trio-mim, options: {steps: 4}}]
prompts: {source: trio, n: 3}
calibration: {source: trio, n: 3, samples: 2}
"""
"""The rest of a study of which a page shows the experiments alone."""

ADAPTER = "from generate.models.trio import TrioMasked\n\n\nclass MyModel(TrioMasked): ...\n"

INSTEAD = {
    # Sizes: the same in seconds.
    r"--paths 16": "--paths 2",
    r"--images 1000": "--images 20",
    # A disk that all machines of a cluster see.
    r"/scratch/": "scratch/",
    # A test has no browser to open.
    r"(ibstats view \S+)": r"\1 --no-browser",
    # What is the reader's own stands in capitals, or is left out as "...".
    r"--baseline NAME --out runs/mine": "--baseline sharp --out runs/theirs",
    r"--contrast \.\.\.(?: --condition \.\.\.)?": "--contrast 2 --paths 2",
    r"ibgenerate (inspect|check) (?:NAME|MODEL)": r"ibgenerate \1 toy-ar",
    r"check SET": "check general",
    r"run STUDY --out RUN": "run study.yaml --out runs/mine",
    r"RUN_A RUN_B": "runs/mine runs/demo",
    r"BEFORE AFTER": "runs/mine runs/demo",
    r"--tokenizer NAME": "--tokenizer bsq",
    r"(encode .*) --out RUN": r"\1 --out runs/codes",
    r"reference FOLDER --network NETWORK": "reference photos --size 32 --network efficientnet_lite0",
    # LPIPS needs weights that no test has.
    r"OLD NEW --margin lpips_alex": "runs/mine runs/demo --margin pixel_cosine",
    # The run of a reader here holds the study of README, which has neither of these experiments.
    r"compare RUN (--experiment) (?:window|order)": r"compare RUN \1 factorial",
    # runs/mine is taken: images of a table become a run beside it.
    r"data\.parquet --out runs/mine": "data.parquet --out runs/parquet",
    r"\bRUN\b": "runs/mine",
}
"""What is typed for what stands on a page, each with the reason above it."""

NOT_HERE = {
    # Weights of Inception, and the reference sets that are made with them.
    r"ibstats reference (?:coco|hf:)": "Inception needs",
    r"quality runs/mine .*--reference": "no reference set",
    # A tokenizer and an embedding of texts, from the hub.
    r"prompts check mine\.jsonl": "the hub cannot be reached",
    # Captions of COCO, and an endpoint that is paid for.
    r"prompts build --source coco2014": "OPENAI_API_KEY is not set",
    # An accelerator, a queue, a scheduler.
    r"--cluster cuda": "device 'cuda' is not available",
    r"--cluster slurm": "sbatch",
    r"--cluster tcp://head:8786": "no Dask scheduler answers",
}
"""Commands that need what no test has, and what they say in one line where it lacks; the need above each."""

MADE = {
    # Samples the shipped study, for minutes; that it is a target is tried.
    "make demo": "runs/demo",
}
"""Runs that other programs than ours would make, and that a page goes on with."""

PLACEHOLDER = re.compile(r"\b(?:RUN\w*|OLD|BEFORE|NAME|MODEL|SET|STUDY|FOLDER)\b")
"""What says that a command is of any run, not of that of a page."""


def smaller(document: str) -> str:
    """A study with the sizes of a test in place of its own."""
    study = yaml.safe_load(STUDY) | yaml.safe_load(document)
    for key, value in SIZES.items():
        old = study.get(key)
        study[key] = {**old, **value} if isinstance(old, dict) else value
    if study["calibration"]["source"] == "encoded":
        del study["calibration"]["samples"]  # pictures are not sampled
    return yaml.safe_dump(study)


def typed(command: str) -> str:
    """What the reader types where that stands."""
    for stands, given in INSTEAD.items():
        command = re.sub(stands, given, command)
    return command


def refusal(command: str) -> str | None:
    """What a command says in a test, where it needs what none has."""
    for kind, said in NOT_HERE.items():
        if re.search(kind, command):
            return said
    return None


def write_prompts(file: Path, split: str = "study") -> None:
    """Prompts of the trio's grammar."""
    build = "ibgenerate prompts build --source trio --n 3 --overwrite"
    run(f"{build} --split {split} --out {file}")


def write_small(folder: Path, document: str) -> None:
    """A study of a page, small, with what it names: prompts, others to count codes on, a package."""
    (folder / "study.yaml").write_text(smaller(document))
    write_prompts(folder / "prompts.jsonl")
    write_prompts(folder / "calibration.jsonl", "calibration")
    (folder / "my_package").mkdir(exist_ok=True)
    (folder / "my_package/my_module.py").write_text(ADAPTER)


def make_run(folder: Path) -> None:
    """README's study, small, run and reported."""
    (shown,) = (part.text for part in parts(ROOT / "README.md") if part.kind == "yaml")
    write_small(folder, shown)
    run("ibgenerate run study.yaml --out runs/mine --device cpu")
    run("ibstats report runs/mine")


def write_pictures(folder: Path, n: int = 2) -> None:
    """Scenes of the trio as PNG."""
    folder.mkdir(parents=True)
    for number, scene in enumerate(draw_images(n, np.random.default_rng(0))):
        pixels = (scene.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def write_layout(folder: Path) -> None:
    """Pictures of two conditions and three prompts."""
    for condition in ("sharp", "soft"):
        for prompt in ("cat", "dog", "sea"):
            write_pictures(folder / condition / prompt)


def write_moments(file: Path) -> None:
    """Moments of Inception's features, as other programs for FID write them."""
    np.savez(file, mu=np.zeros(2048), sigma=np.eye(2048))


def write_table(file: Path) -> None:
    """Pictures as rows of a Parquet file."""
    encoded = io.BytesIO()
    Image.new("RGB", (8, 8)).save(encoded, "PNG")
    rows = [(prompt, condition) for prompt in ("cat", "dog") for condition in ("a", "b")] * 2
    columns = {"prompt": [row[0] for row in rows], "condition": [row[1] for row in rows]}
    pq.write_table(pa.table({**columns, "image": [encoded.getvalue()] * len(rows)}), file)


def write_study(file: Path) -> None:
    """The study of a page that shows none."""
    file.write_text(STUDY)


THERE: dict[str, Callable[[Path], None]] = {
    "out": write_layout,
    "photos": write_pictures,
    "coco": write_pictures,
    "coco/val2014": write_pictures,
    "data.parquet": write_table,
    "mine.jsonl": write_prompts,
    "moments-of-others.npz": write_moments,
    "study.yaml": write_study,
}
"""What a reader has before a page begins, where the page does not make it."""
