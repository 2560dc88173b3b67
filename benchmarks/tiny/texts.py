"""Tokenizers and text encoders of the tiny checkpoints."""

from __future__ import annotations

from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTokenizer


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
