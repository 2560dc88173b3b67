"""What others' code computed, recorded once: arrays, and the programs that recorded them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def recording(name: str) -> dict[str, NDArray[np.generic]]:
    """The arrays of one recording, by name."""
    with np.load(Path(__file__).with_name(f"{name}.npz")) as arrays:
        return dict(arrays)
