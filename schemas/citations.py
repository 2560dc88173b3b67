"""Sources as BibTeX: the entries of `citations.bib`, and which of them a model comes from.

Both programs read this file, so that a source stands in one place. Sources of metrics belong to the metrics, in
`ibstats`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

METHOD = "wu2025deconstructing"
"""The paper whose method this is."""

MODELS: dict[str, tuple[str, ...]] = {
    "amused": ("patil2024amused",),
    "meissonic": ("bai2025meissonic",),
    "vq-diffusion": ("gu2022vector",),
    "llamagen": ("sun2024autoregressive",),
    "janus-pro": ("chen2025januspro",),
    "emu3": ("wang2024emu3",),
    "glm-image": ("zai2026glmimage",),
    "show-o": ("xie2025showo", "yu2024language"),
    "maskgit": ("besnier2025halton", "chang2022maskgit", "sun2024autoregressive"),
    "mmada": ("yang2025mmada", "nie2025llada", "yu2024language"),
    "lumina-dimoo": ("xin2025luminadimoo", "nie2025llada"),
    "var": ("tian2024visual",),
    "infinity": ("han2025infinity", "tian2024visual", "zhao2024bsq"),
    "trio-ar": (),
    "trio-mim": ("chang2022maskgit",),
    "trio-diffusion": ("gu2022vector",),
    "trio-rendered": ("chang2022maskgit",),
    "trio-raster": (),
    "trio-var": ("tian2024visual",),
    "toy-ar": (),
    "toy-scales": ("tian2024visual",),
    "toy-bits": ("tian2024visual",),
    "toy-masked": ("chang2022maskgit",),
    "toy-diffusion": ("gu2022vector",),
}
"""Sources of the models known by name; of those that come with the software, the source of their traversal."""

_ENTRY = re.compile(r"^@\w+\{([^,]+),\n.*?^\}$", re.MULTILINE | re.DOTALL)


@cache
def entries() -> dict[str, str]:
    """All known sources: BibTeX text by key, in the order of the file.

    >>> entries()["patil2024amused"].splitlines()[0]
    '@misc{patil2024amused,'
    """
    text = resources.files("schemas").joinpath("citations.bib").read_text(encoding="utf-8")
    return {found[1]: found[0] for found in _ENTRY.finditer(text)}
