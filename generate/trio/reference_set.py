"""The reference set of rendered scenes that ships with ibstats, to compare images of the trio with.

    python -m generate.trio.reference_set --out ibstats/measure/reference_set/trio-scenes.npz

Scenes of the whole grammar, all attributes and wordings equally often, as the tokenizer and the
transformers were trained on; features of the reference network's last layer, averaged over places.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from generate.trio import scenes, weights
from generate.trio.reference import load_reference
from generate.trio.stage_tokenizer import render_batch
from schemas.io.files import file_sha256, whole_file
from schemas.reference_set import SCENE_FEATURES, ReferenceSet

SCENES, KEPT, SEED, BATCH = 20_000, 1_500, 21, 500


def scene_features(count: int, seed: int) -> tuple[NDArray[np.float32], str]:
    """Features (count, 96) of fresh 8-bit scenes, and the sha256 of their pixels.

    Features are the last layer of the network, averaged over places; `seed` fixes the scenes.
    """
    network, rng = load_reference(), np.random.default_rng(seed)
    content, parts = hashlib.sha256(), []
    with torch.no_grad():
        for start in range(0, count, BATCH):
            size = min(BATCH, count - start)
            attributes, wordings = (
                scenes.draw_attributes(size, rng),
                scenes.draw_wordings(size, rng),
            )
            images = render_batch(attributes, wordings, rng)
            pixels = (images * 255).round().clamp(0, 255)
            content.update(pixels.byte().permute(0, 2, 3, 1).contiguous().numpy().tobytes())
            parts.append(network.features(pixels / 255)[-1].mean(dim=(2, 3)).numpy())
    return np.concatenate(parts), content.hexdigest()


def write_reference_set(
    out: Path, *, count: int = SCENES, kept: int = KEPT, seed: int = SEED
) -> ReferenceSet:
    """Write mean and covariance of the features of `count` scenes, and those of the first `kept`.

    Returns the record of the set, which the file has too; `seed` fixes the scenes.
    """
    features, digest = scene_features(count, seed)
    x = features.astype(np.float64)
    file = weights.SHIPPED / "reference.safetensors"
    record = ReferenceSet(
        name="trio-scenes",
        network="reference",
        settings={
            "weights_sha256": file_sha256(file),
            "features": SCENE_FEATURES,
        },
        size=(scenes.IMAGE_SIZE, scenes.IMAGE_SIZE),
        resize="none",
        n_images=count,
        n_features_kept=min(kept, count),
        dimensions=x.shape[1],
        images_sha256=digest,
        made=f"python -m generate.trio.reference_set, seed {seed}",
    )
    with whole_file(out) as temporary:
        np.savez_compressed(
            temporary,
            mean=x.mean(axis=0),
            covariance=np.cov(x, rowvar=False),
            features=features[:kept],
            record=np.array(record.model_dump_json()),
        )
    return record


def main() -> None:
    """Read the command line and write the set."""
    parser = argparse.ArgumentParser(
        prog="python -m generate.trio.reference_set", description="Statistics of rendered scenes."
    )
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    parser.add_argument("--scenes", type=int, default=SCENES)
    chosen = parser.parse_args()
    print(write_reference_set(chosen.out, count=chosen.scenes).model_dump_json(indent=1))


if __name__ == "__main__":
    main()
