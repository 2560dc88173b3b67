"""Two independent noise streams per sample, `path` and `execution`.

A stream is a counter-based generator (Philox-4x64, Salmon et al. 2011, doi:10.1145/2063384.2063405) whose key
follows from the study seed, the prompt and the sample alone. So a sample gets the same noise in every
condition (the cells of a prompt are paired), in every batch, on every device and in every order of work;
and any sample can be made again from its stored keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Role = Literal["path", "execution"]
ROLES: tuple[Role, ...] = ("path", "execution")

SCHEME = "philox4x64: key = first 8 bytes of blake2b(seed, prompt id, sample, role); counter word 1 = step"


def stream_key(seed: int, prompt: str, sample: int, role: Role) -> int:
    """64-bit Philox key of one stream."""
    identity = f"{seed}\x1f{prompt}\x1f{sample}\x1f{role}".encode()
    return int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "little")


def stream_keys(
    seed: int, prompts: Sequence[str], n_samples: int, role: Role
) -> NDArray[np.uint64]:
    """Keys of all streams of a role, (prompt, sample)."""
    return np.array(
        [
            [stream_key(seed, prompt, sample, role) for sample in range(n_samples)]
            for prompt in prompts
        ],
        dtype=np.uint64,
    )


def uniforms(keys: NDArray[np.uint64], step: int, n: int) -> NDArray[np.float64]:
    """The `n` uniforms in [0, 1) that each stream holds for a step, (len(keys), n)."""
    drawn = np.empty((len(keys), n))
    bits = np.random.Philox()
    generator = np.random.Generator(bits)
    counter, key_words = np.array([0, step, 0, 0], dtype=np.uint64), np.zeros(2, dtype=np.uint64)
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
