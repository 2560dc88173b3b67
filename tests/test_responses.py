"""The program that asks whether quantizers respond alike: curves over what is removed, and verdicts."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr

from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.study.planning import plan
from generate.study.study_file import load_study
from tests.source import program

STUDY = """\
name: alike
samples: 3
models:
  - {model: toy-masked, label: one, options: {positions: 16, codes: 8, steps: 2}}
  - {model: toy-masked, label: other, options: {positions: 16, codes: 8, steps: 2}}
  - {model: toy-masked, label: third, options: {positions: 16, codes: 8, steps: 4}}
prompts: {source: trio, n: 6}
calibration: {n: 6, samples: 2}
experiments:
  factorial: {keep_ratio: 0.5, factors: [sampling, codebook]}
  ratio: {kind: subset_ratio, ratios: [0.25, 0.5, 0.75]}
"""


@pytest.fixture(scope="module")
def responses() -> ModuleType:
    return program("studies/responses.py")


def values(rows: np.ndarray) -> dict[str, xr.DataArray]:
    """Responses (prompt) by the number of a member."""
    return {str(number): xr.DataArray(row, dims="prompt") for number, row in enumerate(rows)}


def test_mass_and_bits_that_subsets_remove(responses: ModuleType) -> None:
    """Of 4, 2, 1, 1 in eight: 1.75 bit; without the last two 1/4 of the mass, and a law of 2/3 and 1/3."""
    keep = np.array([[True, True, False, False], [True, True, True, True]])
    found = responses.removed(np.array([4, 2, 1, 1]), keep)
    np.testing.assert_allclose(found["mass"], [0.25, 0])
    left = -(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))
    np.testing.assert_allclose(found["bits"], [1.75 - left, 0])


def test_responses_are_taken_where_equally_much_is_removed(responses: ModuleType) -> None:
    changes = np.array([[-0.4, -0.8], [-0.1, -0.2], [0.0, 0.0]])
    at = np.array([0.5, 0.1, 0.0])
    np.testing.assert_allclose(responses.between(changes, at, 0.3), [-0.25, -0.5])
    assert np.isnan(responses.between(changes, at, 0.6)).all()


def test_pairs_are_equivalent_different_or_undecided(responses: ModuleType) -> None:
    """Three members, of which two are alike within .001 and one is .5 apart; then noise and few prompts."""
    rng = np.random.default_rng(0)
    rows = np.array([0.0, 0.0, 0.5])[:, None] + rng.normal(0, 0.001, (3, 12))
    found = responses.verdicts(values(rows), 0.05)
    assert found["effect"].values.tolist() == ["0 - 1", "0 - 2", "1 - 2"]
    assert found["verdict"].values.tolist() == ["equivalent", "different", "different"]
    noisy = responses.verdicts(values(rng.normal(0, 0.3, (2, 6))), 0.05)
    assert noisy["verdict"].values.tolist() == ["undecided"]
    assert float(noisy["detectable"][0]) > 0.05


def test_members_of_one_law_are_alike_in_a_run(
    responses: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two labels of one model share their noise, so their difference is exactly none."""
    study = tmp_path / "alike.yaml"
    study.write_text(STUDY, encoding="utf-8")
    laid_out = plan(*load_study(str(study)))
    assert run(laid_out, prepare(laid_out, tmp_path / "run")).failed == 0
    capsys.readouterr()
    responses.main([str(tmp_path / "run"), "--metric", "pixel_cosine"])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 + 4
    for row in rows[2:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[0] == "toy-masked"
        counts = [int(number) for number in cells[2].split(", ")]
        assert sum(counts) == 3
        assert counts[0] >= 1
    alike = ["--model", "one", "--model", "other"]
    responses.main([str(tmp_path / "run"), "--metric", "pixel_cosine", *alike])
    rows = capsys.readouterr().out.splitlines()
    assert [row.split("|")[3].strip() for row in rows[2:]] == ["1, 0, 0"] * 4
