"""Reference sets: the images that generated ones are compared with, as statistics of their features in one file."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibstats.each import Each, here
from ibstats.errors import IbstatsError, unknown
from ibstats.fidelity.base import AbstractNetwork, Images
from ibstats.kernels.frechet import Target
from ibstats.weights import file_sha256

if TYPE_CHECKING:
    from PIL.Image import Image

    from schemas.reference_set import ReferenceSet

SHIPPED = Path(__file__).parent / "trio-scenes.npz"
"""Rendered scenes of the trio, features of the reference network; made by `generate.trio.reference_set`."""

RESIZE = {
    "centre-crop": "shorter side to the size, antialiased (PIL, Lanczos), then the centre",
    "stretch": "both sides to the size, antialiased (PIL, Lanczos)",
    "none": "as they are; all must have the size",
}
"""How images of any size are brought to one."""

KEEP = 5000
"""Images whose features are kept for kernel distances; a random choice when there are more."""

HUB = "hf:"
"""What data sets begin with."""

SET_NETWORKS = ("inception", "reference")
"""Networks whose features make a set."""


@dataclass(frozen=True)
class Reference:
    """A reference set that was read: what it is, and the target of a distance."""

    file: Path
    record: ReferenceSet
    target: Target
    sha256: str


def prepare(image: Image, size: tuple[int, int], resize: str) -> Images:
    """One RGB image `(y, x, channel)` of that height and width."""
    from PIL import Image as pil

    height, width = size
    rgb = image.convert("RGB")
    if rgb.size == (width, height):
        return np.asarray(rgb)
    if resize == "none":
        raise IbstatsError(
            f"it is {rgb.height}x{rgb.width}, not {height}x{width}; choose --resize centre-crop or stretch"
        )
    if resize == "centre-crop":
        scale = max(width / rgb.width, height / rgb.height)
        x, y = width / scale, height / scale
        left, top = (rgb.width - x) / 2, (rgb.height - y) / 2
        return np.asarray(
            rgb.resize((width, height), pil.Resampling.LANCZOS, (left, top, left + x, top + y))
        )
    return np.asarray(rgb.resize((width, height), pil.Resampling.LANCZOS))


def build(
    source: str,
    out: Path,
    *,
    network: str = "inception",
    size: str | None = None,
    resize: str = "centre-crop",
    n_images: int | None = None,
    split: str | None = None,
    column: str | None = None,
    name: str | None = None,
    each: Each = here,
    **options: Any,
) -> ReferenceSet:
    """Make a set from a folder, a data set or another program's moments, and write it; all or nothing.

    `options` are the network's: device, batch_size, weights.
    """
    from ibstats.fidelity import network as network_by_name

    if network not in SET_NETWORKS:
        raise unknown("network of a reference set", network, SET_NETWORKS)
    if n_images is not None and n_images < 2:
        raise IbstatsError(f"images is {n_images}, but a distribution needs two or more")
    chosen = network_by_name(network, **options)
    shape = None if size is None else parsed_size(size)
    called = name or (source if source.startswith(HUB) else Path(source).stem)
    if Path(source).suffix == ".npz":
        if shape is None or n_images is None:
            raise IbstatsError(
                f"'{source}' does not say at which size and of how many images it was made; declare both: --size 256 "
                "--images 40504"
            )
        record, target = declared(
            Path(source),
            name=called,
            network=network,
            settings=chosen.asked(),
            size=shape,
            n=n_images,
        )
    else:
        found = images_of(source, split=split, column=column)
        if not source.startswith(HUB):
            known = list(image_files(Path(source)))[:n_images]
            found = (
                image
                for _, image in each(
                    lambda i: next(images_in([known[i]])), range(len(known)), called
                )
            )
        record, target = make(found, chosen, name=called, size=shape, resize=resize, limit=n_images)
    write(record, target, out)
    return record


def parsed_size(text: str) -> tuple[int, int]:
    """Height and width of `256` or `256x384`."""
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise IbstatsError(f"size is {text!r}, but must read 256 or 256x384 (height x width)")
    return int(parts[0]), int(parts[-1])


def images_of(
    source: str, *, split: str | None = None, column: str | None = None
) -> Iterator[tuple[str, Image]]:
    """Name and image, one by one, of a folder, or of a data set (`hf:NAME` of the hub, `hf:FOLDER` of a local one)."""
    if source.startswith(HUB):
        yield from _data_set(source.removeprefix(HUB), split, column)
        return
    yield from images_in(image_files(Path(source)))


def image_files(folder: Path) -> list[Path]:
    """Image files of a folder and those inside it, by name."""
    if not folder.is_dir():
        raise IbstatsError(
            f"no folder '{folder}'; give a folder of images, hf:NAME of a data set, or an .npz of statistics"
        )
    from PIL import Image as pil

    known = pil.registered_extensions()
    files = sorted(
        file for file in folder.rglob("*") if file.suffix.lower() in known and file.is_file()
    )
    if not files:
        raise IbstatsError(
            f"'{folder}' holds no image files; give the folder that holds the .png or .jpg files"
        )
    return files


def images_in(files: Iterable[Path]) -> Iterator[tuple[str, Image]]:
    """Name and image of each file; the first that cannot be read is an error that names it."""
    from PIL import Image as pil

    for file in files:
        try:
            with pil.open(file) as image:
                image.load()
                yield str(file), image
        except (OSError, SyntaxError, ValueError, pil.DecompressionBombError) as error:
            raise IbstatsError(
                f"'{file}' is not a readable image ({str(error).splitlines()[0]}); nothing was written: replace or "
                "remove it and run again"
            ) from None


def _data_set(name: str, split: str | None, column: str | None) -> Iterator[tuple[str, Image]]:
    try:
        import datasets
    except ImportError:
        raise IbstatsError(
            "data sets need the package datasets; pip install 'ibstats[quality]'"
        ) from None
    try:
        if (Path(name) / "dataset_info.json").is_file() or (
            Path(name) / "dataset_dict.json"
        ).is_file():
            loaded: Any = datasets.load_from_disk(name)
            rows = (
                loaded[_choice(split, list(loaded), "split")]
                if isinstance(loaded, dict)
                else loaded
            )
        else:
            split = _choice(split, datasets.get_dataset_split_names(name), "split")
            rows = datasets.load_dataset(name, split=split, streaming=True)
    except IbstatsError:
        raise
    except Exception as error:  # the library raises classes of many packages
        raise IbstatsError(
            f"data set '{name}' cannot be opened ({' '.join(str(error).split())[:200]})"
        ) from None
    kinds = rows.features or {}
    found = [key for key, kind in kinds.items() if isinstance(kind, datasets.Image)]
    chosen = _choice(column, found, "image column")
    for number, row in enumerate(rows):
        yield f"{name}, row {number}", row[chosen]


def _choice(wanted: str | None, known: list[str], kind: str) -> str:
    """What was asked for, or the only one there is."""
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted in known:
        return str(wanted)
    if wanted is None:
        raise IbstatsError(f"name one {kind} of: {', '.join(known) or 'none there'}")
    raise unknown(kind, wanted, known)


def make(
    images: Iterable[tuple[str, Image]],
    network: AbstractNetwork,
    *,
    name: str,
    size: tuple[int, int] | None = None,
    resize: str = "centre-crop",
    limit: int | None = None,
    keep: int = KEEP,
    seed: int = 0,
) -> tuple[ReferenceSet, Target]:
    """Statistics of the features of prepared images, in one pass; memory holds a batch and the kept features.

    Without `size` all images must have that of the first one.
    """
    from ibstats import __version__
    from schemas.reference_set import ReferenceSet

    if resize not in RESIZE:
        raise unknown("resize rule", resize, RESIZE)
    settings = network.settings()
    sums = _Moments(keep, seed)
    content = hashlib.sha256()
    batch: list[Images] = []
    for number, (where, image) in enumerate(images):
        if limit is not None and number == limit:
            break
        if size is None:
            size, resize = (image.height, image.width), "none"
        try:
            batch.append(prepare(image, size, resize))
        except IbstatsError as error:
            raise IbstatsError(f"'{where}': {error}") from None
        content.update(batch[-1].tobytes())
        if len(batch) == network.batch_size:
            sums.add(_set_features(network, batch))
            batch = []
    if batch:
        sums.add(_set_features(network, batch))
    if sums.n < 2 or size is None:
        raise IbstatsError(f"{sums.n} image(s) in '{name}', but a distribution needs two or more")
    target = sums.target()
    record = ReferenceSet(
        name=name,
        network=network.name,
        settings=settings,
        size=size,
        resize=resize,
        n_images=sums.n,
        n_features_kept=0 if target.features is None else len(target.features),
        dimensions=len(target.mean),
        images_sha256=content.hexdigest(),
        made=f"ibstats {__version__}",
    )
    return record, target


def _set_features(network: AbstractNetwork, batch: list[Images]) -> np.ndarray:
    """The columns of a network's features that distances between sets use."""
    features = network.embed(np.stack(batch))
    return features[:, : features.shape[1] - network.n_logits]


