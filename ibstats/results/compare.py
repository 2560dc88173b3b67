"""What moved between two analyses, by how much, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ibstats.results import words

if TYPE_CHECKING:
    from schemas.results import ResultRow, Results

Key = tuple[str, str, str, str, str, str | None]


@dataclass(frozen=True)
class Change:
    """One number that differs, or exists on one side only.

    `before` and `after` are its estimates, None where it is undefined or not there.
    """

    key: Key
    """section, model, experiment, quantity, term, attribution."""
    before: float | None
    after: float | None
    kind: str
    """moved, appeared, vanished, or interval (same estimate, other bounds or test)."""

    @property
    def by(self) -> float | None:
        """After minus before."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True)
class Comparison:
    """All changes, largest first, and their possible causes.

    `n_rows` is the number of different numbers that were compared.
    """

    causes: list[str]
    changes: list[Change]
    n_rows: int


def compare(before: Results, after: Results, tolerance: float = 0.0) -> Comparison:
    """What moved between two analyses: rows are matched by what they measure.

    Numbers within `tolerance` of each other, in their own unit, count as equal; a row whose
    estimate stayed but whose bounds or p values moved is a change of kind `interval`.
    """
    old, new = ({_key(row): row for row in document.rows} for document in (before, after))
    changes = []
    for key in list(dict.fromkeys([*old, *new])):
        a, b = old.get(key), new.get(key)
        if a is None or b is None:
            side = b or a
            assert side is not None
            changes.append(
                Change(
                    key,
                    a.estimate if a else None,
                    b.estimate if b else None,
                    "appeared" if a is None else "vanished",
                )
            )
        elif not _close(a.estimate, b.estimate, tolerance):
            changes.append(Change(key, a.estimate, b.estimate, "moved"))
        elif not all(_close(x, y, tolerance) for x, y in zip(_rest(a), _rest(b), strict=True)):
            changes.append(Change(key, a.estimate, b.estimate, "interval"))
    changes.sort(key=lambda change: -abs(change.by or 0.0))
    return Comparison(causes(before, after), changes, len(old.keys() | new.keys()))


def causes(before: Results, after: Results) -> list[str]:
    """What differs in what the numbers follow from: run, data, version and settings, a line each.

    Empty where nothing does: then equal rows are expected.
    """
    found = []
    if before.run_id != after.run_id:
        found.append(f"another run: {before.run_id} -> {after.run_id}")
    if before.snapshot != after.snapshot:
        found.append(
            f"other data: snapshot {words.snapshot(before.snapshot)} -> {words.snapshot(after.snapshot)}"
        )
    if before.ibstats_version != after.ibstats_version:
        found.append(
            f"another version of ibstats: {before.ibstats_version} -> {after.ibstats_version}"
        )
    left, right = _flat(before.settings), _flat(after.settings)
    names = sorted(left.keys() | right.keys())
    moved = (name for name in names if left.get(name) != right.get(name))
    return found + [f"setting {name}: {left.get(name)} -> {right.get(name)}" for name in moved]


def _key(row: ResultRow) -> Key:
    return (row.section, row.model, row.experiment, row.quantity, row.term, row.attribution)


def _rest(row: ResultRow) -> tuple[float | None, ...]:
    return (row.low, row.high, row.p, row.p_holm, row.p_max_t)


def _close(a: float | None, b: float | None, tolerance: float) -> bool:
    return a == b if a is None or b is None else abs(a - b) <= tolerance


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out
