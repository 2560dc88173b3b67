"""The file of a reference set: written, read, and refused where its features are unlike those
compared.

The form is `schemas.reference_set`: one .npz with mean, covariance, some features, and a record as
JSON.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ibstats.errors import IbstatsError
from ibstats.kernels.frechet import Target
from schemas.io.files import file_sha256, whole_file
from schemas.reference_set import SCHEMA, VERSION, ReferenceSet

SHIPPED = Path(__file__).parent / "trio-scenes.npz"
"""Rendered scenes of the trio, features of the scene network; made by
`generate.trio.reference_set`.
"""


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
    file: Path, *, name: str, network: str, settings: dict[str, Any], size: tuple[int, int], n: int
) -> tuple[ReferenceSet, Target]:
    """Give statistics that another program made (`mu` and `sigma`, as FID tools write them), with
    what they lack.

    The user declares network, size (height, width) and number `n` of images; nothing can check it,
    and the record says `declared`. Raises IbstatsError for a file of another form.
    """
    try:
        with np.load(file) as arrays:
            mean = np.asarray(arrays["mu"], dtype=np.float64)
            covariance = np.asarray(arrays["sigma"], dtype=np.float64)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise IbstatsError(
            f"'{file}' is no .npz with arrays mu and sigma, as FID tools write them"
        ) from None
    d = len(mean)
    fits = mean.shape == (d,) and covariance.shape == (d, d)
    if not fits or not np.isfinite(covariance).all():
        raise IbstatsError(
            f"'{file}' holds mu {mean.shape} and sigma {covariance.shape}, but needs (d,) and "
            "(d, d)"
        )
    record = ReferenceSet(
        name=name,
        network=network,
        settings=settings,
        size=size,
        resize="declared",
        n_images=n,
        dimensions=d,
        made=f"imported from {file.name}, sha256 {file_sha256(file)}",
    )
    return record, Target(mean, covariance)


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
        with np.load(file) as arrays:
            if "record" not in arrays:
                raise IbstatsError(
                    f"'{file}' does not say how its images were prepared; import it with "
                    f"`ibstats reference {file} --out NEW.npz --size S --images N`"
                )
            record: dict[str, Any] = json.loads(str(arrays["record"]))
            features = None
            if "features" in arrays:
                features = arrays["features"].astype(np.float64)
            return record, Target(arrays["mean"], arrays["covariance"], features)
    except IbstatsError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise IbstatsError(f"'{file}' is no reference set ({str(error).splitlines()[0]})") from None


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
