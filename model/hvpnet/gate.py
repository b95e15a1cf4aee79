"""The gate: the weights of the four blocks for each layer of the text encoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.hvpnet.variants import BLOCKS, FLAT, ONE_TO_THREE


class Gate(nn.Module):
    """Weigh the four blocks of each region for every layer (HVPNeT, Eq. 3, 4).

    Each region (the picture, each crop) has its own gate. The paper's MLP is a linear map for each
    layer; the maps of all layers are kept in one matrix.
    width: of a region's pooled blocks.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.layers = layers
        self.mlp = nn.Linear(width, layers * BLOCKS)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map pooled blocks (B, R, width) to the gate (B, R, L, 4), which sums to 1 over blocks."""
        alpha = functional.leaky_relu(self.mlp(pooled))  # Eq. 3
        return alpha.unflatten(-1, (self.layers, BLOCKS)).softmax(-1)  # Eq. 4


class FixedGate(nn.Module):
    """The gate of the variants that choose a block for each layer instead of weighing all.

    `flat`: the last block for all layers. `1t3`: block i for the layers 3i-2 to 3i of twelve, and
    in the same proportion for an encoder of another depth.
    """

    def __init__(self, layers: int, variant: str) -> None:
        super().__init__()
        numbers = range(layers)
        last, in_turn = (BLOCKS - 1 for _ in numbers), (n * BLOCKS // layers for n in numbers)
        self.chosen = list({FLAT: last, ONE_TO_THREE: in_turn}[variant])

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the gate (B, R, L, 4) of zeros and ones; pooled (B, R, width) gives B and R."""
        chosen = functional.one_hot(torch.tensor(self.chosen, device=pooled.device), BLOCKS)
        return chosen.to(pooled.dtype).expand(*pooled.shape[:2], -1, -1)


def mix(gate: Tensor, blocks: Tensor) -> Tensor:
    """Mix the blocks for each layer (HVPNeT, Eq. 5).

    gate: (B, R, L, 4). blocks: (B, R, 4, hw, W). Returns (L, B, R, hw, W).
    """
    return torch.einsum("brlc,brcpw->lbrpw", gate, blocks)
