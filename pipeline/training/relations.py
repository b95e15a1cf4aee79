"""Relations: put markers around head and tail, and read the relation from the logits."""

from bisect import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from model.contract import System
from model.hvpnet.variants import PAPER, RELEASED
from pipeline.corpus.labels import NO_RELATION
from pipeline.corpus.post import Post, Span
from pipeline.training.calibration import Item
from pipeline.training.encode import Encoded, number_of, tokenize
from pipeline.training.heads import DIGITS, Head, Scored
from pipeline.training.score import relation_scores


class Marker(str):
    """A marker token. A post's own word spelled `<head>` is not a marker."""


_Piece = tuple[int, int]  # an id, and the number of its word
NO_WORD = -1  # of special pieces and markers
_PLACEHOLDERS = (-1, -1, -1, -1)  # of markers, removed again
_ENDS = (-1, -1)
MARKERS = tuple(map(Marker, ("<head>", "</head>", "<tail>", "</tail>")))


def add_markers(tokenizer: PreTrainedTokenizerBase, own: Sequence[str] = ()) -> tuple[int, ...]:
    """Return the ids of the four markers.

    own: pieces to mark with, if the tokenizer has all of them. Else four new ones are added, with
        the next free ids.
    """
    vocabulary = tokenizer.get_vocab()
    if own and all(piece in vocabulary for piece in own):
        return tuple(vocabulary[piece] for piece in own)
    tokenizer.add_tokens(list(MARKERS), special_tokens=True)
    return tuple(tokenizer.convert_tokens_to_ids(list(MARKERS)))


def encode_relations(
    posts: Mapping[int, Post],
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    longest: int,
    style: str = PAPER,
    markers: Sequence[int] | None = (),
) -> list[Encoded]:
    """Encode numbered posts as word pieces, with markers around head and tail.

    Without markers, `positions` are the first pieces of head and tail, then their last ones.

    A sentence that is too long loses the words farthest from its entities and, if these are too far
    apart, words between them too (`Encoded.cut`). A post whose entities alone are too long is left
    out.

    labels: the relations, in the order of their numbers.
    longest: word pieces per post, including special pieces and markers.
    markers: their ids, of `add_markers`; (): those of the four new pieces; None: no markers.

    Raises DataError for a relation that is not in `labels`.
    """
    number = {label: place for place, label in enumerate(labels)}
    marked = markers is not None
    if not markers:
        markers = tokenizer.convert_tokens_to_ids(list(MARKERS)) if marked else _PLACEHOLDERS
    marker_ids: dict[str, int] = dict(zip(MARKERS, markers, strict=True))
    limit = longest if marked else longest + len(MARKERS) + len(_ENDS)
    mark = mark_as_released if style == RELEASED else mark_spans
    sentences = list(dict.fromkeys(post.tokens for post in posts.values()))  # pairs share them
    pieces_of = dict(zip(sentences, tokenize(sentences, tokenizer, None), strict=True))
    encoded = []
    for n, post in posts.items():
        ids, owners = pieces_of[post.tokens]
        if not marked:  # words have no special pieces, but windows keep the two ends
            ids, owners = [_ENDS[0], *ids, _ENDS[1]], [None, *owners, None]
        label = [number_of(post.relation, number, post)] if post.relation is not None else []
        pieces, places = _insert(mark(post), marker_ids, ids, owners)
        cut = False
        if len(pieces) > limit:
            kept = _kept(len(pieces), places, limit)
            if kept is None:
                continue
            cut = len(kept) > 1
            pieces, places = _shorten(pieces, places, kept)
        positions = [places[MARKERS[0]], places[MARKERS[2]]]
        if not marked:
            pieces, positions = _bare(pieces, places)
        ids, words = map(list, zip(*pieces, strict=True))
        encoded.append(Encoded(n, ids, positions, label, cut=cut, owners=words))
    return encoded


