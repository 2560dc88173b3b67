"""Keys and values of a prefix that is read once, and room for what each step writes anew behind it."""

from __future__ import annotations

from torch import Tensor


class PrefixCache:
    """What a language model of transformers takes as `past_key_values`.

    The first call of the model is the prefix; each later one is seen after it, in place of the call
    before. Nothing of the prefix is copied again, as a cache that grows and is cut back would.
    Masks must be given whole, since this tells no lengths.

    >>> import torch
    >>> cache, layer = PrefixCache(length=3), 0
    >>> prefix = torch.zeros(1, 1, 2, 4)
    >>> first = cache.update(prefix, prefix, layer)
    >>> step = torch.ones(1, 1, 1, 4)
    >>> keys, values = cache.update(step, step, layer)
    >>> keys[0, 0, :, 0]
    tensor([0., 0., 1.])
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.prefix = 0
        self.layers: list[tuple[Tensor, Tensor]] = []

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values (row, head, position, dim) that a layer sees, of those it is at.

        Of the prefix these are all; afterwards `length` positions, in memory that the next call
        writes over.
        """
        if layer == len(self.layers):
            self.prefix = keys.shape[2]
            self.layers.append((self._with_room(keys), self._with_room(values)))
            return keys, values
        all_keys, all_values = self.layers[layer]
        all_keys[:, :, self.prefix :] = keys
        all_values[:, :, self.prefix :] = values
        return all_keys, all_values

    def _with_room(self, prefix: Tensor) -> Tensor:
        rows, heads, n_prefix, width = prefix.shape
        whole = prefix.new_empty(rows, heads, self.length, width)
        whole[:, :, :n_prefix] = prefix
        return whole
