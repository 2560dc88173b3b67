"""Models that do to a worker what models do: `python -m pytest` never collects them, studies name them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from generate.models.toy import ToyMasked


class Poisonous(ToyMasked):
    """Raises on one prompt, and takes its whole process along on another."""

    def encode(self, texts: Sequence[str]) -> Any:
        if "s prompt xxxx" in texts:
            raise RuntimeError("poison")
        if "s prompt xx" in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts)


class Slow(ToyMasked):
    """Takes its time, so that it can be killed at any point of it."""

    def encode(self, texts: Sequence[str]) -> Any:
        time.sleep(0.05)
        return super().encode(texts)
