"""Test the paired bootstrap: against a plain loop over draws, and on cases with known answers."""

import numpy as np
import pytest

from pipeline.experiments.significance import Bootstrap, f1_of


def made(seed: int, runs: int = 3, posts: int = 40) -> np.ndarray:
    """Return counts (runs, posts, 3): correct, predicted, gold."""
    random = np.random.default_rng(seed)
    gold = random.integers(0, 3, posts)
    predicted = random.integers(0, 3, (runs, posts))
    correct = random.integers(0, np.minimum(gold, predicted) + 1)
    return np.stack([correct, predicted, np.broadcast_to(gold, predicted.shape)], -1)


def f1(correct: int, predicted: int, gold: int) -> float:
    precision = correct / predicted if predicted else 0.0
    recall = correct / gold if gold else 0.0
    return 200 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_f1_is_that_of_its_definition() -> None:
    counts = made(0).sum(1)
    assert f1_of(counts) == pytest.approx([f1(*row) for row in counts.tolist()])
    assert f1_of(np.zeros((2, 3))) == pytest.approx([0, 0])


def test_draws_are_those_of_a_plain_loop() -> None:
    counts, draws = made(1), 700  # more than a chunk
    random = np.random.default_rng(5)
    posts = counts.shape[1]
    expected: list[list[float]] = []
    for size in (500, 200):
        for weights in random.multinomial(posts, [1 / posts] * posts, size=size):
            drawn = [np.repeat(run, weights, axis=0).sum(0) for run in counts]
            expected.append([f1(*row) for row in drawn])
    found = Bootstrap(counts, draws, seed=5).drawn
    assert found == pytest.approx(np.array(expected))


def test_a_difference_is_that_of_means_over_runs() -> None:
    counts = made(2, runs=4)
    bootstrap = Bootstrap(counts, draws=400)
    found = bootstrap.difference([0, 1], [2, 3])
    apart = bootstrap.drawn[:, :2].mean(1) - bootstrap.drawn[:, 2:].mean(1)
    f1s = [f1(*row) for row in counts.sum(1).tolist()]
    assert found.value == pytest.approx((f1s[0] + f1s[1] - f1s[2] - f1s[3]) / 2)
    assert (found.low, found.high) == pytest.approx(np.quantile(apart, [0.025, 0.975]))


def test_equal_runs_differ_by_nothing() -> None:
    counts = np.repeat(made(3, runs=1), 2, axis=0)
    found = Bootstrap(counts, draws=200).difference([0], [1])
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_run_that_is_better_on_each_post_is_better_in_each_draw() -> None:
    gold = np.full(50, 2)
    better = np.stack([gold, gold, gold], -1)
    worse = np.stack([gold - 1, gold, gold], -1)
    found = Bootstrap(np.stack([better, worse]), draws=200).difference([0], [1])
    assert found.value == pytest.approx(50)
    assert (found.low, found.high) == pytest.approx((50, 50))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """100 samples of 200 posts with a true F1 of 70: the interval misses it a few times."""
    random = np.random.default_rng(0)
    missed = 0
    for _ in range(100):
        right = random.random(200) < 0.7
        ones = np.ones(200, dtype=int)
        counts = np.stack([right.astype(int), ones, ones], -1)[None]
        found = Bootstrap(counts, draws=300).mean([0])
        missed += not found.low <= 70 <= found.high
    assert 1 <= missed <= 12
