"""Everything that a run rests on has a source, and `ibstats cite` prints it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from ibstats import __version__, citing, cli
from ibstats.errors import IbstatsError
from ibstats.kernels.entropy import ESTIMATORS
from ibstats.quantities import EFFECTIVE, EFFECTIVE_SOURCES, Family, of_family, quantity
from schemas.citations import METHOD, MODELS, entries

OWN = {"pixel_cosine_distance", "reference_distance"}
"""Distances that are the software's own, as is every score of the scene network's accuracy."""


def keys_in_use() -> set[str]:
    used = {METHOD}
    for record in of_family(*get_args(Family)):
        used |= set(record.sources)
    for table in (MODELS, EFFECTIVE_SOURCES, citing.ESTIMATORS, citing.SECTIONS):
        for keys in table.values():
            used |= set(keys)
    return used


def test_every_source_named_has_an_entry_and_every_entry_is_named() -> None:
    assert keys_in_use() == set(entries())


def test_every_entry_says_who_what_and_when_and_where_to_find_it() -> None:
    for key, text in entries().items():
        for field in ("title", "author", "year"):
            assert re.search(rf"^  {field} = \{{.+\}},?$", text, re.MULTILINE), (key, field)
        assert re.search(r"^  (doi|eprint|booktitle|journal|url) = ", text, re.MULTILINE), key
        assert text.count("{") == text.count("}"), key


def test_every_distance_score_and_estimator_has_its_source() -> None:
    assert set(citing.ESTIMATORS) == set(ESTIMATORS)
    assert set(EFFECTIVE_SOURCES) == set(EFFECTIVE)
    for record in of_family("distance", "score"):
        if ":" in record.user:  # registered by another test, as a user does
            continue
        own = record.name in OWN or record.name.startswith("reference_accuracy")
        assert bool(record.sources) != own, record.name


def test_an_effective_number_rests_on_its_paper_and_on_that_of_its_distance() -> None:
    sources = quantity("vendi_ssim_dissimilarity").sources
    assert sources == ("friedman2023vendi", "pasarkar2024cousins", "wang2004image")


def cited(text: str) -> list[str]:
    """Keys of the entries in BibTeX."""
    return re.findall(r"^@\w+\{([^,]+),$", text, re.MULTILINE)


def test_a_run_that_was_not_analysed_names_software_paper_and_models(run_copy: Path) -> None:
    text = citing.cite(run_copy)
    assert cited(text)[:2] == ["ibstats", METHOD]
    assert f"version = {{{__version__}}}" in text
    assert "% nothing was analysed yet" in text


def test_every_entry_stands_once_and_says_what_it_is_for(run_copy: Path) -> None:
    rows = [
        {"quantity": "fid", "estimator": None, "section": "quality"},
        {"quantity": "fid_infinity", "estimator": None, "section": "quality"},
        {"quantity": "codebook_entropy", "estimator": "nsb", "section": "information"},
    ]
    (run_copy / "results").mkdir(exist_ok=True)
    (run_copy / "results/results.json").write_text(json.dumps({"rows": rows}))
    text = citing.cite(run_copy)
    keys = cited(text)
    assert len(keys) == len(set(keys))
    assert {"heusel2017gans", "chong2020effectively", "nemenman2002entropy"} <= set(keys)
    assert "% fid, fid_infinity\n@inproceedings{heusel2017gans," in text
    assert "lpips" not in text.lower()


def test_a_model_from_elsewhere_is_named_for_the_user_to_cite(run_copy: Path) -> None:
    assert "its source is not known here; cite 'toy-mim'" in citing.cite(run_copy)


def test_a_file_that_is_no_results_document_is_named(run_copy: Path) -> None:
    (run_copy / "results").mkdir(exist_ok=True)
    (run_copy / "results/results.json").write_text("[]")
    with pytest.raises(IbstatsError, match=r"results.json' is no results document; remove it"):
        citing.cite(run_copy)


def test_the_command_prints_bibtex_alone(
    run_copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["ibstats", "cite", str(run_copy)])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out == citing.cite(run_copy)
