"""A data set's posts as records to predict."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.corpus.labels import entities_of
from pipeline.corpus.post import Post, Span
from pipeline.corpus.records import Entity
from pipeline.corpus.words import token_spans
from pipeline.errors import DataError
from pipeline.prediction.records import Record, item
from pipeline.training.possible import is_readable, repeated


def posts_to_predict(posts: Sequence[Post], finds_entities: bool) -> list[int]:
    """The numbers of the posts that can be predicted, in order.

    finds_entities: an entity model takes part. It needs no more than a text, and reads a sentence
    once, however many relations the data set has of it. A relation model alone needs head and tail,
    or tags. Raises DataError where no post has them.
    """
    if finds_entities:
        again = repeated(posts) | _again(posts)
        return [number for number in range(len(posts)) if number not in again]
    numbers = [
        number
        for number, post in enumerate(posts)
        if is_readable("re", post) or post.tags is not None
    ]
    if not numbers:
        raise DataError(
            f"a relation model alone predicts posts with head and tail, or with tags; expected "
            f"some, found none among {len(posts)}; add a model of TrainNER: --model RUN,RUN"
        )
    return numbers


def _again(posts: Sequence[Post]) -> set[int]:
    """The numbers of relations whose sentence and picture an earlier relation of the split has.

    MNRE has a line a relation. Of records with several, `ID#0`, `ID#1`, `repeated` knows.
    """
    seen, again = set(), set()
    for number, post in enumerate(posts):
        if post.head is not None and "#" not in post.id:
            sentence = (post.split, post.tokens, post.picture)
            again |= {number} if sentence in seen else set()
            seen.add(sentence)
    return again


def record_of(number: int, post: Post, root: Path, finds_entities: bool) -> Record:
    """A post of a data set as a record.

    number: of the post in its data set, which becomes that of the record's line. root: the data
    root, which the post's files are relative to. finds_entities: as for `posts_to_predict`; the
    record then names none.
    """
    text = " ".join(post.tokens)
    words = token_spans(text, post.tokens)
    assert words is not None, post.id
    files = () if post.picture is None else (post.picture, *(post.crops or ()))
    pictures = tuple(root / file for file in files)
    pair = None if post.head is None or post.tail is None else (post.head, post.tail)
    return Record(
        line=item(number),
        text=text,
        words=tuple(words),
        entities=None if finds_entities or pair is not None else _tagged(post, words),
        pair=None if finds_entities else pair,
        pictures=pictures,
        phrases=post.phrases,
        boxes=post.boxes,
        given=_given(post, [str(file) for file in pictures]),
    )


def _tagged(post: Post, words: Sequence[Span]) -> tuple[Entity, ...] | None:
    """The entities that a post is tagged with."""
    if post.tags is None:
        return None
    return tuple(
        Entity(words[start][0], words[end - 1][1], label)
        for label, start, end in entities_of(post.tags)
    )


def _given(post: Post, pictures: Sequence[str]) -> dict[str, Any]:
    """The fields of a post that its prediction repeats, in the record's form."""
    given: dict[str, Any] = {"id": post.id, "tokens": [*post.tokens]}
    if pictures:
        given["picture"] = pictures[0] if len(pictures) == 1 else [*pictures]
    if post.phrases is not None:
        given["phrases"] = [*post.phrases]
    if post.boxes is not None:
        given["boxes"] = [[*box] for box in post.boxes]
    return given
