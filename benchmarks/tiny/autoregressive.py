"""Tiny checkpoints of autoregressive models."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel

from benchmarks.named_weights import named_state
from benchmarks.tiny.quantizers import llamagen_vq
from benchmarks.tiny.texts import t5


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
