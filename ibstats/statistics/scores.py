"""From a selection to its scores: which can be had, the features they need, and each score by its record.

A score is a record in `quantities.yaml` whose `made_by` names a function here, and whose `network` says where its
features come from. The functions take what was embedded and give arrays by name, `(condition, prompt)`, or
`(condition, block)` of whole sets of images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, TypeVar

import xarray as xr

from ibstats.errors import IbstatsError, Unmeasurable, unknown
from ibstats.kernels.frechet import gaussian
from ibstats.measure import Embedding, Machine, are_kept, embeddings, reference_set
from ibstats.measure.clip import Clip, Texts, texts
from ibstats.measure.scene_network import SceneFeatures, sees
from ibstats.measure.users import is_own
from ibstats.quantities import Quantity, by_user
from ibstats.selection import Selection
from ibstats.statistics import quality, set_scores
from ibstats.statistics.by_prompt import per_prompt
from schemas.analysis import Config
from schemas.io.layout import ResultsFolder

N = TypeVar("N", bound=Embedding)

ANY = "any"
"""Network of a record whose network is the one that settings name."""

IQA_PROMPTS = ("Good photo.", "Bad photo.")
"""torchmetrics' pair `quality`: the score is the probability of the first."""


@dataclass(frozen=True)
class Embedded:
    """Features of a selection's images under one network, and what scores compare them with.

    What a score does not ask for is neither read nor computed.
    """

    selection: Selection
    settings: Config
    network: Embedding
    features: xr.DataArray
    """`(condition, prompt, sample, feature)`."""

    @cached_property
    def texts(self) -> Texts:
        """Embedded base prompts, in order, then the two texts of CLIP-IQA.

        Raises Unmeasurable where the run does not record the wording of its samples.
        """
        prompts = quality.base_texts(self.selection.need("text_index"))
        kept = ResultsFolder(self.selection.store.path).shared_features
        return texts(_as(Clip, self.network), [*prompts, *IQA_PROMPTS], kept)

    @property
    def coordinates(self) -> xr.DataArray:
        """The features without the readings at their end: what distances between sets use.

        Of as many images of each prompt as all have, for such a distance moves with their number.
        """
        own = self.features.isel(sample=slice(self.selection.n_samples))
        return own[..., : own.sizes["feature"] - self.network.n_logits]

    @cached_property
    def reference(self) -> reference_set.LoadedSet:
        """The reference set to compare with.

        The trio's own for the scene network; else the one given whose images have this size. Raises
        IbstatsError if there is none, or its features are not comparable.
        """
        return _reference(
            self.network, self.settings.references, self.selection.identity.image_size
        )


Score = Callable[[Embedded, str], Mapping[str, xr.DataArray]]
"""What was embedded and the name of the score, to arrays by name."""


def clip_score(of: Embedded, name: str) -> Mapping[str, xr.DataArray]:
    """100 times the cosine of each image with its base prompt, by prompt, `(condition, prompt)`.

    See `quality.clip_score`; the note names the network.
    """
    value = quality.clip_score(of.features, of.texts, of.settings.long_texts)
    return {name: _with_network(value, of.settings.clip)}


def clip_iqa(of: Embedded, name: str) -> Mapping[str, xr.DataArray]:
    """Probability of the first of two opposite texts, by prompt, `(condition, prompt)`.

    See `quality.clip_iqa`; the note names the network.
    """
    value = quality.clip_iqa(of.features, of.texts.features[-len(IQA_PROMPTS) :])
    return {name: _with_network(value, of.settings.clip)}


def accuracy(of: Embedded, name: str) -> Mapping[str, xr.DataArray]:
    """Share of attributes that are right, together and each, by prompt, `(condition, prompt)`.

    See `quality.reference_accuracy`. Raises IbstatsError where prompts have no known attributes.
    """
    named = quality.prompt_attributes(
        of.selection.need("tokens"), of.selection.model, of.selection.experiment
    )
    known = _as(SceneFeatures, of.network).attributes
    return quality.reference_accuracy(of.features, known, named)


