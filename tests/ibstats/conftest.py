"""A small run directory, written from the contract in `schemas` alone."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import settings
from zarr.codecs import ZstdCodec

from schemas.io.layout import block_name
from schemas.provenance import Hardware, ModelIdentity, Software
from schemas.store import BlockRecord, ExperimentPlan, RunRecord, StoredObject
from schemas.study import ModelChoice, Prompt, Study
from schemas.variables import COORDINATES, OPTIONAL_BEFORE, VARIABLES, token_dtype

settings.register_profile("ibstats", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("ibstats")

GRID, SIZE, CODES, STEPS = (4, 4), (16, 16), 32, 5
CELLS = list(
    itertools.product(("argmax", "stochastic"), ("original", "paraphrase"), ("subset", "full"))
)
SOFTWARE = Software(python="3.11", code_revision=None, code_dirty=None, libraries={})
HARDWARE = Hardware(host="test", platform="test", device="cpu", cpu_count=1)
FAMILIES = {"toy-ar": "autoregressive", "toy-mim": "masked", "toy-diffusion": "diffusion"}


def elsewhere(code: str) -> str:
    """What a new interpreter prints that runs the code."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sample_tokens(
    family: str, rng: np.random.Generator, n_prompts: int, n_samples: int
) -> np.ndarray:
    """(condition, prompt, sample, row, col): skewed codes that depend on the prompt, fewer under the probes."""
    base = rng.dirichlet(np.full(CODES, 0.3), size=(n_prompts, *GRID))
    shape = (n_prompts, n_samples, *GRID)
    uniform = rng.random(shape)
    path = rng.random(shape) < (0.0 if family == "autoregressive" else 0.5)
    tokens = []
    for sampling, prompt_type, codebook in CELLS:
        text = (
            np.arange(n_samples) % 5
            if prompt_type == "paraphrase"
            else np.zeros(n_samples, dtype=int)
        )
        p = np.stack([np.roll(base, t, axis=0) ** (1 - 0.1 * t) for t in text], axis=1)
        if codebook == "subset":
            p = p * (np.arange(CODES) < CODES // 2)
        p = p / p.sum(axis=-1, keepdims=True)
        drawn = (uniform[..., None] > np.cumsum(p, axis=-1)).sum(axis=-1)
        drawn = np.minimum(drawn, CODES - 1 if codebook == "full" else CODES // 2 - 1)
        mode = p.argmax(axis=-1)
        if sampling == "argmax":
            drawn = np.where(path, drawn, mode)
        tokens.append(drawn)
    return np.stack(tokens)


def decode(tokens: np.ndarray) -> np.ndarray:
    """A colour per code, blown up to pixels."""
    palette = np.random.default_rng(1).integers(20, 235, (CODES, 3))
    image = palette[tokens].astype(np.uint8)
    return image.repeat(SIZE[0] // GRID[0], axis=-3).repeat(SIZE[1] // GRID[1], axis=-2)


def write_run(
    root: Path,
    *,
    n_prompts: int = 6,
    n_samples: int = 5,
    block_prompts: int = 4,
    families: dict[str, str] | None = None,
    images: bool = True,
    seed: int = 0,
    skip: tuple[tuple[int, int], ...] = (),
) -> Path:
    """Write a run; blocks (condition, block) in `skip` are left out."""
    families = families or FAMILIES
    prompts = [Prompt(id=f"p{i:03d}", text=f"prompt & number_{i} <100%>") for i in range(n_prompts)]
    models = {
        name: ModelIdentity(
            model=name,
            family=family,
            revision="0",
            weights=[],
            codebook_size=CODES,
            grid=GRID,
            image_size=SIZE,
            steps=STEPS,
            options={},
        )
        for name, family in families.items()
    }
    plan = ExperimentPlan(
        conditions=["-".join(cell) for cell in CELLS],
        n_prompts=n_prompts,
        n_samples=n_samples,
        block_prompts=block_prompts,
    )
    run = RunRecord(
        schema_version="1.0",
        run_id="test",
        created="2026-01-01T00:00:00Z",
        study=Study(
            name="test",
            models=[ModelChoice(model=name) for name in models],
            samples=max(2, n_samples),
        ),
        n_prompts=len(prompts),
        prompts_sha256="0" * 64,
        models=models,
        experiments={"factorial": plan},
        calibration_sha256=dict.fromkeys(models, "0" * 64),
        config_sha256=hashlib.sha256(b"test").hexdigest(),
        software=SOFTWARE,
        hardware=HARDWARE,
    )
    root.mkdir(parents=True)
    hierarchy = zarr.open_group(root / "data.zarr", mode="w-", zarr_format=3)
    for number, (model, family) in enumerate(families.items()):
        tokens = sample_tokens(family, np.random.default_rng([seed, number]), n_prompts, n_samples)
        group = hierarchy.create_group(f"{model}/factorial")
        write_dataset(group, run, prompts, model, tokens, images)
        for condition in range(len(CELLS)):
            for block, start in enumerate(range(0, n_prompts, block_prompts)):
                if (condition, block) not in skip:
                    stop = min(start + block_prompts, n_prompts)
                    commit(
                        root,
                        run,
                        model,
                        condition,
                        block,
                        (start, stop),
                        tokens[condition, start:stop],
                    )
    document = run.model_dump(mode="json", exclude={"n_prompts", "prompt_pieces"})
    document["prompts"] = [prompt.model_dump(mode="json") for prompt in prompts]
    (root / "run.json").write_text(json.dumps(document, indent=1))
    return root


def write_dataset(
    group: Any,
    run: RunRecord,
    prompts: list[Prompt],
    model: str,
    tokens: np.ndarray,
    images: bool,
) -> None:
    plan, identity = run.experiments["factorial"], run.models[model]
    sizes = {
        "condition": len(CELLS),
        "prompt": plan.n_prompts,
        "sample": plan.n_samples,
        "row": GRID[0],
        "col": GRID[1],
        "step": STEPS,
        "y": SIZE[0],
        "x": SIZE[1],
        "channel": 3,
        "code": CODES,
        "text": plan.n_prompts,
    }
    keep = np.array(
        [[code < CODES // 2 or cell[2] == "full" for code in range(CODES)] for cell in CELLS]
    )
    values: dict[str, Any] = {
        "condition": plan.conditions,
        "sampling": [c[0] for c in CELLS],
        "prompt_type": [c[1] for c in CELLS],
        "codebook": [c[2] for c in CELLS],
        "keep_ratio": [0.5 if c[2] == "subset" else 1.0 for c in CELLS],
        "subset_method": [""] * 8,
        "argmax_window": [""] * 8,
        "paraphrase_length": [""] * 8,
        "prompt": [p.id for p in prompts],
        "prompt_attributes": ["{}"] * plan.n_prompts,
        "text": [p.text for p in prompts],
        "text_prompt": np.arange(plan.n_prompts),
        "text_kind": ["original"] * plan.n_prompts,
        "text_index": np.broadcast_to(np.arange(plan.n_prompts)[:, None], tokens.shape[:3]),
        "path_key": 1,
        "execution_key": 2,
        "codebook_keep": keep,
        "calibration_count": 1,
        "tokens": tokens,
        "image": decode(tokens),
        "token_surprisal": 1.0,
        "token_entropy": 1.0,
        "token_step": 0,
        "path_surprisal": 1.0,
        "complete": True,
    }
    for name, variable in (VARIABLES | COORDINATES).items():
        lacks = name not in values or (name == "image" and not images)
        if name in OPTIONAL_BEFORE and lacks:
            continue
        if identity.family == "autoregressive" and name in ("token_step", "path_surprisal"):
            continue
        shape = tuple(sizes[dim] for dim in variable.dims)
        dtype: Any = token_dtype(CODES)[0] if name == "tokens" else variable.dtype
        chunks = (1, plan.block_prompts, *shape[2:]) if variable.per_block else shape
        array = group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            fill_value=variable.fill,
            dimension_names=variable.dims,
            compressors=ZstdCodec(level=3, checksum=True),
            chunk_key_encoding={"name": "default", "separator": "."},
            attributes={"units": variable.units, "long_name": variable.long_name},
            config={"write_empty_chunks": True},
        )
        value = values.get(name, variable.fill)
        array[...] = (
            np.array(value, dtype=np.dtypes.StringDType()) if variable.dtype == "string" else value
        )


def commit(
    root: Path,
    run: RunRecord,
    model: str,
    condition: int,
    block: int,
    prompts: tuple[int, int],
    tokens: np.ndarray,
) -> None:
    objects = []
    for file in sorted(
        (root / "data.zarr" / model / "factorial").glob(f"*/c.{condition}.{block}.*")
    ):
        content = file.read_bytes()
        key = str(file.relative_to(root / "data.zarr"))
        objects.append(
            StoredObject(key=key, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        )
    record = BlockRecord(
        run_id=run.run_id,
        config_sha256=run.config_sha256,
        model=model,
        experiment="factorial",
        condition=condition,
        block=block,
        prompt_start=prompts[0],
        prompt_stop=prompts[1],
        objects=objects,
        content_sha256=[hashlib.sha256(prompt.tobytes()).hexdigest() for prompt in tokens],
        attempt="a",
        started="",
        finished="",
        software=SOFTWARE,
        hardware=HARDWARE,
    )
    file = root / "ledger" / model / "factorial" / f"{block_name(condition, block)}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(record.model_dump_json())


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of three toy models: 6 prompts, 5 samples, all images stored."""
    return write_run(tmp_path_factory.mktemp("runs") / "toy")


@pytest.fixture
def run_copy(run: Path, tmp_path: Path) -> Path:
    """A private copy of the run, without results."""
    import shutil

    return Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("results")))