class _Moments:
    """Sums over batches, relative to the first batch's mean, and a random sample of the rows (reservoir)."""

    def __init__(self, keep: int, seed: int) -> None:
        self.n = 0
        self.keep = keep
        self.rng = np.random.default_rng(seed)
        self.sample: list[np.ndarray] = []

    def add(self, rows: np.ndarray) -> None:
        x = rows.astype(np.float64)
        if self.n == 0:
            self.origin = x.mean(axis=0)
            self.first, self.second = np.zeros(x.shape[1]), np.zeros((x.shape[1],) * 2)
        for row in x:
            place = (
                len(self.sample)
                if len(self.sample) < self.keep
                else int(self.rng.integers(0, self.n + 1))
            )
            if place < self.keep:
                self.sample[place : place + 1] = [row]
            self.n += 1
        x = x - self.origin
        self.first += x.sum(axis=0)
        self.second += x.T @ x

    def target(self) -> Target:
        shift = self.first / self.n
        covariance = (self.second - self.n * np.outer(shift, shift)) / (self.n - 1)
        return Target(
            self.origin + shift, covariance, np.array(self.sample) if self.sample else None
        )


def declared(
    file: Path, *, name: str, network: str, settings: dict[str, Any], size: tuple[int, int], n: int
) -> tuple[ReferenceSet, Target]:
    """Statistics that another program made (`mu` and `sigma`, as FID tools write them), with what they do not say.

    The user declares network, size and number of images; nothing can check it, and the record says `declared`.
    """
    from schemas.reference_set import ReferenceSet

    try:
        with np.load(file) as arrays:
            mean, covariance = (
                np.asarray(arrays[key], dtype=np.float64) for key in ("mu", "sigma")
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise IbstatsError(
            f"'{file}' is no .npz with arrays mu and sigma, as FID tools write them"
        ) from None
    d = len(mean)
    if mean.shape != (d,) or covariance.shape != (d, d) or not np.isfinite(covariance).all():
        raise IbstatsError(
            f"'{file}' holds mu {mean.shape} and sigma {covariance.shape}, but needs (d,) and (d, d)"
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
    """Write the set; a reader sees the whole file or none."""
    arrays: dict[str, Any] = {
        "mean": target.mean,
        "covariance": target.covariance,
        "record": np.array(record.model_dump_json()),
    }
    if target.features is not None:
        arrays["features"] = target.features.astype(np.float32)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.partial")
    with temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    temporary.replace(file)


def read(path: str | Path) -> Reference:
    """A set from its file, checked for form."""
    from pydantic import ValidationError

    from schemas.reference_set import SCHEMA, VERSION, ReferenceSet

    file = Path(path)
    if not file.is_file():
        raise IbstatsError(
            f"no reference set '{file}'; make one with `ibstats reference FOLDER --out {file.name}`"
        )
    try:
        with np.load(file) as arrays:
            if "record" not in arrays:
                raise IbstatsError(
                    f"'{file}' does not say how its images were prepared; import it with `ibstats reference {file} "
                    "--out NEW.npz --size S --images N`"
                )
            record = json.loads(str(arrays["record"]))
            features = arrays["features"].astype(np.float64) if "features" in arrays else None
            target = Target(arrays["mean"], arrays["covariance"], features)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, IbstatsError):
            raise
        raise IbstatsError(f"'{file}' is no reference set ({str(error).splitlines()[0]})") from None
    kind, version = record.get("schema_name"), str(record.get("schema_version"))
    if kind != SCHEMA or version.split(".")[0] != VERSION.split(".")[0]:
        raise IbstatsError(
            f"'{file}' is {kind} {version}, but this program reads {SCHEMA} {VERSION}; make it again"
        )
    try:
        return Reference(file, ReferenceSet.model_validate(record), target, file_sha256(file))
    except ValidationError as error:
        raise IbstatsError(
            f"the record of '{file}' does not follow its schema: {error.errors()[0]['msg']}"
        ) from None


def check(
    reference: Reference, network: str, settings: dict[str, Any], size: tuple[int, int]
) -> None:
    """Refuse a comparison of unlike features: another network, other weights, another rule or size of the images."""
    record, file = reference.record, reference.file
    if record.network != network:
        raise IbstatsError(
            f"reference set '{file}' holds features of '{record.network}', but the score needs those of '{network}'; "
            f"make one with `ibstats reference FOLDER --network {network} --out NEW.npz`"
        )
    for key, value in record.settings.items():
        if value != settings.get(key):
            raise IbstatsError(
                f"reference set '{file}' was made with {key} {value!r}, but the images are measured with "
                f"{settings.get(key)!r}; make the set again on this machine"
            )
    if record.size != size:
        wanted, made = (f"{y}x{x}" for y, x in (size, record.size))
        raise IbstatsError(
            f"reference set '{file}' was prepared at {made} ({record.resize}), but the images compared are {wanted}; "
            f"make one with `ibstats reference FOLDER --size {wanted} --out NEW.npz`"
        )
