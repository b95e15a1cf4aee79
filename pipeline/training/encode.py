"""Texts -> word pieces, and which word each piece is of."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from features.errors import need_readable
from features.grounding.hub import ask_hub
from pipeline.corpus.post import Post
from pipeline.errors import DataError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Encoded:
    """One post as the model reads it.

    `positions` are places in `input_ids` that the head reads: for relations the opening markers of
    head and tail; for entities the CRF's tokens, at least one. `labels` go with them: one a token,
    or one relation; empty where the post has none. `words`: for entities, the number of each word's
    token, -1 for a word without one.
    """

    number: int  # of the post, as in the index of the store
    input_ids: list[int]
    positions: list[int]
    labels: list[int]
    words: list[int] = field(default_factory=list)


def load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """The fast tokenizer of an encoder, by hub name or folder.

    A hub's is taken from the cache, else downloaded. Raises DataError, within seconds where the hub
    is out of reach, AccessError for a folder that may not be read.
    """
    need_readable(name)
    try:
        tokenizer = _from_cache(name)
        if tokenizer is None:
            if not Path(name).is_dir():
                ask_hub(name)
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


def _from_cache(name: str) -> PreTrainedTokenizerFast | None:
    """The hub's tokenizer of that name if this machine has it."""
    if Path(name).is_dir():
        return None
    try:
        return AutoTokenizer.from_pretrained(name, use_fast=True, local_files_only=True)
    except OSError:
        return None


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


def tokenize(
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


def number_of(label: str | None, number: dict[str, int], post: Post) -> int:
    if label not in number:
        raise DataError(f"post {post.id!r}: expected one of {', '.join(number)}, found {label!r}")
    return number[label]
