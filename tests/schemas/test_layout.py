"""Names and keys of a run, which must never move: a run of last year is read by them."""

from __future__ import annotations

from pathlib import Path

from schemas.io import layout


def test_keys_of_a_run_stay_where_they_are() -> None:
    assert layout.RUN == "run.json"
    assert layout.metadata_key("m", "e", "tokens") == "data.zarr/m/e/tokens/zarr.json"
    assert layout.block_key("claims", "m", "e", 0, 1) == "claims/m/e/c0000-b000001.json"
    assert layout.claim_key(layout.CREATION) == "claims/create.json"
    assert layout.calibration_key("m") == "calibration/m.json"
    assert layout.rescored_key("m", "e", 4, 7) == "rescored/m/e/paths4-seed7"


def test_results_lie_in_one_folder() -> None:
    results = layout.ResultsFolder(Path("run"))
    found = {
        results.document: "results.json",
        results.analysis("0123456789abcdef0123"): "analyses/0123456789abcdef.zip",
        results.distances("m", "e"): "distances/m/e",
        results.features("m", "e"): "features/m/e",
        results.shared_features: "features",
        results.figures: "figures",
        results.tables: "tables",
        results.export: "export",
        results.ablations: "ablations",
    }
    assert {path: f"run/results/{name}" for path, name in found.items()} == {
        path: path.as_posix() for path in found
    }
