"""What was measured on one machine is analysed on another: without weights, without images, without torch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ibstats import Config, extras, open_store
from ibstats.analysis import Machine, analyse, provenance
from ibstats.errors import (
    CorruptBlock,
    IbstatsError,
    MissingImages,
    MissingPackages,
    MissingWeights,
)
from ibstats.measure import lpips, metric, named
from ibstats.measure.weights import cached, published
from ibstats.results.kept import obtain, obtain_tree
from ibstats.statistics.uncertainty import Resampling
from schemas.io.files import file_sha256
from tests.ibstats import conftest

QUICK = Resampling(n_resamples=200)
LPIPS = "lpips_squeeze_distance"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random backbone in the form of torchvision's file, under a name that ends with its digest as theirs do."""
    import torch
    import torchvision

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "fresh.pth"
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), file)
    return file.rename(file.with_name(f"squeezenet1_1-{file_sha256(file)[:8]}.pth"))


@pytest.fixture
def home(backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch would look for that backbone on this machine; LPIPS with it is among the default metrics."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    changed = lpips.BACKBONES["squeeze"]._replace(file=backbone.name)
    monkeypatch.setitem(lpips.BACKBONES, "squeeze", changed)
    monkeypatch.setattr(named, "default_metrics", lambda on: ("pixel_cosine", "lpips_squeeze"))
    place = cached(backbone.name)
    place.parent.mkdir(parents=True)
    return place


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose images are large enough for LPIPS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conftest, "SIZE", (32, 32))
        families = {"toy-ar": "autoregressive", "toy-mim": "masked"}
        return conftest.write_run(tmp_path_factory.mktemp("runs") / "toy", families=families)


def remove_images(run: Path, *, whole: bool = False) -> None:
    """As a copy that leaves out the arrays of images, or their chunks."""
    for array in run.glob("data.zarr/*/*/image"):
        if whole:
            shutil.rmtree(array)
        else:
            for chunk in array.glob("c.*"):
                chunk.unlink()


def lpips_of(tree: object) -> list[float]:
    found = tree["toy-mim/diversity"].to_dataset()  # type: ignore[index]
    return list(found["estimate"].sel(quantity=LPIPS).values.ravel())


def test_fetching_the_weights_brings_lpips_in_and_losing_them_does_not_take_it_out(
    run_copy: Path, backbone: Path, home: Path
) -> None:
    store = open_store(run_copy)
    config = Config(models=("toy-mim",), parts=("diversity",), resampling=QUICK)

    without = obtain_tree(store, config)
    assert LPIPS not in without["toy-mim/diversity"]["quantity"]
    assert any(
        f"{LPIPS} is left out: LPIPS (squeeze) needs {backbone.name}" in note
        for note in without.attrs["notes"]
    )

    shutil.copy(backbone, home)
    measured = lpips_of(obtain_tree(store, config))
    followed = provenance(store, config)

    home.unlink()
    assert provenance(store, config) == followed
    assert lpips_of(obtain_tree(store, config)) == measured
    shutil.rmtree(run_copy / "results" / "analyses")
    assert lpips_of(obtain_tree(store, config)) == measured


def test_distances_are_read_without_weights_torch_or_images(
    run_copy: Path, backbone: Path, home: Path
) -> None:
    shutil.copy(backbone, home)
    config = Config(
        metrics=("lpips_squeeze",), models=("toy-mim",), parts=("diversity",), resampling=QUICK
    )
    expected = lpips_of(analyse(open_store(run_copy), config))
    home.unlink()
    remove_images(run_copy)
    code = (
        "import sys\n"
        "from ibstats import Config, analyse, open_store; from ibstats.measure import lpips\n"
        "from ibstats.statistics.uncertainty import Resampling\n"
        f"changed = lpips.BACKBONES['squeeze']._replace(file={backbone.name!r})\n"
        "lpips.BACKBONES['squeeze'] = changed\n"
        "config = Config(metrics=('lpips_squeeze',), models=('toy-mim',), parts=('diversity',),\n"
        "                resampling=Resampling(n_resamples=200))\n"
        f"found = analyse(open_store({str(run_copy)!r}), config)['toy-mim/diversity'].to_dataset()\n"
        "assert not {'torch', 'lpips', 'torchvision'} & set(sys.modules)\n"
        "print([float(x) for x in found['estimate'].values.ravel()])"
    )
    assert conftest.elsewhere(code).strip() == str([float(x) for x in expected])


