"""Self-attention with a visual prefix, as an attention function of transformers.

The text encoder's code stays unchanged: its layers look up their attention function by name, and
pass on to it all extra keyword arguments of the encoder's forward. This function puts the layer's
prefix before the text's keys and values (HVPNeT, Eq. 7 and 9), then applies scaled dot product
attention.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from model.hvpnet.dropout import dropout as drop

NAME = "visual_prefix"


def visual_prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    prefix: Sequence[Tensor] | None = None,
    prefix_mask: Tensor | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    output_attentions: bool | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attend from the text to prefix and text (Eq. 9).

    query, key, value: (B, heads, T, D).
    attention_mask: (B, 1, T, T) bool, or None if no token is padding.
    prefix: keys and values (2, B, heads, P, D) for each layer.
    prefix_mask: (B, P) bool, True for a slot that is attended.

    The prefix does not shift the text's positions. Returns (B, T, heads, D) and, with
    `output_attentions`, the weights (B, heads, T, P + T) before dropout.
    """
    if prefix is not None:
        assert prefix_mask is not None, "a prefix needs its mask"
        layer: Any = module.layer_idx
        prefix_key, prefix_value = prefix[layer].to(key.dtype)
        key, value = torch.cat((prefix_key, key), dim=2), torch.cat((prefix_value, value), dim=2)
        slots = prefix_mask[:, None, None, :].expand(-1, 1, query.shape[2], -1)
        if attention_mask is None:
            attention_mask = slots.new_ones(1, 1, 1, 1).expand(
                len(query), 1, query.shape[2], query.shape[2]
            )
        attention_mask = torch.cat((slots, attention_mask.expand(len(query), -1, -1, -1)), dim=3)
    if not (output_attentions or (dropout and query.device.type == "cpu")):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
    # The same as SDPA computes on a CPU under dropout, with the faster dropout mask.
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query * scale @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, float("-inf"))
    weights = scores.softmax(-1)
    kept = drop(weights, dropout) if dropout else weights
    output = (kept.to(value.dtype) @ value).transpose(1, 2).contiguous()
    return output, weights if output_attentions else None


def register() -> None:
    """Register the attention function with transformers. Called whenever a model is built.

    The mask function must be registered, too: without it, padding would be attended silently.
    """
    AttentionInterface.register(NAME, visual_prefix_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
