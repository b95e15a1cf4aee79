"""The gate: how much of each block each layer of the text encoder sees."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.hvpnet.variants import FLAT, ONE_TO_THREE

BLOCKS = 4


class Gate(nn.Module):
    """Weighs the four blocks of a region for every layer (HVPNeT, Eq. 3, 4).

    The paper's MLP is one linear map a layer; the layers' maps are kept in one matrix. Each
    region (the picture, each crop) has its own gate. `width`: of a region's pooled blocks.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.layers = layers
        self.mlp = nn.Linear(width, layers * BLOCKS)

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled blocks (B, R, width) -> gate (B, R, L, 4); it sums to 1 over the blocks."""
        alpha = functional.leaky_relu(self.mlp(pooled))  # Eq. 3
        return alpha.unflatten(-1, (self.layers, BLOCKS)).softmax(-1)  # Eq. 4


class FixedGate(nn.Module):
    """The gate of the variants that choose instead of weighing: one block for each layer.

    `flat`: the last block for all. `1t3`: block i for the layers 3i-2 to 3i of twelve, and in the
    same proportion for an encoder of another depth.
    """

    def __init__(self, layers: int, variant: str) -> None:
        super().__init__()
        numbers = range(layers)
        last, in_turn = (BLOCKS - 1 for _ in numbers), (n * BLOCKS // layers for n in numbers)
        self.chosen = list({FLAT: last, ONE_TO_THREE: in_turn}[variant])

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled blocks (B, R, width), only their number counts -> gate (B, R, L, 4), 0 or 1."""
        chosen = functional.one_hot(torch.tensor(self.chosen, device=pooled.device), BLOCKS)
        return chosen.to(pooled.dtype).expand(*pooled.shape[:2], -1, -1)


def mix(gate: Tensor, blocks: Tensor) -> Tensor:
    """Gate (B, R, L, 4), blocks (B, R, 4, hw, W) -> mixture (L, B, R, hw, W) (HVPNeT, Eq. 5)."""
    return torch.einsum("brlc,brcpw->lbrpw", gate, blocks)
