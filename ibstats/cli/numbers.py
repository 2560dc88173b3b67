"""One kind of number of a run at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ibstats.cli.console import Run, say, say_places, show
from ibstats.errors import IbstatsError
from ibstats.options import Options, analysing
from schemas.analysis import Part

if TYPE_CHECKING:
    from ibstats.report.table import Part as ReportPart
    from ibstats.results.lookup import Numbers

OF_ANY_EXPERIMENT: tuple[tuple[Part, ...], ...] = (("quality",), ("whole_image",))
"""Parts that an experiment has which is no factorial."""


def _sections(run: str, options: Options, parts: tuple[Part, ...], *sections: str) -> None:
    """Print some sections of an analysis of these parts."""
    from ibstats.report import tables

    _print(tables.factorial_parts(_numbers(run, options, parts), sections), sections[0])


def _numbers(run: str, options: Options, parts: tuple[Part, ...]) -> Numbers:
    """The rows of an analysis of these parts, of a factorial where they need one."""
    from ibstats.checks import check_factorial
    from ibstats.results.kept import obtain
    from ibstats.results.lookup import Numbers

    store, settings = options.open(run), options.settings(parts)
    if parts not in OF_ANY_EXPERIMENT:
        check_factorial(store, settings.experiment)
    return Numbers(obtain(store, settings, options.machine()))


def _print(shown: list[ReportPart], section: str) -> None:
    """Print tables and sentences, or why a section has no table."""
    from ibstats.checks import why_none
    from ibstats.report.table import Table

    show(shown)
    if not any(isinstance(part, Table) for part in shown):
        say(f"no {section}: {why_none(section)}")


@analysing("diversity", without=["margin"])
def diversity(run: Run, options: Options) -> None:
    """Mean pairwise distance of each cell, with intervals."""
    _sections(run, options, ("diversity",), "diversity")


@analysing("information")
def entropy(run: Run, options: Options) -> None:
    """H(Z), H(Z|X), I(X;Z) and codebook use of each cell, from tokens only."""
    _sections(run, options, ("information",), "entropy")


@analysing("whole_image")
def information(run: Run, options: Options) -> None:
    """I(X;Z) of whole images, of prompts and of wordings, H(Z), alignment: from `ibgenerate rescore --contrast`."""
    from ibstats.report import tables

    _print(tables.whole_image_parts(_numbers(run, options, ("whole_image",))), "whole_image")


@analysing("diversity", without=["margin"])
def effects(run: Run, options: Options) -> None:
    """Effects of all factors, also with others held, with tests and effect sizes; waterfalls, synergy gaps."""
    shown = ("effects", "simple_effects", "waterfall", "waterfall_two")
    _sections(run, options, ("diversity",), *shown)


@analysing("quality", without=["margin"])
def quality(run: Run, options: Options) -> None:
    """CLIP score, CLIP-IQA, FID, KID and the scene network's scores: cells, probes, effects, frontier."""
    _sections(run, options, ("quality",), "quality", "quality_effects")


@analysing("diversity", "shares")
def strategy(run: Run, options: Options) -> None:
    """Diversity-prioritized, compression-prioritized or decoupled: each verdict with its evidence."""
    _sections(run, options, ("diversity", "shares"), "strategy")


@analysing("diversity", without=["margin", "interval", "level", "resamples"])
def power(
    run: Run,
    effect: Annotated[
        str, typer.Option(help="Effect to plan for, for instance sampling:codebook.")
    ] = "sampling",
    difference: Annotated[float | None, typer.Option(help="Smallest effect worth finding.")] = None,
    equivalence: Annotated[
        float | None, typer.Option(help="Margin within which to show equivalence.")
    ] = None,
    target: Annotated[float, typer.Option(min=0, max=1, help="Power wanted.")] = 0.8,
    *,
    options: Options,
) -> None:
    """Prompts and images a study needs, with this run as its pilot."""
    from ibstats.report.planning import Question, plan

    question = Question(effect, difference, equivalence, target)
    store = options.open(run)
    for planned in plan(store, options.settings(), options.machine(), question):
        show([planned.table])
        say(planned.figure)


@analysing("ledger", "shares")
def decompose(
    run: Run,
    crossed: Annotated[
        bool, typer.Option("--crossed", help="Shares of path and execution from crossed noise.")
    ] = False,
    wording: Annotated[
        bool, typer.Option("--wording", help="Share of the wording in paraphrase cells.")
    ] = False,
    *,
    options: Options,
) -> None:
    """Bits of path and execution; on request, shares of the diversity from distances."""
    from ibstats.report import decomposing

    if "metrics" in options.given and not (crossed or wording):
        raise IbstatsError(
            "--metric is of shares of the diversity, and bits come from recorded surprisals; ask for "
            "shares with --crossed or --wording, or leave --metric out"
        )
    store, machine = options.open(run), options.machine()
    parts: tuple[Part, ...] = ("shares",) if crossed or wording else ("ledger",)
    settings = options.settings(parts)
    made = decomposing.decompose(store, settings, machine, crossed=crossed, wording=wording)
    show(made.parts)
    say_places(made.places)