def frechet(of: Embedded, name: str) -> Mapping[str, xr.DataArray]:
    """Frechet distance to the reference set, plain and without its bias, by block of prompts.

    In squared units of the features; see `set_scores.frechet_distance`.
    """
    return set_scores.frechet_distance(of.coordinates, of.reference, name)


def kernel(of: Embedded, name: str) -> Mapping[str, xr.DataArray]:
    """Unbiased kernel distance to the reference set, by block of prompts; it can be negative.

    See `set_scores.kernel_distance`.
    """
    return set_scores.kernel_distance(of.coordinates, of.reference, name)


def clip_discrepancy(of: Embedded, name: str) -> Mapping[str, xr.DataArray]:
    """CMMD: unbiased squared discrepancy under a Gaussian kernel, times 1000, by block of prompts.

    Its authors' program counts each image with itself, which adds about 1000 (1 - k) / n for n
    images, k their mean kernel.
    """
    return set_scores.kernel_distance(of.coordinates, of.reference, name, gaussian, 1000.0)


def manifolds(of: Embedded, name: str) -> Mapping[str, xr.DataArray]:
    """Precision and density by prompt, recall and coverage by block; see `set_scores.manifolds`."""
    found = set_scores.manifolds(of.coordinates, of.reference)
    by = f"network {of.network.name}"
    return {
        name: value.assign_attrs(note=f"{value.attrs['note']}; {by}")
        for name, value in found.items()
    }


def scores(
    selection: Selection, asked: Sequence[str], settings: Config, machine: Machine
) -> xr.Dataset:
    """Scores of every condition: `(condition, prompt)`, and `(condition, block)` of sets of images.

    Parameters: the selection; `asked`, scores by the name a user gives them; settings (reference
    sets, CLIP, long texts); the machine that runs networks.
    NaN marks prompts for which a score is undefined. Attributes of a variable: units, network,
    settings, note, n_prompts. Raises IbstatsError for an unknown score, Unmeasurable when features
    can neither be computed nor be found beside the run.
    """
    found: dict[str, xr.DataArray] = {}
    for name in filter(is_own, asked):
        value = _own(selection, machine, name)
        found[str(value.name)] = value
    ours = [name for name in asked if not is_own(name)]
    for network, records in _by_network(ours, settings).items():
        chosen = _network(machine, network, settings)
        if any(record.of_sets for record in records):
            _reference(chosen, settings.references, selection.identity.image_size)
        features = embeddings(selection, chosen, each=machine.each)
        embedded = Embedded(selection, settings, chosen, features)
        for record in records:
            for name, value in _function(record)(embedded, record.name).items():
                attrs = {"note": "", **features.attrs, **value.attrs}
                found[name] = value.assign_attrs(attrs, n_prompts=selection.n_prompts)
    return xr.Dataset(found)


def _own(selection: Selection, machine: Machine, name: str) -> xr.DataArray:
    """A score of the user's, mean over a prompt's images, `(condition, prompt)`."""
    chosen = machine.score(name)
    note = "mean over images"
    if chosen.reads_text:
        texts = quality.base_texts(selection.need("text_index"))
        ids = map(str, selection.dataset["prompt"].values)
        chosen = chosen.of(dict(zip(ids, texts, strict=True)))
        note += ", scored against the base prompt"
    values = embeddings(selection, chosen, each=machine.each)
    value = per_prompt(values, lambda x: x[..., 0]).rename(chosen.name)
    attrs = {**value.attrs, **values.attrs, "note": note}
    return value.assign_attrs(attrs, n_prompts=selection.n_prompts)