def _insert(
    marked: Sequence[str],
    markers: Mapping[str, int],
    ids: Sequence[int],
    owners: Sequence[int | None],
) -> tuple[list[_Piece], dict[str, int]]:
    """Insert the markers into a sentence's pieces. Returns the pieces, and the markers' places.

    marked: the words and Markers in their order.
    markers: marker -> id.
    owners: the number of each piece's word; None for special pieces.
    """
    inner = [place for place, word in enumerate(owners) if word is not None]
    # If the tokenizer drops all words, only the two ends are left.
    start, stop = (inner[0], inner[-1] + 1) if inner else (len(ids) // 2, len(ids) // 2)
    of_word: dict[int, list[_Piece]] = {}
    for place in inner:
        owner = owners[place] or 0
        of_word.setdefault(owner, []).append((ids[place], owner))
    result, word = [(id, NO_WORD) for id in ids[:start]], 0
    places: dict[str, int] = {}
    for item in marked:
        if isinstance(item, Marker):
            places[item] = len(result)
            result.append((markers[item], NO_WORD))
        else:
            result.extend(of_word.get(word, ()))
            word += 1
    return [*result, *((id, NO_WORD) for id in ids[stop:])], places


def mark_spans(post: Post) -> list[str]:
    """Return the tokens with a marker before and after head and tail.

    Where markers meet, a span closes before the next opens. Of nested spans the longer is outside;
    of equal spans the head is.
    """
    spans = dict(enumerate(_spans(post)))  # number of the span -> [start, end)
    tokens: list[str] = []
    for place in range(len(post.tokens) + 1):
        closing = [n for n, (_, end) in spans.items() if end == place]
        for n in sorted(closing, key=lambda n: (spans[n][0], n), reverse=True):
            tokens.append(MARKERS[2 * n + 1])
        opening = [n for n, (start, _) in spans.items() if start == place]
        for n in sorted(opening, key=lambda n: (-spans[n][1], n)):
            tokens.append(MARKERS[2 * n])
        tokens.extend(post.tokens[place : place + 1])
    return tokens


def mark_as_released(post: Post) -> list[str]:
    """Return the tokens with markers where the published code puts them.

    Markers are put before a word only: the head's opening and closing marker, then the tail's. So a
    span that ends with the sentence is not closed, and a span may open before the other closes.
    """
    places = [place for span in _spans(post) for place in span]
    tokens: list[str] = []
    for n, word in enumerate(post.tokens):
        tokens += [marker for marker, place in zip(MARKERS, places, strict=True) if place == n]
        tokens.append(word)
    return tokens


def _spans(post: Post) -> tuple[Span, Span]:
    assert post.head is not None, post.id
    assert post.tail is not None, post.id
    return post.head, post.tail


def _kept(length: int, places: Mapping[str, int], longest: int) -> list[range] | None:
    """Return the places to keep of a marked sentence, beside its first and last piece.

    These are a window around both entities or, if they are too far apart, a window around each.
    Returns None if the entities alone do not fit. length: of the sentence, in pieces.
    """
    start, stop = min(places.values()), max(places.values()) + 1
    spare = longest - 2 - (stop - start)
    if spare < 0:
        return _two_windows(length, places, longest)
    left = min(spare // 2, start - 1)
    right = min(spare - left, length - 1 - stop)
    left = min(spare - right, start - 1)
    return [range(start - left, stop + right)]


def _two_windows(length: int, places: Mapping[str, int], longest: int) -> list[range] | None:
    """Return a window for each entity: the spare pieces are shared evenly by the four sides."""
    last = length - 2  # end of a span that the published code does not close
    (start, middle), (second, stop) = sorted(
        (places[MARKERS[n]], places.get(MARKERS[n + 1], last) + 1) for n in (0, 2)
    )
    spare = longest - 2 - (middle - start) - (stop - second)
    if spare < 0 or middle > second:
        return None
    before = min(spare // 4, start - 1)
    after = min(spare // 4, length - 1 - stop)
    inner = spare - before - after
    first = range(start - before, middle + inner - inner // 2)
    return [first, range(second - inner // 2, stop + after)]


def _shorten(
    pieces: Sequence[_Piece], places: Mapping[str, int], kept: Sequence[range]
) -> tuple[list[_Piece], dict[str, int]]:
    """Return the kept pieces with the first and last one, and the markers' new places."""
    old = [0, *(place for window in kept for place in window), len(pieces) - 1]
    new = {place: n for n, place in enumerate(old)}
    return [pieces[place] for place in old], {marker: new[at] for marker, at in places.items()}


def _bare(pieces: Sequence[_Piece], places: Mapping[str, int]) -> tuple[list[_Piece], list[int]]:
    """Return the pieces of words alone, with the places of both entities' first and last pieces."""
    words = [place for place, (_, owner) in enumerate(pieces) if owner != NO_WORD]
    firsts = [bisect(words, places[MARKERS[n]]) for n in (0, 2)]
    lasts = [bisect(words, places[MARKERS[n]]) - 1 for n in (1, 3)]
    return [pieces[place] for place in words], [*firsts, *lasts]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits (B, labels), in float64 (HVPNeT, Eq. 11)."""
    return torch.softmax(torch.from_numpy(logits).double(), -1).numpy()


class Relations(Head):
    """The relation task: the relation of each post's head to its tail."""

    name = "re"
    least_tokens = 8  # two ends, four markers and two words
    add_markers = staticmethod(add_markers)
    encode = staticmethod(encode_relations)
    scores = staticmethod(relation_scores)

    def gold(self, post: Post) -> str | None:
        return post.relation

    def classes(self, post: Post) -> set[str]:
        return set() if post.relation is None else {post.relation}

    def labels(self, known: Sequence[str], style: str) -> list[str]:
        return list(known)

    def collate(self, posts: Sequence[Encoded]) -> dict[str, Tensor]:
        """Return markers (B, 2 or 4): `positions` of each post, and labels (B,)."""
        batch = {"markers": torch.tensor([post.positions for post in posts])}
        if all(post.labels for post in posts):
            batch["labels"] = torch.tensor([post.labels[0] for post in posts])
        return batch

    def read(
        self, answers: np.ndarray, encoded: Sequence[Encoded], labels: Sequence[str]
    ) -> list[str]:
        """Return the most probable relation of each post. answers: logits (posts, labels)."""
        return [labels[number] for number in answers.argmax(-1)]

    def read_scored(
        self,
        outputs: Any,
        encoded: Sequence[Encoded],
        labels: Sequence[str],
        model: System,
    ) -> list[Scored]:
        """Return each post's relation, with its probability. outputs: logits (posts, labels)."""
        answers, best = self.read(outputs, encoded, labels), probabilities(outputs).max(-1)
        return [Scored(*pair) for pair in zip(answers, best.tolist(), strict=True)]

    def unread(self, post: Post) -> str:
        return NO_RELATION

    def items(self, gold: str, predicted: Scored) -> list[Item]:
        """Return the predicted relation. None counts too: it has a probability of being correct."""
        if predicted.scores is None:
            return []
        answer = predicted.answer
        return [Item(predicted.scores, answer == gold, counted=answer != NO_RELATION)]

    def asked(self, gold: str) -> int:
        return int(gold != NO_RELATION)

    def as_fields(self, predicted: Scored) -> dict[str, Any]:
        fields: dict[str, Any] = {"predicted_relation": predicted.answer}
        if predicted.scores is not None:
            fields["score"] = round(predicted.scores, DIGITS)
        return fields
