"""The file of a reference set: written, read, and refused where its features are unlike those
compared.

The form is `schemas.reference_set`: one .npz with mean, covariance, some features, and a record as
JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ibstats.errors import IbstatsError
from ibstats.kernels.frechet import Target
from schemas.io.arrays import UnreadableArrays, read_arrays
from schemas.io.files import file_sha256, whole_file
from schemas.reference_set import SCHEMA, VERSION, ReferenceSet

SHIPPED = Path(__file__).parent / "trio-scenes.npz"
"""Rendered scenes of the trio, features of the scene network; made by
`generate.trio.reference_set`.
"""


ROUNDING = 1e-6
"""Share of the largest number that the smallest eigenvalue or an asymmetry of a covariance may be."""


@dataclass(frozen=True)
class LoadedSet:
    """A reference set that was read.

    `record` says of which images and how it was made, `target` is what distances are taken to.
    """

    file: Path
    record: ReferenceSet
    target: Target
    sha256: str
    """Digest of the file."""


def declared(
    file: Path,
    *,
    name: str,
    network: str,
    settings: dict[str, Any],
    size: tuple[int, int],
    n: int,
    n_features: int | None = None,
) -> tuple[ReferenceSet, Target]:
    """Give statistics that another program made (`mu` and `sigma`, as FID tools write them), with
    what they lack.

    The user declares network, size (height, width) and number `n` of images; nothing can check it,
    and the record says `declared`. `n_features` is how many the network has, None if unknown.
    Raises IbstatsError for a file of another form, and where mean and covariance are not what the
    Frechet distance assumes: finite numbers of that many features, the covariance symmetric and
    without negative eigenvalues.
    """
    try:
        arrays = read_arrays(file, ("mu", "sigma"))
    except UnreadableArrays as error:
        raise IbstatsError(
            f"'{file}' is no .npz with arrays mu and sigma, as FID tools write them ({error.reason})"
        ) from None
    if len(arrays) < 2:
        raise IbstatsError(f"'{file}' is no .npz with arrays mu and sigma, as FID tools write them")
    mean, covariance = arrays["mu"], arrays["sigma"]
    refuse_moments(file, mean, covariance)
    if n_features is not None and len(mean) != n_features:
        raise IbstatsError(
            f"'{file}' holds statistics of {len(mean)} features, but '{network}' has {n_features}; "
            "another network made them, or another layer"
        )
    _refuse_negative(file, covariance)
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    record = ReferenceSet(
        name=name,
        network=network,
        settings=settings,
        size=size,
        resize="declared",
        n_images=n,
        dimensions=len(mean),
        made=f"imported from {file.name}, sha256 {file_sha256(file)}",
    )
    return record, Target(mean, covariance)


def refuse_moments(
    file: Path, mean: NDArray[Any], covariance: NDArray[Any], features: NDArray[Any] | None = None
) -> None:
    """Raise IbstatsError unless these are real, finite and fit each other, the covariance symmetric.

    `mean` is (d,), `covariance` (d, d), `features`, where there are some, (m, d); `file` is named
    in the message.
    """
    given = {"mean": mean, "covariance": covariance}
    if features is not None:
        given["features"] = features
    for what, values in given.items():
        if values.dtype.kind not in "iuf":
            raise IbstatsError(f"the {what} in '{file}' is {values.dtype}, not real numbers")
    d = mean.size
    if d == 0 or mean.shape != (d,) or covariance.shape != (d, d):
        raise IbstatsError(
            f"'{file}' holds mean {mean.shape} and covariance {covariance.shape}, but needs (d,) "
            "and (d, d)"
        )
    if features is not None and (features.ndim != 2 or features.shape[1] != d):
        raise IbstatsError(f"'{file}' holds features {features.shape}, but needs (m, {d})")
    for what, values in given.items():
        n_bad = int((~np.isfinite(values)).sum())
        if n_bad:
            raise IbstatsError(
                f"the {what} in '{file}' has {n_bad} of {values.size} numbers that are not finite; "
                "make the statistics again"
            )
    asymmetry = abs(covariance - covariance.T).max()
    if asymmetry > ROUNDING * abs(covariance).max():
        raise IbstatsError(
            f"the covariance in '{file}' is not symmetric (by up to {asymmetry:.3g}); make the "
            "statistics again"
        )


def _refuse_negative(file: Path, covariance: NDArray[Any]) -> None:
    """Refuse a covariance with an eigenvalue below rounding: it is none of any images."""
    values = np.linalg.eigvalsh(covariance.astype(np.float64))
    rounding = ROUNDING
    if covariance.dtype.itemsize < 8:
        rounding = max(rounding, len(values) * float(np.finfo(np.float32).eps))
    if values[0] < -rounding * max(values[-1], 0.0):
        raise IbstatsError(
            f"the covariance in '{file}' has a negative eigenvalue ({values[0]:.3g}, the largest is "
            f"{values[-1]:.3g}), so it is none; make the statistics again"
        )


def write(record: ReferenceSet, target: Target, file: Path) -> None:
    """Write the set as one compressed .npz, features in single precision.

    A reader sees the whole file or none; the folder is made if it lacks.
    """
    arrays: dict[str, Any] = {
        "mean": target.mean,
        "covariance": target.covariance,
        "record": np.array(record.model_dump_json()),
    }
    if target.features is not None:
        arrays["features"] = target.features.astype(np.float32)
    with whole_file(file) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read(path: str | Path) -> LoadedSet:
    """Give a set from its file, checked for form.

    Raises IbstatsError for a file that does not exist, is no reference set, or was written under
    another major version of the form.

    >>> read(SHIPPED).record.n_images
    20000
    """
    file = Path(path)
    if not file.is_file():
        raise IbstatsError(
            f"no reference set '{file}'; make one with `ibstats reference FOLDER --out {file.name}`"
        )
    record, target = _content(file)
    kind, version = record.get("schema_name"), str(record.get("schema_version"))
    if kind != SCHEMA or version.split(".")[0] != VERSION.split(".")[0]:
        raise IbstatsError(
            f"'{file}' is {kind} {version}, but this program reads {SCHEMA} {VERSION}; make it "
            "again"
        )
    try:
        checked = ReferenceSet.model_validate(record)
    except ValidationError as error:
        raise IbstatsError(
            f"the record of '{file}' does not follow its schema: {error.errors()[0]['msg']}"
        ) from None
    return LoadedSet(file, checked, target, file_sha256(file))


def _content(file: Path) -> tuple[dict[str, Any], Target]:
    """What a file holds, its record not checked yet."""
    try:
        arrays = read_arrays(file)
        record = json.loads(str(arrays.get("record", "null")))
    except UnreadableArrays as error:
        raise IbstatsError(f"'{file}' is no reference set ({error.reason})") from None
    except ValueError as error:
        raise IbstatsError(f"'{file}' is no reference set (its record: {error})") from None
    if not isinstance(record, dict):
        raise IbstatsError(
            f"'{file}' does not say how its images were prepared; import it with "
            f"`ibstats reference {file} --out NEW.npz --size S --images N`"
        )
    for name in ("mean", "covariance"):
        if name not in arrays:
            raise IbstatsError(f"'{file}' is no reference set (it has no {name})")
    features = None
    if "features" in arrays:
        features = arrays["features"].astype(np.float64)
    refuse_moments(file, arrays["mean"], arrays["covariance"], features)
    return record, Target(arrays["mean"], arrays["covariance"], features)


def check(
    reference: LoadedSet, network: str, settings: dict[str, Any], size: tuple[int, int]
) -> None:
    """Refuse a comparison of unlike features, with an IbstatsError that says what to make instead.

    `network` and `settings` are those of the images compared, `size` their height and width in
    pixels.
    """
    record, file = reference.record, reference.file
    if record.network != network:
        raise IbstatsError(
            f"reference set '{file}' holds features of '{record.network}', but the score needs "
            f"those of '{network}'; make one with `ibstats reference FOLDER --network "
            f"{network} --out NEW.npz`"
        )
    for key, value in record.settings.items():
        if value != settings.get(key):
            raise IbstatsError(
                f"reference set '{file}' was made with {key} {value!r}, but the images are "
                f"measured with {settings.get(key)!r}; make the set again on this machine"
            )
    if record.size != size:
        wanted = f"{size[0]}x{size[1]}"
        made = f"{record.size[0]}x{record.size[1]}"
        raise IbstatsError(
            f"reference set '{file}' was prepared at {made} ({record.resize}), but the images "
            f"compared are {wanted}; make one with `ibstats reference FOLDER --size {wanted} --out "
            "NEW.npz`"
        )
