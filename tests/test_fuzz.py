"""Malformed input, by the thousand: a user sees one of our errors in one line, never a traceback."""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generate.errors import GenerateError
from generate.study.planning import plan
from generate.study.study_file import BUILT_IN, load_study
from ibstats.errors import IbstatsError
from ibstats.results.kept import read_results
from ibstats.store import Store, open_store
from tests.ibstats.conftest import write_run

FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 3)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["..", "../../x", "/etc", "factorial", "trio", "1.0", "9.0", "nan", "", "a:b"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a document."""
    found = [at]
    if isinstance(document, dict):
        found += [place for key, value in document.items() for place in places(value, (*at, key))]
    elif isinstance(document, list):
        found += [
            place for i, value in enumerate(document[:3]) for place in places(value, (*at, i))
        ]
    return found


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """A document with one to three places replaced, removed, or given a foreign key."""
    made = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(made)))
        if not place:
            if draw(st.integers(0, 9)) == 0:
                return draw(JSON)
            continue
        parent = made
        for part in place[:-1]:
            parent = parent[part]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                parent[place[-1]] = draw(JSON)
            case "remove":
                del parent[place[-1]]
            case "add" if isinstance(parent, dict):
                parent[draw(st.text(max_size=6))] = draw(JSON)
    return made


@st.composite
def bent(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes cut short, with a byte changed, or with rubbish put in."""
    at = draw(st.integers(0, len(content) - 1))
    match draw(st.sampled_from(["cut", "flip", "insert"])):
        case "cut":
            return content[:at]
        case "flip":
            return (
                content[:at] + bytes([content[at] ^ draw(st.integers(1, 255))]) + content[at + 1 :]
            )
        case _:
            return content[:at] + draw(st.binary(min_size=1, max_size=8)) + content[at:]


def only_ours(function: Callable[[], object], kind: type[Exception]) -> None:
    """Call it; one of our errors, in one line, is as good as success."""
    said = "nothing"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function()
        except kind as error:
            said = str(error)
    assert said.strip()
    assert "\n" not in said, f"more than one line: {said}"


TRIO = yaml.safe_load((Path(__file__).parents[1] / "generate/trio/study.yaml").read_text())


def load(path: Path) -> object:
    return plan(*load_study(str(path)))


@settings(FUZZ, max_examples=50)  # each lays out the prompts of a study
@given(document=damaged(TRIO))
def test_any_study_document_is_read_or_refused(document: Any, tmp_path: Path) -> None:
    assert "trio" in BUILT_IN
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    only_ours(lambda: load(file), GenerateError)


@FUZZ
@given(content=bent(yaml.safe_dump(TRIO).encode()) | st.binary(max_size=60))
def test_any_study_bytes_are_read_or_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(content)
    only_ours(lambda: load(file), GenerateError)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    return write_run(
        folder / "run", n_prompts=2, n_samples=2, families={"toy-mim": "masked"}, images=False
    )


METADATA = {
    "run": "run.json",
    "hierarchy": "data.zarr/zarr.json",
    "array": "data.zarr/toy-mim/factorial/tokens/zarr.json",
    "record": "ledger/toy-mim/factorial/c0000-b000000.json",
}


def look(root: Path) -> Store:
    store = open_store(root)
    for model in store.models():
        for experiment in store.experiments():
            store.dataset(model, experiment, allow_partial=True)
    list(store.verify())
    store.snapshot()
    return store


@pytest.mark.parametrize("name", METADATA)
def test_any_record_of_a_store_is_read_or_refused(name: str, small: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(small, tmp_path / "run"))
    file = root / METADATA[name]
    content = file.read_bytes()

    @FUZZ
    @given(made=damaged(json.loads(content)).map(lambda d: json.dumps(d).encode()) | bent(content))
    def attempt(made: bytes) -> None:
        file.write_bytes(made)
        only_ours(lambda: look(root), IbstatsError)

    attempt()


ROW = {
    "section": "diversity", "model": "m", "experiment": "factorial", "quantity": "q", "units": "1", "term": "t",
    "estimate": 1.0, "n_prompts": 3, "n_images": 4,
}  # fmt: skip
RESULTS = {
    "run_id": "r", "snapshot": "s", "analysis_sha256": "a", "ibstats_version": "0", "settings": {}, "rows": [ROW],
}  # fmt: skip


@FUZZ
@given(
    content=damaged(RESULTS).map(lambda d: json.dumps(d).encode())
    | bent(json.dumps(RESULTS).encode())
)
def test_any_results_are_read_or_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(content)
    only_ours(lambda: read_results(file), IbstatsError)


def test_names_and_keys_of_a_store_cannot_lead_out_of_it(small: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(small, tmp_path / "run"))
    run, record = root / METADATA["run"], root / METADATA["record"]
    text = run.read_text()
    run.write_text(text.replace('"toy-mim"', '"../../elsewhere"'))
    with pytest.raises(IbstatsError, match=r"run\.json' does not follow its schema: models"):
        open_store(root)
    run.write_text(text)
    document = json.loads(record.read_text())
    record.write_text(json.dumps(document | {"condition": 8}))
    with pytest.raises(IbstatsError, match="it is of another block"):
        open_store(root)
    record.write_text(json.dumps(document | {"prompt_stop": 99}))
    with pytest.raises(IbstatsError, match="prompts or a condition that the run has not"):
        open_store(root)
    document["objects"][0]["key"] = "../../../etc/passwd"
    record.write_text(json.dumps(document))
    with pytest.raises(IbstatsError, match="points outside the store"):
        open_store(root)
