"""Tiny random checkpoints of the published models: the files of the hub, with the keys that they have there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PhiConfig,
)

from benchmarks.named_weights import named_state, named_tensor

SHOWO_TEXT_VOCABULARY, SHOWO_CODES, SHOWO_SIDE = 300, 8192, 4
SHOWO_VOCABULARY = SHOWO_TEXT_VOCABULARY + 10 + SHOWO_CODES + 1


def clip_tokenizer(**special: str) -> CLIPTokenizer:
    alphabet = sorted(ByteLevel.alphabet())
    merges = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>")]
    pieces = [*alphabet, *(letter + "</w>" for letter in alphabet), *(a + b for a, b in merges)]
    vocabulary = {
        piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])
    }
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77, **special)


def clip_config(tokenizer: CLIPTokenizer, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        projection_dim=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def vq_model(widths: Sequence[int]) -> Any:
    """A VQ model of diffusers over 48 codes, with one level of that width each."""
    from diffusers import VQModel

    return VQModel(
        block_out_channels=list(widths),
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        latent_channels=8,
        layers_per_block=1,
        norm_num_groups=8,
        num_vq_embeddings=48,
        mid_block_add_attention=False,
        lookup_from_codebook=True,
    )


def amused(folder: Path) -> Path:
    """8x8 grid of 48 codes, 16x16 pixels."""
    from diffusers import AmusedPipeline, AmusedScheduler, UVit2DModel

    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    transformer = UVit2DModel(
        hidden_size=32, cond_embed_dim=16, micro_cond_encode_dim=4, micro_cond_embed_dim=20, encoder_hidden_size=16,
        vocab_size=64, codebook_size=48, in_channels=32, block_out_channels=32, num_res_blocks=1, downsample=True,
        upsample=True, block_num_heads=2, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        sample_size=8,
    )  # fmt: skip
    vqvae = vq_model([8, 16])
    text_encoder = CLIPTextModelWithProjection(clip_config(tokenizer, 16))
    AmusedPipeline(
        vqvae=vqvae,
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        transformer=transformer,
        scheduler=AmusedScheduler(63),
    ).save_pretrained(folder)
    return folder


def meissonic(folder: Path, *, halved: bool = False) -> dict[str, object]:
    """Options of an 8x8 grid of 48 codes, in the files of the hub.

    Of 16x16 pixels, as Monetico; `halved`, of 1024x1024 with a transformer that halves the grid, as Meissonic.
    """

    from generate.networks.meissonic import Meissonic

    torch.manual_seed(0)
    sizes = {
        "attention_head_dim": 16,
        "axes_dims_rope": [4, 6, 6],
        "codebook_size": 48,
        "downsample": halved,
        "guidance_embeds": False,
        "in_channels": 64,
        "joint_attention_dim": 32,
        "num_attention_heads": 2,
        "num_layers": 2,
        "num_single_layers": 3,
        "patch_size": 1,
        "pooled_projection_dim": 32,
        "upsample": halved,
        "vocab_size": 64,
    }
    tokenizer = clip_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    widths = [8] * 8 if halved else [8, 16]
    vqvae = vq_model(widths)
    text_encoder = CLIPTextModelWithProjection(clip_config(tokenizer, 32))
    for name, network in (("vqvae", vqvae), ("text_encoder", text_encoder)):
        network.load_state_dict(named_state(network.state_dict()), strict=False)
        network.save_pretrained(folder / name)
    described = {"_class_name": "Transformer2DModel", "_diffusers_version": "0.30.2", **sizes}
    schedule = {
        "_class_name": "Scheduler",
        "_diffusers_version": "0.30.2",
        "mask_token_id": 63,
        "masking_schedule": "cosine",
    }
    for name, content in (
        ("transformer/config", described),
        ("scheduler/scheduler_config", schedule),
    ):
        file = folder / f"{name}.json"
        file.parent.mkdir()
        file.write_text(json.dumps(content, indent=2) + "\n")
    state = named_state(Meissonic.from_config(sizes).state_dict())
    save_file(state, folder / "transformer/diffusion_pytorch_model.safetensors")
    return {"checkpoint": str(folder), "image_size": 1024 if halved else 16}


def vq_diffusion(folder: Path, *, learnable: bool = True, steps: int = 100) -> Path:
    """8x8 grid of 20 codes, 16x16 pixels, in the files of 2022."""
    from diffusers import Transformer2DModel, VQDiffusionPipeline, VQDiffusionScheduler, VQModel
    from diffusers.pipelines.deprecated.vq_diffusion.pipeline_vq_diffusion import (
        LearnedClassifierFreeSamplingEmbeddings,
    )

    torch.manual_seed(0)
    tokenizer = clip_tokenizer(pad_token="!")
    transformer = Transformer2DModel(
        attention_bias=True, cross_attention_dim=32, attention_head_dim=16, num_attention_heads=2, num_layers=2,
        num_vector_embeds=21, num_embeds_ada_norm=steps, sample_size=8, activation_fn="geglu-approximate",
        norm_type="ada_norm",
    )  # fmt: skip
    torch.nn.init.normal_(transformer.out.weight)  # sharp enough for argmax and draws to differ
    vqvae = VQModel(
        block_out_channels=[32, 64],
        down_block_types=["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
        up_block_types=["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
        latent_channels=3,
        num_vq_embeddings=20,
        vq_embed_dim=3,
    )
    learned = LearnedClassifierFreeSamplingEmbeddings(
        learnable=learnable, hidden_size=32, length=77
    )
    if learnable:
        torch.nn.init.normal_(learned.embeddings)
    VQDiffusionPipeline(
        vqvae=vqvae,
        text_encoder=CLIPTextModel(clip_config(tokenizer, 32)),
        tokenizer=tokenizer,
        transformer=transformer,
        scheduler=VQDiffusionScheduler(21, num_train_timesteps=steps),
        learned_classifier_free_sampling_embeddings=learned,
    ).save_pretrained(folder)
    _as_of_2022(folder, tokenizer)
    return folder


SINCE_2022 = {
    "transformer": (
        "attention_type",
        "caption_channels",
        "double_self_attention",
        "interpolation_scale",
        "norm_elementwise_affine",
        "norm_eps",
        "norm_type",
        "only_cross_attention",
        "out_channels",
        "patch_size",
        "upcast_attention",
        "use_additional_conditions",
        "use_linear_projection",
    ),
    "vqvae": (
        "force_upcast",
        "lookup_from_codebook",
        "mid_block_add_attention",
        "norm_type",
        "scaling_factor",
    ),
}
"""Keys of diffusers' configuration files that its version 0.8 did not have."""
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""Layers of attention of a VQ model, and what they were called in 2022."""


def _as_of_2022(folder: Path, tokenizer: CLIPTokenizer) -> None:
    """Rewrite a pipeline as diffusers 0.8 and transformers 4.24 saved it."""
    for part, keys in SINCE_2022.items():
        _drop(folder / part / "config.json", keys)
    for path in folder.glob("*/*.safetensors"):
        tensors = load_file(path)
        if path.parent.name == "vqvae":
            tensors = {_old_name(key): tensor for key, tensor in tensors.items()}
        if path.parent.name == "text_encoder":
            tensors = {f"text_model.{key}": tensor for key, tensor in tensors.items()}
            tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        stem = {"model": "pytorch_model"}.get(path.stem, path.stem)
        torch.save(tensors, path.with_name(f"{stem}.bin"))
        path.unlink()
    words = folder / "tokenizer"
    core = json.loads((words / "tokenizer.json").read_text())["model"]
    (words / "vocab.json").write_text(json.dumps(core["vocab"]))
    merges = [" ".join(pair) for pair in core["merges"]]
    (words / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    special = dict(tokenizer.special_tokens_map)
    (words / "special_tokens_map.json").write_text(json.dumps(special))
    settings = {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    (words / "tokenizer_config.json").write_text(json.dumps({**special, **settings}))
    (words / "tokenizer.json").unlink()


def _drop(path: Path, keys: Iterable[str]) -> None:
    """Take keys out of a configuration file."""
    settings = json.loads(path.read_text())
    for key in keys:
        settings.pop(key, None)
    path.write_text(json.dumps(settings, indent=2) + "\n")


def _old_name(key: str) -> str:
    for today, old in OLD_NAMES.items():
        key = key.replace(f".{today}.", f".{old}.")
    return key


def janus(folder: Path) -> Path:
    """4x4 grid of 50 codes, 32x32 pixels."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import (
        JanusConfig,
        JanusForConditionalGeneration,
        JanusVisionConfig,
        JanusVQVAEConfig,
        LlamaConfig,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(0)
    letters = {letter: index for index, letter in enumerate(sorted(ByteLevel.alphabet()))}
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    images = {
        "image_token": "<image_placeholder>",
        "boi_token": "<begin_of_image>",
        "eoi_token": "<end_of_image>",
    }
    core = Tokenizer(models.BPE(vocab=letters, merges=[]))
    core.pre_tokenizer, core.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    core.add_special_tokens([*names.values(), *images.values()])
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", core.token_to_id("<bos>"))]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **names, extra_special_tokens=images)
    tokenizer.save_pretrained(folder)
    network = JanusForConditionalGeneration(
        JanusConfig(
            text_config=LlamaConfig(
                hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            ),
            vision_config=JanusVisionConfig(
                hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8,
                projection_dim=64, num_image_tokens=16,
            ),
            vq_config=JanusVQVAEConfig(
                embed_dim=8, num_embeddings=50, latent_channels=32, base_channels=32, channel_multiplier=[1, 1, 1, 1],
                num_res_blocks=1, projection_dim=64, image_token_embed_dim=64,
            ),
            image_token_id=tokenizer.convert_tokens_to_ids("<image_placeholder>"),
        )
    )  # fmt: skip
    torch.nn.init.normal_(network.model.generation_head.vision_head.weight, std=0.5)
    network.generation_config.pad_token_id = tokenizer.pad_token_id
    network.generation_config.bos_token_id = tokenizer.bos_token_id
    network.generation_config.guidance_scale = 5.0
    network.save_pretrained(folder)
    _as_of_2025(folder / "config.json")
    return folder


