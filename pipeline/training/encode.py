"""Texts -> word pieces, and which word each piece is of."""

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

Pieces = tuple[list[int], list[int | None]]  # piece ids of a sentence, and the word of each piece

# What transformers raises for a tokenizer's files that are missing, empty or damaged.
_DAMAGED = (OSError, ValueError, TypeError, AttributeError, LookupError, StrictDataclassError)
ELSEWHERE = (
    "give the folder of a Hugging Face model with --encoder FOLDER, or go online once so that it "
    "can be downloaded"
)
AGAIN = "put the files that the encoder was published with in their place"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Encoded:
    """One post as the model reads it.

    `positions` are places in `input_ids` that the head reads: for relations the opening markers of
    head and tail; for entities the CRF's tokens, at least one. `labels` go with them: one a token,
    or one relation; empty where the post has none. `words`: for entities, the number of each word's
    token, -1 for a word without one. `cut`: words between head and tail are left out.
    """

    number: int  # of the post, as in the index of the store
    input_ids: list[int]
    positions: list[int]
    labels: list[int]
    words: list[int] = field(default_factory=list)
    cut: bool = False


def load_tokenizer(name: str, advice: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of an encoder, by hub name or folder: a fast one unless its kind has none.

    A hub's is taken from the cache, else downloaded. advice: ends the messages, instead of one on
    --encoder. Raises DataError, within seconds where the hub is out of reach, and where files of
    the tokenizer are missing: transformers would make one that knows no word. Raises AccessError
    for a folder that may not be read.
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
            # Given word by word, a byte-level tokenizer would glue them all into one.
            backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


def _from_cache(name: str) -> PreTrainedTokenizerBase | None:
    """The hub's tokenizer of that name if this machine has all of it."""
    if Path(name).is_dir():
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True, local_files_only=True)
    except OSError:
        return None
    return None if _missing_files(tokenizer, name) else tokenizer


def _missing_files(tokenizer: PreTrainedTokenizerBase, name: str) -> str:
    """The files that the tokenizer should have been read from and are not there; "" if none."""
    folder = Path(name) if Path(name).is_dir() else snapshot_folder(name)
    return missing_tokenizer_files(tokenizer.vocab_files_names, folder) if folder else ""


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer into a model's folder.

    A tokenizer in Python was read from files that it may not write again as they were (BERTweet's
    loses the second half of each merge): those files are copied.
    """
    tokenizer.save_pretrained(folder)
    if tokenizer.is_fast:
        return
    for attribute, name in tokenizer.vocab_files_names.items():
        source = getattr(tokenizer, attribute, None)
        if source is not None and Path(source).is_file():
            shutil.copyfile(source, folder / name)


def _fault(folder: Path, line: str) -> str:
    """Why no tokenizer can be made of a folder, by the files in it; "" for what is no folder.

    line: what transformers says, which seldom names the file and often another package.
    """
    if not folder.is_dir():
        return ""
    if broken := broken_json(folder):
        return broken
    name = _field(folder / "tokenizer_config.json", "tokenizer_class")
    if name is None:
        kind = _field(folder / "config.json", "model_type")
        if kind not in TOKENIZER_MAPPING_NAMES:
            return f"config.json names no type of model that transformers knows: {kind!r}"
        name = TOKENIZER_MAPPING_NAMES[kind]
    made = tokenizer_class_from_name(name) if isinstance(name, str) else None
    if made is None:
        return f"transformers has no class {name!r}, which its configuration names"
    names = dict(made.vocab_files_names)
    if set(names.values()) <= {TOKENIZER, "tokenizer.model"}:  # of no kind with files of its own
        missing = "" if (folder / TOKENIZER).is_file() else TOKENIZER
    else:
        missing = missing_tokenizer_files(names, folder)
    if missing:
        return f"the tokenizer's files are missing: {missing}"
    parts = [file for file in names.values() if (folder / file).is_file()]
    return f"not the files of a {made.__name__}: {', '.join(parts)}: {line}"


def _field(file: Path, name: str) -> Any:
    """A field of a JSON object in a file that may not be there."""
    return read_json(file).get(name) if file.is_file() else None


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
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, longest: int | None
) -> list[Pieces]:
    """For each sentence its piece ids, and for each piece the number of its word.

    longest: pieces a sentence, special ones included; further ones are dropped. Words are plain
    text: one that is written like a special piece ("[SEP]", "<s>", a marker) is cut into pieces as
    any other, or becomes the unknown piece.
    """
    if not sentences:
        return []
    cut = _cut_fast if tokenizer.is_fast else _cut_slow
    special = _special(tokenizer)
    unknown = tokenizer.unk_token_id
    return [
        _plain(ids, owners, special, unknown) for ids, owners in cut(sentences, tokenizer, longest)
    ]


def _cut_fast(
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, longest: int | None
) -> list[Pieces]:
    batch = tokenizer(
        [list(words) for words in sentences],
        is_split_into_words=True,  # without it, a list of words is taken for a list of sentences
        truncation=longest is not None,
        max_length=longest,
        split_special_tokens=True,
        verbose=False,
    )
    return [(ids, batch.word_ids(n)) for n, ids in enumerate(batch["input_ids"])]


def _cut_slow(
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, longest: int | None
) -> list[Pieces]:
    """The same word by word, for tokenizers in Python (BERTweet's): they don't say whose a piece
    is."""

    @cache
    def ids_of(word: str) -> list[int]:
        pieces = tokenizer.tokenize(word, split_special_tokens=True)
        return list(tokenizer.convert_tokens_to_ids(pieces))

    ends = tokenizer.build_inputs_with_special_tokens([-1])  # -1 stands for the sentence
    before, after = ends[: ends.index(-1)], ends[ends.index(-1) + 1 :]
    room = None if longest is None else max(0, longest - len(before) - len(after))
    cut: list[Pieces] = []
    for words in sentences:
        pairs = [(id, n) for n, word in enumerate(words) for id in ids_of(word)][:room]
        owners = [*[None] * len(before), *(n for _, n in pairs), *[None] * len(after)]
        cut.append(([*before, *(id for id, _ in pairs), *after], owners))
    return cut


def unknown_words(posts: Iterable[Post], tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Words with an unknown piece or without any piece, and all words."""
    sentences = [post.tokens for post in posts]
    unknown = tokenizer.unk_token_id
    known = 0
    for ids, owners in tokenize(sentences, tokenizer, None):
        lost = {owner for id, owner in zip(ids, owners, strict=True) if id == unknown}
        known += len(set(owners) - lost - {None})
    total = sum(map(len, sentences))
    return total - known, total


def _special(tokenizer: PreTrainedTokenizerBase) -> set[int]:
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
