"""Texts -> word pieces, each with the number of its word."""

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import (
    TOKENIZER_MAPPING_NAMES,
    tokenizer_class_from_name,
)

from features.errors import need_readable
from features.grounding.hub import (
    TOKENIZER,
    ask_hub,
    broken_json,
    missing_tokenizer_files,
    snapshot_folder,
    tokenizer_errors,
)
from pipeline.corpus.post import Post
from pipeline.engine.files import read_json
from pipeline.errors import DataError
from pipeline.training.possible import BESIDE

Pieces = tuple[list[int], list[int | None]]  # a sentence's piece ids, and each piece's word

# Errors that transformers raises if a tokenizer's files are missing, empty or damaged.
_DAMAGED = (OSError, ValueError, TypeError, AttributeError, LookupError, StrictDataclassError)
ELSEWHERE = (
    "give the folder of a Hugging Face model with --encoder FOLDER, or go online once so that it "
    "can be downloaded"
)
AGAIN = "put the files that the encoder was published with in their place"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Encoded:
    """An encoded post, the model's input.

    number: of the post, as in the index of the store.
    input_ids: word pieces, with special pieces and markers; then those of the picture's text.
    positions: places in `input_ids` that the head reads: for relations, the opening markers of head
        and tail; for entities, the CRF's tokens, at least one.
    labels: numbers of the labels: one per token, or one relation; empty if the post has none.
    words: for entities, the token of each word; -1 for a word without a token.
    cut: True if words between head and tail are left out.
    owners: the number of each piece's word; -1 for special pieces and markers.
    prepared: what the model's system reads beside the pieces; see `System.prepare`.
    knowledge: number of pieces at the end of `input_ids` that are of the picture's text.
    """

    number: int
    input_ids: list[int]
    positions: list[int]
    labels: list[int]
    words: list[int] = field(default_factory=list)
    cut: bool = False
    owners: list[int] = field(default_factory=list, repr=False, compare=False)
    prepared: Any = None
    knowledge: int = 0


def load_tokenizer(name: str, advice: str | None = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of an encoder; a fast one if its kind has one.

    A tokenizer of the hub is read from the cache, else downloaded.

    name: hub name or folder of the encoder.
    advice: end of the error messages; by default they mention --encoder.

    Raises DataError if the tokenizer can't be loaded (within seconds if the hub is out of reach),
    or if files are missing: transformers would make a tokenizer that knows no word. Raises
    AccessError for a folder that may not be read.
    """
    need_readable(name)
    try:
        with tokenizer_errors():
            tokenizer = _from_cache(name)
            if tokenizer is None:
                if not Path(name).is_dir():
                    ask_hub(name)
                tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True)
    except _DAMAGED as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        reason = _fault(Path(name), line) or line
        raise DataError(
            f"the tokenizer of encoder {name!r} can't be loaded ({reason}); "
            f"{advice or (AGAIN if Path(name).is_dir() else ELSEWHERE)}"
        ) from error
    if missing := _missing_files(tokenizer, name):
        raise DataError(f"{name}: the tokenizer's files are missing: {missing}; {advice or BESIDE}")
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        backend = tokenizer.backend_tokenizer
        if isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
            # Without a space before each word, a byte-level tokenizer would join all words.
            backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


def _from_cache(name: str) -> PreTrainedTokenizerBase | None:
    """Return a hub's tokenizer from the cache; None if the cache lacks it or some of its files."""
    if Path(name).is_dir():
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True, local_files_only=True)
    except OSError:
        return None
    return None if _missing_files(tokenizer, name) else tokenizer


