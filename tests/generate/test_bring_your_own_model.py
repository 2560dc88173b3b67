"""The adapter of docs/bring-your-own-model.md runs a whole study."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
import xarray as xr
import yaml
from safetensors.torch import save_file

from generate.models import model_class
from generate.run.blocks import run
from generate.run.checking import check
from generate.run.preparing import prepare
from generate.study.planning import plan
from generate.study.study_file import load_study
from tests.generate.conftest import prompt_lines

GUIDE = Path(__file__).parents[2] / "docs" / "bring-your-own-model.md"


def test_the_guides_adapter_is_short_and_samples_the_factorial(
    tmp_path: Path,
) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n# my_models.py\n(.*?)```", text, flags=re.DOTALL)
    assert len(code.splitlines()) <= 60
    (tmp_path / "my_models.py").write_text(code, encoding="utf-8")
    generator = torch.Generator().manual_seed(0)
    tables = {
        "text": torch.randn(256, 8, generator=generator),
        "transition": torch.randn(9, 8, generator=generator),
    }
    save_file(tables, tmp_path / "quilt.safetensors")
    for tag, n in {"study": 2, "calibration": 3}.items():
        (tmp_path / f"{tag}.jsonl").write_text(prompt_lines(tag, n))
    weights = {"weights": str(tmp_path / "quilt.safetensors")}
    quilt = model_class("my_models.py:Quilt", tmp_path)
    found = check("my_models.py:Quilt", quilt.options(weights), "cpu", tmp_path)
    assert [finding.problem for finding in found if finding.problem] == []
    document = {
        "name": "quilt",
        "samples": 3,
        "models": [{"model": "my_models.py:Quilt", "label": "quilt", "options": weights}],
        "prompts": {"source": "study.jsonl"},
        "calibration": {"source": "calibration.jsonl", "n": 3},
        "experiments": {"factorial": {"kind": "factorial", "paraphrases": 3}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    laid_out = plan(*load_study(str(tmp_path / "study.yaml")))
    store = prepare(laid_out, tmp_path / "run")
    assert run(laid_out, store).failed == 0
    ds = xr.open_datatree(store.data, engine="zarr", consolidated=False)[
        "quilt/factorial"
    ].to_dataset()
    assert ds.complete.all()
    assert (ds.text_tokens == -1).all()
    argmax = ds.tokens.isel(
        condition=np.flatnonzero((ds.sampling == "argmax") & (ds.prompt_type == "original"))
    )
    assert (argmax == argmax.isel(sample=0)).all()
