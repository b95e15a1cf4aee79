"""AdapCoAtt: the adaptive co-attention network (Zhang et al., AAAI 2018) on BERT.

Nobody published the BERT form of UMT's table: its sizes are ours, all widths being the encoder's
H. So are these choices, which the paper leaves open: padding is not attended to; a linear map makes
the filter gate a number; the head's dropout (`--dropout`) is applied to BERT's states and nowhere
else; a missing picture is an all-zero map.

The paper's attention scores of a region v (or word x) for a word h are

    w · tanh((W_v v) ⊕ (W_h h + b)) = w_1 · tanh(W_v v) + w_2 · tanh(W_h h + b),

with ⊕ for joining. The second term is the same for all regions, so the softmax over regions cancels
it, and W_h, b and w_2 get no gradient: they don't exist here. The first term does not depend on the
word, so each attention gives one vector a post, and the gate that fuses them is one number a post.
That takes O(T + R) steps instead of O(T (T + R)). The words differ in the filter alone.
"""

from typing import Any

import torch
from torch import Tensor, nn

from model.config import ExtractorConfig
from model.encoder import TextEncoder
from model.groups import ParameterGroup
from model.zoo._regions import picture_cells


class Attention(nn.Module):
    """The mean of some vectors, weighted by how much each counts by itself.

    width: H of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)  # the softmax would cancel its bias

    def forward(self, vectors: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the weighted mean (B, H).

        vectors: (B, N, H). mask: (B, N) bool, False for vectors that don't count; None: all do.
        """
        scores = self.score(self.inner(vectors).tanh())  # (B, N, 1)
        if mask is not None:
            scores = scores.masked_fill(~mask[..., None], -torch.inf)
        return (scores.softmax(1) * vectors).sum(1)


class AdapCoAtt(TextEncoder):
    """Text and picture are attended to, mixed by a gate, and filtered for each word."""

    tasks = ("ner",)
    tags_pieces = True

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        width = self.hidden
        self.regions = nn.Linear(config.block_channels[-1], width)
        self.visual_attention = Attention(width)
        self.textual_attention = Attention(width)
        self.fuse_picture = nn.Linear(width, width)
        self.fuse_text = nn.Linear(width, width)
        self.fusion_gate = nn.Linear(2 * width, 1)
        self.filter_text = nn.Linear(width, width, bias=False)  # W_s
        self.filter_fused = nn.Linear(width, width)  # W_m
        self.filter_gate = nn.Linear(2 * width, 1)
        self.reserve = nn.Linear(width, width)

    def states(self, **inputs: Any) -> Tensor:
        """Return each word's state joined with its share of the fused vector (B, T, 2H).

        inputs: as in `model/contract.py`. Of the picture and its crops, only the picture is read.
        """
        pyramid, regions = inputs.pop("pyramid"), inputs.pop("regions")
        words = self.dropout(self.read(**inputs).last_hidden_state)  # h
        cells = picture_cells(pyramid, regions, self.regions.in_features).to(self.dtype)
        seen = self.visual_attention(self.regions(cells).tanh())  # v̂
        read = self.textual_attention(words, inputs["attention_mask"].bool())  # ĥ
        fused = self._fused(seen, read)[:, None]  # m (B, 1, H)
        both = [self.filter_text(words), self.filter_fused(fused).expand_as(words)]
        share = self.filter_gate(torch.cat(both, -1)).sigmoid()  # s (B, T, 1)
        return torch.cat([words, share * self.reserve(fused).tanh()], -1)

    def _fused(self, seen: Tensor, read: Tensor) -> Tensor:
        """Return the gated mixture (B, H) of what was seen and read, (B, H) each."""
        picture, text = self.fuse_picture(seen).tanh(), self.fuse_text(read).tanh()
        gate = self.fusion_gate(torch.cat([picture, text], -1)).sigmoid()
        mixed: Tensor = gate * picture + (1 - gate) * text
        return mixed

    @property
    def emission_width(self) -> int:
        return 2 * self.hidden

    def emissions(self, tokens: Tensor) -> Tensor:
        """Return the scores (B, W, K) of the tags. tokens: (B, W, 2H)."""
        scores: Tensor = self.classifier(tokens)
        return scores

    def parameter_groups(self) -> list[ParameterGroup]:
        own = [
            *(self.regions, self.visual_attention, self.textual_attention),
            *(self.fuse_picture, self.fuse_text, self.fusion_gate),
            *(self.filter_text, self.filter_fused, self.filter_gate, self.reserve),
        ]
        return [*super().parameter_groups(), ParameterGroup("base", own)]
