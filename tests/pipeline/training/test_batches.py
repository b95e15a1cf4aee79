"""Batches: padding, absent regions, and the order of posts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from features.reader import Reader
from features.store import write_shard
from pipeline.extraction.index import StoredPyramids
from pipeline.training.batches import IGNORED, BucketSampler, Collator
from pipeline.training.encode import Encoded
from pipeline.training.entities import Entities
from pipeline.training.relations import Relations

KEYS = [bytes([n]) * 32 for n in range(3)]


@pytest.fixture
def pyramids(tmp_path: Path) -> StoredPyramids:
    rows = np.arange(3 * 15 * 4, dtype=np.float16).reshape(3, 15, 2, 2)
    shards = [write_shard(tmp_path, KEYS[:2], rows[:2]), write_shard(tmp_path, KEYS[2:], rows[2:])]
    index = np.array([[[0, 1], [1, 0]], [[0, 0], [-1, -1]]], np.int32)
    absent = (1, 0)
    return StoredPyramids(Reader(tmp_path, shards), index, absent, {}, (1, 2, 4, 8), 2)


def test_posts_and_slots_get_their_stored_rows(pyramids: StoredPyramids) -> None:
    batch = pyramids([1, 0])
    assert batch["regions"].tolist() == [[True, False], [True, True]]
    firsts = batch["pyramid"][..., 0, 0, 0].tolist()
    assert firsts == [
        [0.0, 120.0],
        [60.0, 120.0],
    ]  # an absent region has the row of an all-zero input
    assert batch["pyramid"].dtype == torch.float16


def test_word_batch() -> None:
    posts = [
        Encoded(0, [101, 7, 8, 9, 102], [1, 3], [4, 6], [0, -1, 1]),
        Encoded(1, [101, 7, 102], [1], [2], [0]),
    ]
    batch = Collator(padding=0, collate=Entities().collate)(posts)
    assert batch["input_ids"].tolist() == [[101, 7, 8, 9, 102], [101, 7, 102, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch["words"].tolist() == [[1, 3], [1, -1]]
    assert batch["labels"].tolist() == [[4, 6], [2, IGNORED]]


def test_marker_batch_with_pictures(pyramids: StoredPyramids) -> None:
    posts = [Encoded(1, [101, 5, 102], [1, 2], [3]), Encoded(0, [101, 102], [0, 1], [2])]
    batch = Collator(padding=9, collate=Relations().collate, pictures=pyramids)(posts)
    assert batch["markers"].tolist() == [[1, 2], [0, 1]]
    assert batch["labels"].tolist() == [3, 2]
    assert batch["input_ids"].tolist() == [[101, 5, 102], [101, 102, 9]]
    assert batch["pyramid"][..., 0, 0, 0].tolist() == [[0.0, 120.0], [60.0, 120.0]]


def test_each_post_is_once_in_an_epoch_and_batches_have_similar_lengths() -> None:
    lengths = np.random.default_rng(0).integers(5, 80, 1003)
    sampler = BucketSampler(lengths.tolist(), batch_size=10, seed=1)
    order = list(sampler)
    assert sorted(order) == list(range(1003))
    spreads = [np.ptp(lengths[order[n : n + 10]]) for n in range(0, 1000, 10)]
    assert np.mean(spreads) < 5


def test_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = list(range(100))
    orders = []
    for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0)):
        sampler = BucketSampler(lengths, batch_size=4, seed=seed)
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != orders[3]
