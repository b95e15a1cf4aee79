"""Tokenize phrases for the published grounding network."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase

from features.errors import need_readable
from features.grounding.hub import (
    ask_hub,
    missing_tokenizer_files,
    snapshot_folder,
    tokenizer_errors,
)
from features.weights import WeightsError, one_line

LONGEST = 20  # tokens of a phrase, with special tokens; the rest is cut
_SPLIT = re.compile(r"(\W+)")
_UNKNOWN, _END = "<unk>", "<eos>"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")  # tokens of BERT


class Words:
    """A vocabulary that turns phrases into token ids.

    BERT: word pieces in lower case, between [CLS] and [SEP]. LSTM: words and the punctuation
    between them, in lower case, without a full stop at the end; then `<eos>` if there is room.
    """

    def __init__(self, vocabulary: str, pieces: bool, size: int) -> None:
        """Load the vocabulary.

        vocabulary: for BERT a hub name, a folder, or a vocab.txt; for the LSTM a JSON list of words
            in the order of their ids (the published pickle file is never loaded).
        pieces: True for BERT, False for the LSTM.
        size: number of words that the network knows.

        Raises WeightsError.
        """
        self._pieces = _tokenizer(vocabulary) if pieces else None
        self._numbers = {} if pieces else _word_list(vocabulary)
        count = len(self._pieces) if self._pieces is not None else len(self._numbers)
        if count != size:
            raise WeightsError(
                f"vocabulary {vocabulary}: expected the {size:,} words that the checkpoint knows, "
                f"found {count:,}"
            )

    def __call__(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask, each (N, 20) int64; padding is 0 in both."""
        rows = [self._ids(phrase.lower()) for phrase in phrases]
        ids = torch.zeros(len(rows), LONGEST, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for n, row in enumerate(rows):
            ids[n, : len(row)] = torch.tensor(row)
            mask[n, : len(row)] = 1
        return ids, mask

    def _ids(self, phrase: str) -> list[int]:
        if self._pieces is not None:
            ids: list[int] = self._pieces(phrase, truncation=True, max_length=LONGEST)["input_ids"]
            return ids
        words = [word for word in _SPLIT.split(phrase.strip()) if word.strip()]
        if words[-1:] == ["."]:
            words.pop()
        words = [*words, _END][:LONGEST]
        return [self._numbers.get(word, self._numbers[_UNKNOWN]) for word in words]


def _tokenizer(vocabulary: str) -> PreTrainedTokenizerBase:
    need_readable(vocabulary)
    advice = "give --vocabulary, the folder or the vocab.txt of bert-base-uncased"
    try:
        if Path(vocabulary).is_file():
            return _from_file(Path(vocabulary))
        with tokenizer_errors():
            tokenizer = _from_cache(vocabulary)
            if tokenizer is None:
                ask_hub(vocabulary)
                tokenizer = AutoTokenizer.from_pretrained(vocabulary)
    except (OSError, ValueError, LookupError) as error:
        raise WeightsError(
            f"vocabulary {vocabulary!r}: can't be loaded ({one_line(error)}); {advice}"
        ) from error
    if missing := _missing_files(tokenizer, vocabulary):
        raise WeightsError(
            f"vocabulary {vocabulary!r}: the tokenizer's files are missing: {missing}; {advice}"
        )
    return tokenizer


def _from_file(file: Path) -> BertTokenizer:
    """Load a vocab.txt. Raises ValueError if it lacks special tokens: transformers adds them."""
    words = file.read_text(encoding="utf-8").splitlines()
    if lacking := [token for token in _SPECIAL if token not in words]:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    return BertTokenizer(vocab={word: n for n, word in enumerate(words)})


def _from_cache(vocabulary: str) -> PreTrainedTokenizerBase | None:
    """Load the tokenizer of a folder, or of the hub if it is completely in this machine's cache."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(vocabulary, local_files_only=True)
    except OSError:
        return None
    complete = Path(vocabulary).is_dir() or not _missing_files(tokenizer, vocabulary)
    return tokenizer if complete else None


def _missing_files(tokenizer: PreTrainedTokenizerBase, vocabulary: str) -> str:
    folder = Path(vocabulary) if Path(vocabulary).is_dir() else snapshot_folder(vocabulary)
    return missing_tokenizer_files(tokenizer.vocab_files_names, folder) if folder else ""


def _word_list(vocabulary: str) -> dict[str, int]:
    expected = (
        f'expected --vocabulary, a JSON list of words with "<pad>" first, "{_UNKNOWN}" and "{_END}"'
    )
    need_readable(vocabulary)
    try:
        words = json.loads(Path(vocabulary).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"vocabulary {vocabulary!r}: {expected}: {one_line(error)}") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise WeightsError(f"vocabulary {vocabulary!r}: {expected}, found something else")
    numbers = {word: n for n, word in enumerate(words)}
    if numbers.get("<pad>") != 0 or not {_UNKNOWN, _END} <= numbers.keys():
        raise WeightsError(f"vocabulary {vocabulary!r}: {expected}, found {_first(words)}")
    return numbers


def _first(words: list[str]) -> str:
    """Quote the first few words, for a message."""
    return ", ".join(map(repr, words[:4])) + ", …"
