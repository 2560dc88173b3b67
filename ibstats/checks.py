"""Whether settings fit a run: names that nobody knows are refused before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable

from ibstats.errors import IbstatsError, unknown
from ibstats.measure import metric, network, score
from ibstats.measure.users import is_own
from ibstats.quantities import by_user, of_family
from ibstats.store import Store
from schemas.analysis import Config
from schemas.study import ABLATIONS


def of_run(settings: Config, store: Store) -> Config:
    """The settings with the experiment of an imported run, which has one and no factorial.

    Where an experiment was asked for by name, or the run is of a study, they stay as they are.
    """
    default = Config.model_fields["experiment"].default
    held = store.experiments()
    if store.run.imported is None or settings.experiment != default or len(held) != 1:
        return settings
    return settings.but(experiment=held[0])


def check(settings: Config, store: Store) -> None:
    """Refuse names of experiments, models, metrics, networks, scores and margins that are not there.

    Raises IbstatsError with the name and those that are known.
    """
    _check_experiment(store, settings.experiment)
    _check_names("model", settings.models, store.models())
    for name in settings.metrics:
        metric(name)  # a user's own is loaded, which registers its quantity
    network(settings.network)
    for name in filter(is_own, settings.scores):
        score(name)
    _check_names("score", settings.scores, by_user("score"))
    names = [record.name for record in of_family("distance", "score")]
    asked = [*by_user("distance"), *by_user("score")]
    _check_names("distance or score in margins", settings.margins, [*names, *asked])


def _check_names(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)


def _check_experiment(store: Store, name: str) -> None:
    """A run need not hold the experiment asked for, which is a factorial by default."""
    kinds = {held: store.kind(held) for held in store.experiments()}
    if name in kinds:
        return
    shown = []
    for held, kind in kinds.items():
        shown.append(held if held == kind else f"{held} ({kind})")
    factorials = [held for held, kind in kinds.items() if kind == "factorial"]
    repair = f"--experiment {(factorials or list(kinds))[0]} analyses that"
    if not factorials and set(kinds.values()) & set(ABLATIONS):
        repair = f"`ibstats ablations {store.path}` reports ablations"
    raise IbstatsError(
        f"'{store.path}' holds no experiment '{name}', only {', '.join(shown)}; {repair}"
    )


def ablations(store: Store) -> dict[str, str]:
    """The ablations of a run and their kinds, in the order of the paper.

    Kinds by the names of the experiments; empty where there is none.
    """
    found = {}
    for kind in ABLATIONS:
        for name in store.experiments():
            if store.kind(name) == kind:
                found[name] = kind
    return found


def check_factorial(store: Store, experiment: str) -> None:
    """Refuse an ablation, which has no factorial effects and reports of its own.

    Raises IbstatsError with the command that reports it.
    """
    kind = ablations(store).get(experiment)
    if kind is not None:
        raise IbstatsError(
            f"'{experiment}' is an ablation ({kind}), which has no factorial effects; "
            f"`ibstats ablations {store.path} --experiment {experiment}` reports it"
        )


NEEDED = {
    "effects": "it takes two-level factors or a baseline; `ibstats import --baseline NAME` names one",
    "whole_image": "it takes images scored under other texts, by `ibgenerate rescore RUN --contrast study`",
    "strategy": "it takes the paper's probes: argmax, paraphrases and a subset of the codebook, with a baseline",
}
"""What a design must have for a part of a report."""


def why_none(part: str) -> str:
    """Why a part of a report holds no table, in words that follow `no PART:`.

    `part` is a section of a report, for instance `effects`.
    """
    return NEEDED.get(part, "the notes above say what lacks")
