"""Write every model of the contract as JSON Schema beside this file.

The reference pages of the documentation are written too.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from schemas.provenance import CalibrationRecord
from schemas.reference import pages
from schemas.reference_set import ReferenceSet
from schemas.rescored import PieceRecord, RescoreRecord
from schemas.results import Results
from schemas.sealed import MergedRecord, SealRecord
from schemas.store import BlockRecord, FailureRecord, RunRecord
from schemas.study import Prompt, Study

PUBLISHED: dict[str, type[BaseModel]] = {
    "study": Study,
    "prompt": Prompt,
    "run": RunRecord,
    "block": BlockRecord,
    "seal": SealRecord,
    "merged": MergedRecord,
    "failure": FailureRecord,
    "calibration": CalibrationRecord,
    "results": Results,
    "reference_set": ReferenceSet,
    "rescored": RescoreRecord,
    "piece": PieceRecord,
}


def rendered(model: type[BaseModel]) -> str:
    """JSON Schema of a model as the text of its file."""
    return json.dumps(model.model_json_schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name, model in PUBLISHED.items():
        Path(__file__).with_name(f"{name}.schema.json").write_text(
            rendered(model), encoding="utf-8"
        )
    for name, text in pages().items():
        (Path(__file__).parents[1] / "docs" / name).write_text(text, encoding="utf-8")