def available(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[list[str], list[str]]:
    """Scores that can be had without a download, and a line on each kind that cannot.

    Those that make sense for the run (its prompts, image size, reference sets), whose features were
    kept before or whose network and images are here.
    """
    wanted, notes = _fitting(selection, settings, machine)
    found: list[str] = []
    offline = machine.offline()
    for network, records in _by_network(wanted, settings).items():
        chosen = _network(offline, network, settings)
        its = [record.user for record in records]
        try:
            if not are_kept(selection, chosen):
                chosen.find_weights()
                selection.need("image")
            found += its
        except Unmeasurable as error:
            notes.append(f"{', '.join(its)} left out: {error}")
    return found, notes


def _fitting(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[list[str], list[str]]:
    """Scores that make sense for these prompts and images, whatever is on this machine; and why some do not."""
    wanted = []
    if selection.has("text_index"):
        wanted += ["clip_score", "clip_iqa"]
    if settings.references:
        wanted += _of_references(settings, machine)
    if sees(selection.identity.image_size, selection.store.prompts):
        wanted += ["reference_accuracy", "reference_frechet", "reference_kernel"]
    records = by_user("score")
    sets = [score for score in wanted if records[score].of_sets]
    if not sets or selection.n_prompts >= set_scores.FEWEST:
        return wanted, []
    kept = [score for score in wanted if score not in sets]
    return kept, [f"{', '.join(sets)} need {set_scores.FEWEST} prompts or more"]


def _of_references(settings: Config, machine: Machine) -> list[str]:
    """Scores of sets that the reference sets given are of the right network for."""
    known = [reference_set.read(file).record for file in settings.references]
    own = machine.network(settings.network).name
    named = {record.network for record in by_user("score").values() if record.of_sets}
    found = []
    for name, record in by_user("score").items():
        network = own if record.network == ANY else record.network
        twice = name == "fd" and own in named  # it has a name of its own
        sets = [one for one in known if one.network == network]
        if record.of_samples:
            sets = [one for one in sets if one.n_features_kept]
        if record.of_sets and sets and not twice:
            found.append(name)
    return found


def _by_network(asked: Sequence[str], settings: Config) -> dict[str, list[Quantity]]:
    """Records of the scores asked for, by the network that they need."""
    known = by_user("score")
    found: dict[str, list[Quantity]] = {}
    for name in asked:
        if name not in known:
            raise unknown("score", name, known)
        needed = known[name].network
        if needed == ANY:
            needed = settings.network
        found.setdefault(needed, []).append(known[name])
    return found


def _network(machine: Machine, name: str, settings: Config) -> Embedding:
    return machine.network(name, settings.clip if name == "clip" else None)


def _function(record: Quantity) -> Score:
    module, _, name = record.made_by.partition(":")
    made: Score = getattr(import_module(module), name)
    return made


def _as(kind: type[N], network: Embedding) -> N:
    """The network as what a score needs it to be."""
    if not isinstance(network, kind):
        raise IbstatsError(f"a score of {kind.__name__} cannot be made with '{network.name}'")
    return network


def _with_network(value: xr.DataArray, network: str) -> xr.DataArray:
    parts = [value.attrs.get("note", ""), f"network {network}"]
    return value.assign_attrs(note="; ".join(part for part in parts if part))


def _reference(
    network: Any, files: Sequence[str], size: tuple[int, int]
) -> reference_set.LoadedSet:
    """The reference set for images of that size; refused if its features are not comparable."""
    if isinstance(network, SceneFeatures):
        files = [str(reference_set.SHIPPED)]
    if not files:
        raise IbstatsError(
            f"scores of sets need a reference set of '{network.name}'; make one with `ibstats reference FOLDER "
            f"--network {network.name} --out stats.npz` and pass --reference stats.npz"
        )
    known = [reference_set.read(file) for file in files]
    known = [one for one in known if one.record.network == network.name] or known
    fitting = [one for one in known if tuple(one.record.size) == tuple(size)] or known
    try:
        settings = network.settings()
    except Unmeasurable:
        settings = fitting[0].record.settings | network.asked()
    reference_set.check(fitting[0], network.name, settings, size)
    return fitting[0]