SINCE_2025 = {
    "text_config": ("rope_parameters", "tie_word_embeddings"),
    "vision_config": ("projection_dropout", "use_qk_norm"),
    "vq_config": (
        "double_latent",
        "dropout",
        "hidden_act",
        "in_channels",
        "initializer_range",
        "num_hidden_layers",
        "out_channels",
    ),
}
"""Keys that the converter of transformers 4.52 left out: defaults, or not known yet."""


def _as_of_2025(path: Path) -> None:
    """Rewrite the configuration of a Janus as transformers 4.52 saved it."""
    settings = json.loads(path.read_text())
    for name, keys in SINCE_2025.items():
        for key in keys:
            settings[name].pop(key, None)
    settings.pop("tie_word_embeddings", None)
    for place in (settings, settings["text_config"]):
        place["torch_dtype"] = place.pop("dtype", "float32")
    settings["text_config"] |= {"rope_scaling": None, "rope_theta": 10000.0}
    path.write_text(json.dumps(settings, indent=2) + "\n")


DEEPSEEK = {
    "aligner_config": {
        "cls": "MlpProjector",
        "model_type": "aligner",
        "params": {"depth": 2, "input_dim": 32, "n_embed": 64, "projector_type": "mlp_gelu"},
    },
    "architectures": ["MultiModalityCausalLM"],
    "gen_aligner_config": {
        "cls": "MlpProjector",
        "model_type": "gen_aligner",
        "params": {"depth": 2, "input_dim": 8, "n_embed": 64, "projector_type": "mlp_gelu"},
    },
    "gen_head_config": {
        "cls": "vision_head",
        "model_type": "gen_head",
        "params": {"image_token_embed": 64, "image_token_size": 50, "n_embed": 64},
    },
    "gen_vision_config": {
        "cls": "VQ-16",
        "model_type": "gen_vision",
        "params": {"image_token_size": 50, "n_embed": 8},
    },
    "model_type": "multi_modality",
    "vision_config": {
        "cls": "CLIPVisionTower",
        "model_type": "vision",
        "params": {"image_size": 32},
    },
}
"""The configuration of `janus_of_deepseek` but for the language model: keys of the hub, which name no widths."""


