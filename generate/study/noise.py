"""Independent noise streams per sample: `path`, `execution`, and `rendering` where a decoder draws.

A stream is a counter-based generator (Philox-4x64, Salmon et al. 2011, doi:10.1145/2063384.2063405)
whose key follows from the study seed, the prompt and the sample alone. So a sample gets the same
noise in every condition (the cells of a prompt are paired), in every batch, on every device and in
every order of work; and any sample can be made again from its stored keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

Role = Literal["path", "execution", "rendering"]
ROLES: tuple[Role, ...] = ("path", "execution")
"""What traversals draw for; `rendering` is of the images, once the tokens are there."""

SCHEME = (
    "philox4x64: key = first 8 bytes of blake2b(seed, prompt id, sample, role); "
    "counter word 1 = step"
)

SEPARATOR = "\x1f"
"""Between the parts of what a key is made of: no prompt id holds it."""


def stream_key(seed: int, prompt: str, sample: int, role: Role) -> int:
    """64-bit Philox key of the stream of one sample and role.

    >>> stream_key(0, "cat", 0, "path") == stream_key(0, "cat", 0, "execution")
    False
    """
    identity = SEPARATOR.join([str(seed), prompt, str(sample), role])
    digest = hashlib.blake2b(identity.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def stream_keys(
    seed: int, prompts: Sequence[str], n_samples: int, role: Role
) -> NDArray[np.uint64]:
    """Keys (prompt, sample) of all streams of a role; `prompts` are ids, which are unique.

    The keys of the first samples do not depend on how many there are.
    """
    keys = np.empty((len(prompts), n_samples), dtype=np.uint64)
    for row, prompt in enumerate(prompts):
        for sample in range(n_samples):
            keys[row, sample] = stream_key(seed, prompt, sample, role)
    return keys


def proposal_keys(seed: int, prompt: str, n_samples: int, n_paths: int) -> NDArray[np.uint64]:
    """Keys (sample, path) of the paths proposed when the samples of a prompt are rescored.

    They are of no sample of a study: a stored sample and its proposals are independent.
    """
    rescored = [SEPARATOR.join([prompt, "rescore", str(sample)]) for sample in range(n_samples)]
    return stream_keys(seed, rescored, n_paths, "path")


def uniforms(keys: NDArray[np.uint64], step: int, n: int) -> NDArray[np.float64]:
    """The `n` uniforms in [0, 1) that each stream holds for a step, (key, n).

    The first uniforms of a step do not depend on how many are asked for.

    >>> keys = np.array([1, 2], dtype=np.uint64)
    >>> bool((uniforms(keys, step=3, n=2) == uniforms(keys, step=3, n=5)[:, :2]).all())
    True
    """
    drawn = np.empty((len(keys), n))
    bits = np.random.Philox()
    generator = np.random.Generator(bits)
    counter = np.array([0, step, 0, 0], dtype=np.uint64)
    key_words = np.zeros(2, dtype=np.uint64)
    state: Any = {
        "bit_generator": "Philox",
        "state": {"counter": counter, "key": key_words},
        "buffer": np.zeros(4, dtype=np.uint64),
        "buffer_pos": 4,
        "has_uint32": 0,
        "uinteger": 0,
    }
    for row, key in zip(drawn, keys, strict=True):
        key_words[0] = key
        bits.state = state  # five times faster than a new generator per key
        generator.random(out=row)
    return drawn


def normals(keys: NDArray[np.uint64], n: int) -> NDArray[np.float64]:
    """The first `n` standard normal numbers of each stream, (key, n), by inverse CDF.

    >>> keys = np.array([1, 2], dtype=np.uint64)
    >>> bool((normals(keys, 2) == normals(keys, 5)[:, :2]).all())
    True
    """
    drawn = np.maximum(uniforms(keys, 0, n), 2.0**-54)  # 0 would be minus infinity
    found: NDArray[np.float64] = scipy.special.ndtri(drawn)
    return found
