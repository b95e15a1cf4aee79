"""UMGF: multi-modal graph fusion (Zhang et al., AAAI 2021), in the form of its published code.

Word pieces attend to each other, and pictures to each other; then each piece takes from each
picture, and each picture from each piece, what a gate per channel lets through. Six such layers
follow BERT, whose own states are joined with their result. A public index marks the AAAI version of
the paper as retracted.

Where the paper differs, the code counts: every piece is joined with every picture. Departures from
the code:

- It always reads four crops, never the whole picture. Here the picture and its crops are read, and
  missing ones are masked out of attention and sums.
- A region is the mean of the cells of the backbone's last block: the published global average, if
  the grid is 1. The published backbone, a ResNet-152, trains with the model; here it does so with
  `--finetune-backbone` only.
- The published loss is the sum over the batch; the heads take the mean. Adam's steps do not depend
  on the loss's scale, so the published rate holds. SGD would need 16 times the rate, at the
  published batch of 16.
- The published training posts are not shuffled.

Nothing is published for relations: there, both opening markers' joined states are classified.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ExtractorConfig
from model.encoder import TextEncoder
from model.groups import ParameterGroup, Rate
from model.hvpnet.dropout import Dropout
from model.zoo._attention import in_heads, shares_of

LAYERS = 6
HEADS = 8
DROPOUT = 0.4  # everywhere but inside BERT and before the classifier


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear map with Xavier's uniform weights and biases of 0."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Attention(nn.Module):
    """Attention of states to each other, in 8 heads.

    width: D. maps: map the values and the result too; otherwise the values are the states.
    """

    def __init__(self, width: int, maps: bool) -> None:
        super().__init__()
        self.query = linear(width, width)
        self.key = deepcopy(self.query)
        self.value = linear(width, width) if maps else nn.Identity()
        self.merge = linear(width, width) if maps else nn.Identity()
        self.dropout = Dropout(DROPOUT)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return (B, N, D). states: (B, N, D). mask: (B, N) bool, False for missing states."""
        shares = self.dropout(self.shares(states, mask))
        mixed = (shares @ in_heads(self.value(states), HEADS)).transpose(1, 2).flatten(2)
        merged: Tensor = self.merge(mixed)
        return merged

    def shares(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the shares (B, 8, N, N) of attention. Arguments as for `forward`."""
        queries, keys = self.query(states), self.key(states)
        return shares_of(in_heads(queries, HEADS), in_heads(keys, HEADS), mask)


class Side(nn.Module):
    """One side of a fusion layer, text or pictures: all that is applied to its states.

    width: D. maps: of its attention.
    """

    def __init__(self, width: int, maps: bool) -> None:
        super().__init__()
        self.attention = Attention(width, maps)
        self.attention_norm = nn.LayerNorm(width)
        self.gate = linear(2 * width, width)  # of [text ; picture] on both sides
        self.gate_norm = nn.LayerNorm(width)
        self.inner = linear(width, width // 2)
        self.outer = linear(width // 2, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(DROPOUT)

    def attend(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the states (B, N, D) after attention. Arguments as for `Attention`."""
        attended: Tensor = self.attention_norm(states + self.dropout(self.attention(states, mask)))
        return attended

    def gates(self, text: Tensor, pictures: Tensor) -> Tensor:
        """Return the gates (B, T, R, D), from 0 to 1, of every piece and picture.

        text: (B, T, D). pictures: (B, R, D). The sum of two products is that of the joined states,
        for a quarter of the work at four pictures.
        """
        of_text, of_pictures = self.gate.weight.chunk(2, dim=1)
        left = functional.linear(text, of_text, self.gate.bias)
        right = functional.linear(pictures, of_pictures)
        return (left[:, :, None] + right[:, None]).sigmoid()

    def finish(self, states: Tensor, taken: Tensor) -> Tensor:
        """Return the layer's states (B, N, D).

        states: (B, N, D), after attention. taken: (B, N, D), from the other side.
        """
        states = self.gate_norm(states + self.dropout(taken))
        inner = functional.relu(self.inner(states))
        finished: Tensor = self.norm(states + self.dropout(self.outer(inner)))
        return finished


class FusionLayer(nn.Module):
    """A layer of the graph: attention within text and pictures, then gated sums across. width: D.

    Masks, here and below: mask (B, T) bool, False for padding; regions (B, R) bool, False for
    missing pictures.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.text = Side(width, maps=True)
        self.pictures = Side(width, maps=False)

    def forward(
        self, text: Tensor, pictures: Tensor, mask: Tensor, regions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the new states of both sides. text: (B, T, D). pictures: (B, R, D)."""
        text, pictures = self.text.attend(text, mask), self.pictures.attend(pictures, regions)
        to_text, to_pictures = self.exchange(text, pictures, mask, regions)
        return self.text.finish(text, to_text), self.pictures.finish(pictures, to_pictures)

    def exchange(
        self, text: Tensor, pictures: Tensor, mask: Tensor, regions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what pieces take from pictures (B, T, D), and pictures from pieces (B, R, D).

        Both are sums, not means: the second grows with the length of the text. 0 for padding and
        for missing pictures.
        """
        pieces, present = mask[..., None], regions[..., None]
        to_text = self.text.gates(text, pictures) * (pictures * present)[:, None]
        to_pictures = self.pictures.gates(text, pictures) * (text * pieces)[:, :, None]
        return to_text.sum(2) * pieces, to_pictures.sum(1) * present


class UMGF(TextEncoder):
    """Text and pictures are the nodes of a graph, fused in six layers of gated sums.

    The layers' width D is two thirds of the encoder's, a multiple of 8: the published 512 for 768.
    As published, the layers start equal, and so do the maps to queries and keys within a layer.
    """

    tags_pieces = True
    # The last layer's pictures are not read, as published.
    untrained = (
        "layers.5.pictures.gate.",
        "layers.5.pictures.gate_norm.",
        "layers.5.pictures.inner.",
        "layers.5.pictures.outer.",
        "layers.5.pictures.norm.",
    )

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        channels, width = config.block_channels[-1], self.hidden * 2 // 3 // HEADS * HEADS
        self.text_map = nn.Linear(self.hidden, width)
        self.region_map = nn.Linear(channels, channels)  # the published trunk's own last layer
        self.picture_map = nn.Sequential(
            *(linear(channels, width), nn.ReLU(), Dropout(DROPOUT)),
            *(linear(width, width), nn.ReLU(), Dropout(DROPOUT)),
        )
        layer = FusionLayer(width)
        self.layers = nn.ModuleList(deepcopy(layer) for _ in range(LAYERS))
        self.hidden += width

    def states(self, **inputs: Any) -> Tensor:
        """Return BERT's states joined with those of the last layer (B, T, H), H = 768 + D.

        inputs: as in `model/contract.py`.
        """
        pyramid, regions = inputs.pop("pyramid"), inputs.pop("regions")
        read = self.read(**inputs).last_hidden_state
        mask = inputs["attention_mask"].bool()
        last = pyramid[:, :, -self.region_map.in_features :].to(self.dtype)
        text, pictures = self.text_map(read), self.picture_map(self.region_map(last.mean((-2, -1))))
        for layer in self.layers:
            text, pictures = layer(text, pictures, mask, regions)
        return torch.cat([read, text], dim=-1)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the groups of the text encoder and of the graph.

        For relations the graph trains at the head's rate, for entities at the encoder's.
        """
        graph = [self.text_map, self.region_map, self.picture_map, self.layers]
        rate: Rate = "head" if self.task == "re" else "base"
        return [*super().parameter_groups(), ParameterGroup(rate, graph)]
