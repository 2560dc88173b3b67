"""Record what upstream LlamaGen computes: `python -m tests.recordings.record_llamagen CHECKOUT` (a git clone of it).

Writes `llamagen.npz` beside this file. Runs upstream's own code on weights that follow from their names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.named_weights import named_state, named_tensor
from tests.recordings.captions import CAPTIONS

N_VALID = (5, 9)
"""Tokens of the two captions."""


def captions() -> tuple[torch.Tensor, torch.Tensor]:
    """Left-padded text states (caption, token, width), zero at padding, and their mask."""
    mask = torch.stack([torch.arange(120) >= 120 - n for n in N_VALID]).long()
    return named_tensor("captions", (2, 120, 24), scale=1.0) * mask[..., None], mask


def main(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    from autoregressive.models.generate import generate  # type: ignore[import-not-found]
    from autoregressive.models.gpt import ModelArgs, Transformer  # type: ignore[import-not-found]
    from language.t5 import T5Embedder  # type: ignore[import-not-found]
    from tokenizer.tokenizer_image.vq_model import ModelArgs as VQArgs  # type: ignore[import-not-found]
    from tokenizer.tokenizer_image.vq_model import VQModel

    network = Transformer(
        ModelArgs(
            dim=64, n_layer=3, n_head=4, multiple_of=32, vocab_size=97, block_size=16, cls_token_num=120,
            model_type="t2i", caption_dim=24,
        )
    ).eval()  # fmt: skip
    network.load_state_dict(named_state(network.state_dict()))
    states, mask = captions()
    tokens = []
    for seed, row in enumerate(range(2)):
        torch.manual_seed(seed)
        drawn = generate(
            network,
            states[row : row + 1],
            16,
            mask[row : row + 1],
            cfg_scale=3.0,
            top_k=20,
            top_p=0.95,
        )
        tokens.append(drawn[0].numpy())
    with torch.no_grad():
        given = torch.from_numpy(np.stack(tokens)).long()
        both = torch.cat([states, network.cls_embedding.uncond_embedding.expand_as(states)])
        network.setup_caches(4, 136, torch.float32)
        network.causal_mask[:, :, :120] = network.causal_mask[:, :, :120] * torch.cat(
            [mask, mask]
        ).unsqueeze(1)
        eye = torch.eye(network.causal_mask.size(1))
        network.causal_mask[:] = network.causal_mask * (1 - eye) + eye
        logits = [network(None, both, torch.arange(120))[0][:, -1]]
        for position in range(15):
            step = torch.cat([given[:, position : position + 1]] * 2)
            logits.append(
                network(step, cond_idx=None, input_pos=torch.tensor([120 + position]))[0][:, -1]
            )
        tokenizer = VQModel(
            VQArgs(
                codebook_size=97,
                codebook_embed_dim=8,
                encoder_ch_mult=[1, 1],
                decoder_ch_mult=[1, 1],
                z_channels=32,
            )
        ).eval()
        shapes = {key: list(tensor.shape) for key, tensor in tokenizer.state_dict().items()}
        tokenizer.load_state_dict(named_state(tokenizer.state_dict()))
        image = tokenizer.decode_code(given[:1], (1, 8, 4, 4))
    embedder = T5Embedder.__new__(T5Embedder)
    embedder.use_text_preprocessing = True
    np.savez_compressed(
        Path(__file__).with_name("llamagen.npz"),
        tokens=np.stack(tokens),
        logits=torch.stack(
            logits, 1
        ).numpy(),  # (row: 2 conditional, 2 unconditional; position; code)
        image=image.numpy(),
        captions=np.array([embedder.text_preprocessing(text) for text in CAPTIONS]),
        tokenizer_keys=np.array(list(shapes)),
        tokenizer_shapes=np.array([",".join(map(str, shape)) for shape in shapes.values()]),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
