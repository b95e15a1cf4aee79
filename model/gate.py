"""The gate: how much of each block each layer of the text encoder sees."""

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCKS = 4


class Gate(nn.Module):
    """Mixes the four blocks of a region for every layer (HVPNeT, Eq. 3-5).

    The paper's MLP is one linear map a layer; the layers' maps are kept in one matrix. Each
    region (the picture, each crop) has its own gate.
    """

    def __init__(self, layers: int, hidden: int) -> None:
        super().__init__()
        self.layers = layers
        self.mlp = nn.Linear(hidden, layers * BLOCKS)

    def weights(self, blocks: Tensor) -> Tensor:
        """Blocks (B, R, 4, P, H) -> gate (B, R, L, 4); its weights sum to 1 over the blocks."""
        pooled = blocks.mean(3)  # global average pooling over positions: (B, R, 4, H)
        alpha = functional.leaky_relu(self.mlp(pooled.sum(2) / BLOCKS))  # Eq. 3
        alpha = alpha.unflatten(-1, (self.layers, BLOCKS))
        return alpha.softmax(-1)  # Eq. 4

    def forward(self, blocks: Tensor) -> Tensor:
        """Blocks (B, R, 4, P, H) -> mixture (L, B, R, P, H)."""
        return torch.einsum("brlc,brcph->lbrph", self.weights(blocks), blocks)  # Eq. 5
