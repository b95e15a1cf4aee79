"""Parameter groups: a model declares which of its parameters train at which learning rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

Rate = Literal["base", "head", "backbone"]  # base: the encoder and the visual prefix


@dataclass(frozen=True)
class ParameterGroup:
    """Modules whose parameters train at the same learning rate.

    vectors_decay: apply weight decay also to vectors, which usually are biases and normalisation.
    """

    rate: Rate
    modules: Sequence[nn.Module]
    vectors_decay: bool = False
