"""How the codebooks of runs are used, side by side: tables, and on request files and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ibstats.errors import IbstatsError, Unmeasurable
from ibstats.report.figures.canvas import FORMATS, check_formats, save, style
from ibstats.report.figures.codebook import figures
from ibstats.report.render import csv, markdown
from ibstats.report.table import Paragraph, Part, Table
from ibstats.report.tables.codebook import tables
from ibstats.selection import Selection, select
from ibstats.statistics.codebook import Codes
from ibstats.store import Store
from schemas.study import ENCODED


def read(stores: Sequence[Store], names: Sequence[str]) -> dict[str, Codes]:
    """The codes of every model of some runs, by a name of its own.

    Of a sampled run they are those of its first experiment in the condition without intervention,
    images of a prompt counting as alike. `names`, all different, say what each run is called where models
    of two have one name. Raises Unmeasurable for a run without tokens.
    """
    found: dict[str, Codes] = {}
    every = [model for store in stores for model in store.models()]
    for store, called in zip(stores, names, strict=True):
        for model in store.models():
            name = model if every.count(model) == 1 else f"{called}/{model}"
            found[name] = codes_of(_selected(store, model))
    return found


def _selected(store: Store, model: str) -> Selection:
    experiments = store.experiments()
    experiment = ENCODED if ENCODED in experiments else experiments[0]
    return select(store, model, experiment)


def codes_of(selection: Selection) -> Codes:
    """The codes of a model and experiment, in its condition without intervention.

    The first condition where none is called so. Raises Unmeasurable where there are no tokens.
    """
    dataset = selection.need("tokens")
    names = [str(name) for name in dataset["condition"].values]
    baseline = selection.design.baseline
    chosen = dataset.isel(condition=names.index(baseline) if baseline in names else 0)
    order = ("prompt", "sample", "row", "col")
    tokens = chosen["tokens"].transpose(*order).values
    recovered = error = None
    if "recovered" in chosen:
        recovered = chosen["recovered"].transpose(*order).values
    if "squared_error" in chosen:
        error = chosen["squared_error"].transpose(*order[:2]).values.astype(np.float64)
    if len(tokens) == 1:  # images of one prompt, or of none, are units of their own
        tokens = tokens[0][:, None]
        recovered = None if recovered is None else recovered[0][:, None]
        error = None if error is None else error[0][:, None]
    identity = selection.identity
    return Codes(tokens, identity.codebook_size, identity.digit_levels, recovered, error)


def at_equal_budgets(
    codes: Mapping[str, Codes], n_tokens: int | None, seed: int
) -> tuple[dict[str, Codes], str]:
    """The same codes with as many tokens each, and a sentence on it.

    `n_tokens` by default are the fewest of any; images are drawn without replacement, by `seed`.
    Raises IbstatsError for more tokens than there are.
    """
    if not codes:
        raise Unmeasurable("no run holds tokens")
    fewest = min(one.n_tokens for one in codes.values())
    budget = n_tokens or fewest
    if budget > fewest:
        least = min(codes, key=lambda name: codes[name].n_tokens)
        raise IbstatsError(
            f"--tokens {budget} was asked for, but '{least}' has {fewest}: ask for at most that"
        )
    if len(codes) == 1 and n_tokens is None:
        return dict(codes), "all of its images"
    made = {}
    for name, one in codes.items():
        n_images = budget // one.n_positions
        if n_images < 1:
            raise IbstatsError(
                f"a budget of {budget} tokens is less than one image of '{name}', which has "
                f"{one.n_positions}: raise --tokens, or leave out the smallest run"
            )
        made[name] = one.of_images(n_images, np.random.default_rng(seed))
    return made, f"every run at {budget} tokens or the whole images below, drawn by seed {seed}"


def codebook(
    stores: Sequence[Store], names: Sequence[str], *, n_tokens: int | None, seed: int
) -> tuple[dict[str, Codes], list[Part]]:
    """The codes of runs at equal budgets, and their tables.

    Parameters and errors are those of `read` and `at_equal_budgets`.
    """
    codes, how = at_equal_budgets(read(stores, names), n_tokens, seed)
    said: list[Part] = []
    for store in stores:
        for model in store.models():
            left_out = _selected(store, model).left_out
            if left_out:
                said.append(Paragraph(f"note {left_out}"))
    return codes, [*tables(codes, how), *said]


def write(
    codes: Mapping[str, Codes],
    parts: Sequence[Part],
    folder: Path,
    formats: Sequence[str] | None = None,
) -> list[Path]:
    """Write the tables as CSV, and all with their notes as `codebook.md`, and draw the figures.

    CSV does not say how numbers were made: estimators, intervals and seed are in the notes. Gives
    the files. Raises IbstatsError for an unknown kind of figure.
    """
    check_formats(formats or FORMATS)
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / "codebook.md"]
    made[0].write_text(markdown.render(parts), encoding="utf-8")
    for part in parts:
        if isinstance(part, Table):
            file = folder / f"{part.name}.csv"
            file.write_text(csv.render(part), encoding="utf-8")
            made.append(file)
    with style():
        for name, figure in figures(codes):
            made += save(figure, folder / name, formats or FORMATS)
    return made
