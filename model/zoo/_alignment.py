"""MEGA's structural alignment: how alike words and objects are linked (REGAL's xNetMF).

The text graph joins words by their dependencies, the picture graph joins objects; no edge joins the
two. The published code takes random landmarks and the SVD of a pseudo-inverse. Where the landmarks
hold every distinct feature, as up to 58 nodes, that is the closed form of `similarity`.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

BUCKETS = 8  # of degrees by their log₂; the last holds all from 128 on
HOPS, DISCOUNT = 2, 0.01  # a node that is n hops away counts 0.01ⁿ
SLOTS, KEPT = 10, 5  # objects of the published code, and how many of them a word keeps


def degree_features(edges: Iterable[tuple[int, int]], nodes: int) -> np.ndarray:
    """Return the degrees around each node (N, D), float64; all-zero for a node without edges.

    edges: pairs of nodes, without direction. nodes: N.
    """
    near: list[set[int]] = [set() for _ in range(nodes)]
    for a, b in edges:
        near[a].add(b)
        near[b].add(a)
    features = np.zeros((nodes, BUCKETS))
    for node in range(nodes):
        seen: set[int] = set()
        ring = {node}
        for hop in range(HOPS + 1):
            for other in ring:
                if near[other]:
                    features[node, _bucket(len(near[other]))] += DISCOUNT**hop
            seen |= ring
            ring = set().union(*(near[other] for other in ring)) - seen
    return features


def _bucket(degree: int) -> int:
    return min(degree.bit_length(), BUCKETS) - 1


def star_features(objects: int) -> np.ndarray:
    """Return features of the picture and of its crops for each number of crops (R, 2, D).

    An edge joins the whole picture to each crop. objects: R, the picture and its most crops.
    """
    stars = [[(0, crop + 1) for crop in range(crops)] for crops in range(objects)]
    return np.stack([degree_features(star, objects + 1)[:2] for star in stars])


def similarity(some: Tensor, others: Tensor) -> Tensor:
    """Return how alike nodes are linked (…, N, M), from 0 to 1 for equal features.

    some: features (…, N, D). others: features (…, M, D).
    """
    distances = (some[..., :, None, :] - others[..., None, :, :]).norm(dim=-1)
    return (-(2 - 2 * (-distances).exp()).clamp(min=0).sqrt()).exp()


def released_alignment(features: Tensor) -> Tensor:
    """Return the published matrix of E edges (E + 1, 10): each row keeps its five largest values.

    features: (E + 11, D). The published code takes the last ten nodes for the objects, which they
    are only if the words form a tree and no edge joins objects. Of equal values the first count.
    """
    values = similarity(features[:-SLOTS], features[-SLOTS:])
    best = values.argsort(dim=1, descending=True, stable=True)[:, :KEPT]
    return torch.zeros_like(values).scatter(1, best, values.gather(1, best))


def released_relation(alignment: Tensor, empty: Sequence[int], length: int) -> Tensor:
    """Return the published values of all pieces and objects (T, 10).

    As its loader: without the matrix's first row, filled up with zeros; then zero rows are inserted
    one after the other.

    alignment: of `released_alignment`. empty: the places of these rows. length: T.
    """
    rows = [*alignment[1:]]
    zero = alignment.new_zeros(alignment.shape[1])
    rows += [zero] * (length - len(rows))
    for place in empty:
        rows.insert(place, zero)
    return torch.stack(rows[:length])