def _missing_files(tokenizer: PreTrainedTokenizerBase, name: str) -> str:
    """Return the names of the tokenizer's files that are missing; "" if none is."""
    folder = Path(name) if Path(name).is_dir() else snapshot_folder(name)
    return missing_tokenizer_files(tokenizer.vocab_files_names, folder) if folder else ""


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer into a model's folder.

    The files of a tokenizer in Python are copied, as it may write them differently: BERTweet's
    loses the second half of each merge.
    """
    tokenizer.save_pretrained(folder)
    if tokenizer.is_fast:
        return
    for attribute, name in tokenizer.vocab_files_names.items():
        source = getattr(tokenizer, attribute, None)
        if source is not None and Path(source).is_file():
            shutil.copyfile(source, folder / name)


def _fault(folder: Path, line: str) -> str:
    """Return why a folder's tokenizer can't be loaded, judged by its files; "" if not a folder.

    line: the error of transformers, which rarely names the file and often blames another package.
    """
    if not folder.is_dir():
        return ""
    if broken := broken_json(folder):
        return broken
    name = _field(folder / "tokenizer_config.json", "tokenizer_class")
    if name is None:
        kind = _field(folder / "config.json", "model_type")
        if kind not in TOKENIZER_MAPPING_NAMES:
            return f"config.json: expected a model_type that transformers knows, found {kind!r}"
        name = TOKENIZER_MAPPING_NAMES[kind]
    tokenizer_class = tokenizer_class_from_name(name) if isinstance(name, str) else None
    if tokenizer_class is None:
        return f"transformers has no class {name!r}, which its configuration names"
    names = dict(tokenizer_class.vocab_files_names)
    if set(names.values()) <= {TOKENIZER, "tokenizer.model"}:  # the class has no other files
        missing = "" if (folder / TOKENIZER).is_file() else TOKENIZER
    else:
        missing = missing_tokenizer_files(names, folder)
    if missing:
        return f"the tokenizer's files are missing: {missing}"
    parts = [file for file in names.values() if (folder / file).is_file()]
    return f"not the files of a {tokenizer_class.__name__}: {', '.join(parts)}: {line}"


def _field(file: Path, name: str) -> Any:
    """Return a field of the JSON object in a file; None if the file or the field is missing."""
    return read_json(file).get(name) if file.is_file() else None


def scratch_tokenizer(posts: Iterable[Post], size: int = 4000) -> PreTrainedTokenizerFast:
    """Make a lower-casing word-piece tokenizer from posts, for an encoder without weights.

    Its pieces are the `size` most frequent words, and all characters for the other words. (The
    trainer of the tokenizers package breaks ties at random: runs with one seed would differ.)
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
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, longest: int | None
) -> list[Pieces]:
    """Return each sentence's piece ids, and the number of each piece's word (None: special piece).

    Words are plain text: a word spelled like a special piece ("[SEP]", "<s>", a marker) is split
    into pieces like any other, or becomes the unknown piece.

    longest: pieces per sentence, including special pieces; the others are dropped. None: no limit.
    """
    if not sentences:
        return []
    cut = _cut_fast if tokenizer.is_fast else _cut_slow
    special = _special(tokenizer)
    unknown = tokenizer.unk_token_id
    plain = [
        _plain(ids, owners, special, unknown) for ids, owners in cut(sentences, tokenizer, longest)
    ]
    # A tokenizer without special pieces leaves nothing of a sentence without words.
    return [pieces if pieces[0] else ([unknown], [None]) for pieces in plain]


def _cut_fast(
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, longest: int | None
) -> list[Pieces]:
    batch = tokenizer(
        [list(words) for words in sentences],
        is_split_into_words=True,  # else a list of words is read as a list of sentences
        truncation=longest is not None,
        max_length=longest,
        split_special_tokens=True,
        verbose=False,
    )
    return [(ids, batch.word_ids(n)) for n, ids in enumerate(batch["input_ids"])]


def _cut_slow(
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, longest: int | None
) -> list[Pieces]:
    """Tokenize word by word: tokenizers in Python (BERTweet's) do not give each piece's word."""

    @cache
    def ids_of(word: str) -> list[int]:
        pieces = tokenizer.tokenize(word, split_special_tokens=True)
        return list(tokenizer.convert_tokens_to_ids(pieces))

    ends = tokenizer.build_inputs_with_special_tokens([-1])  # -1: place of the sentence
    before, after = ends[: ends.index(-1)], ends[ends.index(-1) + 1 :]
    room = None if longest is None else max(0, longest - len(before) - len(after))
    cut: list[Pieces] = []
    for words in sentences:
        pairs = [(id, n) for n, word in enumerate(words) for id in ids_of(word)][:room]
        owners = [*[None] * len(before), *(n for _, n in pairs), *[None] * len(after)]
        cut.append(([*before, *(id for id, _ in pairs), *after], owners))
    return cut


def unknown_words(posts: Iterable[Post], tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Return the number of words with an unknown piece or without pieces, and of all words."""
    sentences = [post.tokens for post in posts]
    unknown = tokenizer.unk_token_id
    known = 0
    for ids, owners in tokenize(sentences, tokenizer, None):
        bad = {owner for id, owner in zip(ids, owners, strict=True) if id == unknown}
        known += len(set(owners) - bad - {None})
    total = sum(map(len, sentences))
    return total - known, total


def _special(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the ids that no word may get: all special ones except the unknown piece's."""
    added = tokenizer.added_tokens_decoder
    special = {id for id, token in added.items() if token.special} | {*tokenizer.all_special_ids}
    return special - {tokenizer.unk_token_id}


def _plain(
    ids: list[int], owners: list[int | None], special: set[int], unknown: int | None
) -> tuple[list[int], list[int | None]]:
    """Replace special pieces of words, which some vocabularies produce, by the unknown piece."""
    if not any(owner is not None and id in special for id, owner in zip(ids, owners, strict=True)):
        return ids, owners
    pairs = [
        (unknown if owner is not None and id in special else id, owner)
        for id, owner in zip(ids, owners, strict=True)
    ]
    kept = [(id, owner) for id, owner in pairs if id is not None]
    return [id for id, _ in kept], [owner for _, owner in kept]


def number_of(label: str | None, number: dict[str, int], post: Post) -> int:
    """Return the number of a post's label. Raises DataError for an unknown label."""
    if label not in number:
        raise DataError(f"post {post.id!r}: expected one of {', '.join(number)}, found {label!r}")
    return number[label]
