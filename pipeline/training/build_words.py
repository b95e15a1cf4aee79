"""Tokenizer and model of a training run on words, before its first step."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from model.config import ExtractorConfig
from model.contract import System
from model.systems import digest_of, model_class
from model.words import UNKNOWN, WordEncoder
from pipeline.corpus.post import Post
from pipeline.training.config import TrainConfig
from pipeline.training.heads import Head
from pipeline.training.inputs import words_of
from pipeline.training.knowledge import Texts
from pipeline.training.word_vectors import read_vectors

PAD, UNK = "[PAD]", "[UNK]"
_DIGITS = str.maketrans("123456789", "000000000")
_LOWER = normalizers.Lowercase()


def build_words(
    head: Head,
    splits: Mapping[str, Mapping[int, Post]],
    labels: Sequence[str],
    config: TrainConfig,
    texts: Texts | None = None,
    texts_made_by: Mapping[str, Any] | None = None,
) -> tuple[PreTrainedTokenizerBase, System, dict[str, Any]]:
    """Return tokenizer and untrained model, and a report on their vocabulary.

    The model knows the words of the training posts and of their pictures' texts, in lower case, and
    those words of the other posts and texts that have a vector in the file of
    `config.word_vectors`. A word without a vector of its own takes that of the word with its digits
    replaced by 0; all others start at random.

    splits: split -> number -> post.
    texts: the texts of the pictures, and the settings that made them; None: the model reads none.

    Raises DataError for a file that does not hold word vectors.
    """
    words = {name: _words(post.tokens for post in posts.values()) for name, posts in splits.items()}
    words_of_texts = (
        {} if texts is None else {n: _words(map(words_of, texts([*p]))) for n, p in splits.items()}
    )
    read = [*words.values(), *words_of_texts.values()]
    given = {} if config.word_vectors is None else _vectors(Path(config.word_vectors), read)
    others = (word for counts in read for word in counts if word in given)
    every = dict.fromkeys([PAD, UNK, *words["train"], *words_of_texts.get("train", ()), *others])
    vocabulary = {word: id for id, word in enumerate(every)}
    characters = {c for post in splits["train"].values() for word in post.tokens for c in word}
    kind = model_class(head.name, config.system)
    width = len(next(iter(given.values()))) if given else 0
    model = kind(
        ExtractorConfig(
            system=config.system,
            form=config.form,
            system_digest=digest_of(config.system),
            style=config.style,
            variant=config.variant,
            dropout=config.dropout,
            words=len(vocabulary),
            word_width=width,
            knowledge_tokens=0 if texts is None else config.knowledge_tokens,
            texts=dict(texts_made_by or {}),
            characters="".join(sorted(characters)),
            id2label=dict(enumerate(labels)),
            label2id={label: n for n, label in enumerate(labels)},
        )
    )
    assert isinstance(model, WordEncoder)
    model.fill({vocabulary[word]: vector for word, vector in given.items()})
    model.see_once([vocabulary[word] for word, count in words["train"].items() if count == 1])
    report = {
        "vectors": None if config.word_vectors is None else Path(config.word_vectors).name,
        "width": model.word_width,
        "words": len(vocabulary) - 2,
        "without_vector": {
            name: _share(counts, given)
            for name, counts in words.items()
            if config.word_vectors is not None
        },
        "unknown": {name: _share(counts, vocabulary) for name, counts in words.items()},
    }
    return word_tokenizer(vocabulary), model, report


def word_tokenizer(vocabulary: Mapping[str, int]) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose pieces are whole words in lower case, without special pieces."""
    assert vocabulary[UNK] == UNKNOWN
    tokenizer = Tokenizer(models.WordLevel(dict(vocabulary), unk_token=UNK))
    tokenizer.normalizer = _LOWER
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNK)


def _words(sentences: Iterable[Iterable[str]]) -> Counter[str]:
    """Return the words of sentences in lower case, in the order of their first occurrence."""
    return Counter(_LOWER.normalize_str(word) for words in sentences for word in words)


def _vectors(file: Path, words: Iterable[Counter[str]]) -> dict[str, np.ndarray]:
    """Return the vector of each word that has one."""
    every = list(dict.fromkeys(word for counts in words for word in counts))
    vectors = read_vectors(file, {form for word in every for form in _forms(word)})
    forms = {word: next((form for form in _forms(word) if form in vectors), None) for word in every}
    return {word: vectors[form] for word, form in forms.items() if form is not None}


def _forms(word: str) -> tuple[str, str]:
    """Return what a word may be called in a file of vectors, the best first."""
    return word, word.translate(_DIGITS)


def _share(counts: Counter[str], known: Collection[str]) -> float:
    """Return the share of words, counted as often as they occur, that are not known."""
    total = counts.total()
    return sum(n for word, n in counts.items() if word not in known) / total if total else 0.0
