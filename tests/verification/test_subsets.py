"""Codebook subsets: is the overlap that a run states the one with the true codes?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from generate.run.calibration import halves
from generate.study import subset
from generate.study.conditions import BASELINE
from schemas.provenance import CalibrationRecord, ModelIdentity
from tests.verification.designs import DesignD, zipf

pytestmark = pytest.mark.slow

STUDIES = 5


def calibrated(counts: np.ndarray) -> CalibrationRecord:
    """What a calibration records of counts `(prompt, image, code)`."""
    n_prompts, n_images, n_codes = counts.shape
    images = counts.reshape(-1, n_codes)
    return CalibrationRecord(
        model=ModelIdentity(model="simulated"),
        seed=0,
        samples=n_images,
        prompt_ids=[],
        prompts_sha256="",
        counts=images.sum(axis=0).tolist(),
        half_counts=images[halves(n_prompts, n_images)].sum(axis=0).tolist(),
        image_counts=(images > 0).sum(axis=0).tolist(),
    )


@pytest.mark.parametrize(
    ("design", "ratio", "within"),
    [
        (DesignD(None, None, 48, 4, n_codes=16384, n_tokens=256), 0.5, 0.02),
        (DesignD(None, None, 48, 4, n_codes=16384, n_tokens=256), 0.25, 0.02),
        (DesignD(None, None, 48, 4, n_codes=4096, n_tokens=256), 0.5, 0.03),
        (DesignD(None, None, 48, 4, n_codes=512, n_tokens=64), 0.5, 0.03),
        (DesignD(300, None, 48, 4, n_codes=4096, n_tokens=256), 0.5, 0.06),
        (DesignD(300, 300, 48, 4, n_codes=4096, n_tokens=256), 0.5, 0.06),
    ],
    ids=str,
)
def test_the_overlap_stated_is_that_with_the_true_codes(
    design: DesignD, ratio: float, within: float
) -> None:
    """Of independent tokens within .02-.03; of tokens alike inside a prompt it is up to .05 high."""
    cell = replace(
        BASELINE, codebook="subset", keep_ratio=ratio, subset_method="drop_least_frequent"
    )
    truth = np.zeros(design.n_codes, bool)
    truth[: round(ratio * design.n_codes)] = True
    rng = np.random.default_rng(0)
    stated, true, tied = [], [], []
    for study in range(STUDIES):
        record = calibrated(design.counts(rng))
        found = subset.certainty(cell, record, study)
        keep = subset.kept(cell, np.array(record.counts), study)
        stated.append(found.overlap)
        tied.append(found.tie_share)
        true.append((keep & truth).sum() / keep.sum())
    print(
        f"\n{design}, ratio {ratio}: overlap stated {np.mean(stated):.3f}, "
        f"true {np.mean(true):.3f}, tied {np.mean(tied):.2f}"
    )
    assert abs(np.mean(stated) - np.mean(true)) <= within


def test_the_mass_unseen_by_images_is_near_the_truth() -> None:
    """Codes that no image showed, weighted by the law; tokens independent."""
    design = DesignD(None, None, 48, 4, n_codes=16384, n_tokens=256)
    cell = replace(BASELINE, codebook="subset", keep_ratio=0.5, subset_method="drop_least_frequent")
    rng = np.random.default_rng(1)
    stated, true = [], []
    for _ in range(STUDIES):
        record = calibrated(design.counts(rng))
        stated.append(subset.certainty(cell, record, 0).unseen)
        true.append(zipf(design.n_codes)[np.array(record.counts) == 0].sum())
    print(f"\nunseen stated {np.mean(stated):.4f}, true {np.mean(true):.4f}")
    assert abs(np.mean(stated) - np.mean(true)) <= 0.01
