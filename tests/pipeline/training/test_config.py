"""Training options out of range are refused before anything is computed."""

import re
from typing import Any

import pytest

from pipeline.errors import SettingError
from pipeline.training.config import TrainConfig
from pipeline.training.recipes import train_config


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", -3, "--epochs: expected 1 or more, found -3"),
        ("epochs", 0, "--epochs: expected 1 or more, found 0"),
        ("batch_size", 0, "--batch-size: expected 1 or more, found 0"),
        ("max_tokens", -1, "--max-tokens: expected 1 or more, found -1"),
        ("evaluate_from", -1, "--evaluate-from: expected 0 or more, found -1"),
        ("learning_rate", float("nan"), "--learning-rate: expected a number, 0 or more, found nan"),
        ("learning_rate", -1e-5, "--learning-rate: expected a number, 0 or more, found -1e-05"),
        ("head_learning_rate", float("inf"), "--head-learning-rate: expected a number, 0 or more"),
        ("weight_decay", -0.1, "--weight-decay: expected a number, 0 or more, found -0.1"),
        ("max_grad_norm", -1.0, "--max-grad-norm: expected a number, 0 or more, found -1.0"),
        (
            "warmup",
            1.5,
            "--warmup: expected a share below 1, or a whole number of steps",
        ),
        ("train_share", 0.0, "--train-share: expected a share above 0, up to 1, found 0.0"),
        ("train_share", 1.01, "--train-share: expected a share above 0, up to 1, found 1.01"),
        ("train_share", float("nan"), "--train-share: expected a share above 0, up to 1, found"),
        ("train_seed", -1, "--train-seed: expected 0 or more, found -1"),
        ("dropout", 1.0, "--dropout: expected a share from 0, below 1, found 1.0"),
        ("momentum", 1.0, "--momentum: expected a share from 0, below 1, found 1.0"),
        ("momentum", 0.9, "--momentum: expected --optimizer sgd beside it, found adamw"),
    ],
)
def test_values_out_of_range(name: str, value: Any, message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        train_config("re", "mine", {name: value})


def test_values_at_the_ends_of_their_ranges() -> None:
    ends = {"epochs": 1, "batch_size": 1, "warmup": 0.0, "dropout": 0.0, "learning_rate": 0.0}
    config = train_config("re", "mine", ends | {"evaluate_from": 0, "weight_decay": 0.0})
    assert isinstance(config, TrainConfig)
    assert {name: getattr(config, name) for name in ends} == ends
