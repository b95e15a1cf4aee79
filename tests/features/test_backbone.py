from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models

from features.backbone import Backbone, block_channels, load_backbone
from features.pyramid import pool
from features.weights import WeightsError


@pytest.fixture(scope="module")
def small() -> Backbone:
    return load_backbone("resnet18", "random", seed=0)


def pixels(size: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_blocks_are_what_torchvision_computes(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        resnet = models.get_model(name, weights=None).eval()
    maps: list[Tensor] = []
    for layer in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4):
        layer.register_forward_hook(lambda module, inputs, output: maps.append(output))
    with torch.no_grad():
        resnet(pixels())
        blocks = Backbone(resnet)(pixels())
    assert [block.shape[1] for block in blocks] == list(Backbone(resnet).channels)
    assert all(torch.equal(block, map_) for block, map_ in zip(blocks, maps, strict=False))


def test_channels_are_known_without_weights() -> None:
    assert block_channels("resnet18") == (64, 128, 256, 512)
    assert block_channels("wide_resnet50_2") == (256, 512, 1024, 2048)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_random_weights_give_maps_of_order_one(name: str) -> None:
    backbone = load_backbone(name, "random", seed=1)
    with torch.no_grad():
        blocks = backbone(pixels(224))
    for block in blocks:
        assert 0.1 < block.std() < 10
        assert block.abs().max() < 1000  # float16 ends at 65,504


def test_random_weights_depend_on_the_seed_alone(small: Backbone) -> None:
    torch.manual_seed(5)
    again = load_backbone("resnet18", "random", seed=0).state_dict()
    other = load_backbone("resnet18", "random", seed=1).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in small.state_dict().items())
    assert not torch.equal(again["conv1.weight"], other["conv1.weight"])


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_backbone("resnet18", "random", seed=0)
    assert torch.equal(before, torch.get_rng_state())


def test_batchnorm_stays_fixed_in_training(small: Backbone) -> None:
    before = {key: value.clone() for key, value in small.state_dict().items()}
    outer = torch.nn.Sequential(small).train()
    assert small.training
    with torch.no_grad():
        alone = small(pixels()[:1])[3]
        torch.testing.assert_close(outer(pixels())[3][:1], alone, rtol=1e-3, atol=1e-3)
    assert all(torch.equal(value, before[key]) for key, value in small.state_dict().items())


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_saved_weights_come_back(suffix: str, small: Backbone, tmp_path: Path) -> None:
    path = tmp_path / f"weights.{suffix}"
    state = small.state_dict()
    if suffix == "pth":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    else:
        save_file({f"backbone.{key}": value for key, value in state.items()}, path)
    loaded = load_backbone("resnet18", str(path), seed=9).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(value, loaded[key]) for key, value in state.items())


def test_an_old_torchvision_file_is_accepted(small: Backbone, tmp_path: Path) -> None:
    state = {k: v for k, v in small.state_dict().items() if not k.endswith("num_batches_tracked")}
    path = tmp_path / "old.pth"
    torch.save(state | {"fc.weight": torch.zeros(9, 512), "fc.bias": torch.zeros(9)}, path)
    loaded = load_backbone("resnet18", str(path), seed=9).state_dict()
    assert torch.equal(loaded["bn1.running_var"], state["bn1.running_var"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bn1.weight": None}, r"missing: bn1\.weight$"),
        ({"head.weight": torch.zeros(1)}, r"unexpected: head\.weight$"),
        (
            {"bn1.weight": torch.zeros(3)},
            r"other shape: bn1\.weight: expected \(64,\), found \(3,\)$",
        ),
    ],
)
def test_every_key_is_accounted_for(
    change: dict[str, Tensor | None], message: str, small: Backbone, tmp_path: Path
) -> None:
    state = {k: v for k, v in (small.state_dict() | change).items() if v is not None}
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=message):
        load_backbone("resnet18", str(tmp_path / "a.safetensors"), seed=0)


class Code:
    """A class that only full unpickling can build."""


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_broken_file_is_refused_in_one_line(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"\x50\x4b\x03\x04 nothing of the kind")
    with pytest.raises(WeightsError, match=r"^.*no readable weights: .*$") as caught:
        load_backbone("resnet18", str(path), seed=0)
    assert "\n" not in str(caught.value)


def test_pickled_code_is_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Code()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="no readable weights"):
        load_backbone("resnet18", str(tmp_path / "a.pth"), seed=0)


def test_an_unknown_backbone_lists_the_choices() -> None:
    with pytest.raises(WeightsError, match=r"'vgg16'; choose one of .*resnet50.*wide_resnet50_2"):
        load_backbone("vgg16", "random", seed=0)


def test_unknown_weights_list_the_choices() -> None:
    with pytest.raises(WeightsError, match=r"not one of IMAGENET1K_V1, .*random"):
        load_backbone("resnet50", "imagenet", seed=0)


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match=r"fetch https://.*pth into .*checkpoints, or"):
        load_backbone("resnet18", "DEFAULT", seed=0)


@pytest.mark.parametrize(("side", "grid"), [(56, 2), (7, 2), (7, 3), (7, 4), (7, 7)])
def test_floor_pooling_is_a_plain_loop(side: int, grid: int) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, side, side)).astype(np.float32)
    kernel = side // grid
    expected = np.zeros((2, 3, grid, grid), np.float32)
    for row in range(grid):
        for column in range(grid):
            window = maps[
                :, :, row * kernel : (row + 1) * kernel, column * kernel : (column + 1) * kernel
            ]
            expected[:, :, row, column] = window.mean(axis=(2, 3))
    pooled = pool([torch.from_numpy(maps)], grid, "floor").numpy()
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


def test_adaptive_pooling_covers_the_whole_map() -> None:
    map_ = torch.zeros(1, 1, 7, 7)
    map_[..., 6, 6] = 16.0
    pooled = pool([map_], 2, "adaptive")  # the last window is rows and columns 3 to 6
    assert pooled.tolist() == [[[[0.0, 0.0], [0.0, 1.0]]]]
    assert not pool([map_], 2, "floor").any()


def test_blocks_are_joined_in_order() -> None:
    blocks = [torch.full((1, i + 1, 4, 4), float(i), dtype=torch.bfloat16) for i in range(4)]
    pooled = pool(blocks, 2, "floor")
    assert pooled.dtype == torch.float32
    assert pooled[0, :, 1, 1].tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]


def test_a_map_smaller_than_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"map of 1×1 can't be pooled to 2×2"):
        pool([torch.zeros(1, 1, 1, 1)], 2, "adaptive")


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="floor, adaptive"):
        pool([torch.zeros(1, 1, 4, 4)], 2, "max")
