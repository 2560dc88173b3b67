"""What a folder holds of what a spec asks for: looked at, checked, nothing written."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ibstats.errors import IbstatsError
from ibstats.importing.allowed import Keep, allowed_codes
from ibstats.importing.conditions import Meaning, meaning
from ibstats.importing.layout import Cell, layout_of, natural
from ibstats.importing.prompts import Prompts, prompts_of
from ibstats.importing.reading import ZARR, Inspected, Source, n_dims, of_each
from ibstats.importing.spec import Spec
from ibstats.importing.wordings import Wordings, own_texts, wordings_of

Files = dict[Cell, list[Path]]
"""The files of each cell in the order of their samples; of one that holds all samples, one."""

ONLY = "all"
"""Name of the condition where files name none."""
WHOLE = ""
"""Label of a file that holds all samples of its prompt."""
LACK = {
    "image": "images (so no distances and no quality)",
    "tokens": "tokens (so no entropies)",
    "token_surprisal": "surprisals (so no bits of path and execution)",
}
"""What a run may lack, and what it lacks for that."""


@dataclass(frozen=True)
class Found:
    """What is there to import."""

    spec: Spec
    sources: dict[str, Source]
    """By variable of the store."""
    files: dict[str, Files]
    """By variable of the store."""
    meaning: Meaning
    prompts: Prompts
    counts: dict[Cell, int]
    """Samples of each prompt in each condition."""
    shapes: dict[str, tuple[int, ...]]
    """Shape of a sample of each variable."""
    origin: str
    """What the samples come from, in words; no path of a machine."""
    sha256: str
    """Digest of every file and its name in the folder, or of every sample and its place."""
    notes: tuple[str, ...]
    """What was left aside, one line each."""
    allowed: Mapping[str, Keep] = field(default_factory=dict)
    """Codes that conditions may use, `(code,)` by condition; others may use all."""
    wordings: Wordings | None = None
    """The texts that samples were made from; None where they are not known."""

    @property
    def conditions(self) -> list[str]:
        """Names of the conditions, in the order of the run.

        Free text: what the files or the spec call them.
        """
        return self.meaning.conditions

    @property
    def n_samples(self) -> int:
        """Samples of a prompt in a condition; the most, where they differ.

        See `counts` for each.
        """
        return max(self.counts.values())

    @property
    def n_images(self) -> int:
        """Samples of all prompts and conditions.

        Where there are images, their number.
        """
        return sum(self.counts.values())

    def lines(self) -> list[str]:
        """Say what was found and what lacks, for people.

        Numbers first, then sizes, conditions and factors, what lacks and what that costs, and what
        was left aside: one line each.
        """
        fewest, most = min(self.counts.values()), self.n_samples
        each = f"{most} samples each"
        if fewest < most:
            each = f"{fewest} to {most} samples each (what moves with their number uses {fewest})"
        n_conditions, n_prompts = len(self.conditions), len(self.prompts.labels)
        found = [f"{n_conditions} conditions x {n_prompts} prompts, {each}: {self.n_images} in all"]
        for variable, shape in self.shapes.items():
            called = "images" if variable == "image" else f"`{variable}`"
            found.append(f"{called} of {size(shape)}")
        shown = []
        for name in self.conditions:
            mark = " (baseline)" if name == self.meaning.baseline else ""
            shown.append(f"{name}{mark}")
        found.append(f"conditions: {', '.join(shown)}")
        for name, keep in self.allowed.items():
            found.append(f"codes of {name}: {keep.sum()} of {keep.size}")
        for factor in self.meaning.factors:
            found.append(f"factor {factor.name}: {factor.low} (low), {factor.high} (high)")
        if self.wordings is not None and len(self.wordings.texts) > n_prompts:
            found.append(f"texts: {len(self.wordings.texts)} wordings of {n_prompts} prompts")
        lacking = [text for name, text in LACK.items() if name not in self.sources]
        if not self.prompts.known:
            lacking.append("texts of the prompts (so no CLIP score; --prompts FILE gives them)")
        if self.meaning.baseline is None and n_conditions > 1:
            lacking.append("a baseline (so no changes against it; --baseline NAME gives it)")
        if lacking:
            found.append(f"lacks {'; '.join(lacking)}")
        return [*found, *self.notes]


def survey(spec: Spec, folder: Path, *, drop_incomplete: bool = False) -> Found:
    """Look at what a folder holds of what a spec asks for; every file is read once, for its digest.

    `drop_incomplete` leaves out prompts that lack in a condition, which is an error otherwise.
    Raises IbstatsError, in one line that names the file, for a layout that matches nothing, two
    files of one sample, prompts that lack somewhere, sizes that differ, a baseline that is no
    condition, and files that cannot be read.
    """
    if not folder.is_dir():
        raise IbstatsError(f"no folder '{folder}'; give the one that holds the samples")
    names = _names_in(folder)
    sources: dict[str, Source] = {}
    files: dict[str, Files] = {}
    used: set[str] = set()
    levels: dict[str, dict[str, str]] = {}
    labels: dict[str, dict[Cell, list[str]]] = {}
    for variable, pattern in spec.patterns.items():
        source = Source(variable, layout_of(pattern), spec.grid)
        matched = _matched(source, names, folder)
        sources[variable] = source
        files[variable], labels[variable] = {}, {}
        for cell, (by_label, of_factors) in matched.items():
            order = natural(by_label)
            files[variable][cell] = [folder / by_label[label] for label in order]
            labels[variable][cell] = order
            levels.setdefault(cell[0], of_factors)
            used.update(by_label.values())
    notes = list(_left_aside(names, used))
    found = meaning(spec, levels)
    cells, dropped = complete_cells(files, found.conditions, drop_incomplete=drop_incomplete)
    notes += dropped
    _same_samples(labels, cells)
    prompts = prompts_of(spec.prompts, {prompt for _, prompt in cells})
    kept = {name: {cell: of[cell] for cell in cells} for name, of in files.items()}
    allowed = allowed_codes(spec.allowed_codes, found.conditions, spec.codebook)
    inspected = _inspected(sources, kept, allowed)
    counts = _counts(kept, inspected)
    shapes = {name: _shape(name, inspected) for name in kept}
    _check_tokens(spec, shapes, inspected)
    digest = _digest(folder, inspected)
    origin = ", ".join(f"{name}: {text}" for name, text in spec.patterns.items())
    return Found(
        spec=spec,
        sources=sources,
        files=kept,
        meaning=found,
        prompts=prompts,
        counts=counts,
        shapes=shapes,
        origin=origin,
        sha256=digest,
        notes=tuple(notes),
        allowed=allowed,
        wordings=_wordings(spec, found, prompts, counts, labels),
    )


def _wordings(
    spec: Spec,
    design: Meaning,
    prompts: Prompts,
    counts: Mapping[Cell, int],
    labels: Mapping[str, Mapping[Cell, list[str]]],
) -> Wordings | None:
    """The text of each sample, None where nobody says it."""
    if spec.texts is not None:
        names = {}
        for cell, number in counts.items():
            of = [found[cell] for found in labels.values() if found[cell] != [WHOLE]]
            names[cell] = of[0] if of else list(map(str, range(number)))
        return wordings_of(spec.texts, prompts, design.conditions, counts, names)
    return own_texts(prompts, design, counts)


def size(shape: tuple[int, ...]) -> str:
    """Give the shape of a sample for people; the channels of an image go without saying.

    >>> size((256, 256, 3)), size((50,))
    ('256 x 256', '50')
    """
    return " x ".join(map(str, shape[:2]))


def _names_in(folder: Path) -> list[str]:
    """Every file under a folder by its path in it, hidden ones left out; a Zarr folder is one."""
    found = []
    for place, folders, files in os.walk(folder):
        seen = [name for name in folders if not name.startswith(".")]
        stores = [name for name in seen if name.endswith(ZARR)]
        folders[:] = [name for name in seen if not name.endswith(ZARR)]
        inside = Path(place).relative_to(folder)
        names = [*stores, *files]
        found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
    return natural(found)


def _matched(
    source: Source, names: Iterable[str], folder: Path
) -> dict[Cell, tuple[dict[str, str], dict[str, str]]]:
    """The files of each cell by the label of the sample, and the levels of its factors."""
    layout = source.layout
    found: dict[Cell, tuple[dict[str, str], dict[str, str]]] = {}
    example = ""
    for name in names:
        example = example or name
        fields = layout.match(name)
        if fields is None:
            continue
        levels = {factor: fields[factor] for factor in layout.factors}
        condition = fields.get("condition") or "-".join(levels.values()) or ONLY
        by_label, _ = found.setdefault((condition, fields["prompt"]), ({}, levels))
        label = fields.get("sample", WHOLE)
        if label in by_label:
            raise IbstatsError(
                f"two files are sample '{label}' of prompt '{fields['prompt']}' in condition "
                f"'{condition}': '{by_label[label]}' and '{name}'"
            )
        by_label[label] = name
    if not found:
        held = f"it holds for instance '{example}'" if example else "it is empty"
        raise IbstatsError(f"no file of '{folder}' matches '{layout.text}'; {held}")
    return found


def _left_aside(names: list[str], used: set[str]) -> Iterator[str]:
    left = [name for name in names if name not in used]
    if left:
        yield f"{len(left)} files match no pattern and are left aside, for instance '{left[0]}'"


def complete_cells(
    files: Mapping[str, Files], conditions: Iterable[str], *, drop_incomplete: bool
) -> tuple[list[Cell], list[str]]:
    """Give the cells that are there for every variable, and a line for what was dropped for that.

    A prompt must be there in every condition. Raises IbstatsError for one that is not, unless
    `drop_incomplete`, and where no prompt is left.
    """
    conditions = list(conditions)
    prompts: dict[str, None] = {}
    for of in files.values():
        prompts.update({prompt: None for _, prompt in of})
    lacking: dict[str, str] = {}
    for prompt in natural(prompts):
        for condition in conditions:
            for variable, of in files.items():
                if (condition, prompt) not in of:
                    called = "images" if variable == "image" else f"`{variable}`"
                    lacking.setdefault(prompt, f"no {called} in condition '{condition}'")
    if lacking and not drop_incomplete:
        prompt, reason = next(iter(lacking.items()))
        raise IbstatsError(
            f"{len(lacking)} of {len(prompts)} prompts are incomplete: '{prompt}' has {reason}; "
            "add them, or leave such prompts out with --drop-incomplete"
        )
    kept = [prompt for prompt in natural(prompts) if prompt not in lacking]
    if not kept:
        raise IbstatsError(
            "no prompt is there in every condition; do the patterns name prompts alike?"
        )
    notes = []
    if lacking:
        named = ", ".join(f"'{prompt}'" for prompt in list(lacking)[:3])
        notes.append(f"{len(lacking)} incomplete prompts are left out: {named}")
    return [(condition, prompt) for condition in conditions for prompt in kept], notes


def _same_samples(labels: Mapping[str, Mapping[Cell, list[str]]], cells: Iterable[Cell]) -> None:
    """Refuse images and tokens of other samples."""
    for cell in cells:
        first: list[str] | None = None
        for of in labels.values():
            here = of[cell]
            if here == [WHOLE]:
                continue
            if first is not None and here != first:
                alone = natural(set(here) ^ set(first))[0]
                raise IbstatsError(
                    f"sample '{alone}' of prompt '{cell[1]}' in condition '{cell[0]}' has images "
                    "or tokens, but not both"
                )
            first = here


def _inspected(
    sources: Mapping[str, Source], files: Mapping[str, Files], allowed: Mapping[str, Keep]
) -> dict[tuple[str, Path], Inspected]:
    """What every file holds, by variable and file; tokens are held to the codes of a condition."""
    wanted: dict[tuple[str, Path], Keep | None] = {}
    for variable, of in files.items():
        for (condition, _), paths in of.items():
            keep = allowed.get(condition)
            wanted.update(dict.fromkeys(((variable, path) for path in paths), keep))

    def one(key: tuple[str, Path]) -> Inspected:
        return sources[key[0]].inspect(key[1], wanted[key])

    with ThreadPoolExecutor() as pool:
        return dict(zip(wanted, of_each(pool, one, list(wanted)), strict=True))


def _counts(
    files: Mapping[str, Files], inspected: Mapping[tuple[str, Path], Inspected]
) -> dict[Cell, int]:
    """Samples of each cell. IbstatsError where two variables have other numbers, or there are none."""
    found: dict[Cell, int] = {}
    for variable, of in files.items():
        for cell, paths in of.items():
            n_samples = sum(inspected[variable, path].n_samples for path in paths)
            if n_samples == 0:
                raise IbstatsError(f"'{paths[0]}' holds no samples")
            if found.setdefault(cell, n_samples) != n_samples:
                raise IbstatsError(
                    f"prompt '{cell[1]}' in condition '{cell[0]}' has {found[cell]} samples, but "
                    f"{n_samples} of `{variable}`"
                )
    return found


def _shape(variable: str, inspected: Mapping[tuple[str, Path], Inspected]) -> tuple[int, ...]:
    """The shape of a sample of a variable. IbstatsError with a file of each of two shapes."""
    seen: Counter[tuple[int, ...]] = Counter()
    examples: dict[tuple[int, ...], Path] = {}
    for (name, path), held in inspected.items():
        if name == variable:
            seen[held.shape] += 1
            examples.setdefault(held.shape, path)
    (shape, _), *others = seen.most_common()
    if others:
        other, n_files = others[0]
        repair = "make all alike"
        if variable == "image":
            repair = "bring all images to one size"
        raise IbstatsError(
            f"{n_files} files have another size than the rest: '{examples[other]}' is "
            f"{size(other)}, '{examples[shape]}' is {size(shape)}; {repair}"
        )
    return shape


def _check_tokens(
    spec: Spec,
    shapes: Mapping[str, tuple[int, ...]],
    inspected: Mapping[tuple[str, Path], Inspected],
) -> None:
    """Refuse tokens without a codebook or beyond it, and arrays of another grid."""
    if "tokens" not in shapes:
        return
    highest = max(held.highest for held in inspected.values())
    if not spec.codebook:
        raise IbstatsError(
            f"tokens hold codes up to {highest}; say how many codes there are, for instance "
            f"--codebook {2 ** max(1, highest).bit_length()}"
        )
    for (_, path), held in inspected.items():
        if held.highest >= spec.codebook:
            raise IbstatsError(
                f"'{path}' holds the code {held.highest}, but codes run 0..{spec.codebook - 1}; "
                "were the special-token offsets removed?"
            )
    for variable, shape in shapes.items():
        if n_dims(variable) == n_dims("tokens") and shape != shapes["tokens"]:
            raise IbstatsError(
                f"`{variable}` is {size(shape)}, but tokens are {size(shapes['tokens'])}"
            )


def _digest(folder: Path, inspected: Mapping[tuple[str, Path], Inspected]) -> str:
    """Digest of all files that are imported, by their paths in the folder."""
    lines = set()
    for (_, path), held in inspected.items():
        lines.add(f"{path.relative_to(folder).as_posix()} {held.sha256}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
