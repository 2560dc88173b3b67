"""How far paraphrases move in meaning, as a text embedding sees it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generate.errors import StudyError, one_line
from generate.prompts.checks import LENGTHS, paraphrases
from schemas.study import LengthClass, Prompt

BATCH = 64

CLIP = ("clip", "clip_text_model")
"""Types of model whose text features are projected to where images are."""

NEARER = 1e-6
"""How much nearer another base prompt must be to be called nearer: more than rounding."""


@dataclass(frozen=True)
class Drift:
    """Cosine distances (0 to 2) in the space of a text embedding.

    `distance` is that of every paraphrase from its base prompt, by length class; `between` the mean
    distance of different base prompts, which says what a large one is (NaN for a single prompt).
    `strays` are the paraphrases nearer to another base prompt than to their own: id of their
    prompt, of the nearer one, and text. `n_cut` texts are longer than the model reads. `farthest`
    is the paraphrase that moved most, after the id of its prompt.
    """

    distance: dict[LengthClass, NDArray[np.float64]]
    between: float
    strays: list[tuple[str, str, str]]
    n_cut: int
    farthest: tuple[str, str]


def drift(prompts: Sequence[Prompt], checkpoint: str, *, device: str = "cpu") -> Drift:
    """Drift of a prompt set in the embedding of a transformers text model.

    `checkpoint` is a folder or a hub name. Texts are embedded by the projected text features of a
    CLIP model, or else by the first token or the mean over tokens of the last hidden state, as a
    sentence-transformers folder says; the mean where nothing says. Raises `StudyError` if the
    prompts have no paraphrases, or the checkpoint holds no text model.
    """
    owners, kinds, texts = [], [], []
    for owner, prompt in enumerate(prompts):
        for length, text in paraphrases(prompt):
            owners.append(owner)
            kinds.append(length)
            texts.append(text)
    if not texts:
        raise StudyError("the prompts have no paraphrases, so there is no drift to score.")
    vectors, n_cut = embed([prompt.text for prompt in prompts] + texts, checkpoint, device=device)
    base, moved = vectors[: len(prompts)], vectors[len(prompts) :]
    distance = 1.0 - moved @ base.T
    own = distance[np.arange(len(texts)), owners]
    nearest = distance.argmin(1)
    strays = []
    for row in np.flatnonzero(distance.min(1) < own - NEARER):
        ids = prompts[owners[row]].id, prompts[nearest[row]].id
        strays.append((*ids, texts[row]))
    by_length = {length: own[np.array(kinds) == length] for length in LENGTHS}
    worst = int(own.argmax())
    farthest = (prompts[owners[worst]].id, texts[worst])
    return Drift(by_length, _between(base), strays, n_cut, farthest)


def _between(base: NDArray[np.float64]) -> float:
    """Mean distance of different base prompts, NaN for a single one."""
    apart = 1.0 - base @ base.T
    pairs = apart[np.triu_indices(len(base), 1)]
    if not pairs.size:
        return float("nan")
    return float(pairs.mean())


def embed(
    texts: Sequence[str], checkpoint: str, *, device: str = "cpu"
) -> tuple[NDArray[np.float64], int]:
    """Unit vectors (text, width) of texts, and how many texts are longer than the model reads.

    Raises `StudyError` if the checkpoint holds no text model.
    """
    import torch

    tokenizer, model, limit = _load(checkpoint, device)
    n_cut = sum(len(tokenizer(text, verbose=False).input_ids) > limit for text in texts)
    found = []
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(
            list(texts[start : start + BATCH]),
            padding=True,
            truncation=True,
            max_length=limit,
            return_tensors="pt",
        ).to(device)
        with torch.inference_mode():
            output = model(**batch)
        found.append(_pooled(output, batch["attention_mask"], checkpoint).double().cpu().numpy())
    vectors: NDArray[np.float64] = np.concatenate(found)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), n_cut


def _load(checkpoint: str, device: str) -> tuple[Any, Any, int]:
    """Tokenizer, encoder and longest text, in tokens."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModelWithProjection

    try:
        config = AutoConfig.from_pretrained(checkpoint)
        kind = CLIPTextModelWithProjection if config.model_type in CLIP else AutoModel
        model: Any = kind.from_pretrained(checkpoint)
        model = model.eval().to(device)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        raise StudyError(
            f"'{checkpoint}' holds no text model for transformers ({one_line(error, 200)}); drift "
            "was not scored: give a folder or a hub name that does."
        ) from None
    if config.is_encoder_decoder:
        model = model.get_encoder()
    text_config = getattr(config, "text_config", config)
    positions = getattr(text_config, "max_position_embeddings", None) or tokenizer.model_max_length
    return tokenizer, model, min(int(positions), int(tokenizer.model_max_length))


def _pooled(output: Any, mask: Any, checkpoint: str) -> Any:
    """One vector a text, (text, width), of what a model put out; `mask` is (text, token)."""
    if hasattr(output, "text_embeds"):
        return output.text_embeds
    states = output.last_hidden_state
    if _by_first_token(checkpoint):
        return states[:, 0]
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def _by_first_token(checkpoint: str) -> bool:
    """Whether a sentence-transformers folder says that the first token stands for the text."""
    pooling = Path(checkpoint) / "1_Pooling/config.json"
    if not pooling.is_file():
        return False
    settings = json.loads(pooling.read_text(encoding="utf-8"))
    return bool(settings.get("pooling_mode_cls_token"))
