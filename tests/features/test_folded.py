"""The folded backbone computes the same maps as the backbone."""

import pytest
import torch
from torch.nn import functional

from features import folded
from features.backbone import load_backbone
from features.folded import Folded
from features.pyramid import pool

BACKBONES = ("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2")


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("fused", [True, False])
@torch.no_grad()
def test_maps_are_the_backbones(
    name: str, fused: bool, pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused:
        monkeypatch.setattr(folded, "_has_fused_kernels", lambda x: False)
    backbone = load_backbone(name, "random", 0)
    expected = backbone(pixels)
    for block, wanted in zip(Folded(backbone)(pixels), expected, strict=True):
        torch.testing.assert_close(block, wanted, atol=1e-4 * wanted.abs().max().item(), rtol=0)
    for block, wanted in zip(backbone(pixels), expected, strict=True):  # it is unchanged
        assert torch.equal(block, wanted)


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_pyramids_in_bfloat16_are_near(name: str, pixels: torch.Tensor) -> None:
    backbone = load_backbone(name, "random", 0)
    expected = pool(backbone(pixels), 2, "floor").flatten(1)
    maps = Folded(backbone, torch.bfloat16)(pixels)
    assert {block.dtype for block in maps} == {torch.bfloat16}
    rows = pool(maps, 2, "floor").flatten(1)
    assert functional.cosine_similarity(rows, expected).min() > 0.999
    assert ((rows - expected).norm() / expected.norm()).item() < 0.05


def test_no_gradient_is_asked_for() -> None:
    assert not any(
        weight.requires_grad
        for weight in Folded(load_backbone("resnet18", "random", 0)).parameters()
    )
