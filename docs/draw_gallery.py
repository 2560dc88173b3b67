"""The gallery of the documentation: its page, and its pictures drawn from two runs of the trio.

ibgenerate run trio --out runs/demo
ibgenerate run trio-ablations --out runs/ablations
ibgenerate rescore runs/demo --contrast study --model trio-ar --prompts 10 --condition ...
ibgenerate rescore runs/demo --contrast study --model trio-mim --paths 2 --prompts 2
python docs/draw_gallery.py runs/demo runs/ablations

The pictures that are kept come from the demo (24 prompts with 10 images) and from a smaller run of the ablations (8
prompts with 4), as their notes say.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from PIL import Image

DOCS = Path(__file__).parent
PAGE, FOLDER = DOCS / "gallery.md", DOCS / "gallery"

FIGURES = "ibstats/report/figures"

OPENING = """\
# Gallery

Every figure of a run, drawn by `ibstats report RUN` (as PNG) and `ibstats figures RUN --format pdf`, of each distance
and score that was measured; those of ablations by `ibstats ablations RUN`. These are of the reference trio: the demo,
and ablations at a small size, so that their intervals are wide. Numbers in brackets are those of the paper's figures.

The pictures and this page are made by `docs/draw_gallery.py`. In a notebook, `ibstats.open(RUN).plot` draws cells,
probes, changes and waterfalls on axes of your own.
"""


class Entry(NamedTuple):
    """A figure of the gallery."""

    name: str
    """Of its file, without the ending."""
    title: str
    module: str
    """Module of `ibstats.report.figures` that draws it."""
    text: str


ENTRIES = (
    Entry(
        "overview",
        "Overview (Fig. 1)",
        "overview",
        "Entropy of the codes and what is left of "
        "it given the prompt; bits by path and by execution; what each probe changes.",
    ),
    Entry(
        "probes-ssim_dissimilarity",
        "Probes (Fig. 2)",
        "factorial",
        "Diversity without intervention and under each probe alone. A 0 is a measured zero.",
    ),
    Entry(
        "quality-probes",
        "Quality under the probes (Fig. 3)",
        "quality",
        "Every score, with the end that is good.",
    ),
    Entry(
        "subset_ratio",
        "Share of codes kept (Fig. 4)",
        "ablations",
        "Bars, where there are any, "
        "are inflection points; hollow markers a significant loss of quality.",
    ),
    Entry(
        "argmax_window",
        "When argmax acts (Fig. 5a)",
        "ablations",
        "Dotted lines are the arm without intervention.",
    ),
    Entry("paraphrase_length", "Length of paraphrases (Fig. 5b)", "ablations", "As above."),
    Entry("subset_method", "How codes are chosen (Fig. 5c)", "ablations", "As above."),
    Entry(
        "enhancement",
        "Enhancement (Fig. 6)",
        "ablations",
        "Strategies against the share of "
        "codes kept; those that keep all codes are levels with their intervals.",
    ),
    Entry(
        "enhancement-trio-mim",
        "Images of the strategies (Fig. 7)",
        "contact",
        "Four samples of each strategy, a row a prompt.",
    ),
    Entry(
        "waterfall-ssim_dissimilarity",
        "Waterfall (Fig. 8, 9)",
        "factorial",
        "Main effects, "
        "added from the cell with all levels low; the gap is what they do not explain.",
    ),
    Entry(
        "waterfall-stochastic-ssim_dissimilarity",
        "Two factors (Fig. 10)",
        "factorial",
        "The same with sampling held.",
    ),
    Entry(
        "interaction-trio-ar-ssim_dissimilarity",
        "Interactions (Fig. 11 to 13)",
        "factorial",
        "Each factor is the facet once; of two factors there are two rows.",
    ),
    Entry(
        "cells-ssim_dissimilarity", "Every condition", "factorial", "Diversity with its interval."
    ),
    Entry(
        "forest-ssim_dissimilarity",
        "Effects",
        "factorial",
        "Main effects and interactions, paired within prompts.",
    ),
    Entry(
        "frontier-reference_accuracy",
        "Diversity against quality",
        "quality",
        "The line joins conditions that none was shown to dominate.",
    ),
    Entry(
        "positions",
        "Codes by position",
        "factorial",
        "What a token tells at each place of the grid, in the baseline.",
    ),
    Entry(
        "information-plane",
        "Information plane",
        "information_plane",
        "What is left open given the prompt, and what whole images tell of it; an arrow a probe. "
        "After `ibgenerate rescore RUN --contrast ... --condition ...`.",
    ),
    Entry(
        "ledger-budget",
        "Sources of variance",
        "path_and_execution",
        "Of crossed noise; an estimate may be below 0.",
    ),
    Entry(
        "ledger-steps",
        "Bits by step",
        "path_and_execution",
        "Entropy a token while it is drawn, and surprisal of the path a step.",
    ),
    Entry(
        "ledger-order",
        "Order",
        "path_and_execution",
        "Mean step at which each position was last set.",
    ),
    Entry(
        "ledger-surprisal", "Bits against diversity", "path_and_execution", "A point is a prompt."
    ),
    Entry(
        "contact-trio-mim",
        "Contact sheet",
        "contact",
        "The same samples of some prompts in every condition.",
    ),
)


def page() -> str:
    """The page of the gallery, as Markdown."""
    parts = [OPENING]
    for entry in ENTRIES:
        parts.append(
            f"## {entry.title}\n\n{entry.text}\n\n"
            f"![{entry.title}](gallery/{entry.name}.png)\n\n"
            f"File `{entry.name}`, drawn in `{FIGURES}/{entry.module}.py`.\n"
        )
    return "\n".join(parts)


def drawn(factorial: str, ablations: str, folder: Path) -> None:
    """Draw every figure of a factorial, and of every ablation, into a folder."""
    from ibstats import Config, open_store
    from ibstats.report import files

    store = open_store(factorial)
    files.draw_all(store, Config(), folder, ("png",))
    store = open_store(ablations)
    for name in store.experiments():
        files.draw_all(store, Config(experiment=name), folder, ("png",))


def reduced(picture: Image.Image) -> Image.Image:
    """A drawing of at most 256 colours, for a small file: none further than 16 of 255 from its own.

    A palette by medians, Pillow's default, turns grey letters beside a map into its colours.
    """
    method = Image.Quantize.FASTOCTREE
    return picture.convert("RGB").quantize(method=method, dither=Image.Dither.NONE)


def main(factorial: str, ablations: str) -> None:
    """Write the page and its pictures."""
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as temporary:
        drawn(factorial, ablations, Path(temporary))
        for entry in ENTRIES:
            with Image.open(Path(temporary) / f"{entry.name}.png") as picture:
                reduced(picture).save(FOLDER / f"{entry.name}.png", optimize=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
