"""Picture texts: the text of a post's picture becomes a second segment behind its sentence."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from pipeline.training.encode import Encoded, tokenize

log = logging.getLogger(__name__)

Texts = Callable[[Sequence[int]], list[str]]  # numbers of posts -> the texts of their pictures


def with_texts(
    encoded: Sequence[Encoded],
    texts: Texts,
    tokenizer: PreTrainedTokenizerBase,
    most: int,
    split: Callable[[str], list[str]] = str.split,
) -> list[Encoded]:
    """Put the text of each post's picture behind its sentence, as the second of a pair.

    The sentence keeps its pieces, positions, labels and words. A post without a text stays as it
    is. The separators are those that the tokenizer puts around the second sentence of a pair, such
    as `text [SEP]` for BERT and `</s> text </s>` for RoBERTa.

    most: pieces added per post, including separators; a longer text loses its end.
    split: splits a text into words.
    """
    before, after = separators(tokenizer)
    room = most - len(before) - len(after)
    own = texts([post.number for post in encoded])
    different = list(dict.fromkeys(own))  # several posts may be of one text
    pieces = tokenize([split(text) for text in different], tokenizer, None)
    pieces_of = dict(zip(different, pieces, strict=True))
    added = []
    for post, text_of_post in zip(encoded, own, strict=True):
        ids, owners = pieces_of[text_of_post]
        text = [id for id, owner in zip(ids, owners, strict=True) if owner is not None][:room]
        extra = [*before, *text, *after] if text else []
        added.append(replace(post, input_ids=[*post.input_ids, *extra], knowledge=len(extra)))
    return added


def log_texts(encoded: Mapping[str, Sequence[Encoded]], most: int) -> None:
    """Log how many posts of each split have a picture text, and how many texts fill their room."""
    for name, posts in encoded.items():
        lengths = [post.knowledge for post in posts if post.knowledge]
        log.info(
            "%s: %d of %d posts have a picture text, %d of them of %d word pieces or more",
            name,
            len(lengths),
            len(posts),
            sum(length == most for length in lengths),
            most,
        )


def separators(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the special pieces before and after a second sentence that follows a whole first one.

    If the tokenizer knows no pairs that begin like a single sentence, these are none before it, and
    after it the pieces that end a single sentence.
    """
    single, pair = _ends(tokenizer, None), _ends(tokenizer, "a")
    end = single[-1]
    if len(pair) < 3 or pair[1][: len(end)] != end or pair[0] != single[0]:
        return [], end
    return pair[1][len(end) :], pair[2]


def _ends(tokenizer: PreTrainedTokenizerBase, second: str | None) -> list[list[int]]:
    """Return the runs of special pieces around the sentences "a" and `second`, in their order."""
    if tokenizer.is_fast:
        other = None if second is None else [second]
        encoding = tokenizer(["a"], other, is_split_into_words=True)
        ids, sentences = encoding["input_ids"], encoding.sequence_ids()
    else:
        places = [-1], None if second is None else [-2]  # of the sentences
        ids = tokenizer.build_inputs_with_special_tokens(*places)
        sentences = [{-1: 0, -2: 1}.get(id) for id in ids]
    runs: list[list[int]] = [[]]
    current = None
    for id, sentence in zip(ids, sentences, strict=True):
        if sentence is None:
            runs[-1].append(id)
        elif sentence != current:
            runs.append([])
            current = sentence
    return runs
