"""Compare the marginals of a CRF with sums over every tag sequence."""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from model.marginals import Chain
from model.ner import EntityTagger
from tests.tiny import extractor_config


def random_chain(tokens: int, tags: int, seed: int = 0, scale: float = 1.0) -> Chain:
    draw = np.random.default_rng(seed)
    shapes = ((tags,), (tags, tags), (tags,), (tokens, tags))
    return Chain(*(scale * draw.normal(size=shape) for shape in shapes))


def brute_force(chain: Chain, allowed: Mapping[int, np.ndarray]) -> float:
    """Compute `Chain.probability` by a sum over all sequences."""
    tokens, tags = chain.emissions.shape
    total = within = 0.0
    for sequence in itertools.product(range(tags), repeat=tokens):
        score = chain.start[sequence[0]] + chain.end[sequence[-1]]
        score += sum(chain.emissions[place, tag] for place, tag in enumerate(sequence))
        score += sum(chain.transitions[pair] for pair in itertools.pairwise(sequence))
        total += math.exp(score)
        if all(mask[sequence[place]] for place, mask in allowed.items()):
            within += math.exp(score)
    return within / total


@pytest.mark.parametrize("places", [(0,), (3,), (1, 2), (0, 3), (0, 2, 3), (0, 1, 2, 3)])
def test_probability_by_brute_force(places: tuple[int, ...]) -> None:
    chain = random_chain(tokens=4, tags=3)
    draw = np.random.default_rng(1)
    allowed = {place: draw.permutation([True, True, False]) for place in places}
    assert chain.probability(allowed) == pytest.approx(brute_force(chain, allowed), rel=1e-12)


def test_one_token() -> None:
    chain = random_chain(tokens=1, tags=3)
    allowed = {0: np.array([False, True, False])}
    assert chain.probability(allowed) == pytest.approx(brute_force(chain, allowed), rel=1e-12)


def test_tags_at_a_place_sum_to_one() -> None:
    chain = random_chain(tokens=5, tags=4)
    for place in range(5):
        assert sum(chain.probability({place: mask}) for mask in np.eye(4, dtype=bool)) == (
            pytest.approx(1, rel=1e-12)
        )


def test_without_a_constraint_it_is_certain_and_without_an_allowed_tag_impossible() -> None:
    chain = random_chain(tokens=3, tags=2)
    assert chain.probability({}) == 1
    assert chain.probability({1: np.array([False, False])}) == 0


def test_scores_whose_exponentials_overflow() -> None:
    """Only differences of scores matter, also in the thousands."""
    small = random_chain(tokens=4, tags=3)
    moved = Chain(small.start, small.transitions - 900, small.end, small.emissions + 4000)
    allowed = {1: np.array([True, False, False]), 2: np.array([False, True, True])}
    assert moved.probability(allowed) == pytest.approx(small.probability(allowed), rel=1e-9)
    sharp = random_chain(tokens=4, tags=3, scale=2000)
    assert sharp.probability({0: np.ones(3, dtype=bool)}) == 1


def test_a_taggers_chain_gives_the_likelihood_of_its_crf() -> None:
    torch.manual_seed(0)
    tagger = EntityTagger(extractor_config())
    torch.nn.init.normal_(tagger.crf.transitions)
    emissions, tags = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    expected = (
        tagger.crf(emissions[None], tags[None], torch.ones(1, 5, dtype=torch.bool), "none")
        .exp()
        .item()
    )
    masks = dict(enumerate(np.eye(3, dtype=bool)[tags.numpy()]))
    assert tagger.chain(emissions.numpy()).probability(masks) == pytest.approx(expected, rel=1e-5)
