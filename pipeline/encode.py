"""Posts -> word pieces: tag alignment for entities, markers for relations."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from model.variants import PAPER, RELEASED
from pipeline.corpus import DataError, Post
from pipeline.corpus.post import Span
from pipeline.score import OUTSIDE


class Marker(str):
    """A marker's piece: a word of a post that is written in the same way is none."""


MARKERS = tuple(map(Marker, ("<head>", "</head>", "<tail>", "</tail>")))
# The published code's labels beside the tags: of padding, later pieces, and the two ends.
PAD, LATER, START, END = "PAD", "X", "[CLS]", "[SEP]"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Encoded:
    """One post as the model reads it.

    `positions` are places in `input_ids` that the head reads: for relations the opening markers of
    head and tail; for entities the CRF's tokens, at least one. `labels` go with them: one a token,
    or one relation; empty where the post has none. `words`: for entities, the number of each word's
    token, -1 for a word without one.
    """

    row: int  # number of the post, as in the index of the store
    input_ids: list[int]
    positions: list[int]
    labels: list[int]
    words: list[int] = field(default_factory=list)


def load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """The fast tokenizer of an encoder, by hub name or folder."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"the tokenizer of encoder {name!r} can't be loaded ({reason}); give the folder of a "
            "Hugging Face model with --encoder FOLDER, or go online once so that it can be "
            "downloaded"
        ) from error
    backend = tokenizer.backend_tokenizer
    if isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
        # Given word by word, a byte-level tokenizer would glue them all into one.
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


def scratch_tokenizer(posts: Iterable[Post], size: int = 4000) -> PreTrainedTokenizerFast:
    """A lower-casing word-piece tokenizer made of posts, for an encoder without weights.

    Its pieces are the commonest words whole, and all characters for the rest. (The trainer of the
    tokenizers package breaks ties by chance, so two runs with one seed would differ.)
    """
    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    counts = Counter(
        word
        for post in posts
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(" ".join(post.tokens)))
    )
    characters = sorted({character for word in counts for character in word})
    words = sorted(counts, key=lambda word: (-counts[word], word))[:size]
    pieces = [*SPECIAL, *characters, *("##" + c for c in characters), *words]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def add_markers(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """Give the tokenizer the four markers, and return their ids: the next four free ones."""
    tokenizer.add_tokens(list(MARKERS), special_tokens=True)
    return tuple(tokenizer.convert_tokens_to_ids(list(MARKERS)))


def entity_labels(tags: Sequence[str], style: str) -> list[str]:
    """The CRF's labels for tags that begin with O: these, or the published code's too."""
    return [PAD, *tags, LATER, START, END] if style == RELEASED else list(tags)


def encode_entities(
    posts: Mapping[int, Post],
    tokenizer: PreTrainedTokenizerFast,
    labels: Sequence[str],
    longest: int,
    style: str = PAPER,
) -> list[Encoded]:
    """Numbered posts -> word pieces, and a label for each token of the CRF.

    labels: as `entity_labels` gives them. Tokens are the words, at their first pieces; in style
    released all pieces, the two ends too. A word beyond `longest` pieces, or one that the tokenizer
    drops, has no token: it is tagged O. Raises DataError for a tag that is not in `labels`.
    """
    number = {label: n for n, label in enumerate(labels)}
    encoded = []
    pieces = _tokenize([post.tokens for post in posts.values()], tokenizer, longest)
    for (row, post), (ids, owners) in zip(posts.items(), pieces, strict=True):
        first: dict[int, int] = {}  # word -> place of its first piece
        for place, word in enumerate(owners):
            if word is not None:
                first.setdefault(word, place)
        # Without any word the CRF still needs a sequence: the first piece, taught as O.
        positions = [*range(len(ids))] if style == RELEASED else [*first.values()] or [0]
        token = {place: n for n, place in enumerate(positions)}
        words = [token[first[word]] if word in first else -1 for word in range(len(post.tokens))]
        found: list[int] = []
        if post.tags is not None:
            named = _token_labels(len(ids), positions, first, post.tags, style)
            found = [_number_of(label, number, post) for label in named]
        encoded.append(Encoded(row, ids, positions, found, words))
    return encoded


def _token_labels(
    pieces: int, positions: Sequence[int], first: Mapping[int, int], tags: Sequence[str], style: str
) -> list[str]:
    """What the CRF is taught for each token. first: word -> place of its first piece."""
    at = {place: tags[word] for word, place in first.items()}
    if style == RELEASED:
        at = {0: START, pieces - 1: END} | at
    return [at.get(place, LATER if style == RELEASED else OUTSIDE) for place in positions]


def encode_relations(
    posts: Mapping[int, Post],
    tokenizer: PreTrainedTokenizerFast,
    labels: Sequence[str],
    longest: int,
    style: str = PAPER,
) -> list[Encoded]:
    """Numbered posts with head and tail -> word pieces with markers around the two.

    A sentence that is too long loses the words that are farthest from its entities. Raises
    DataError where the entities alone don't fit, or for a relation that is not in `labels`.
    """
    number = {label: n for n, label in enumerate(labels)}
    markers: dict[str, int] = {
        marker: tokenizer.convert_tokens_to_ids(marker) for marker in MARKERS
    }
    mark = mark_as_released if style == RELEASED else mark_spans
    pieces = _tokenize([post.tokens for post in posts.values()], tokenizer, None)
    encoded = []
    for (row, post), (ids, owners) in zip(posts.items(), pieces, strict=True):
        ids, places = _insert(mark(post), markers, ids, owners)
        if len(ids) > longest:
            ids, places = _shorten(ids, places, longest, post)
        label = [_number_of(post.relation, number, post)] if post.relation is not None else []
        encoded.append(Encoded(row, ids, [places[MARKERS[0]], places[MARKERS[2]]], label))
    return encoded


def _insert(
    marked: Sequence[str],
    markers: Mapping[str, int],
    ids: Sequence[int],
    owners: Sequence[int | None],
) -> tuple[list[int], dict[str, int]]:
    """Put the markers' ids between a sentence's pieces. Returns the ids, and the markers' places.

    marked: the words and Markers in their order. owners: for each piece the number of its word.
    """
    inner = [place for place, word in enumerate(owners) if word is not None]
    # Of a sentence whose words are all dropped the two ends alone are left.
    start, stop = (inner[0], inner[-1] + 1) if inner else (len(ids) // 2, len(ids) // 2)
    of_word: dict[int, list[int]] = {}
    for place in inner:
        of_word.setdefault(owners[place] or 0, []).append(ids[place])
    found, word = list(ids[:start]), 0
    places: dict[str, int] = {}
    for item in marked:
        if isinstance(item, Marker):
            places[item] = len(found)
            found.append(markers[item])
        else:
            found.extend(of_word.get(word, ()))
            word += 1
    return [*found, *ids[stop:]], places


def mark_spans(post: Post) -> list[str]:
    """The tokens with a marker before and after head and tail.

    Where markers meet, a span closes before the next one opens; of nested spans the longer one is
    outside, and of equal ones the head.
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
    """The tokens with markers where the published code puts them.

    Before each word: the head's opening and closing marker, then the tail's, whichever are due. So
    a span that ends with the sentence is not closed, and one may open before another closes.
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


def _tokenize(
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerFast, longest: int | None
) -> list[tuple[list[int], list[int | None]]]:
    """For each sentence its piece ids, and for each piece the number of its word.

    Words are plain text: one that is written like a special piece ("[SEP]", "<s>", a marker) is
    cut into pieces as any other.
    """
    if not sentences:
        return []
    batch = tokenizer(
        [list(words) for words in sentences],
        is_split_into_words=True,  # without it, a list of words is taken for a list of sentences
        truncation=longest is not None,
        max_length=longest,
        split_special_tokens=True,
        verbose=False,
    )
    special = _special(tokenizer)
    unknown = tokenizer.unk_token_id
    return [
        _plain(ids, batch.word_ids(n), special, unknown) for n, ids in enumerate(batch["input_ids"])
    ]


def _special(tokenizer: PreTrainedTokenizerFast) -> set[int]:
    """The ids that no word may become. The unknown piece is one that words become."""
    added = tokenizer.added_tokens_decoder
    special = {id for id, token in added.items() if token.special} | {*tokenizer.all_special_ids}
    return special - {tokenizer.unk_token_id}


def _plain(
    ids: list[int], owners: list[int | None], special: set[int], unknown: int | None
) -> tuple[list[int], list[int | None]]:
    """Pieces of words that are special all the same, as the vocabulary has them: unknown."""
    if not any(owner is not None and id in special for id, owner in zip(ids, owners, strict=True)):
        return ids, owners
    pairs = [
        (unknown if owner is not None and id in special else id, owner)
        for id, owner in zip(ids, owners, strict=True)
    ]
    kept = [(id, owner) for id, owner in pairs if id is not None]
    return [id for id, _ in kept], [owner for _, owner in kept]


def _shorten(
    ids: list[int], places: Mapping[str, int], longest: int, post: Post
) -> tuple[list[int], dict[str, int]]:
    """Cut a marked sentence down to a window around its markers, first and last piece kept."""
    start, stop = min(places.values()), max(places.values()) + 1
    spare = longest - 2 - (stop - start)
    if spare < 0:
        raise DataError(
            f"post {post.id!r}: expected head and tail within {longest} word pieces, "
            f"found {stop - start + 2} from one to the other; raise --max-tokens"
        )
    left = min(spare // 2, start - 1)
    right = min(spare - left, len(ids) - 1 - stop)
    left = min(spare - right, start - 1)
    moved = start - left - 1
    window = [ids[0], *ids[start - left : stop + right], ids[-1]]
    return window, {marker: place - moved for marker, place in places.items()}


def _number_of(label: str | None, number: dict[str, int], post: Post) -> int:
    if label not in number:
        raise DataError(f"post {post.id!r}: expected one of {', '.join(number)}, found {label!r}")
    return number[label]
