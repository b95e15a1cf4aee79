"""The optimizers of the recipes, against their formulas."""

import numpy as np
import torch

from pipeline.training.optimizers import UncorrectedAdamW, make_optimizer


def test_moments_are_not_corrected_and_decay_follows_the_step() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = UncorrectedAdamW([weight], lr=0.1, weight_decay=0.5)
    value, mean, square = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for gradient in (np.array([0.3, -0.1]), np.array([-0.2, 0.4]), np.array([0.1, 0.1])):
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        value = value - 0.1 * mean / (np.sqrt(square) + 1e-6)
        value = value - 0.1 * 0.5 * value
        np.testing.assert_allclose(weight.detach().numpy(), value, rtol=1e-5)


def test_a_weight_without_a_gradient_stays() -> None:
    weight, other = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = make_optimizer("adamw-uncorrected", [{"params": [weight, other]}], 0.1)
    weight.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(other, torch.ones(2))
    assert not torch.equal(weight, torch.ones(2))


def test_adamw_is_torchs() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    assert isinstance(make_optimizer("adamw", [{"params": [weight]}], 0.1), torch.optim.AdamW)
