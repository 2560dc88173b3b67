"""Orders of a toy sampled by `generate`, analysed by `ibstats`, against their enumerated law."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import xarray as xr
import yaml

from generate.models.toy_law import Law, enumerate_law
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.run.rescore import plan_rescoring, rescore
from generate.store.samples import SampleStore
from generate.study.conditions import conditions
from generate.study.planning import plan
from generate.study.probes import Probe
from generate.study.study_file import load_study
from ibstats.analysis import analyse
from ibstats.analysis import orders as order_analysis
from ibstats.design import Condition, Design, OneOrder
from ibstats.measure import Machine
from ibstats.planned import planned
from ibstats.report import files, tables
from ibstats.report.page import sections
from ibstats.report.table import Paragraph, Table
from ibstats.results.lookup import Numbers
from ibstats.results.rows import results
from ibstats.results.tidy import write_csv
from ibstats.selection import select
from ibstats.store import Store, open_store
from schemas.analysis import Config, Resampling
from schemas.results import ResultRow
from schemas.study import FIXED_ORDERS, NOISELESS_ORDERS, Order, OrderName
from tests.generate.test_toy_law import toy

N_PROMPTS, N_SAMPLES, MODEL = 4, 24, "toy-masked"
OPTIONS = {"path_temperature": 0.5}
ORDERS: tuple[OrderName, ...] = get_args(OrderName)
BOUND = 1.0
EXPERIMENT = {"kind": "order", "orders": list(ORDERS), "entropy_bound": BOUND}
SETTINGS = Config(
    experiment="order",
    metrics=("pixel_cosine",),
    parts=("diversity", "ledger", "shares"),
    resampling=Resampling(n_resamples=200),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Every order of a toy, with bounds from rescored paths where one is chosen."""
    folder = tmp_path_factory.mktemp("orders")
    prompts = [{"id": f"s{i}", "text": f"study {i}"} for i in range(N_PROMPTS)]
    (folder / "study.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    document = {
        "name": "orders",
        "samples": N_SAMPLES,
        "models": [{"model": MODEL, "options": OPTIONS}],
        "prompts": {"source": "study.jsonl"},
        "experiments": {"order": EXPERIMENT},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    laid_out = plan(*load_study(str(folder / "study.yaml")))
    assert run(laid_out, prepare(laid_out, folder / "run")).failed == 0
    chosen = ["01-confidence", "05-random", "13-entropy"]
    made = SampleStore.open(folder / "run")
    rescore(plan_rescoring(made, MODEL, experiment="order", n_paths=16, conditions=chosen))
    return open_store(folder / "run")


@pytest.fixture(scope="module")
def numbers(store: Store) -> Numbers:
    return Numbers(results(analyse(store, SETTINGS)))


@functools.cache
def law(name: OrderName, prompt: int) -> Law:
    return enumerate_law(
        toy(MODEL, **OPTIONS), f"study {prompt}", Probe(order=name, entropy_bound=BOUND)
    )


def exact(name: OrderName, quantity: str) -> float:
    """Mean over prompts of a quantity of the enumerated law."""
    return float(np.mean([getattr(law(name, prompt), quantity) for prompt in range(N_PROMPTS)]))


def arm(name: str) -> str:
    """The condition of an order in which all its noise varies."""
    places = dict(zip(ORDERS, (1, 5, 9, 11, 13, 17), strict=True))
    return f"{places[name]:02d}-{name}"  # type: ignore[index]


def bits(numbers: Numbers, name: str, quantity: str) -> ResultRow:
    row = numbers.one("ledger", condition=arm(name), quantity=quantity)
    assert row is not None
    return row


@pytest.mark.parametrize("name", ORDERS)
def test_the_bits_of_an_order_are_those_of_its_enumerated_law(
    numbers: Numbers, name: OrderName
) -> None:
    """96 images; an image's bits spread by at most two."""
    path = bits(numbers, name, "path_causal").estimate
    joint = bits(numbers, name, "joint").estimate
    slack = 4 * 2.0 / (N_PROMPTS * N_SAMPLES) ** 0.5
    assert path == pytest.approx(exact(name, "path_causal"), abs=slack)
    assert joint == pytest.approx(exact(name, "both"), abs=slack)
    least, most = (
        numbers.all("ledger", condition=arm(name), quantity=f"tokens_{side}")
        for side in ("lower", "upper")
    )
    tokens = exact(name, "tokens")
    if name in NOISELESS_ORDERS:
        assert bits(numbers, name, "tokens").estimate == pytest.approx(tokens, abs=slack)
        assert bits(numbers, name, "residual_upper").estimate == 0
        most_path = bits(numbers, name, "path_upper_schedule").estimate
        assert most_path is not None
        assert (most_path == 0) == (name in FIXED_ORDERS)
        assert most_path + slack > exact(name, "path")
        assert not least
    else:
        assert bits(numbers, name, "tokens").estimate is None
        assert least[-1].estimate is not None
        assert most[-1].estimate is not None
        assert least[-1].estimate - slack < tokens < most[-1].estimate + slack


def pairs(numbers: Numbers, name: str) -> dict[str, ResultRow]:
    return {str(row.part): row for row in numbers.all("pair_distance", condition=arm(name))}


def test_the_two_by_two_of_an_order_is_that_of_its_four_conditions(numbers: Numbers) -> None:
    def diversity(condition: str) -> float:
        row = numbers.one("diversity", condition=condition)
        assert row is not None
        assert row.estimate is not None
        return row.estimate

    found = {part: row.estimate for part, row in pairs(numbers, "random").items()}
    whole = diversity("05-random")
    shared, argmax = diversity("07-random-shared") / whole, diversity("06-random-argmax") / whole
    assert found["neither"] == pytest.approx(whole)
    assert found["path_shared"] == pytest.approx(shared)
    assert found["argmax"] == pytest.approx(argmax)
    assert found["redundancy"] == pytest.approx(shared + argmax - 1)
    assert found["nothing_varies"] == 0
    synergy = numbers.one("comparison", effect="random: synergy")
    assert synergy is not None
    assert synergy.estimate == pytest.approx(-(shared + argmax - 1) * whole)


def test_a_fixed_order_keeps_all_and_leaves_nothing(numbers: Numbers) -> None:
    for name in NOISELESS_ORDERS:
        found = pairs(numbers, name)
        assert found["path_shared"].estimate == 1
        for part in ("argmax", "redundancy", "nothing_varies"):
            assert found[part].estimate == 0
            assert found[part].degenerate


def test_every_two_orders_are_compared_in_their_bits(numbers: Numbers) -> None:
    tested = numbers.all("information_effect", quantity="path_causal")
    assert len(tested) == 15
    one = numbers.one("information_effect", quantity="joint", effect="raster - random")
    assert one is not None
    assert one.high is not None
    assert one.high < 0


@pytest.mark.parametrize("name", [name for name in ORDERS if name != "confidence"])
def test_how_much_more_the_tokens_of_an_order_have_is_bounded_from_both_sides(
    numbers: Numbers, name: OrderName
) -> None:
    asked = {"condition": arm(name), "against": arm("confidence")}
    low, high = (
        numbers.one("information_effect", quantity=f"tokens_more_{side}", **asked)
        for side in ("lower", "upper")
    )
    assert low is not None
    assert high is not None
    assert low.estimate is not None
    assert high.estimate is not None
    truth = exact(name, "tokens") - exact("confidence", "tokens")
    slack = 4 * 2.0 / (N_PROMPTS * N_SAMPLES) ** 0.5
    assert low.estimate - slack < truth < high.estimate + slack
    assert low.p is None
    known = bits(numbers, name, "tokens").estimate
    if known is not None:
        most = numbers.all("ledger", condition=arm("confidence"), quantity="tokens_upper")[-1]
        assert most.estimate is not None
        assert low.estimate == pytest.approx(known - most.estimate)


def test_an_order_whose_zero_is_none_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    selection = select(store, MODEL, "order")
    found, _ = order_analysis.measured(selection, SETTINGS, Machine())
    broken = {}
    for name, table in found.items():
        distance = table["distance"].copy()
        distance.loc[{"condition": "12-halton-argmax"}] = 0.25
        broken[name] = table.assign(distance=distance)
    monkeypatch.setattr(order_analysis, "measured", lambda *_: (broken, []))
    groups, notes = order_analysis.order_pairs(selection, SETTINGS, Machine())
    assert notes == [f"{MODEL}/order, halton: {order_analysis.LEAK}"]
    told = groups["order_pairs"]["note"].sel(part="nothing_varies").squeeze()
    assert told.condition[told != ""].values.tolist() == [arm("halton")]


def test_the_tables_have_a_line_an_order(numbers: Numbers) -> None:
    parts = tables.ablation_parts(numbers)
    shown = {part.name: part for part in parts if isinstance(part, Table)}
    for name in ("orders", "orders-bits"):
        assert [row[0].words for row in shown[name].rows] == list(ORDERS)  # type: ignore[union-attr]
    assert "H(Z|X) more, ≥" in [column.head for column in shown["orders-bits"].columns]
    said = [part.words for part in parts if isinstance(part, Paragraph)]
    assert sum("images that share the path noise keep" in words for words in said) == 3
    names = [table.name for table in tables.paper_tables(numbers)]
    assert names[:2] == ["orders", "orders-bits"]


def test_the_page_shows_every_order_and_charts_the_one_without_intervention(
    numbers: Numbers,
) -> None:
    analysis = sections.Analysis(numbers, "order", lambda: None)
    shown = sections.path(analysis, sections.Page())
    assert "Orders, by" in shown
    start, stop = shown.index("what is left where a noise"), shown.index("table-path-and-execution")
    for name in ("confidence", "entropy"):
        share = pairs(numbers, name)["path_shared"].estimate
        assert (f">{share:.3f} <" in shown[start:stop]) == (name == "confidence")
    assert "Orders, by" in sections.ablation(analysis, sections.Page())


def test_a_run_without_images_has_the_bits_of_its_orders(store: Store) -> None:
    found = Numbers(results(analyse(store, SETTINGS.but(parts=("ledger",)))))
    shown = [part.name for part in tables.ablation_parts(found) if isinstance(part, Table)]
    assert "orders-bits" in shown
    assert "orders" not in shown


def test_the_two_by_two_goes_into_every_file(numbers: Numbers, tmp_path: Path) -> None:
    written = files.write_tables(numbers.document, tmp_path, "latex") + write_csv(
        numbers.document, tmp_path
    )
    assert {"orders.tex", "orders-bits.tex", "pair_distance.csv"} <= {file.name for file in written}


def design(asked: dict[str, Any]) -> Design:
    """The design of an experiment as it is asked for."""
    found = []
    for cell in conditions(Order(**asked)):
        settings = {"order": cell.order, "path_noise": cell.path_noise}
        found.append(Condition(cell.name, {"sampling": cell.sampling}, settings))
    return Design("order", tuple(found), baseline=found[0].name)


def test_each_condition_has_its_place() -> None:
    found = {one.name: one for one in design({}).orders()}
    assert found["random"] == OneOrder(
        "random", "05-random", "07-random-shared", "06-random-argmax", "08-random-shared-argmax"
    )
    assert found["raster"].whole == "09-raster"
    assert found["raster"].own is None


@pytest.mark.parametrize("path", [["own"], ["shared"], ["own", "shared"]])
@pytest.mark.parametrize("sampling", [["stochastic"], ["argmax"]])
def test_part_of_the_experiment_has_the_comparisons_that_it_allows(
    path: list[str], sampling: list[str]
) -> None:
    made = design({"orders": ["random", "raster"], "path": path, "sampling": sampling})
    y = xr.DataArray(np.ones(len(made.names)), dims="condition")
    for contrast in planned(made):
        assert float(contrast.weights @ y.values) == 0
        assert "synergy" not in contrast.name


def test_noises_that_add_up_have_no_synergy() -> None:
    made = design({"orders": ["entropy"]})
    one = {order.name: order for order in made.orders()}["entropy"]
    diversity = {one.own: 0.7, one.shared: 0.5, one.argmax: 0.2, one.nothing: 0.0}
    y = np.array([diversity.get(name, 9.0) for name in made.names])
    synergy = {contrast.name: contrast for contrast in planned(made)}["entropy: synergy"]
    assert float(synergy.weights @ y) == pytest.approx(0.0, abs=1e-12)