def janus_of_deepseek(folder: Path) -> Path:
    """The Janus of `janus` in the files, names and layout of deepseek-ai."""
    settings = json.loads((janus(folder) / "config.json").read_text())
    weights = folder / "model.safetensors"
    torch.save(deepseek_tensors(load_file(weights)), folder / "pytorch_model.bin")
    weights.unlink()
    (folder / "generation_config.json").unlink()
    text = settings["text_config"]
    kept = (
        "hidden_size", "intermediate_size", "max_position_embeddings", "model_type", "num_attention_heads",
        "num_hidden_layers", "num_key_value_heads", "torch_dtype", "vocab_size",
    )  # fmt: skip
    config = {**DEEPSEEK, "language_config": {key: text[key] for key in kept}}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    words = (folder / "tokenizer.json").read_text(encoding="utf-8").replace("<pad>", "<｜▁pad▁｜>")
    core = json.loads(words)
    core["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(core, ensure_ascii=False), encoding="utf-8")
    named = {
        "bos_token": "<bos>", "clean_up_tokenization_spaces": False, "eos_token": "<eos>", "model_max_length": 16384,
        "pad_token": None, "tokenizer_class": "LlamaTokenizer", "unk_token": None, "use_default_system_prompt": True,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(named, indent=2) + "\n")
    return folder


def deepseek_tensors(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a Janus of transformers by the names of deepseek-ai's modules, with what only those have."""
    found: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        name = _deepseek_name(key)
        if ".qkv." in name:
            place, _, kind = key.rpartition("_proj.")
            found[name] = torch.cat(
                [state[f"{place[:-1]}{letter}_proj.{kind}"] for letter in "qkv"]
            )
        else:
            found[name] = tensor[None] if name.endswith("pos_embed") else tensor
    width = state["model.vision_model.post_layernorm.weight"]
    pool = "vision_model.vision_tower.attn_pool."
    found[pool + "latent"] = width.new_zeros(1, 1, len(width))
    sizes = {"q": (1, 1), "kv": (2, 1), "proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for layer, (rows, columns) in sizes.items():
        found[f"{pool}{layer}.weight"] = width.new_zeros(rows * len(width), columns * len(width))
        found[f"{pool}{layer}.bias"] = width.new_zeros(rows * len(width))
    found |= {pool + "norm.weight": width, pool + "norm.bias": width}
    return found | {"gen_vision_model.quantize.codebook_used": width.new_zeros(65536)}


def _deepseek_name(key: str) -> str:
    """What deepseek-ai's modules call a tensor of transformers; of queries, keys and values the three together."""
    for today, before in (
        ("lm_head.", "language_model.lm_head."),
        ("model.language_model.", "language_model.model."),
        ("model.generation_embeddings.", "gen_embed."),
        ("model.generation_aligner.", "gen_aligner."),
        ("model.generation_head.", "gen_head."),
        ("model.aligner.", "aligner."),
        ("model.vqmodel.", "gen_vision_model."),
        ("model.vision_model.", "vision_model.vision_tower."),
    ):
        if key.startswith(today):
            key = before + key.removeprefix(today)
            break
    changes = [("proj_out", "output_mlp_projector")]
    if "aligner." in key:
        changes = [("fc1", "layers.0"), ("hidden_layers.0", "layers.2")]
    elif key.startswith("gen_vision_model."):
        changes = [
            (".block.", ".res."),
            ("encoder.down", "encoder.conv_blocks"),
            ("decoder.up", "decoder.conv_blocks"),
        ]
        changes += [("mid.block_1", "mid.0"), ("mid.attn_1", "mid.1"), ("mid.block_2", "mid.2")]
    elif key.startswith("vision_model."):
        changes = [
            ("encoder.layers", "blocks"),
            ("self_attn.projection_layer", "attn.proj"),
            ("self_attn", "attn"),
        ]
        changes += [("layer_norm", "norm"), ("post_layernorm", "norm")]
        changes += [("embeddings.position_embedding.weight", "pos_embed")]
        changes += [("embeddings.patch_embedding", "patch_embed.proj")]
        changes += [(f"attn.{letter}_proj", "attn.qkv") for letter in "qkv"]
    for today, before in changes:
        key = key.replace(today, before)
    return key


def t5(folder: Path, width: int = 24) -> None:
    """A T5 encoder whose tokenizer spells with letters."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz.,"]
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.0),
        ("▁a", -2.5),
        ("▁red", -2.5),
        *letters,
    ]
    T5Tokenizer(vocab=pieces, extra_ids=0).save_pretrained(folder)
    T5EncoderModel(
        T5Config(
            vocab_size=len(pieces), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    ).save_pretrained(folder)  # fmt: skip


def llamagen_vq(file: Path) -> None:
    """LlamaGen's tokenizer of 97 codes and a 4x4 grid, a pickle as its training script leaves it."""
    from transformers import JanusVQVAE, JanusVQVAEConfig

    vqvae = JanusVQVAE(
        JanusVQVAEConfig(
            embed_dim=8, num_embeddings=97, latent_channels=32, base_channels=32, channel_multiplier=[1, 1, 1, 1, 1],
            num_res_blocks=1, num_patches=4,
        )
    )  # fmt: skip
    names = {_llamagen_name(key): tensor for key, tensor in vqvae.state_dict().items()}
    torch.save({"model": {**named_state(names), "quantize.codebook_used": torch.zeros(9)}}, file)


MASKGIT = {
    "hidden_dim": 32,
    "depth": 2,
    "heads": 3,
    "mlp_dim": 128,
    "codebook_size": 97,
    "input_size": 4,
}
"""Sizes of a small MaskGIT under upstream's names; three heads do not fill the width, as in its `small`."""


def maskgit_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Weights by name, of which the head is the embeddings, and never draws MASK."""
    state = {name: named_tensor(name, shape) for name, shape in shapes.items()}
    state["head.weight"] = state["tok_emb.weight"]
    state["head.bias"][-1] = -30.0
    return state


def maskgit(folder: Path) -> dict[str, object]:
    """Options of a 4x4 grid of 97 codes, 64x64 pixels: pickles as training scripts leave them."""
    from generate.networks.maskgit import MaskGit, MaskGitConfig

    config = MaskGitConfig(
        width=32, inner=30, hidden=256, layers=2, heads=3, codes=97, classes=1000, positions=16, registers=1
    )  # fmt: skip
    shapes = {name: tuple(tensor.shape) for name, tensor in MaskGit(config).state_dict().items()}
    state = {f"_orig_mod.{name}": tensor for name, tensor in maskgit_state(shapes).items()}
    kept = {"iter": 1, "global_epoch": 2, "model_state_dict": state, "optimizer_state_dict": None}
    torch.save(kept, folder / "ImageNet_384_large.pth")
    llamagen_vq(folder / "vq_ds16_c2i.pt")
    return {
        "checkpoint": str(folder),
        "image_tokenizer": str(folder),
        "heads": 3,
        "image_size": 64,
        "steps": 6,
    }


def llamagen(folder: Path) -> dict[str, object]:
    """Options of a 4x4 grid of 97 codes, 64x64 pixels: pickles as a training script leaves them."""
    import argparse

    from generate.networks.llamagen import LlamaGen, LlamaGenConfig

    network = LlamaGen(
        LlamaGenConfig(
            width=64,
            layers=3,
            heads=4,
            hidden=192,
            codebook_size=97,
            caption_width=24,
            caption_length=120,
            side=4,
        )
    )
    state = named_state(network.state_dict())
    torch.save(
        {"model": state, "steps": 1, "args": argparse.Namespace(lr=1e-4)},
        folder / "t2i_XL_stage1_256.pt",
    )
    llamagen_vq(folder / "vq_ds16_t2i.pt")
    t5(folder / "t5")
    return {
        "checkpoint": str(folder),
        "text_encoder": str(folder / "t5"),
        "heads": 4,
        "image_size": 64,
        "precision": "float32",
        "top_k": 20,
        "top_p": 0.95,
        "guidance": 3.0,
    }


def var(folder: Path) -> dict[str, object]:
    """Options of grids of side 1, 2 and 4 of 97 codes, 64x64 pixels, in the two files of the hub."""
    from transformers import JanusVQVAE, JanusVQVAEConfig

    from generate.networks.var import Var, VarConfig
    from generate.networks.var_tokenizer import VarTokenizer

    scales = (1, 2, 4)
    config = VarConfig(
        width=64, layers=2, heads=4, hidden=256, codes=97, classes=1000, dim=32, scales=scales, shared=False
    )  # fmt: skip
    network = dict(Var(config).state_dict())
    positions = sum(config.sizes)
    network |= {
        "lvl_1L": torch.empty(1, positions),
        "attn_bias_for_masking": torch.empty(1, 1, positions, positions),
    }
    for block in range(config.layers):
        network[f"blocks.{block}.attn.zero_k_bias"] = torch.empty(config.width)
    decoder = JanusVQVAEConfig(
        embed_dim=32, num_embeddings=97, latent_channels=32, base_channels=32, channel_multiplier=[1, 1, 2, 2, 4],
        num_res_blocks=2,
    )  # fmt: skip
    tokenizer = dict(VarTokenizer(decoder, scales, convolutions=4).state_dict())
    for name, tensor in JanusVQVAE(decoder).state_dict().items():
        if name.startswith("encoder."):
            tokenizer[name] = tensor
    tokenizer |= {
        "quant_conv.weight": torch.empty(32, 32, 3, 3),
        "quant_conv.bias": torch.empty(32),
        "quantize.ema_vocab_hit_SV": torch.empty(len(scales), 97),
    }
    torch.save(named_state(network), folder / "var_d16.pth")
    torch.save(named_state(_var_names(tokenizer)), folder / "vae_ch160v4096z32.pth")
    return {
        "checkpoint": str(folder),
        "scales": "1,2,4",
        "top_k": 20,
        "top_p": 0.95,
        "guidance": 4.0,
    }


def _var_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a VQ-GAN of transformers under the names of VAR: levels from the finest, q, k and v as one."""
    named = {}
    for name, tensor in tensors.items():
        head, _, rest = name.partition("decoder.up.")
        if rest:
            level, _, rest = rest.partition(".")
            name = f"{head}decoder.up.{4 - int(level)}.{rest}"
        if name.split(".")[-2] in ("k", "v"):
            continue
        if name.split(".")[-2] == "q":
            name, tensor = name.replace(".q.", ".qkv."), torch.cat([tensor, tensor, tensor])
        named[name] = tensor
    return named


def infinity(folder: Path) -> dict[str, object]:
    """Options of grids of side 1, 2 and 4 of codes of 8 bits, 64x64 pixels, in the two files of the hub."""
    from generate.networks.infinity import Infinity, InfinityConfig
    from generate.networks.infinity_tokenizer import InfinityTokenizer
    from generate.networks.lfq import DecoderConfig

    config = InfinityConfig(
        width=64, layers=4, heads=4, hidden=256, bits=8, text_width=256, text_heads=2, text_length=512, levels=15,
        scales=(1, 2, 4),
    )  # fmt: skip
    network = {"text_proj_for_sos.ca.zero_k_bias": torch.empty(config.width)}
    for name, tensor in Infinity(config).state_dict().items():
        outer, _, inner = name.partition("blocks.")
        if inner:
            number, _, inner = inner.partition(".")
            chunk, place = divmod(int(number), 2)
            name = f"{outer}block_chunks.{chunk}.module.{place}.{inner}"
        network[name] = tensor
        if name.endswith("v_bias"):
            network[name.replace("v_bias", "zero_k_bias")] = tensor
    blocks = ((32, 32),) * 3
    widths = (
        blocks,
        ((64, 32), *blocks[1:]),
        ((64, 64),) * 3,
        ((128, 64), *((64, 64),) * 2),
        ((128, 128),) * 3,
    )
    decoder = InfinityTokenizer(DecoderConfig(8, 128, widths), config.scales, token_bits=4)
    tokenizer = {_infinity_name(name): tensor for name, tensor in decoder.state_dict().items()}
    state = named_state(tokenizer) | {
        "quantizer.lfq.mask": torch.zeros(8),
        "quantize.lfq.mask": torch.zeros(8),
    }
    torch.save(named_state(network), folder / "infinity_2b_reg.pth")
    torch.save({"vae": state, "global_step": 1}, folder / "infinity_vae_d32reg.pth")
    t5(folder / "t5", config.text_width)
    return {
        "checkpoint": str(folder),
        "text_encoder": str(folder / "t5"),
        "scales": "1,2,4",
        "token_bits": 4,
        "precision": "float32",
        "guidance": 3.0,
        "top_p": 0.9,
    }


def _infinity_name(key: str) -> str:
    """The name that a tensor of a decoder of ours has in Infinity's: layers lie one level deeper."""
    module, _, kind = key.rpartition(".")
    layer = "norm" if "norm" in module.rpartition(".")[2] else "conv"
    return f"{module}.{layer}.{kind}"


def _llamagen_name(key: str) -> str:
    """The name that a tensor of JanusVQVAE has upstream."""
    for number, name in enumerate(("block_1", "attn_1", "block_2")):
        key = key.replace(f".mid.{name}.", f".mid.{number}.")
    return (
        key.replace(".down.", ".conv_blocks.")
        .replace(".up.", ".conv_blocks.")
        .replace(".block.", ".res.")
    )


def bytes_tokenizer(folder: Path) -> None:
    """Ids are bytes, <|endoftext|> is 256, as in tests/recordings/record_showo.py."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    spare = iter(range(256, 512))
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    vocabulary = {chr(byte if byte in printable else next(spare)): byte for byte in range(256)}
    core = Tokenizer(models.BPE(vocab={**vocabulary, "<|endoftext|>": 256}, merges=[]))
    core.pre_tokenizer, core.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    ).save_pretrained(folder)


def phi_config() -> PhiConfig:
    """Sizes of the language model inside the tiny Show-o."""
    return PhiConfig(
        vocab_size=SHOWO_VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=2048,
        qk_layernorm=True,
        attn_implementation="sdpa",
    )


def emu3(folder: Path) -> dict[str, object]:
    """Options of a 4x4 grid of 48 codes, 8x8 pixels, in the layout of transformers and the keys of the hub."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        Emu3Config,
        Emu3ForConditionalGeneration,
        Emu3TextConfig,
        Emu3VQVAEConfig,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(0)
    letters = {letter: index for index, letter in enumerate(sorted(ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab=letters, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<|endoftext|>", *(f"<|extra_{number}|>" for number in (200, 201, 203, 204))]
    special += ["<|image token|>", "<|image start|>", "<|image end|>", "<image>"]
    core.add_special_tokens(special)
    core.add_special_tokens([f"<|visual token {code:06d}|>" for code in range(48)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|extra_203|>",
        eos_token="<|extra_204|>",
        pad_token="<|endoftext|>",
    )
    tokenizer.save_pretrained(folder)
    text = Emu3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    images = Emu3VQVAEConfig(
        codebook_size=48,
        base_channels=32,
        channel_multiplier=[1, 1],
        num_res_blocks=1,
        hidden_size=32,
        attn_resolutions=[],
    )
    network = Emu3ForConditionalGeneration(
        Emu3Config(
            vq_config=images.to_dict(),
            text_config=text.to_dict(),
            vocabulary_map=dict(tokenizer.get_vocab()),
        )
    )
    torch.nn.init.normal_(network.lm_head.weight, std=0.4)
    network.save_pretrained(folder)
    return {"checkpoint": str(folder), "image_size": 8, "precision": "float32"}


LLADA = {
    "activation_type": "silu",
    "alibi": False,
    "attention_layer_norm": False,
    "block_type": "llama",
    "d_model": 16,
    "embedding_size": 126464,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "mask_token_id": 126336,
    "max_sequence_length": 4096,
    "mlp_hidden_size": 24,
    "n_heads": 2,
    "n_kv_heads": 2,
    "n_layers": 2,
    "rms_norm_eps": 1e-05,
    "rope": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "vocab_size": 126464,
    "weight_tying": False,
}
"""A small language model of LLaDA, under the keys of its description, with the ids of the published vocabulary."""


def llada_shapes(ids: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of `LLADA` with so many ids, by name, as upstream's classes have them."""
    width, hidden = LLADA["d_model"], LLADA["mlp_hidden_size"]
    shapes = {"wte": (ids, width), "ln_f": (width,), "ff_out": (ids, width)}
    for layer in range(int(LLADA["n_layers"])):
        block = f"blocks.{layer}."
        shapes |= {f"{block}{norm}": (width,) for norm in ("attn_norm", "ff_norm")}
        shapes |= {
            f"{block}{name}": (width, width) for name in ("q_proj", "k_proj", "v_proj", "attn_out")
        }
        shapes |= {f"{block}{name}": (hidden, width) for name in ("ff_proj", "up_proj")}
        shapes[f"{block}ff_out"] = (width, hidden)
    return {f"model.transformer.{name}.weight": shape for name, shape in shapes.items()}


def magvit(folder: Path) -> None:
    """The image tokenizer of Show-o and MMaDA, small: its decoder alone."""
    from generate.networks.lfq import DecoderConfig, LFQDecoder

    kind = {"_class_name": "MAGVITv2", "_diffusers_version": "0.30.1"}
    (folder / "config.json").write_text(json.dumps(kind))
    decoder = LFQDecoder(DecoderConfig(n_bits=13, bottom=32, widths=(((32, 32),),) * 5))
    tensors = {f"decoder.{name}": part for name, part in named_state(decoder.state_dict()).items()}
    save_file(
        {**tensors, "quantize.power_vals": torch.zeros(13)}, folder / "pytorch_model.safetensors"
    )


def mmada(folder: Path) -> dict[str, object]:
    """Options of a 4x4 grid of 8192 codes, 64x64 pixels: two repositories, weights in two files."""
    model, images = folder / "mmada", folder / "magvitv2"
    model.mkdir()
    images.mkdir()
    bytes_tokenizer(model)
    (model / "config.json").write_text(json.dumps({"model_type": "mmada", **LLADA}))
    state = {
        name: named_tensor(name, shape) for name, shape in llada_shapes(LLADA["vocab_size"]).items()
    }
    names = sorted(state)
    for number, part in enumerate((names[:5], names[5:]), 1):
        file = model / f"model-{number:05}-of-00002.safetensors"
        save_file({name: state[name] for name in part}, file)
    magvit(images)
    return {
        "checkpoint": str(model),
        "image_tokenizer": str(images),
        "image_size": 64,
        "steps": 6,
        "precision": "float32",
    }


def lumina_dimoo(folder: Path) -> dict[str, object]:
    """Options of a 4x4 grid of 48 codes, 8x8 pixels, in the files of one repository."""

    from generate.models.lumina_dimoo import FIRST_CODE

    torch.manual_seed(0)
    bytes_tokenizer(folder)
    vqvae = vq_model([8, 16])
    vqvae.save_pretrained(folder / "vqvae")
    ids = FIRST_CODE + 48
    settings = {"model_type": "llada", **LLADA, "embedding_size": ids, "vocab_size": ids}
    (folder / "config.json").write_text(json.dumps(settings))
    state = {name: named_tensor(name, shape) for name, shape in llada_shapes(ids).items()}
    save_file(state, folder / "model.safetensors")
    return {"checkpoint": str(folder), "image_size": 8, "steps": 6, "precision": "float32"}


def showo(folder: Path) -> dict[str, object]:
    """Options of a 4x4 grid of 8192 codes, 64x64 pixels: three repositories."""
    from transformers import PhiForCausalLM

    model, images, words = folder / "show-o", folder / "magvitv2", folder / "phi"
    model.mkdir()
    images.mkdir()
    state = {
        f"showo.{name}": part
        for name, part in named_state(PhiForCausalLM(phi_config()).state_dict()).items()
    }
    save_file(state, model / "pytorch_model.safetensors")
    settings = {
        "_class_name": "Showo",
        "_diffusers_version": "0.30.1",
        "codebook_size": SHOWO_CODES,
        "llm_model_path": "microsoft/phi-1_5",
        "llm_vocab_size": SHOWO_TEXT_VOCABULARY,
        "mask_token_id": SHOWO_VOCABULARY - 1,
        "num_vq_tokens": SHOWO_SIDE**2,
        "vocab_size": SHOWO_VOCABULARY,
        "w_clip_vit": False,
    }
    (model / "config.json").write_text(json.dumps(settings))
    magvit(images)
    bytes_tokenizer(words)
    return {
        "checkpoint": str(model),
        "image_tokenizer": str(images),
        "text_tokenizer": str(words),
        "steps": 6,
    }


def glm_image(folder: Path) -> dict[str, object]:
    """Options of a 16x16 preview and a 2x2 image grid of 48 codes, 64x64 pixels, in the published folders.

    Ids of the language model are those of the codes, then the begin and the end of an image, then words.
    """
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        GlmImagePipeline,
        GlmImageTransformer2DModel,
    )
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        ByT5Tokenizer,
        GlmImageConfig,
        GlmImageForConditionalGeneration,
        GlmImageImageProcessorPil,
        GlmImageProcessor,
        PreTrainedTokenizerFast,
        T5Config,
        T5EncoderModel,
    )

    torch.manual_seed(0)
    codes = [f"<|dit_token_{code}|>" for code in range(48)]
    special = [
        "<|dit_token_16384|>",
        "<|dit_token_16385|>",
        "<|endoftext|>",
        "<|image|>",
        "<sop>",
        "<eop>",
    ]
    vocabulary = {
        word: index for index, word in enumerate([*codes, *special, *sorted(ByteLevel.alphabet())])
    }
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.add_special_tokens([*codes, *special])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|dit_token_16384|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        extra_special_tokens={
            "image_token": "<|image|>",
            "grid_bos_token": "<sop>",
            "grid_eos_token": "<eop>",
        },
    )
    template = (
        "{% for m in messages %}{% for item in m.content %}{{ item.text }}{% endfor %}{% endfor %}"
    )
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 4096,
        "vision_vocab_size": 52,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": 49,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": [2, 1, 1],
        },
    }
    language_model = GlmImageForConditionalGeneration(
        GlmImageConfig(
            text_config=text,
            vision_config={
                "depth": 1,
                "hidden_size": 16,
                "num_heads": 2,
                "intermediate_size": 16,
                "image_size": 64,
            },
            vq_config={"embed_dim": 8, "num_embeddings": 48, "latent_channels": 16},
            image_token_id=vocabulary["<|image|>"],
            image_start_token_id=48,
            image_end_token_id=49,
        )
    )
    torch.nn.init.normal_(language_model.lm_head.weight, std=0.6)
    torch.nn.init.normal_(language_model.model.language_model.embed_tokens.weight, std=1.0)
    language_model.generation_config.update(
        do_sample=True,
        temperature=0.9,
        top_p=0.75,
        top_k=52,
        eos_token_id=49,
        pad_token_id=tokenizer.pad_token_id,
    )
    vae = AutoencoderKL(
        block_out_channels=[8] * 4,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 0.5, 1.0, 2.0],
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    transformer = GlmImageTransformer2DModel(
        in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2, text_embed_dim=16,
        time_embed_dim=16, condition_dim=8, prior_vq_quantizer_codebook_size=48,
    )  # fmt: skip
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=384,
            d_model=16,
            d_kv=8,
            d_ff=24,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )
    GlmImagePipeline(
        tokenizer=ByT5Tokenizer(),
        processor=GlmImageProcessor(GlmImageImageProcessorPil(), tokenizer, chat_template=template),
        text_encoder=encoder,
        vision_language_encoder=language_model,
        vae=vae,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    ).save_pretrained(folder)
    return {"checkpoint": str(folder), "image_size": 64, "precision": "float32", "decoder_steps": 3}
