"""What models share whose language model reads padded prompts, and then one code a row and call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from generate.networks.keys_and_values import KeysAndValues


@dataclass(frozen=True)
class Conditioning:
    """Left-padded prompts: rows of the texts, then as many unconditional ones when guided.

    `ids` (row, token) are of the language model's vocabulary; `mask` (row, token) is 0 at padding.
    """

    ids: Tensor  # (row, token)
    mask: Tensor  # (row, token), 0 at padding


def word_positions(mask: Tensor) -> Tensor:
    """Positions (row, place) of what a `mask` (row, place) shows: padding counts for nothing.

    >>> word_positions(torch.tensor([[0, 1, 1], [1, 1, 1]])).tolist()
    [[0, 0, 1], [0, 1, 2]]
    """
    return (mask.cumsum(1) - 1).clamp(min=0)


def reading(language_model: Any, mask: Tensor) -> Callable[..., Tensor]:
    """A call of a language model of transformers that gives the states (row, width) at its last place.

    Keys and values of all places of `mask` (row, place) are preallocated, and the cache knows where
    it stands: the first call is the prompt, later ones follow it. Arguments are ids or embeddings
    by their name, and `position_ids`.
    """
    from transformers import StaticCache

    cache = StaticCache(config=language_model.config, max_cache_len=mask.shape[1])

    def last_states(**given: Tensor) -> Tensor:
        states: Tensor = language_model(
            attention_mask=mask, past_key_values=cache, use_cache=True, **given
        ).last_hidden_state
        return states[:, -1]

    return last_states


def kept(config: Any, n_places: int) -> KeysAndValues:
    """Keys and values that `reading` keeps of a row of so many places, the prompt's among them.

    `config` describes a language model of transformers.
    """
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = config.num_key_value_heads or config.num_attention_heads
    return KeysAndValues(config.num_hidden_layers, heads, head_dim, n_places)


def with_room(mask: Tensor, n_places: int) -> Tensor:
    """A `mask` (row, token) of prompts, and so many places after them that are all seen."""
    return torch.cat([mask, mask.new_ones(len(mask), n_places)], 1)
