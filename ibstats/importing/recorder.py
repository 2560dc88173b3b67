"""Samples go into a run from one's own sampling loop, or from arrays in memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, unknown
from ibstats.importing import allowed
from ibstats.importing.allowed import Given
from ibstats.importing.conditions import meaning
from ibstats.importing.given import (
    Arrays,
    beside_tokens,
    images_of,
    of_logits,
    same_numbers,
    tokens_of,
    told,
)
from ibstats.importing.journal import Journal, sample_digests, shapes_of
from ibstats.importing.layout import Cell, layout_of, natural
from ibstats.importing.making import write
from ibstats.importing.prompts import named
from ibstats.importing.reading import Source
from ibstats.importing.spec import as_name, made_spec
from ibstats.importing.survey import ONLY, Found, complete_cells
from ibstats.importing.wordings import own_texts

Conditions = Sequence[str] | Mapping[str, Mapping[str, str]]
"""Names of the conditions, or the level of each factor by condition."""

ORIGIN = "recorded from Python"


class Recorder:
    """A run that is filled from a sampling loop, in any order; it is there when the loop is done.

        with ibstats.Recorder("runs/mine", model="mine", codebook_size=1024, grid=(16, 16)) as run:
            for condition, guidance in {"weak": 1.5, "strong": 7.5}.items():
                for prompt in prompts:
                    if run.count(prompt=prompt, condition=condition):
                        continue
                    tokens, logits, images = sample(prompt, guidance)
                    run.add(prompt=prompt, condition=condition, images=images, tokens=tokens,
                            logits=logits)

    What `add` was given is checked at once, and safe on the disk when it returns. A loop that ends
    with an error, or whose process is killed, goes on where it stopped: make the Recorder again and
    ask `count` what is there. The run appears under its name when the `with` block ends well, or
    with `finish`; samples, prompts and conditions given in another order, or in other batches, make
    the same run. Needs no torch; tensors are taken as they are.

    Parameters: `path`, the run to make. `model`, its name in results, and `family`
    (autoregressive, scales, masked, diffusion or another word; empty if unknown, and then surprisals are no
    bits of path and execution). `codebook_size` and `grid`, codes that a token can have and rows
    and columns, for runs with tokens. `steps` of a traversal, where no array says it. `prompts`,
    texts by the names that `add` uses; without it, those names are the texts. `conditions`, their
    names in order, or the level of each two-level factor by condition; by default as they come, in
    natural order. `factors`, low and high level of each; `baseline`, the condition that the others
    are compared with. `allowed_codes`, by condition, ids of the codes it may use, where these are
    not all, or a range `0..1023` of them. `path_given` says what `path_surprisal` is conditional on. With
    `drop_incomplete`, prompts that lack in a condition are left out at the end, which is an error
    otherwise.

    Raises IbstatsError where a run is, another process records, or an earlier one was begun with
    other settings.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with Recorder(Path(folder, "run"), codebook_size=16, grid=(4, 4)) as run:
    ...         run.add(prompt="a cat", tokens=np.zeros((2, 16), int), logits=np.zeros((2, 16, 16)))
    ...     from ibstats.store import open_store
    ...     dataset = open_store(Path(folder, "run")).dataset("recorded", "imported")
    ...     float(dataset["token_surprisal"].sum(("row", "col"))[0, 0, 0])
    64.0
    """

    def __init__(
        self,
        path: str | Path,
        *,
        model: str = "recorded",
        family: str = "",
        codebook_size: int = 0,
        grid: tuple[int, int] | None = None,
        steps: int = 0,
        prompts: Mapping[str, str] | None = None,
        conditions: Conditions | None = None,
        factors: Mapping[str, tuple[str, str]] | None = None,
        baseline: str | None = None,
        allowed_codes: Mapping[str, Given] | None = None,
        path_given: Literal["state", "candidates"] = "state",
        drop_incomplete: bool = False,
    ) -> None:
        self.path = Path(path)
        self.codebook_size = codebook_size
        self.grid = grid
        self.prompts = prompts
        self.conditions = conditions
        self.drop_incomplete = drop_incomplete
        levels: Mapping[str, Mapping[str, str]] = {}
        if isinstance(conditions, Mapping):
            levels = conditions
        self._spec = made_spec(
            {
                "name": as_name(self.path.resolve().name, "recorded"),
                "model": model,
                "family": family,
                "codebook": codebook_size,
                "steps": steps,
                "conditions": {name: dict(of) for name, of in levels.items()},
                "factors": dict(factors or {}),
                "baseline": baseline,
                "path_given": path_given,
                "images": "{prompt}",
            },
            f"Recorder('{path}')",
        )
        if self.path.exists():
            raise IbstatsError(
                f"'{path}' is there already; open it with ibstats.open, or record in another place"
            )
        named_conditions = list(conditions or allowed_codes or ())
        self._allowed = allowed.allowed_codes(allowed_codes or {}, named_conditions, codebook_size)
        begun: dict[str, Any] = {"model": model, "codebook_size": codebook_size, "grid": grid}
        if self._allowed:
            begun["allowed_codes"] = {
                name: np.flatnonzero(keep).tolist() for name, keep in self._allowed.items()
            }
        folder = self.path.with_name(f".{self.path.name}.recording")
        self._journal = Journal.open(folder, begun)
        self._cells: dict[Cell, list[str]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for piece in self._journal.pieces:
            self._cells.setdefault((piece.condition, piece.prompt), []).extend(piece.samples)
            self._shapes = piece.shapes
        self._earlier = set(self._cells)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.close()

    def count(self, *, prompt: str, condition: str = ONLY) -> int:
        """Give the number of samples of a prompt in a condition that are recorded.

        Those of earlier, interrupted processes count.
        """
        return len(self._cells.get((condition, prompt), ()))

    def add(
        self,
        *,
        prompt: str,
        condition: str = ONLY,
        images: Any = None,
        tokens: Any = None,
        logits: Any = None,
        surprisals: Any = None,
        entropies: Any = None,
        token_step: Any = None,
        path_surprisal: Any = None,
        joint_surprisal: Any = None,
        sample: int | None = None,
    ) -> None:
        """Record samples of a prompt in a condition; one, or several along the first dim.

        Parameters: `images`, 8-bit RGB `(sample, y, x, 3)` or pictures of Pillow. `tokens
        (sample, row, col)`, or flat. `logits (sample, row, col, code)`, or flat, as tokens were
        drawn from: after temperature, guidance and truncation; they become surprisal and entropy in
        bits. Or `surprisals`, -log2 p of each token, and `entropies` of their laws, in bits.
        `token_step`, the step of a token's last change. `path_surprisal (sample, step)`, -log2 q of
        the positions changed, and `joint_surprisal`, of them and their tokens, in bits. `sample`,
        the number of the first of these samples, from 0: by default they follow what is there; with
        it, samples that are there already must be equal and are not recorded twice, so that a loop
        may run again from its beginning.

        Raises IbstatsError, in one line that names prompt and condition, for what is not as the
        samples before, impossible values, and samples of a prompt that an earlier process recorded
        where `sample` does not say which they are.
        """
        where = f"prompt '{prompt}' in condition '{condition}'"
        self._check_names(prompt, condition)
        arrays = self._arrays(
            {"images": images, "tokens": tokens, "logits": logits, "surprisals": surprisals},
            {
                "token_entropy": entropies,
                "token_step": token_step,
                "path_surprisal": path_surprisal,
                "joint_surprisal": joint_surprisal,
            },
            where,
        )
        same_numbers(arrays, where)
        if "tokens" in arrays:
            allowed.check_allowed(arrays["tokens"], self._allowed.get(condition), where)
        shapes = shapes_of(arrays)
        if self._shapes and shapes != self._shapes:
            raise IbstatsError(
                f"{where} has {told(shapes)}, but samples before have {told(self._shapes)}"
            )
        cell = (condition, prompt)
        fresh = self._fresh(cell, arrays, sample, where)
        if fresh is None:
            return
        piece = self._journal.put(condition, prompt, fresh)
        self._shapes = shapes
        self._cells.setdefault(cell, []).extend(piece.samples)

    def _check_names(self, prompt: str, condition: str) -> None:
        if self.prompts is not None and prompt not in self.prompts:
            raise unknown("prompt", prompt, list(self.prompts)[:5])
        if self.conditions is not None and condition not in self.conditions:
            raise unknown("condition", condition, self.conditions)

    def _arrays(self, main: dict[str, Any], others: dict[str, Any], where: str) -> Arrays:
        """What was given as arrays of the store, checked."""
        arrays: Arrays = {}
        if main["images"] is not None:
            arrays["image"] = images_of(main["images"], where)
        if main["logits"] is not None and main["surprisals"] is not None:
            raise IbstatsError(f"{where} has logits and surprisals; give one of them")
        others = {"token_surprisal": main["surprisals"], **others}
        described = [name for name, given in others.items() if given is not None]
        if main["tokens"] is None:
            if main["logits"] is not None or described:
                raise IbstatsError(
                    f"{where} has what describes tokens, but no tokens; give them too"
                )
            if not arrays:
                raise IbstatsError(f"{where} has neither images nor tokens")
            return arrays
        if not self.codebook_size:
            raise IbstatsError(
                f"{where} has tokens, but nobody said how many codes there are: "
                "Recorder(..., codebook_size=16384)"
            )
        tokens = tokens_of(main["tokens"], self.grid, self.codebook_size, where)
        arrays["tokens"] = tokens
        if main["logits"] is not None:
            arrays |= of_logits(main["logits"], tokens, self.codebook_size, where)
        for name in described:
            arrays[name] = beside_tokens(name, others[name], tokens, where)
        return arrays

    def _fresh(self, cell: Cell, arrays: Arrays, sample: int | None, where: str) -> Arrays | None:
        """The samples that are not there yet; None if all are."""
        known = self._cells.get(cell, [])
        if sample is None:
            if cell in self._earlier:
                raise IbstatsError(
                    f"{where} has {len(known)} samples of an interrupted recording; skip what is "
                    "there (`count` says how many), or say which these are (`sample=0`)"
                )
            return arrays
        if not 0 <= sample <= len(known):
            raise IbstatsError(
                f"{where} has {len(known)} samples, so sample {sample} cannot be next"
            )
        digests = sample_digests(arrays)
        before = known[sample : sample + len(digests)]
        if digests[: len(before)] != before:
            raise IbstatsError(
                f"{where} was recorded with other samples; draw them by the same seed, or skip what "
                "is there (`count` says how many)"
            )
        if len(before) == len(digests):
            return None
        return {name: values[len(before) :] for name, values in arrays.items()}

    def close(self) -> None:
        """Stop recording without making the run; another Recorder goes on from there."""
        self._journal.close()

    def finish(self) -> Path:
        """Make the run of what was recorded; its path.

        Raises IbstatsError, and keeps everything, where nothing was recorded, prompts lack in a
        condition (unless `drop_incomplete`), or the baseline is no condition.
        """
        try:
            self._journal.verify()
            write(self._found(), self.path)
        except BaseException:
            self.close()
            raise
        self._journal.remove()
        return self.path

    def _found(self) -> Found:
        """Everything recorded, as an import sees it."""
        pieces = self._journal.pieces
        if not pieces:
            raise IbstatsError(f"nothing was recorded for '{self.path}'; give samples to `add`")
        in_order = self._in_order()
        spec = self._spec.model_copy(update={"conditions": in_order})
        design = meaning(spec, {condition: {} for condition, _ in self._cells})
        of_cells: dict[Cell, list[Path]] = {}
        for piece in pieces:
            file = self._journal.folder / piece.file
            of_cells.setdefault((piece.condition, piece.prompt), []).append(file)
        variables = list(self._shapes)
        files = dict.fromkeys(variables, of_cells)
        for name in self._allowed:
            if name not in design.conditions:
                raise unknown("condition of `allowed_codes`", name, design.conditions)
        cells, notes = complete_cells(
            files, design.conditions, drop_incomplete=self.drop_incomplete
        )
        sources, counts = {}, {}
        for name in variables:
            sources[name] = Source(name, layout_of(f"{{prompt}}.npz:{name}"))
        for cell in cells:
            counts[cell] = len(self._cells[cell])
        _, prompts = zip(*cells, strict=True)
        texts = named(natural(dict.fromkeys(prompts)), self.prompts or {}, known=True)
        return Found(
            spec=spec,
            sources=sources,
            files=files,
            meaning=design,
            prompts=texts,
            counts=counts,
            shapes=self._shapes,
            origin=ORIGIN,
            sha256=_digest(self._cells, cells),
            notes=tuple(notes),
            allowed=self._allowed,
            wordings=own_texts(texts, design, counts),
        )

    def _in_order(self) -> dict[str, dict[str, str]]:
        """The conditions as the recorder was told them; empty if it was not."""
        if self.conditions is None or isinstance(self.conditions, Mapping):
            return dict(self._spec.conditions)
        return {name: {} for name in self.conditions}


def _digest(samples: Mapping[Cell, Sequence[str]], cells: Sequence[Cell]) -> str:
    """Digest of all samples and their places, whatever the order or the batches they came in."""
    lines = []
    for cell in sorted(cells):
        for number, digest in enumerate(samples[cell]):
            lines.append(f"{cell!r} {number} {digest}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def from_arrays(
    path: str | Path,
    *,
    prompts: Sequence[str],
    conditions: Conditions = (ONLY,),
    images: Any = None,
    tokens: Any = None,
    logits: Any = None,
    surprisals: Any = None,
    entropies: Any = None,
    token_step: Any = None,
    path_surprisal: Any = None,
    joint_surprisal: Any = None,
    **settings: Any,
) -> Path:
    """Make a run of arrays in memory, `(condition, prompt, sample, ...)` each; its path.

    `prompts` are their texts, `conditions` their names or the level of each factor by condition,
    both in the order of the arrays; of one condition the first dim may lack. The arrays, and what
    follows it in their shapes, are those of `Recorder.add`, `settings` those of `Recorder`. Raises
    IbstatsError where the dims do not agree, and all that these two do.

    >>> from tempfile import TemporaryDirectory
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (2, 3, 4, 8, 8, 3), dtype=np.uint8)
    >>> with TemporaryDirectory() as folder:
    ...     made = from_arrays(
    ...         Path(folder, "run"), images=images, prompts=["a", "b", "c"], conditions=["x", "y"]
    ...     )
    ...     made.name
    'run'
    """
    given = {
        "images": images,
        "tokens": tokens,
        "logits": logits,
        "surprisals": surprisals,
        "entropies": entropies,
        "token_step": token_step,
        "path_surprisal": path_surprisal,
        "joint_surprisal": joint_surprisal,
    }
    there = {name: value for name, value in given.items() if value is not None}
    _check_unique(prompts, "prompts")
    _check_unique(list(conditions), "conditions")
    recorder = Recorder(path, conditions=conditions, **settings)
    with recorder:
        for name, value in there.items():
            there[name] = _by_cell(name, value, len(conditions), len(prompts))
        for row, condition in enumerate(conditions):
            for column, prompt in enumerate(prompts):
                here = {name: value[row, column] for name, value in there.items()}
                recorder.add(prompt=prompt, condition=condition, sample=0, **here)
    return recorder.path


def _check_unique(names: Sequence[str], what: str) -> None:
    (most, n), *_ = Counter(names).most_common(1) or [("", 0)]
    if n == 0:
        raise IbstatsError(f"there are no {what}; name them")
    if n > 1:
        raise IbstatsError(f"'{most}' is {n} of the {what}; name each once")


def _by_cell(name: str, value: Any, n_conditions: int, n_prompts: int) -> NDArray[Any]:
    """The array with its dims of conditions and prompts, checked."""
    values = value if hasattr(value, "detach") else np.asarray(value)
    if n_conditions == 1 and len(values) == n_prompts != 1:
        values = values[None]
    if values.ndim < 4 or tuple(values.shape[:2]) != (n_conditions, n_prompts):
        raise IbstatsError(
            f"`{name}` has shape {tuple(values.shape)}, but begins with {n_conditions} conditions "
            f"and {n_prompts} prompts"
        )
    found: NDArray[Any] = values
    return found
