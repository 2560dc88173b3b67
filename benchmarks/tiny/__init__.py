"""Tiny random checkpoints of the published models: the files of the hub, with the keys that they have there."""

from __future__ import annotations

from benchmarks.tiny.autoregressive import emu3, glm_image, janus, llamagen
from benchmarks.tiny.deepseek import janus_of_deepseek
from benchmarks.tiny.diffusion import vq_diffusion
from benchmarks.tiny.masked import amused, lumina_dimoo, maskgit, meissonic, mmada, showo
from benchmarks.tiny.scales import infinity, var

__all__ = [
    "amused",
    "emu3",
    "glm_image",
    "infinity",
    "janus",
    "janus_of_deepseek",
    "llamagen",
    "lumina_dimoo",
    "maskgit",
    "meissonic",
    "mmada",
    "showo",
    "var",
    "vq_diffusion",
]
