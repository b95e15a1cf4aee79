"""Tests of the fast dropout: PyTorch's rates, scale, generator and gradient."""

import pytest
import torch
from torch import nn

from model.hvpnet.dropout import Dropout, dropout, quicken


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rate_and_scale(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    output = dropout(torch.ones(1001, 999, dtype=dtype), p)  # not a multiple of four
    assert output.dtype == dtype
    kept = output != 0
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=0.002)
    torch.testing.assert_close(
        output[kept], torch.full_like(output[kept], 1 / (1 - p)), rtol=0.01, atol=0
    )
    for axis in (0, 1):  # all rows and columns are treated alike
        assert (kept.float().mean(axis) - (1 - p)).abs().max() < 0.1


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(1)
    kept = (dropout(torch.ones(4_000_000), 0.5) != 0).float() - 0.5
    for lag in range(1, 9):
        assert (kept[lag:] * kept[:-lag]).mean().abs() < 0.001, lag


def test_the_gradient_has_the_same_mask() -> None:
    x = torch.randn(50, 50, requires_grad=True)
    output = dropout(x, 0.3)
    output.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x.detach(), output.detach())


def test_mask_follows_torchs_generator() -> None:
    x = torch.ones(1000)
    torch.manual_seed(5)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(5)
    assert torch.equal(dropout(x, 0.5), first)
    assert not torch.equal(first, second)


def test_every_dropout_of_a_module_is_replaced_and_idle_in_evaluation() -> None:
    module = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)))
    quicken(module)
    dropouts = [child for child in module.modules() if isinstance(child, nn.Dropout)]
    assert [(type(child), child.p) for child in dropouts] == [(Dropout, 0.2), (Dropout, 0.0)]
    x = torch.randn(100)
    assert torch.equal(dropouts[0].eval()(x), x)
    assert torch.equal(dropouts[1].train()(x), x)
    assert not dropouts[0].train()(x).all()
