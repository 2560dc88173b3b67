"""Weight files: half-precision safetensors with the network's config in the metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

SHIPPED = Path(__file__).parent / "weights"


def file_name(part: str, quantizer: str) -> str:
    """Name of the file of a part, such as `masked`, for a quantizer of the lab.

    >>> file_name("masked", "vq"), file_name("masked", "fsq-865")
    ('masked.safetensors', 'masked-fsq-865.safetensors')
    """
    return f"{part}.safetensors" if quantizer == "vq" else f"{part}-{quantizer}.safetensors"


def save(path: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write `tensors` in half precision and `config` as JSON under the metadata key `config`.

    Makes the folder where there is none, and takes the place of a file that is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {}
    for name, tensor in tensors.items():
        halves[name] = tensor.detach().to(torch.float16).contiguous()
    save_file(halves, path, metadata={"config": json.dumps(config)})


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors in single precision and the config of a weight file.

    Raises FileNotFoundError, with the recipe, where there is none.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"No trio weights at {path}. Make them with `python -m generate.trio.train --out DIR`."
        )
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["config"])
