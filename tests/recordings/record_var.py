"""Record what upstream VAR computes: `python -m tests.recordings.record_var CHECKOUT` (a git clone of it).

Writes `var.npz` beside this file. Runs upstream's own code on weights that follow from their names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.named_weights import named_state, named_tensor
from generate.networks.var import DERIVED

SCALES = (1, 2, 4)
CLASSES = (1, 207)


def main(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    from models.var import VAR  # type: ignore[import-not-found]
    from models.vqvae import VQVAE  # type: ignore[import-not-found]

    vae = VQVAE(vocab_size=97, z_channels=32, ch=32, share_quant_resi=4, v_patch_nums=SCALES)
    network = VAR(
        vae_local=vae, num_classes=1000, depth=2, embed_dim=64, num_heads=4, attn_l2_norm=True, patch_nums=SCALES
    ).eval()  # fmt: skip
    shapes = {}
    for name, module in (("network", network), ("tokenizer", vae)):
        state = module.state_dict()
        shapes[name] = [
            f"{key} {','.join(map(str, tensor.shape))}" for key, tensor in state.items()
        ]
        given = named_state(state)
        for key, tensor in state.items():
            if key.endswith(DERIVED):
                given[key] = tensor
        module.load_state_dict(given)
    logits, tokens = [], []

    def sampled(given: torch.Tensor, **settings: object) -> torch.Tensor:
        logits.append(given.clone())
        drawn = sample(given, **settings)
        tokens.append(drawn[:, :, 0])
        return drawn

    from models import var  # type: ignore[import-not-found]

    sample = var.sample_with_top_k_top_p_
    var.sample_with_top_k_top_p_ = sampled
    recorded: dict[str, list[np.ndarray]] = {"tokens": [], "logits": [], "image": []}
    for seed, label in enumerate(CLASSES):
        logits.clear()
        tokens.clear()
        image = network.autoregressive_infer_cfg(
            1, torch.tensor([label]), g_seed=seed, cfg=3.0, top_k=20, top_p=0.95
        )
        recorded["tokens"].append(torch.cat(tokens, 1)[0].numpy())
        recorded["logits"].append(torch.cat(logits, 1)[0].numpy())
        recorded["image"].append(image[0].numpy())
    published = VQVAE(vocab_size=2, z_channels=1, ch=32, share_quant_resi=4)
    every = list(published.quantize.quant_resi.qresi_ls)
    taken = [every.index(published.quantize.quant_resi[scale / 9]) for scale in range(10)]
    shared = VAR(
        vae_local=vae, num_classes=1000, depth=2, embed_dim=64, num_heads=4, attn_l2_norm=True, patch_nums=SCALES,
        shared_aln=True, cond_drop_rate=0.0,
    ).eval()  # fmt: skip
    state = shared.state_dict()
    given = {key: value for key, value in state.items() if key.endswith(DERIVED)}
    shared.load_state_dict(named_state(state) | given)
    contexts = named_tensor("contexts", (2, 20, 32), scale=1.0)
    with torch.no_grad():
        at_once = shared(torch.tensor(CLASSES), contexts)
    np.savez_compressed(
        Path(__file__).with_name("var.npz"),
        **{name: np.stack(values) for name, values in recorded.items()},
        convolutions=np.array(taken),  # of each of the ten published scales
        shared_logits=at_once.numpy(),
        shared_keys=np.array(
            [f"{key} {','.join(map(str, value.shape))}" for key, value in state.items()]
        ),
        network_keys=np.array(shapes["network"]),
        tokenizer_keys=np.array(shapes["tokenizer"]),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
