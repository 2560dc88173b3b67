"""Record what upstream Meissonic computes: `python -m tests.recordings.record_meissonic CHECKOUT` (a git clone of it).

Writes `meissonic.npz` beside this file. Runs upstream's own pipeline on the tiny checkpoint of `benchmarks.tiny`, whose
weights follow from their names. Diffusers of 2024 (0.31) computed the
recording; of today's the attention asks for one attribute more, which is given here.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks import tiny

TEXTS = ("a red cat", "dog")
STEPS, GUIDANCE, NEGATIVE = 6, 4.0, "a cat"


def main(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    from diffusers import VQModel
    from diffusers.models.attention_processor import Attention
    from src.pipeline import Pipeline  # type: ignore[import-not-found]
    from src.scheduler import Scheduler  # type: ignore[import-not-found]
    from src.transformer import Transformer2DModel  # type: ignore[import-not-found]
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    if not hasattr(Attention, "head_dim"):
        Attention.head_dim = property(lambda self: self.inner_dim // self.heads)
    recorded: dict[str, np.ndarray] = {}
    for name, halved in (("whole", False), ("halved", True)):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            side = tiny.meissonic(folder, halved=halved)["image_size"]
            transformer = Transformer2DModel.from_pretrained(folder, subfolder="transformer")
            pipeline = Pipeline(
                VQModel.from_pretrained(folder, subfolder="vqvae"),
                CLIPTokenizer.from_pretrained(folder / "tokenizer"),
                CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder"),
                transformer,
                Scheduler.from_pretrained(folder, subfolder="scheduler"),
            )
            pipeline.set_progress_bar_config(disable=True)
            logits: list[torch.Tensor] = []
            transformer.register_forward_hook(lambda _, __, found, kept=logits: kept.append(found))
            found: dict[str, list[np.ndarray]] = {"tokens": [], "logits": [], "image": []}
            for seed, text in enumerate(TEXTS):
                logits.clear()
                asked = {
                    "height": side,
                    "width": side,
                    "num_inference_steps": STEPS,
                    "guidance_scale": GUIDANCE,
                    "negative_prompt": NEGATIVE,
                }
                generator = torch.Generator().manual_seed(seed)
                tokens = pipeline(text, generator=generator, output_type="latent", **asked).images[
                    0
                ]
                found["tokens"].append(tokens.flatten().numpy())
                found["logits"].append(logits[0].numpy())  # branch, code, y, x
                if not halved:
                    generator = torch.Generator().manual_seed(seed)
                    image = pipeline(text, generator=generator, output_type="np", **asked).images[0]
                    found["image"].append(image)
            recorded |= {f"{name}_{kind}": np.stack(of) for kind, of in found.items() if of}
            shapes = {
                key: ",".join(map(str, value.shape))
                for key, value in transformer.state_dict().items()
            }
            recorded[f"{name}_keys"] = np.array([f"{key} {shape}" for key, shape in shapes.items()])
    np.savez_compressed(Path(__file__).with_name("meissonic.npz"), **recorded)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
