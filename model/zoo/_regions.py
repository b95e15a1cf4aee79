"""The last block of the backbone, as systems read it beside HVPNeT's pyramid."""

from torch import Tensor


def region_vectors(pyramid: Tensor, regions: Tensor, channels: int) -> Tensor:
    """Return a vector (B, R, C) for each region: the mean of its last block's cells.

    A missing region has zeros. pyramid: (B, R, ΣC, h, w). regions: (B, R) bool. channels: C.
    """
    means = pyramid[:, :, -channels:].mean((-1, -2))
    return means.where(regions[..., None], 0)


def picture_cells(pyramid: Tensor, regions: Tensor, channels: int) -> Tensor:
    """Return the cells (B, hw, C) of the whole picture's last block; zeros for a missing picture.

    Arguments as for `region_vectors`.
    """
    last = pyramid[:, 0, -channels:]
    return last.where(regions[:, 0, None, None, None], 0).flatten(2).transpose(1, 2)
