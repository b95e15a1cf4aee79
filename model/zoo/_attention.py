"""Scaled dot-product attention in heads, with its shares at hand."""

from math import sqrt

import torch
from torch import Tensor


def in_heads(states: Tensor, heads: int) -> Tensor:
    """Cut states (B, T, H) into heads. Returns (B, heads, T, H / heads)."""
    return states.unflatten(2, (heads, -1)).transpose(1, 2)


def shares_of(queries: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the shares (B, heads, T, S) of attention, which sum to 1 over S.

    queries: (B, heads, T, D). keys: (B, heads, S, D). mask: (B, S) bool, False for states that are
    not attended to; None: all are. A row that masks all of them attends to all alike.
    """
    scores = queries @ keys.transpose(2, 3) / sqrt(queries.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min)
    return scores.softmax(-1)
