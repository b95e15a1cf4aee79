"""The optimizers of the recipes and their schedules, against their formulas."""

import numpy as np
import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from pipeline.training.config import OPTIMIZERS
from pipeline.training.optimizers import (
    BertAdam,
    UncorrectedAdamW,
    factor,
    make_optimizer,
    make_schedule,
)

GRADIENTS = (np.array([0.3, -0.1]), np.array([-0.2, 0.4]), np.array([0.1, 0.1]))


def test_moments_are_not_corrected_and_decay_follows_the_step() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = UncorrectedAdamW([weight], lr=0.1, weight_decay=0.5)
    value, mean, square = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        value = value - 0.1 * mean / (np.sqrt(square) + 1e-6)
        value = value - 0.1 * 0.5 * value
        np.testing.assert_allclose(weight.detach().numpy(), value, rtol=1e-5)


def test_bert_adam_clips_each_weight_and_decays_it_with_the_step() -> None:
    weights = [torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2)]
    optimizer = BertAdam(weights, lr=0.1, weight_decay=0.5)
    values = [np.array([1.0, -2.0]) for _ in range(2)]
    moments = [(np.zeros(2), np.zeros(2)) for _ in range(2)]
    for gradient in GRADIENTS:
        gradients = (gradient, 9 * gradient)  # of a norm below 1, and above
        for weight, given in zip(weights, gradients, strict=True):
            weight.grad = torch.tensor(given, dtype=torch.float32)
        optimizer.step()
        for n, given in enumerate(gradients):
            clipped = given / max(1, np.linalg.norm(given))
            mean = 0.9 * moments[n][0] + 0.1 * clipped
            square = 0.999 * moments[n][1] + 0.001 * clipped**2
            moments[n] = (mean, square)
            values[n] = values[n] - 0.1 * (mean / (np.sqrt(square) + 1e-6) + 0.5 * values[n])
            np.testing.assert_allclose(weights[n].detach().numpy(), values[n], rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_weight_without_a_gradient_stays(name: str) -> None:
    weight, other = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = make_optimizer(name, [{"params": [weight, other]}], 0.1)
    weight.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(other, torch.ones(2))
    assert not torch.equal(weight, torch.ones(2))


def test_the_others_are_torchs() -> None:
    group = {"params": [torch.nn.Parameter(torch.ones(2))]}
    made = {name: make_optimizer(name, [group], 0.1, 0.9) for name in ("adamw", "adam", "sgd")}
    kinds = [torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD]
    assert [type(optimizer) for optimizer in made.values()] == kinds
    assert made["sgd"].param_groups[0]["momentum"] == 0.9


@pytest.mark.parametrize("warmup", [0, 3, 30])
def test_linear_is_the_schedule_of_transformers(warmup: int) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    ours, theirs = (torch.optim.SGD([weight], lr=0.3) for _ in range(2))
    schedules = (
        make_schedule("linear", ours, warmup, 20, 5),
        get_linear_schedule_with_warmup(theirs, warmup, 20),
    )
    for _ in range(21):
        assert schedules[0].get_last_lr() == schedules[1].get_last_lr()
        for optimizer, schedule in zip((ours, theirs), schedules, strict=True):
            optimizer.step()
            schedule.step()


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("none", 0, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("none", 4, [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1]),
        ("inverse", 0, [1 / n for n in (1, 1, 1.05, 1.05, 1.1, 1.1, 1.15, 1.15, 1.2, 1.2)]),
        ("inverse", 3, [0, 1 / 3, 2 / 3.15, *(1 / n for n in (1.05, 1.1, 1.1, 1.15))]),
        ("step", 0, [1, 1, 1, 1, 0.8, 0.8, 0.8, 0.8, 0.64, 0.64]),
    ],
)
def test_rates_of_five_epochs_of_two_steps(
    schedule: str, warmup: int, expected: list[float]
) -> None:
    factors = [factor(schedule, step, warmup, 10, 5) for step in range(len(expected))]
    assert factors == pytest.approx(expected)
