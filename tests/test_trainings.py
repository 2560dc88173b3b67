"""The program that compares trainings of quantizers: at equal PSNR, paired by training."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from generate.trio.stage_quantizers import fit_dials
from tests.source import program


@pytest.fixture(scope="module")
def trainings() -> ModuleType:
    return program("studies/trainings.py")


def curve(decibels: np.ndarray, entropies: np.ndarray) -> np.ndarray:
    """(point, training, figure) of two figures."""
    return np.stack([decibels, entropies], -1)


def test_a_curve_is_interpolated_within_each_training(trainings: ModuleType) -> None:
    points = curve(np.array([[27.0, 29.0], [29.0, 28.0]]), np.array([[5.0, 7.0], [6.0, 6.0]]))
    np.testing.assert_allclose(trainings.at(28.5, points), [[28.5, 5.75], [28.5, 6.5]])


def test_a_psnr_that_a_training_does_not_reach_is_undefined(trainings: ModuleType) -> None:
    points = curve(np.array([[27.0, 29.0], [28.0, 30.0]]), np.array([[5.0, 5.0], [6.0, 6.0]]))
    assert np.isnan(trainings.at(28.5, points)[0]).all()
    assert np.isnan(trainings.common_psnr(points))


def test_the_common_psnr_is_reached_by_every_curve_in_every_training(trainings: ModuleType) -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(27, 0.2, (3, 1, 5)), rng.normal(29, 0.2, (3, 1, 5))
    curves = []
    for one, other in zip(low, high, strict=True):
        decibels = np.concatenate([one, other])
        curves.append(curve(decibels, decibels))
    decibels = trainings.common_psnr(*curves)
    for points in curves:
        np.testing.assert_allclose(trainings.at(decibels, points), decibels)


def test_a_difference_at_equal_psnr_is_found_with_its_interval(trainings: ModuleType) -> None:
    """Curves .6 bit apart at every PSNR, of trainings that differ: covered in 95 % of 1,000 repetitions."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(1000):
        trunk = rng.normal(0, 0.3, 4)  # lifts both curves of a training
        curves = {}
        for name, offset, start in (("a", 0.6, 27.0), ("b", 0.0, 26.5)):
            decibels = np.array([[start], [start + 2]]) + trunk + rng.normal(0, 0.1, (2, 4))
            entropies = 0.8 * decibels - 16 + offset + rng.normal(0, 0.1, (1, 4))
            curves[name] = curve(decibels, entropies)
        decibels = trainings.common_psnr(*curves.values())
        one, other = (trainings.at(decibels, points) for points in curves.values())
        _, low, high = trainings.interval((one - other)[:, 1])
        covered.append(low <= 0.6 <= high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_each_pair_is_compared_where_both_reach_and_named_where_they_do_not(
    trainings: ModuleType,
) -> None:
    """Two curves a bit apart at every PSNR, and a third that begins where they end."""
    rng = np.random.default_rng(2)
    measured = {}
    for name, start, offset in (("vq", 25.0, 1.0), ("fsq", 25.4, 0.0), ("bsq", 30.0, 0.0)):
        for number, point in enumerate(trainings.CURVES[name]):
            figures = np.full((3, len(trainings.FIGURES)), np.nan)
            figures[:, 0] = start + 2 * number + rng.normal(0, 0.05, 3)
            figures[:, 1:3] = figures[:, :1] - 20 + offset + rng.normal(0, 0.02, (3, 1))
            measured[point] = figures
    printed = trainings.equal_psnr(measured)
    assert printed[-1] == "No PSNR is reached by both in all trainings: vq - bsq, fsq - bsq"
    (row,) = (line for line in printed if line.startswith("| vq - fsq at 27."))
    decibels, entropy = row.split(" | ")[1:3]
    assert decibels == "0.00 [0.00, 0.00]"
    estimate, low, high = map(float, re.findall(r"\d\.\d\d", entropy))
    assert low < 1.0 < high < 1.2
    assert 0.9 < estimate < 1.1


def test_trainings_of_the_dials_are_compared_and_drawn(
    trainings: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for seed, folder in enumerate(folders):
        fit_dials(folder, length=1, seed=seed)
    figure = tmp_path / "psnr.png"
    trainings.main([*map(str, folders), "--scenes", "20", "--figure", str(figure)])
    printed = capsys.readouterr().out
    assert "2 trainings, 20 scenes each" in printed
    assert "| vq-64 - fsq |" in printed or "| vq - vq-64 |" in printed
    assert "lfq-10-bits" in printed
    assert figure.stat().st_size > 5_000


def test_folders_without_trainings_are_refused_in_one_line(
    trainings: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        ([tmp_path], "give the folders of two trainings or more"),
        ([tmp_path, tmp_path / "other"], "no quantizer has its weights in all of these folders"),
    ):
        with pytest.raises(SystemExit):
            trainings.main([*map(str, arguments)])
        assert said in capsys.readouterr().err
