"""The visual prefix: a pyramid becomes keys and values for every layer of the text encoder."""

import torch
from torch import Tensor, nn

from model.gate import Gate


class VisualPrefix(nn.Module):
    """Pyramids of a picture and its crops -> prefix keys and values (HVPNeT, Eq. 1-6 and 8).

    `channels` are those of the four blocks, `heads` the attention heads that H is cut into.
    """

    def __init__(self, channels: list[int], layers: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.channels = channels
        self.heads = heads
        # A 1×1 convolution on pooled maps is one linear map over channels at each position.
        self.conv = nn.ModuleList(nn.Linear(c, hidden) for c in channels)
        self.gate = Gate(layers, hidden)
        self.phi = nn.ModuleList(nn.Linear(hidden, 2 * hidden, bias=False) for _ in range(layers))

    def blocks(self, pyramid: Tensor) -> Tensor:
        """Pyramid (B, R, ΣC, h, w) -> blocks mapped to the encoder's width (B, R, 4, hw, H)."""
        maps = pyramid.flatten(3).transpose(2, 3).split(self.channels, dim=-1)  # (B, R, hw, C)
        return torch.stack(
            [conv(block) for conv, block in zip(self.conv, maps, strict=True)], dim=2
        )  # Eq. 1, 2

    def forward(self, pyramid: Tensor) -> Tensor:
        """Pyramid (B, R, ΣC, h, w) -> prefix (L, 2, B, heads, P, H / heads).

        P = R·h·w slots, the picture's first, then the crops' in order (Eq. 6). Axis 1 holds keys
        and values (Eq. 8).
        """
        mixed = self.gate(self.blocks(pyramid)).flatten(2, 3)  # Eq. 3-6: (L, B, P, H)
        projected = [phi(layer) for phi, layer in zip(self.phi, mixed, strict=True)]  # Eq. 8
        prefix = torch.stack(projected).unflatten(-1, (2, self.heads, -1))  # (L, B, P, 2, ...)
        return prefix.permute(0, 3, 1, 4, 2, 5)


def slot_mask(regions: Tensor, positions: int) -> Tensor:
    """Regions that are there (B, R) bool -> prefix slots that are there (B, P), P = R·positions.

    The published code attends absent objects as all-zero pictures; ours masks them.
    """
    return regions.repeat_interleave(positions, dim=1)
