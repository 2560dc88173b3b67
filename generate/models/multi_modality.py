"""Janus in the layout of its authors, `model_type` multi_modality, read as that of transformers.

Names are those of the modules in github.com/deepseek-ai/Janus (`janus/models`), and what they became
is in transformers' `convert_janus_weights_to_hf.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from generate.errors import ModelError

PAD, BEGIN_OF_IMAGE = "<｜▁pad▁｜>", "<begin_of_image>"
"""Tokens that upstream's processor names, and the files of the tokenizer do not."""
ALIGNER = {r"layers\.0\.": "fc1.", r"layers\.2\.": "hidden_layers.0."}
TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "language_model.lm_head.": ("lm_head.", {}),
    "language_model.model.": ("model.language_model.", {}),
    "aligner.": ("model.aligner.", ALIGNER),
    "gen_aligner.": ("model.generation_aligner.", ALIGNER),
    "gen_embed.": ("model.generation_embeddings.", {}),
    "gen_head.": ("model.generation_head.", {r"^output_mlp_projector\.": "proj_out."}),
    "vision_model.vision_tower.": (
        "model.vision_model.",
        {
            r"^pos_embed$": "embeddings.position_embedding.weight",
            r"^patch_embed\.proj\.": "embeddings.patch_embedding.",
            r"^norm\.": "post_layernorm.",
            r"^blocks\.(\d+)\.attn\.proj\.": r"encoder.layers.\1.self_attn.projection_layer.",
            r"^blocks\.(\d+)\.attn\.": r"encoder.layers.\1.self_attn.",
            r"^blocks\.(\d+)\.norm": r"encoder.layers.\1.layer_norm",
            r"^blocks\.": "encoder.layers.",
        },
    ),
}
"""For the first letters of a name what stands for them, and patterns for what follows."""
VQ = "gen_vision_model."
LEFT_OUT = ("vision_model.vision_tower.attn_pool.", VQ + "quantize.codebook_used")
"""Tensors that no image needs: a pooled view of a picture, and a statistic of the training."""


def settings(published: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a Janus of transformers, from one of upstream.

    Upstream's names a class for each network, whose sizes are those of the classes of transformers.
    Raises ModelError, or KeyError below the top, where a key is absent.
    """
    aligner = published["aligner_config"]["params"]
    generation = published["gen_vision_config"]["params"]
    return {
        "model_type": "janus",
        "text_config": dict(published["language_config"]),
        "vision_config": {
            "image_size": published["vision_config"]["params"]["image_size"],
            "projection_dim": aligner["n_embed"],
            "depth": aligner["depth"],
        },
        "vq_config": {
            "embed_dim": generation["n_embed"],
            "num_embeddings": generation["image_token_size"],
            "projection_dim": published["gen_aligner_config"]["params"]["n_embed"],
            "image_token_embed_dim": published["gen_head_config"]["params"]["image_token_embed"],
        },
    }


def tensors(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of upstream under the names of transformers, less what no image needs.

    A name that is not upstream's stays, for the network to refuse. Views, no copies.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in published.items():
        if name.startswith(LEFT_OUT):
            continue
        today = renamed(name)
        if ".qkv." in today:
            parts = zip(("q_proj", "k_proj", "v_proj"), tensor.chunk(3), strict=True)
            found |= {today.replace("qkv", part): values for part, values in parts}
        elif name.endswith(".pos_embed"):
            found[today] = tensor.squeeze(0)
        else:
            found[today] = tensor
    return found


def renamed(name: str) -> str:
    """The name of a tensor of upstream in transformers.

    >>> renamed("gen_vision_model.decoder.conv_blocks.0.res.1.conv1.weight")
    'model.vqmodel.decoder.up.0.block.1.conv1.weight'
    """
    if name.startswith(VQ):
        return "model.vqmodel." + vq_name(name.removeprefix(VQ))
    for start, (today, patterns) in TABLES.items():
        if name.startswith(start):
            rest = name.removeprefix(start)
            for pattern, replacement in patterns.items():
                rest = re.sub(pattern, replacement, rest)
            return today + rest
    return name


def vq_name(name: str) -> str:
    """The name in JanusVQVAE of a tensor of LlamaGen's tokenizer, which is upstream's too.

    >>> vq_name("encoder.conv_blocks.0.res.1.conv1.weight"), vq_name("decoder.mid.1.q.weight")
    ('encoder.down.0.block.1.conv1.weight', 'decoder.mid.attn_1.q.weight')
    """
    blocks = ".down." if name.startswith("encoder.") else ".up."
    name = name.replace(".conv_blocks.", blocks).replace(".res.", ".block.")
    for number, today in enumerate(("block_1", "attn_1", "block_2")):
        name = name.replace(f".mid.{number}.", f".mid.{today}.")
    return name


def tokenizer(folder: Path, published: Mapping[str, Any]) -> Any:
    """The tokenizer of upstream's files, with BOS first and the tokens of images by name.

    `published` is the content of `tokenizer_config.json`. The class that it names makes another
    tokenizer of the same file in transformers 5, and leaves BOS out. Raises ModelError if the file
    has not the tokens.
    """
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    bos = published["bos_token"]
    core = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for token in (bos, published["eos_token"], PAD, BEGIN_OF_IMAGE):
        if core.token_to_id(token) is None:
            raise ModelError(
                f"{folder / 'tokenizer.json'} has no token '{token}': fetch it again, or name "
                "another checkpoint."
            )
    core.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
    )
    of_core: Any = PreTrainedTokenizerFast
    return of_core(
        tokenizer_object=core,
        bos_token=bos,
        eos_token=published["eos_token"],
        pad_token=PAD,
        extra_special_tokens={"boi_token": BEGIN_OF_IMAGE},
    )
