"""The methods paragraphs say what was computed, in the numbers of the results, and cite all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ibstats import Config, cli, open_store
from ibstats.report.methods import Methods, methods
from ibstats.results.kept import obtain
from ibstats.statistics.uncertainty import Resampling
from schemas.results import Results
from tests.ibstats.conftest import write_run

SETTINGS = Config(
    metrics=("pixel_cosine", "ssim"),
    resampling=Resampling(n_resamples=321, seed=43, level=0.9),
    margins={"ssim": 0.0217},
    estimator="miller_madow",
    n_shuffles=57,
)
NUMBER = re.compile(r"(?<![\w.^])\d+(?:\.\d+)?(?![\w^])")
"""A number that stands alone: not that of a name such as H2 or 2^H."""

WORDS = {"1 - cos", "1 - SSIM", "log2", "order 2"}
"""What stands in names of quantities."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("methods") / "run"
    return write_run(place, n_prompts=7, n_samples=3, families={"toy-mim": "masked"})


@pytest.fixture(scope="module")
def document(folder: Path) -> Results:
    return obtain(open_store(folder), SETTINGS)


@pytest.fixture(scope="module")
def told(folder: Path, document: Results) -> Methods:
    return methods(open_store(folder), document)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield value


def known_numbers(*documents: str) -> set[str]:
    """Every number of some JSON documents, as it is and as a text may round it."""
    found: set[str] = set()
    for document in documents:
        for value in leaves(json.loads(document)):
            if isinstance(value, str):
                found |= set(re.findall(r"\d+(?:\.\d+)?", value))
            elif isinstance(value, int | float) and not isinstance(value, bool):
                found |= {str(value), f"{value:.3g}", f"{value:.0%}".removesuffix("%")}
    return found


def test_every_number_is_one_of_the_results_or_of_the_run(
    folder: Path, document: Results, told: Methods
) -> None:
    text = told.markdown()
    for word in WORDS:
        text = text.replace(word, "")
    known = known_numbers(document.model_dump_json(), (folder / "run.json").read_text())
    used = set(NUMBER.findall(text))
    assert {"7", "3", "90", "321", "43", "57", "0.0217"} <= used
    assert used <= known, used - known


def test_the_settings_are_those_of_the_analysis(told: Methods) -> None:
    text = told.markdown()
    assert "90% intervals" in text
    assert "321 resamples, seed 43" in text
    assert "over 7 prompts with 3 images each" in text
    assert "with Miller and Madow's correction [@miller1955note]" in text
    assert "±0.0217 in structural dissimilarity (1 - SSIM)" in text
    assert "(5% of the value without intervention, as none was declared)" in text
    assert "its baseline is stochastic/original/full" in text
    assert "main effects and interactions (high minus low) (family of 7)" in text


def test_other_settings_are_told_too(folder: Path) -> None:
    other = Config(
        metrics=("pixel_cosine",),
        parts=("diversity",),
        resampling=Resampling(n_resamples=50, method="percentile"),
    )
    text = methods(open_store(folder), obtain(open_store(folder), other)).markdown()
    assert "percentile bootstrap over 7 prompts with 3 images each, 50 resamples, seed 0" in text
    for lacks in ("SSIM", "H(Z)", "Quality", "bits", "shuffles", "wang2004image"):
        assert lacks not in text


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("diversity", "Diversity is the mean"),
        ("effective_number", "Effective numbers"),
        ("information", "Of the tokens were computed"),
        ("ledger", "Of the bits of an image"),
        ("equivalence", "A change counts as none"),
        ("probe", "changes of diversity by each probe alone"),
    ],
)
def test_what_has_no_rows_is_not_said(
    folder: Path, document: Results, told: Methods, section: str, said: str
) -> None:
    rows = [row for row in document.rows if row.section != section]
    less = methods(open_store(folder), document.model_copy(update={"rows": rows}))
    assert said in told.markdown()
    assert said not in less.markdown()


def test_what_is_cited_has_its_entry_and_every_entry_is_cited(told: Methods) -> None:
    keys = re.findall(r"^@\w+\{([^,]+),$", told.bibtex, re.MULTILINE)
    assert set(keys) == set(told.cited)
    assert len(keys) == len(set(keys))
    assert {"ibstats", "wu2025deconstructing", "wang2004image", "friedman2023vendi"} <= set(keys)
    assert "cite 'toy-mim'" in told.bibtex


def test_latex_cites_by_its_command_and_escapes_the_rest(told: Methods) -> None:
    said = told.latex()
    assert r"\cite{friedman2023vendi,pasarkar2024cousins}" in said
    assert "[@" not in said
    assert r"90\% intervals" in said
    assert not re.search(r"(?<!\\)[%&_#]", re.sub(r"\\cite\{.*?\}", "", said))
    assert said.isascii()


def test_the_command_prints_paragraphs_then_bibtex(
    folder: Path, told: Methods, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = tmp_path / "analysis.yaml"
    settings.write_text(
        "metrics: [pixel_cosine, ssim]\nresampling: {n_resamples: 321, seed: 43, level: 0.9}\n"
        "margins: {ssim: 0.0217}\nestimator: miller_madow\nn_shuffles: 57\n"
    )
    for option, text in (([], told.markdown()), (["--latex"], told.latex())):
        arguments = ["methods", str(folder), "--config", str(settings), *option]
        cli.app(arguments, standalone_mode=False)
        assert capsys.readouterr().out == f"{text}\n{told.bibtex}"
