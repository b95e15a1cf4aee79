"""The visual prefix: keys and values, made from a pyramid, for every layer of the text encoder."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.hvpnet.gate import FixedGate, Gate, mix
from model.hvpnet.variants import BLOCKS, FLAT, ONE_TO_THREE, PAPER


class VisualPrefix(nn.Module):
    """Map the pyramids of a picture and its crops to prefix keys and values (HVPNeT, Eq. 1-6, 8).

    channels: of the four blocks.
    grid: side of the blocks' maps, in cells.
    layers, hidden, heads: of the text encoder.
    style: "paper", the equations as written, or "released", the computation of the published code;
        docs/paper.md names each difference.
    variant: a name in VARIANTS; "flat" and "1t3" have a fixed gate.
    bottleneck: inner width of the map in style released, 800 in the published code.

    In style released a position of the prefix is a group of channels, and hw counts groups. W is
    the width of a mapped block: H (paper), or 2H, a key and a value (released).
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
            # A 1×1 convolution on pooled maps is a linear map over channels at each position.
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
        """Return keys and values (2, B, heads, P, H / heads) for each layer.

        pyramid: (B, R, ΣC, h, w). P = R·hw slots: the picture's first, then the crops' in order.
        """
        blocks = self.blocks(pyramid)  # Eq. 1, 2: (B, R, 4, hw, W)
        gate = self.gate(self.pooled(blocks))  # Eq. 3, 4: (B, R, L, 4)
        mixed = mix(gate, blocks)  # Eq. 5: (L, B, R, hw, W)
        mixed = mixed.flatten(2, 3)  # Eq. 6: (L, B, P, W)
        return [self.split_heads(layer) for layer in self.keys_values(mixed)]  # Eq. 8

    def blocks(self, pyramid: Tensor) -> Tensor:
        """Map the pyramid's blocks to the encoder's width (Eq. 1, 2).

        pyramid: (B, R, ΣC, h, w). Returns (B, R, 4, hw, W). In style released the joined maps,
        channel after channel, are cut into hw groups. A map, shared by all layers, turns each group
        into four parts, which take the place of the blocks.
        """
        if self.paper:
            maps = pyramid.flatten(3).transpose(2, 3).split(self.channels, dim=-1)  # (B, R, hw, C)
            return torch.stack(
                [conv(block) for conv, block in zip(self.conv, maps, strict=True)], dim=2
            )
        groups = pyramid.flatten(2).unflatten(2, (self.positions, -1))  # (B, R, hw, ΣC)
        return self.map(groups).unflatten(-1, (BLOCKS, -1)).transpose(2, 3)

    def pooled(self, blocks: Tensor) -> Tensor:
        """Pool blocks (B, R, 4, hw, W) to the gate's input (B, R, width), the argument in Eq. 3.

        paper: global average pooling, then the mean over blocks: (B, R, H). released: the mean over
        blocks only, positions joined: (B, R, hw·2H).
        """
        if self.paper:
            return blocks.mean(3).sum(2) / BLOCKS
        return blocks.mean(2).flatten(2)

    def keys_values(self, mixed: Tensor) -> Sequence[Tensor]:
        """Return each layer's keys and values, joined: (B, P, 2H) (Eq. 8).

        mixed: (L, B, P, W). In style released there is no map for the layer: the mixture already
        holds a key and a value.
        """
        if self.paper:
            return [phi(layer) for phi, layer in zip(self.phi, mixed, strict=True)]
        return mixed.unbind()

    def split_heads(self, states: Tensor) -> Tensor:
        """Split joined keys and values (B, P, 2H) into heads (2, B, heads, P, H / heads).

        released: the memory is reshaped without transposing, so each head reads only a part of the
        slots: with four regions and twelve heads, three heads read the picture, three each crop.
        """
        if self.paper:
            return states.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        batch, slots, _ = states.shape
        keys_values = torch.stack(states.chunk(2, dim=-1))
        return keys_values.view(2, batch, self.heads, slots, -1)

    def slot_mask(self, regions: Tensor) -> Tensor:
        """Return the mask (B, P) of attended slots. regions: (B, R) bool, True if it exists.

        released: all slots; the backbone read an all-zero picture for a missing region.
        """
        attended = regions if self.paper else torch.ones_like(regions)
        return attended.repeat_interleave(self.positions, dim=1)

    def slots_of_heads(self, slots: int) -> Tensor:
        """Return the slot of each of a head's keys and values, (heads, P); P = `slots`.

        released: the P entries of a head are parts of only P / heads slots (see `split_heads`).
        """
        entries = torch.arange(self.heads * slots).view(self.heads, slots)
        return entries % slots if self.paper else entries // self.heads
