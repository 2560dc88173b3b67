"""Scores of another program, line by line: for models that cannot live in one environment with us.

The program prints one line of JSON first, `{"name", "version", "better", "range"}`. Then it reads
one line an image, `{"id", "image", "text"}`, image the path of a PNG, and answers one line each,
`{"id", "score"}`, in any order. It ends when its input ends.
"""

from __future__ import annotations

import atexit
import json
import queue
import re
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ibstats.errors import IbstatsError
from ibstats.measure.base import Array, Images, ImageScore

PATIENCE = 600.0
"""Seconds that one answer may take, the first line with the loading of a model included."""

NAME = re.compile(r"[a-z][a-z0-9_]*")
"""What a score may be called in results."""

FIRST = '{"name": "hps_v2", "version": "1", "better": "larger", "range": [0, 1]}'
"""An example of a first line."""

ANSWER = '{"id": "0", "score": 0.25}'
"""An example of an answer."""


class ProcessScore(ImageScore):
    """The score of each image by a program that `command` starts, see the head of this module.

    Raises IbstatsError for a program that cannot be started, or does not say what it is.
    """

    def __init__(self, command: str, **options: Any) -> None:
        super().__init__(**options)
        self.command = command
        said = _started(command).said
        self.name = said["name"]
        self.long_name = f"{self.name}, version {said['version']}"
        self.short_name = self.name
        self.version = said["version"]
        self.better = said["better"]
        self.least, self.most = said["range"]

    def settings(self) -> dict[str, Any]:
        """Give the name and version that the program says it has; where it runs is no part of it."""
        return {"scorer": self.name, "version": self.version}

    def score(self, images: Images, text: str) -> Array:
        """Give the scores `(n,)` of images `(n, y, x, channel)`.

        Raises IbstatsError for an answer that is none, and where the program ends or is silent.
        """
        program = _started(self.command)
        found: list[float] = []
        with tempfile.TemporaryDirectory(prefix="ibstats-scores-") as folder:
            for start in range(0, len(images), self.batch_size):
                asked = []
                for number, pixels in enumerate(images[start : start + self.batch_size]):
                    file = Path(folder) / f"{start + number}.png"
                    Image.fromarray(pixels).save(file)
                    asked.append({"id": str(start + number), "image": str(file), "text": text})
                found += program.answers(asked)
        return np.array(found)


class _Program:
    """A running program, and what it said of itself."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the program
        try:
            self.process = subprocess.Popen(
                shlex.split(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
                encoding="utf-8",
            )
        except (OSError, ValueError, IndexError) as error:
            self.errors.close()
            raise IbstatsError(f"the scorer '{command}' does not start: {error}") from None
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        atexit.register(self.end)
        try:
            self.said = self._introduced()
        except IbstatsError:
            self.end()
            raise

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def end(self) -> None:
        """Close its input, and stop it if it goes on."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
            self.process.wait(timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.errors.close()

    def _line(self, example: str) -> dict[str, Any]:
        """The next line that it prints."""
        try:
            line = self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise IbstatsError(
                f"the scorer '{self.command}' was silent for {PATIENCE:g} s; does it flush each line?"
            ) from None
        if line is None:
            raise IbstatsError(
                f"the scorer '{self.command}' ended with status {self.process.wait()}"
                f"{self._last_words()}"
            )
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise IbstatsError(
                f"the scorer '{self.command}' printed {line.strip()[:80]!r}, but must print lines "
                f"such as {example}, and all else to stderr"
            )
        return said

    def _last_words(self) -> str:
        """The last line of its stderr."""
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1][:200]}" if lines else ""

    def _introduced(self) -> dict[str, Any]:
        """Its first line, checked; the range as two floats."""
        said = self._line(FIRST)
        name, version = said.get("name"), said.get("version")
        bounds = said.get("range", [None, None])
        right = isinstance(name, str) and NAME.fullmatch(name) is not None
        right = right and isinstance(version, str | int | float)
        right = right and said.get("better") in ("larger", "smaller")
        right = right and isinstance(bounds, list) and len(bounds) == 2
        if not right:
            raise IbstatsError(
                f"the scorer '{self.command}' began with {json.dumps(said)[:120]}, but its first line "
                f"must read like {FIRST}"
            )
        ends = []
        for value, open_end in zip(bounds, (-inf, inf), strict=True):
            ends.append(open_end if value is None else float(value))
        return {**said, "version": str(version), "range": tuple(ends)}

    def answers(self, asked: Sequence[Mapping[str, str]]) -> list[float]:
        """The scores of some images, in their order."""
        assert self.process.stdin is not None
        try:
            for one in asked:
                self.process.stdin.write(json.dumps(one) + "\n")
            self.process.stdin.flush()
        except OSError:  # it ended: the next line says how
            pass
        found: dict[str, float] = {}
        while len(found) < len(asked):
            said = self._line(ANSWER)
            score, of = said.get("score"), str(said.get("id"))
            known = any(one["id"] == of for one in asked)
            value = nan
            if isinstance(score, int | float) and not isinstance(score, bool):
                value = float(score)
            if not known or of in found or not isfinite(value):
                raise IbstatsError(
                    f"the scorer '{self.command}' answered {json.dumps(said)[:120]} to image ids "
                    f"{asked[0]['id']} to {asked[-1]['id']}, but must answer each once, like {ANSWER}"
                )
            found[of] = value
        return [found[one["id"]] for one in asked]


@cache
def _started(command: str) -> _Program:
    """The program of a command, started once in a process."""
    return _Program(command)
