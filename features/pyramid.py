"""Build a pyramid from a backbone's four blocks: pool them to one size and join their channels."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from features.errors import FeatureError

POOLINGS = ("floor", "adaptive")


class PyramidError(FeatureError):
    """Maps that are too small for the grid. The message is one line."""


def pool(blocks: Sequence[Tensor], grid: int, pooling: str) -> Tensor:
    """Average-pool every block to `grid` × `grid` and join their channels (HVPNeT §3.2).

    blocks: four (B, C_i, H_i, W_i).
    pooling: "floor", as in the published code, takes kernel = stride = side // grid and drops the
        remaining cells at the right and below: of block 4's 7×7 only 6×6 count. "adaptive" windows
        cover the whole map.

    Returns (B, ΣC, grid, grid) float32. Raises PyramidError for a map smaller than the grid.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
    return torch.cat([_pool_map(block, grid, pooling).float() for block in blocks], dim=1)


def _pool_map(block: Tensor, grid: int, pooling: str) -> Tensor:
    height, width = block.shape[-2:]
    if min(height, width) < grid:
        raise PyramidError(
            f"a map of {height}×{width} can't be pooled to {grid}×{grid}; give a smaller --grid "
            "or a larger --size"
        )
    if pooling == "adaptive":
        return functional.adaptive_avg_pool2d(block, grid)
    pooled = functional.avg_pool2d(block, (height // grid, width // grid))
    return pooled[..., :grid, :grid]  # for 7 // 4 = 1 the map has 7 cells a side, not 4
