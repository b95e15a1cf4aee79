"""Turn a data set's posts into records to predict."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.corpus.labels import entities_of
from pipeline.corpus.post import Post, Span
from pipeline.corpus.records import Entity
from pipeline.corpus.words import token_spans
from pipeline.description.texts import StoredTexts
from pipeline.errors import DataError
from pipeline.prediction.records import Record, item
from pipeline.training.possible import is_readable, repeated


def posts_to_predict(posts: Sequence[Post], finds_entities: bool) -> list[int]:
    """Return the numbers of the posts that can be predicted, in order.

    finds_entities: True with an entity model. It needs only a text; of posts with the same sentence
        and picture, as MNRE has for several relations, only the first is predicted. A relation
        model alone needs head and tail, or tags.

    Raises DataError if no post can be predicted.
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
            f"expected posts with head and tail, or with tags, for a relation model alone, found "
            f"none among {len(posts)}; add a model of TrainNER: --model RUN,RUN"
        )
    return numbers


def _again(posts: Sequence[Post]) -> set[int]:
    """Return the posts whose sentence and picture repeat those of an earlier post of the split.

    MNRE has one line per relation. Relations of one record (`ID#0`, `ID#1`) are left to `repeated`.
    """
    seen, again = set(), set()
    for number, post in enumerate(posts):
        if post.head is not None and "#" not in post.id:
            sentence = (post.split, post.tokens, post.picture)
            again |= {number} if sentence in seen else set()
            seen.add(sentence)
    return again


def record_of(
    number: int, post: Post, root: Path, finds_entities: bool, texts: StoredTexts | None = None
) -> Record:
    """Return a post of a data set as a record.

    number: number of the post in its data set, which becomes the number of the record's line.
    root: the data root, to which the post's files are relative.
    finds_entities: as for `posts_to_predict`; if True, the record has no entities, head or tail.
    texts: the texts of the data set's pictures; None if no model reads them.
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
        picture_text=None if texts is None else texts([number])[0],
        given=_given(post, [str(file) for file in pictures]),
    )


def _tagged(post: Post, words: Sequence[Span]) -> tuple[Entity, ...] | None:
    """Return the entities in a post's tags; None without tags."""
    if post.tags is None:
        return None
    return tuple(
        Entity(words[start][0], words[end - 1][1], label)
        for label, start, end in entities_of(post.tags)
    )


def _given(post: Post, pictures: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a post that its prediction repeats, in the format of records."""
    given: dict[str, Any] = {"id": post.id, "tokens": [*post.tokens]}
    if pictures:
        given["picture"] = pictures[0] if len(pictures) == 1 else [*pictures]
    if post.phrases is not None:
        given["phrases"] = [*post.phrases]
    if post.boxes is not None:
        given["boxes"] = [[*box] for box in post.boxes]
    return given
