"""Figures of ablations and other named conditions: every arm with its interval (Fig. 4 to 6)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ibstats.report.figures import quality
from ibstats.report.figures.canvas import (
    Point,
    canvas,
    dots,
    dots_height,
    estimates,
    legend_of,
    lines,
    look,
    lowest,
    note,
    panel_height,
    stack,
    whiskers,
)
from ibstats.report.figures.source import Source, axis
from ibstats.statistics.subset_ratio import POINTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from schemas.results import ResultRow

Panels = Mapping[str, str]
"""Section (`diversity`, `quality`) of each quantity that has a panel."""

RATIO = "keep_ratio"
"""Coordinate of the store: share of the codebook that a condition kept."""

APART = 0.008
"""Share of the codebook by which curves are moved apart, so that their intervals are seen."""

BETWEEN = " / "
"""What stands between the tokens of models that differ in them."""

DASHES = ("--", "-.", ":")


def figures(source: Source) -> Iterator[tuple[str, Figure]]:
    """Name and figure: one of the arms, one of diversity against quality where both were measured.

    A panel is the preferred distance, or score, of those that any model has. The first is named as
    the experiment, the other `EXPERIMENT-frontier`.
    """
    panels: dict[str, str] = {}
    distance = source.chosen("diversity", "distance")
    score = source.chosen("quality", "score")
    if distance is not None:
        panels[distance] = "diversity"
    if score is not None:
        panels[score] = "quality"
    if panels:
        make = FIGURES.get(source.design.kind, _arms)
        yield source.experiment, make(source, panels)
    if score is not None and distance is not None:
        found = quality.places(source, score, distance)
        if found:
            figure = quality.frontier(source, score, distance, found)
            yield f"{source.experiment}-frontier", figure


def strategy(levels: Mapping[str, str], base: Mapping[str, str]) -> str:
    """Name of what a condition changes of the baseline: the level that differs.

    It is `proposed` if several differ, `baseline` if none does.

    `levels` and `base` are the levels of the condition and of the baseline by factor.

    >>> base = {"prompt_type": "original", "codebook": "full"}
    >>> strategy(base, base), strategy({**base, "codebook": "subset"}, base)
    ('baseline', 'subset')
    >>> strategy({"prompt_type": "paraphrase", "codebook": "subset"}, base)
    'proposed'
    """
    changed = [level for factor, level in levels.items() if level != base.get(factor)]
    if len(changed) > 1:
        return "proposed"
    return changed[0] if changed else "baseline"


def _arms(source: Source, panels: Panels) -> Figure:
    """Every condition, all models (Fig. 5); dotted lines mark the baseline, where there is one."""
    conditions = source.conditions(*panels.values())
    counts = _argmax_tokens(source)
    labels = source.named(conditions)
    names = []
    for number, condition in enumerate(conditions):
        names.append(condition.name)
        if condition.name in counts:
            labels[number] += f"\n{counts[condition.name]}"
    height = max(dots_height(len(names), len(source.models)), 0.36 * len(names)) + 0.45
    figure, axes = stack(len(panels), height, 0.3)
    baseline = source.numbers.baseline(source.experiment)
    for panel, (name, section) in zip(axes, panels.items(), strict=True):
        points = source.points(section, name, names)
        dots(panel, points, labels)
        if baseline in names:
            for number, of_model in enumerate(points.values()):
                _baseline(panel, of_model[names.index(baseline)], number)
        panel.set_xlabel(lines(axis(name), 38))
        if section == "diversity":
            panel.set_xlim(left=min(0.0, panel.get_xlim()[0]))
    legend_of(figure, *axes)
    said = source.size(*panels.values(), quantities=panels)
    if any(BETWEEN in label for label in counts.values()):
        said += "; tokens under argmax in the order of the models"
    return note(figure, said)


def _baseline(axes: Axes, one: Point | None, number: int) -> None:
    if one is not None:
        colour, _ = look(number)
        axes.axvline(one.estimate, color=colour, lw=0.6, ls=":", zorder=0)


def _argmax_tokens(source: Source) -> dict[str, str]:
    """By condition of an argmax window, the tokens that each model commits under it, in a line."""
    tokens: dict[str, list[str]] = {}
    of = {"quantity": "tokens_under_argmax", "experiment": source.experiment}
    for row in source.numbers.all("information", **of):
        if row.condition is not None and row.estimate is not None:
            tokens.setdefault(row.condition, []).append(str(round(row.estimate)))
    found = {}
    for name, counts in tokens.items():
        alike = len(set(counts)) == 1
        shown = counts[:1] if alike else counts
        found[name] = lines(f"{BETWEEN.join(shown)} tokens")
    return found


def _ratio_curves(source: Source, panels: Panels) -> Figure:
    """Each quantity against the share of codes kept, a line per model (Fig. 4).

    Bars below diversity mark inflection points, hollow markers of quality a significant loss. Where
    the shares, of which the labelled tree knows, are not at hand, it is the figure of `_arms`.
    """
    ratios = source.setting(RATIO)
    if not ratios:
        return _arms(source, panels)
    figure, axes = stack(len(panels), 1.9, 0.5, sharex=True)
    below = ["share of the codebook kept"]
    for panel, (name, section) in zip(axes, panels.items(), strict=True):
        losses = _lost(source, name)
        points = source.points(section, name, ratios)
        for number, (model, found) in enumerate(points.items()):
            shift = (number - (len(points) - 1) / 2) * APART
            there = dict(zip(ratios.values(), found, strict=True))
            _curve(panel, there, number, model, shift=shift, hollow=losses.get(model, ()))
        panel.set_ylabel(lines(axis(name), 32))
        knees = _inflections(source, name)
        _draw_knees(panel, knees, source.models)
        for row in list(knees.values())[:1]:
            below.append(f"bars: inflection points, {row.level or 0:.0%}")
        if any(losses.values()):
            below.append("hollow: significant loss of quality")
    axes[-1].set_xlim(0, 1.02)
    for panel in lowest(axes):
        panel.set_xlabel(below[0])
    axes[-1].set_xlabel("\n".join(below))
    legend_of(figure, *axes)
    return note(figure, source.size(*panels.values(), quantities=panels))


def _inflections(source: Source, name: str) -> dict[str, ResultRow]:
    """By model, the row of an inflection point of a quantity, where one was found."""
    found = {}
    for model in source.models:
        of = {"model": model, "quantity": name, "experiment": source.experiment}
        row = source.numbers.one("inflection", part="ratio", **of)
        if row is not None and row.estimate is not None and row.verdict in POINTS:
            found[model] = row
    return found


def _lost(source: Source, score: str) -> dict[str, list[float]]:
    """By model, the shares kept at which a score is significantly worse than with all codes."""
    found: dict[str, list[float]] = {}
    for model in source.models:
        group = source.group(model, "quality_losses")
        if group is None or score not in group["quantity"].values:
            continue
        one = group.sel(quantity=score)
        found[model] = one[RATIO].values[one["lost"].values.astype(bool)].tolist()
    return found


def _draw_knees(axes: Axes, knees: Mapping[str, ResultRow], models: list[str]) -> None:
    """Bars under the curves: inflection points and their intervals."""
    if not knees:
        return
    low, high = axes.get_ylim()
    tall = high - low
    for number, (model, row) in enumerate(knees.items()):
        colour, _ = look(models.index(model))
        y = low - (0.05 + 0.045 * number) * tall
        if row.low is not None and row.high is not None:
            ends = [row.low, row.high]
            axes.plot(ends, [y, y], color=colour, lw=2.2, solid_capstyle="butt", alpha=0.55)
        axes.plot([row.estimate or 0.0], [y], marker="|", ms=6, color=colour)
    axes.set_ylim(low - (0.07 + 0.045 * len(knees)) * tall, high)


def _strategies(source: Source, panels: Panels) -> Figure:
    """Strategies against the share of codes kept, those that keep all as levels (Fig. 6).

    A row of panels a model.

    Without a baseline or the shares it is the figure of `_arms`.
    """
    ratios = source.setting(RATIO)
    known = _strategies_of(source)
    if not ratios or not known:
        return _arms(source, panels)
    models = source.models
    height = panel_height(1.25, len(models)) * len(models) + 0.7
    shared: dict[str, Any] = {"sharex": True, "sharey": "col"}
    figure, axes = canvas(height, rows=len(models), columns=len(panels), **shared)
    for row, model in zip(axes, models, strict=True):
        for panel, (name, section) in zip(row, panels.items(), strict=True):
            for number, (called, conditions) in enumerate(known.items()):
                there = {}
                for condition in conditions:
                    of = {"model": model, "quantity": name, "condition": condition}
                    there[ratios.get(condition, 1.0)] = source.point(section, **of)
                shift = (number - (len(known) - 1) / 2) * APART
                _curve_or_level(panel, there, number, called, shift)
        row[0].set_ylabel(lines(model, 18))
    for panel, name in zip(axes[0], panels, strict=True):
        panel.set_title(lines(axis(name), 26))
    for panel in axes[-1]:
        panel.set_xlabel("share of codes kept")
    legend_of(figure, *axes.ravel())
    return note(figure, source.size(*panels.values(), quantities=panels))


def _strategies_of(source: Source) -> dict[str, list[str]]:
    """Conditions by strategy: what they change of the baseline; empty without a baseline."""
    conditions = source.design.conditions
    base = [one.levels for one in conditions if one.name == source.design.baseline]
    found: dict[str, list[str]] = {}
    for condition in conditions if base else ():
        found.setdefault(strategy(condition.levels, base[0]), []).append(condition.name)
    return found


def _curve_or_level(
    axes: Axes, points: Mapping[float, Point | None], number: int, name: str, shift: float
) -> None:
    """A curve over the shares kept, or a level with its interval where the whole codebook is."""
    whole = points.get(1.0)
    if list(points) != [1.0]:
        _curve(axes, points, number, name, shift=shift)
    elif whole is not None:
        colour, _ = look(number)
        dash = DASHES[number % len(DASHES)]
        axes.axhline(whole.estimate, color=colour, ls=dash, label=name)
        axes.axhspan(whole.low, whole.high, color=colour, alpha=0.1, lw=0)


def _curve(
    axes: Axes,
    points: Mapping[float, Point | None],
    number: int,
    name: str,
    *,
    shift: float = 0.0,
    hollow: Collection[float] = (),
) -> None:
    """Estimates with intervals against the share kept; `hollow` are shares whose marker is open."""
    colour, marker = look(number)
    there: dict[float, Point] = {}
    for ratio in sorted(points):
        one = points[ratio]
        if one is None:
            continue
        there[ratio + shift] = one
        if ratio in hollow:
            open_: dict[str, Any] = {"marker": marker, "ms": 2.8, "color": colour, "mfc": "white"}
            axes.plot(ratio + shift, one.estimate, zorder=4, **open_)
    if not there:
        return
    axes.errorbar(
        list(there),
        estimates(there.values()),
        yerr=whiskers(there.values()),
        color=colour,
        marker=marker,
        ms=2.8,
        elinewidth=0.7,
        label=name,
    )


FIGURES: dict[str, Callable[[Source, Panels], Figure]] = {
    "subset_ratio": _ratio_curves,
    "enhancement": _strategies,
}
"""Kinds of ablation with a figure of their own; any other experiment gets that of its arms."""
