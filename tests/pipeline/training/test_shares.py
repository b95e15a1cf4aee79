"""Shares of the training posts: their size, nesting, classes, and what is trained on."""

import logging
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from model.config import ExtractorConfig
from pipeline.corpus.post import Post
from pipeline.training import train as training
from pipeline.training.config import SCRATCH, TrainConfig
from pipeline.training.encode import load_tokenizer
from pipeline.training.head_of import HEADS
from pipeline.training.recipes import train_config
from pipeline.training.shares import draw

RARE = {7 * n: {"common"} for n in range(200)} | {3: {"rare"}, 5: {"rarest", "common"}}
SHARES = (0.01, 0.05, 0.1, 0.3, 1.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("with_replacement", [False, True])
def test_draws_are_nested_and_of_the_rounded_size(seed: int, with_replacement: bool) -> None:
    draws = [draw(RARE, share, seed, with_replacement) for share in SHARES]
    assert [len(numbers) for numbers in draws] == [2, 10, 20, 61, 202]
    for smaller, larger in pairwise(draws):
        assert larger[: len(smaller)] == smaller


@pytest.mark.parametrize("seed", range(5))
def test_without_replacement_posts_are_distinct_and_each_class_is_kept(seed: int) -> None:
    numbers = draw(RARE, 0.05, seed)
    assert len({*numbers}) == len(numbers)
    assert set.union(*(RARE[number] for number in numbers)) == {"common", "rare", "rarest"}
    assert sorted(draw(RARE, 1.0, seed)) == sorted(RARE)


def test_the_first_post_of_each_class_is_moved_to_the_front() -> None:
    order = draw(dict.fromkeys(range(50), ()), 1.0, seed=0)  # without classes: the permutation
    classes = {n: {str(n % 3)} for n in range(50)}
    first = [next(n for n in order if n % 3 == k) for k in range(3)]
    expected = [*sorted(first, key=order.index), *(n for n in order if n not in first)]
    assert expected != order
    assert draw(classes, 1.0, seed=0) == expected


def test_with_replacement_posts_are_independent_draws() -> None:
    numbers = [n for seed in range(50) for n in draw(RARE, 1.0, seed, with_replacement=True)]
    assert 0.61 < len({*numbers[:202]}) / 202 < 0.66  # 1 - 1/e
    assert 30 < Counter(numbers)[3] < 75  # expected: 50


def test_another_seed_draws_other_posts_and_one_post_is_the_least() -> None:
    assert draw(RARE, 0.3, 1) == draw(RARE, 0.3, 1)
    assert {*draw(RARE, 0.3, 1)} != {*draw(RARE, 0.3, 2)}
    assert len(draw({4: {"a"}, 9: {"b"}}, 0.01, 0)) == 1


def test_classes_of_posts_are_relations_and_types_of_entities() -> None:
    words, tags = ("Ada", "went", "home"), ("B-PER", "O", "I-LOC")
    post = Post("1", "train", words, tags=tags, relation="None", head=(0, 1), tail=(2, 3))
    assert HEADS["re"].classes(post) == {"None"}
    assert HEADS["ner"].classes(post) == {"PER", "LOC"}


def test_settings_of_a_draw_without_effect_are_fixed() -> None:
    def fixed(**values: object) -> tuple[object, ...]:
        config = train_config("re", "mnre", values)
        return config.train_share, config.train_seed, config.with_replacement

    assert fixed(train_seed=7) == (1.0, None, False)
    assert fixed(train_share=0.5, train_seed=1234) == (0.5, None, False)
    assert fixed(train_share=0.5, train_seed=7) == (0.5, 7, False)
    assert fixed(with_replacement=True, train_seed=7) == (1.0, 7, True)


def post_of(number: int, split: str) -> Post:
    """A post with a word of its own, and one of two relations."""
    tokens, relation = ("Ada", f"word{number}", "Bob"), ("None", "likes")[number % 2]
    return Post(str(number), split, tokens, head=(0, 1), tail=(2, 3), relation=relation)


@pytest.mark.parametrize("with_replacement", [False, True])
def test_training_uses_the_drawn_posts_alone(
    with_replacement: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    posts = [post_of(n, "train") for n in range(40)]
    posts += [post_of(n, split) for split in ("val", "test") for n in range(5)]
    config = TrainConfig(
        variant="text-only",
        encoder=SCRATCH,
        epochs=1,
        train_share=0.5,
        train_seed=3,
        with_replacement=with_replacement,
    )
    seen: dict[str, list[int]] = {}
    make_trainer = training.make_trainer

    def spy(model: Any, encoded: Mapping[str, Any], *others: Any) -> Any:
        seen.update({name: [post.number for post in chosen] for name, chosen in encoded.items()})
        return make_trainer(model, encoded, *others)

    monkeypatch.setattr(training, "make_trainer", spy)
    labels = ["None", "likes", "of-no-drawn-post"]
    result = training.train(HEADS["re"], posts, labels, config, None, tmp_path, "cpu", 1.0)
    classes = {n: HEADS["re"].classes(post) for n, post in enumerate(posts[:40])}
    expected = draw(classes, 0.5, 3, with_replacement)
    assert seen == {"train": sorted(expected), "val": [*range(40, 45)], "test": [*range(45, 50)]}
    assert (len({*expected}) < 20) == with_replacement
    assert result["posts"] == {"train": 20, "val": 5, "test": 5}
    counts = {"labelled": 40, "drawn": 20, "distinct": len({*expected})}
    assert result["training_posts"] == counts
    [line] = [r.getMessage() for r in caplog.records if "drawn" in r.getMessage()]
    assert line.startswith(f"training on 20 of 40 posts, {len({*expected})} of them distinct")
    tokenizer = load_tokenizer(str(tmp_path / "model"))
    known = {n for n in range(40) if f"word{n}" in tokenizer.get_vocab()}
    assert known == {*expected}  # the scratch tokenizer is made from them
    assert ExtractorConfig.from_pretrained(tmp_path / "model").num_labels == 3