@pytest.mark.parametrize("whole", [True, False], ids=["array", "chunks"])
def test_a_run_copied_without_images_gives_the_same_analysis(
    run_copy: Path, home: Path, *, whole: bool
) -> None:
    config = Config(models=("toy-mim",), parts=("diversity", "quality"), resampling=QUICK)
    first = obtain(open_store(run_copy), config)
    remove_images(run_copy, whole=whole)
    store = open_store(run_copy)
    assert "image" not in store.dataset("toy-mim")
    assert obtain(store, config) == first
    shutil.rmtree(run_copy / "results" / "analyses")
    again = obtain(store, config)
    assert [row.estimate for row in again.rows] == [row.estimate for row in first.rows]
    with pytest.raises(MissingImages, match="copied without them"):
        analyse(store, Config(metrics=("ssim",)))
    shutil.rmtree(run_copy / "results")
    with pytest.raises(
        IbstatsError, match=r"pixel_cosine_distance is left out: .* holds no images"
    ):
        analyse(store, config)


def test_images_that_lack_in_part_are_damage(run_copy: Path) -> None:
    next(run_copy.glob("data.zarr/toy-mim/factorial/image/c.*")).unlink()
    with pytest.raises(CorruptBlock, match=r"image/.*is missing"):
        open_store(run_copy).dataset("toy-mim")


def test_damaged_or_other_weights_never_pass_for_lpips(
    run_copy: Path, backbone: Path, home: Path
) -> None:
    home.write_bytes(backbone.read_bytes()[:-1])
    with pytest.raises(
        MissingWeights, match=r"squeezenet1_1-.* is damaged or holds other weights.*fetch it again"
    ):
        analyse(open_store(run_copy), Config(metrics=("lpips_squeeze",)))
    with pytest.raises(MissingWeights, match="is damaged or holds other weights"):
        metric("lpips_squeeze", weights=str(home)).find_weights()
    tree = analyse(open_store(run_copy), Config(parts=("diversity",), resampling=QUICK))
    assert sum("damaged or holds other weights" in note for note in tree.attrs["notes"]) == 1
    assert metric("lpips_squeeze", weights=str(backbone)).find_weights() == [backbone]
    assert published(backbone, backbone.name) == backbone


@pytest.mark.parametrize("net", lpips.BACKBONES)
def test_heads_are_those_of_the_installed_package(
    net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lpips.check_heads(net)
    changed = lpips.BACKBONES[net]._replace(heads_sha256="0" * 64)
    monkeypatch.setitem(lpips.BACKBONES, net, changed)
    with pytest.raises(IbstatsError, match=r"does not hold the heads of LPIPS 0\.1; pip install"):
        lpips.check_heads(net)


def test_a_package_that_lacks_leaves_out_what_needs_it_and_names_its_extra(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "torch" else name)
    tree = analyse(open_store(run_copy), Config(parts=("diversity", "quality"), resampling=QUICK))
    assert list(tree["toy-mim/diversity"]["quantity"].values) == [
        "pixel_cosine_distance",
        "ssim_dissimilarity",
    ]
    for what in (
        "LPIPS (alex)",
        "clip_iqa left out: CLIP",
    ):
        assert any(
            f"{what} needs torch; pip install 'ibstats[distances]'" in note
            for note in tree.attrs["notes"]
        )
    with pytest.raises(
        MissingPackages, match=r"the scene network needs torch; pip install 'ibstats\[distances\]'"
    ):
        analyse(open_store(run_copy), Config(metrics=("reference",)))


def test_another_scene_network_is_another_analysis(run: Path, tmp_path: Path) -> None:
    from ibstats.measure.scene_network import SHIPPED

    store, config = open_store(run), Config(parts=("diversity",))
    other = tmp_path / "other.safetensors"
    other.write_bytes(SHIPPED.read_bytes() + b" ")
    same = provenance(store, config, Machine(weights={"reference": str(SHIPPED)}))
    assert provenance(store, config, Machine(weights={"reference": str(other)})) != same


def test_images_too_small_for_a_default_metric_leave_it_out_with_a_note(
    tmp_path: Path, backbone: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(backbone, home)
    monkeypatch.setattr(conftest, "SIZE", (8, 8))
    default = "pixel_cosine", "ssim", "lpips_squeeze"
    monkeypatch.setattr(named, "default_metrics", lambda on: default)
    store = open_store(conftest.write_run(tmp_path / "small", families={"toy-mim": "masked"}))
    tree = analyse(store, Config(parts=("diversity",), resampling=QUICK))
    assert list(tree["toy-mim/diversity"]["quantity"].values) == ["pixel_cosine_distance"]
    for text in (
        "images are 8x8, but SSIM's window needs 11x11",
        "images are 8x8, but LPIPS (squeeze) needs 17x17",
    ):
        assert any(text in note for note in tree.attrs["notes"])
    with pytest.raises(IbstatsError, match="needs 17x17 or more"):
        analyse(store, Config(metrics=("lpips_squeeze",)))
