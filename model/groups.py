"""Parameter groups: each model declares which learning rate its parameters train at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

Rate = Literal["base", "head", "backbone"]  # of the encoder and all that is not named below it


@dataclass(frozen=True)
class ParameterGroup:
    """Modules whose parameters train at one rate.

    Vectors are biases and normalisation, which weight decay leaves alone, unless `vectors_decay`.
    """

    rate: Rate
    modules: Sequence[nn.Module]
    vectors_decay: bool = False
