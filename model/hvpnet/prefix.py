"""The visual prefix: a pyramid becomes keys and values for every layer of the text encoder."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.hvpnet.gate import BLOCKS, FixedGate, Gate, mix
from model.hvpnet.variants import FLAT, ONE_TO_THREE, PAPER


class VisualPrefix(nn.Module):
    """Pyramids of a picture and its crops -> prefix keys and values (HVPNeT, Eq. 1-6 and 8).

    `style` paper: the equations as they are written. `style` released: what the published code
    computes; the README's table names each difference. There a position of the prefix is a group
    of channels, and hw counts groups. W is the width of a mapped block: H (paper), or 2H, a key and
    a value (released). `channels` are those of the four blocks, `grid` the side of the maps,
    `heads` the attention heads that H is cut into, `bottleneck` the inner width of the published
    map, 800 there.
    """

    def __init__(
        self,
        channels: list[int],
        grid: int,
        layers: int,
        hidden: int,
        heads: int,
        style: str,
        variant: str,
        bottleneck: int,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.positions = grid * grid
        self.heads = heads
        self.paper = style == PAPER
        if self.paper:
            # A 1×1 convolution on pooled maps is one linear map over channels at each position.
            self.conv = nn.ModuleList(nn.Linear(c, hidden) for c in channels)
            width = hidden
        else:
            self.map = nn.Sequential(
                nn.Linear(sum(channels), bottleneck),
                nn.Tanh(),
                nn.Linear(bottleneck, BLOCKS * 2 * hidden),
            )
            width = self.positions * 2 * hidden
        fixed = variant in (FLAT, ONE_TO_THREE)
        self.gate = FixedGate(layers, variant) if fixed else Gate(layers, width)
        if self.paper:
            self.phi = nn.ModuleList(
                nn.Linear(hidden, 2 * hidden, bias=False) for _ in range(layers)
            )

    def forward(self, pyramid: Tensor) -> list[Tensor]:
        """Pyramid (B, R, ΣC, h, w) -> for each layer, keys and values (2, B, heads, P, H / heads).

        P = R·hw slots: the picture's first, then the crops' in order.
        """
        blocks = self.blocks(pyramid)  # Eq. 1, 2: (B, R, 4, hw, W)
        gate = self.gate(self.pooled(blocks))  # Eq. 3, 4: (B, R, L, 4)
        mixed = mix(gate, blocks)  # Eq. 5: (L, B, R, hw, W)
        mixed = mixed.flatten(2, 3)  # Eq. 6: (L, B, P, W)
        return [self.split_heads(layer) for layer in self.keys_values(mixed)]  # Eq. 8

    def blocks(self, pyramid: Tensor) -> Tensor:
        """Pyramid (B, R, ΣC, h, w) -> blocks mapped towards the encoder (B, R, 4, hw, W), Eq. 1, 2.

        released: the joined maps, channel after channel, are cut into hw groups, and one map shared
        by all layers makes of each group four pieces, which stand for the blocks.
        """
        if self.paper:
            maps = pyramid.flatten(3).transpose(2, 3).split(self.channels, dim=-1)  # (B, R, hw, C)
            return torch.stack(
                [conv(block) for conv, block in zip(self.conv, maps, strict=True)], dim=2
            )
        groups = pyramid.flatten(2).unflatten(2, (self.positions, -1))  # (B, R, hw, ΣC)
        return self.map(groups).unflatten(-1, (BLOCKS, -1)).transpose(2, 3)

    def pooled(self, blocks: Tensor) -> Tensor:
        """Blocks (B, R, 4, hw, W) -> what the gate looks at (B, R, width), the inside of Eq. 3.

        Global average pooling, then the blocks' mean: (B, R, H). released: the blocks' mean, with
        the positions side by side, not pooled: (B, R, hw·2H).
        """
        if self.paper:
            return blocks.mean(3).sum(2) / BLOCKS
        return blocks.mean(2).flatten(2)

    def keys_values(self, mixed: Tensor) -> Sequence[Tensor]:
        """Mixture (L, B, P, W) -> for each layer, a key and a value side by side (B, P, 2H), Eq. 8.

        released: no map of the layer's own; the pieces already hold a key and a value.
        """
        if self.paper:
            return [phi(layer) for phi, layer in zip(self.phi, mixed, strict=True)]
        return mixed.unbind()

    def split_heads(self, states: Tensor) -> Tensor:
        """(B, P, 2H) -> (2, B, heads, P, H / heads).

        released: the memory is cut anew instead of transposed, so a head sees a part of the slots
        only: with four regions and twelve heads, three heads the picture, three each crop.
        """
        if self.paper:
            return states.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        batch, slots, _ = states.shape
        keys_values = torch.stack(states.chunk(2, dim=-1))
        return keys_values.view(2, batch, self.heads, slots, -1)

    def slot_mask(self, regions: Tensor) -> Tensor:
        """Regions that are there (B, R) bool -> slots that are attended (B, P).

        released: all; what isn't there was an all-zero picture to the backbone.
        """
        attended = regions if self.paper else torch.ones_like(regions)
        return attended.repeat_interleave(self.positions, dim=1)

    def slots_of_heads(self, slots: int) -> Tensor:
        """The slot that each head's keys and values are of, (heads, P); P = `slots`.

        released: the memory is cut anew (`split_heads`), so a head's P entries are of P / heads
        slots only, a piece of each.
        """
        entries = torch.arange(self.heads * slots).view(self.heads, slots)
        return entries % slots if self.paper else entries // self.heads
