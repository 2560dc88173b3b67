"""Published files, replayed from `hub-configs.json`: networks are described before a weight is read."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import tiny
from benchmarks.published import NETWORKS
from benchmarks.tiny.deepseek import deepseek_tensors
from generate.errors import ModelError
from generate.models import multi_modality
from generate.models.checkpoint import Checkpoint, fill, find
from generate.models.component import Part, described, examine, left_out
from generate.models.llamagen import load_network
from generate.models.public import PublicModel
from generate.models.showo import load_language_model
from generate.networks.maskgit import MaskGit, MaskGitConfig
from tests.generate.models import published
from tests.generate.models.published import File

PHI_SPECIAL = 58498


@pytest.fixture(scope="module")
def repositories() -> dict[str, dict[str, File]]:
    return {name: published.files(name) for name in published.DOCUMENT["repositories"]}


PARTS = [
    ("amused", {}, "transformer", 474, 4, 2_414_150_656),
    ("amused", {"preset": "512"}, "transformer", 478, 4, 2_433_086_672),
    ("amused", {}, "vqvae", 277, 4, 585_000_000),
    ("meissonic", {}, "transformer", 867, 4, 4_030_000_000),
    ("meissonic", {}, "vqvae", 277, 4, 585_000_000),
    ("meissonic", {}, "text_encoder", 389, 4, 1_416_130_560),
    ("vq-diffusion", {}, "transformer", 1015, 4, 5_437_098_496),
    ("vq-diffusion", {}, "vqvae", 303, 4, 256_038_668),
    ("janus-pro", {}, "network", 964, 2, 4_153_273_622),
]
"""Number of tensors, bytes of a number and of the file: design figures, and what the hub lists."""


@pytest.mark.parametrize(("name", "given", "part", "n_tensors", "itemsize", "n_bytes"), PARTS)
def test_described_networks_have_the_published_bytes(
    name: str,
    given: dict[str, str],
    part: str,
    n_tensors: int,
    itemsize: int,
    n_bytes: int,
    repositories: dict[str, dict[str, File]],
    tmp_path: Path,
) -> None:
    adapter, options = published.adapter_and_options(name, given)
    folder = published.lay(tmp_path, repositories[options.checkpoint])
    checkpoint = find(str(folder), ["*/config.json|config.json"])
    network = described(adapter.parts()[part], checkpoint)
    state = network.state_dict()
    assert len(state) == n_tensors
    assert itemsize * numbers_of(network) == pytest.approx(n_bytes, rel=1e-3)
    fill(checkpoint, network, state)


def test_the_tensors_of_deepseek_become_those_of_the_network(
    repositories: dict[str, dict[str, File]], tmp_path: Path
) -> None:
    """All 882 of `deepseek-ai/Janus-Pro-1B`, whose file has 4.18 GB, by name and shape."""
    adapter, options = published.adapter_and_options(
        "janus-pro", {"checkpoint": "deepseek-ai/Janus-Pro-1B"}
    )
    folder = published.lay(tmp_path, repositories[options.checkpoint])
    checkpoint = find(str(folder), ["config.json"])
    network = described(adapter.parts()["network"], checkpoint)
    theirs = deepseek_tensors(network.state_dict())
    assert len(theirs) == 882
    n_numbers = sum(tensor.numel() for tensor in theirs.values())
    assert 2 * n_numbers == pytest.approx(4.18e9, rel=1e-3)
    fill(checkpoint, network, multi_modality.tensors(theirs))


def test_networks_read_off_their_weights_have_the_published_bytes() -> None:
    there = Checkpoint("published", Path(), "", ())
    with torch.device("meta"):
        phi, gpt = NETWORKS["show-o"](), NETWORKS["llamagen"]()
    words = {f"showo.{name}": tensor for name, tensor in phi.state_dict().items()}
    language = load_language_model(there, words)
    assert language.config.vocab_size == PHI_SPECIAL
    assert 4 * numbers_of(language) == pytest.approx(5_792_707_080, rel=1e-3)
    _, options = published.adapter_and_options("llamagen", {})
    network = load_network(there, dict(gpt.state_dict()), options)
    assert 4 * numbers_of(network) == pytest.approx(3_111_800_170, rel=1e-3)


@pytest.mark.parametrize(
    ("size", "width", "layers", "heads", "file", "copies"),
    [
        ("tiny", 384, 6, 6, "ImageNet_256_tiny.pth", 3),
        ("small", 512, 12, 6, "ImageNet_256_small.pth", 3),
        ("base", 768, 12, 12, "ImageNet_256_base.pth", 3),
        ("large", 1024, 24, 16, "ImageNet_384_large.pth", 1),
    ],
)
def test_maskgits_have_the_published_bytes(
    size: str,
    width: int,
    layers: int,
    heads: int,
    file: str,
    copies: int,
    repositories: dict[str, dict[str, File]],
) -> None:
    """Sizes of upstream's `transformer_size`; all but the large file hold the state of AdamW, too."""
    hidden = 256 * -(-int(8 * width / 3) // 256)
    side = int(file.split("_")[1]) // 16
    inner = width // heads * heads
    config = MaskGitConfig(width, inner, hidden, layers, heads, 16384, 1000, side**2, 1)
    with torch.device("meta"):
        network = MaskGit(config)
    state = dict(network.state_dict())
    assert MaskGitConfig.read(state, heads) == config
    shared = state["head.weight"].numel()  # is that of the embeddings, stored once
    n_numbers = copies * (numbers_of(network) - shared)
    published_bytes = repositories["llvictorll/Halton-MaskGIT"][file].n_bytes
    assert 4 * n_numbers == pytest.approx(published_bytes, rel=3e-3)


UNUSED = {
    "lookup_from_codebook",  # of VQModel.decode: codes are looked up here
    "force_upcast",  # of pipelines in half precision: the decoder is in float32 here
    "_diffusers_version",
    "_name_or_path",
    "w_clip_vit",
    "llm_model_path",
    "load_from_showo",
    "architectures",
    "transformers_version",
    "tie_word_embeddings",  # of a head that is left out
    "torch_dtype",  # as stored
    "text_config.torch_dtype",
    "text_config.use_cache",
    "text_config.max_position_embeddings",  # the angles are computed for any position
    "image_token_id",  # of images that are read
    "text_config.bos_token_id",  # ids are the tokenizer's
    "text_config.eos_token_id",
    "text_config.pad_token_id",
}
"""Keys that may be absent though their class has another default: sampling does not use them."""


OF_OTHERS = ("model_index.json", "generation_config.json", "tokenizer_config.json")
"""Configuration files that no network is made from."""


@pytest.mark.parametrize(("name", "given", "option"), published.CONFIGURED)
def test_a_key_taken_away_is_named_or_changes_nothing(
    name: str,
    given: dict[str, str],
    option: str,
    repositories: dict[str, dict[str, File]],
    tmp_path: Path,
) -> None:
    """Every key of every published file in turn.

    A network of other shapes is refused when the published weights do not fit it.
    """
    adapter, options = published.adapter_and_options(name, given)
    found = laid(adapter, options, repositories, tmp_path)
    checkpoint = found[option]
    n_named = 0
    for file, told_of in repositories[getattr(options, option)].items():
        if told_of.content is None or PurePosixPath(file).name in OF_OTHERS:
            continue
        part = described_by(adapter, option, file)
        weights = described(part, checkpoint).state_dict() if part is not None else {}
        for key in published.keys(told_of.content):
            left = published.without(told_of.content, key)
            if part is not None and (key in UNUSED or is_default(part, told_of.content, left)):
                continue
            (checkpoint.folder / file).write_text(json.dumps(left))
            refusal = refused(adapter, options, found, part, weights)
            if refusal is None:
                assert part is None, f"{key} of {file} is missed by nobody"
                assert key in UNUSED, f"{key} of {file} is missed by nobody"
                continue
            n_named += 1
            assert "\n" not in refusal
            assert file in refusal
            assert key.rpartition(".")[2] in refusal
        (checkpoint.folder / file).write_bytes(told_of.written())
    assert n_named


def described_by(adapter: type[PublicModel], option: str, file: str) -> Part | None:
    """The part that a configuration file of a source describes."""
    for part in adapter.parts().values():
        if (part.source, part.config_file) == (option, file):
            return part
    return None


def is_default(part: Part, content: dict[str, Any], left: dict[str, Any]) -> bool:
    """Whether a configuration that leaves something out says the same by the defaults of its class."""
    if part.is_of_diffusers:
        known = inspect.signature(part.kind).parameters.values()
        defaults = {one.name: one.default for one in known} | dict(part.defaults)
        both = [
            json.dumps({**defaults, **one}, sort_keys=True, default=str) for one in (content, left)
        ]
        return both[0] == both[1]
    if any(key not in left for key in ("model_type", *part.keys)):
        return False
    make = part.kind.config_class.from_dict
    try:
        return make(dict(content)).to_dict() == make(dict(left)).to_dict()
    except Exception:  # a configuration that is none: of every kind
        return False


def refused(
    adapter: type[PublicModel],
    options: Any,
    found: dict[str, Checkpoint],
    part: Part | None,
    weights: Mapping[str, Tensor],
) -> str | None:
    """What is said of configuration files for these weights of a part; None if nothing is."""
    try:
        if part is None or part.source == "checkpoint":
            adapter.geometry(found, options)
        if part is not None:
            checkpoint = found[part.source]
            (source,) = (one for one in adapter.sources if one.option == part.source)
            network = examine(part, checkpoint, source.unused)
            fill(checkpoint, network, weights, left_out(part, checkpoint))
    except ModelError as error:
        return str(error)
    return None


def laid(
    adapter: type[PublicModel],
    options: Any,
    repositories: Mapping[str, Mapping[str, File]],
    place: Path,
) -> dict[str, Checkpoint]:
    """The checkpoint of every source of an adapter, its published files in a folder of its own."""
    found = {}
    for source in adapter.sources:
        folder = place / source.option
        published.lay(folder, repositories[getattr(options, source.option)])
        found[source.option] = find(str(folder), adapter.files_of(source, options))
    return found


def numbers_of(network: nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.state_dict().values())


def meissonic(folder: Path) -> Path:
    tiny.meissonic(folder)
    return folder


TINY = [
    ("amused", "amused/amused-256", lambda folder: tiny.amused(folder)),
    ("meissonic", "MeissonFlow/Meissonic", meissonic),
    ("vq-diffusion", "microsoft/vq-diffusion-ithq", lambda folder: tiny.vq_diffusion(folder)),
    ("janus-pro", "deepseek-community/Janus-Pro-1B", lambda folder: tiny.janus(folder)),
    ("show-o", "showlab/show-o", lambda folder: Path(str(tiny.showo(folder)["checkpoint"]))),
]


@pytest.mark.parametrize(("name", "repository", "make"), TINY)
def test_tiny_checkpoints_have_the_keys_of_the_hub_and_no_others(
    name: str,
    repository: str,
    make: Callable[[Path], Path],
    repositories: dict[str, dict[str, File]],
    tmp_path: Path,
) -> None:
    """So that no test passes by a key that only today's libraries write."""
    folder = make(tmp_path)
    for file, about in repositories[repository].items():
        written = about.content
        unseen = file in published.UNSEEN.get(repository, {})
        if written is None or unseen or PurePosixPath(file).name in OF_OTHERS[1:]:
            continue
        ours = json.loads((folder / file).read_text())
        assert set(published.keys(ours)) == set(published.keys(written)), file
    pickled = [path.name for path in folder.rglob("*.bin")]
    assert bool(pickled) == (name == "vq-diffusion")
