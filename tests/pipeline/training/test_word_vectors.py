"""Word vectors from files, and the vocabulary of a model on words."""

from pathlib import Path

import numpy as np
import pytest

from model.words import WordEncoder
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.training.build_words import build_words, word_tokenizer
from pipeline.training.config import TrainConfig
from pipeline.training.encode import tokenize
from pipeline.training.head_of import HEADS
from pipeline.training.relations import encode_relations
from pipeline.training.word_vectors import read_vectors


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "vectors.txt"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    return file


def test_wanted_vectors_are_read(tmp_path: Path) -> None:
    file = write(tmp_path, "the 1 2\nother 5 6\n. . 3 4\nthe 7 8\n\udc80 1 1\n\n")
    found = read_vectors(file, {"the", ". .", "absent"})
    assert {word: vector.tolist() for word, vector in found.items()} == {
        "the": [1, 2],
        ". .": [3, 4],
    }
    assert all(vector.dtype == np.float32 for vector in found.values())


def test_a_heading_of_word2vec_is_skipped(tmp_path: Path) -> None:
    found = read_vectors(write(tmp_path, "2 3\nthe 1 2 3\nof 4 5 6\n"), {"the", "of", "2"})
    assert sorted(found) == ["of", "the"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2\nof 1\n", r"vectors.txt:2: expected a word and 2 numbers, .*, found 'of 1'"),
        ("the 1 2\nof 1 x\n", r"vectors.txt:2: expected numbers, found .*'x'"),
        ("the 1 nan\n", r"vectors.txt:1: expected finite numbers"),
        ("", r"vectors.txt: expected words with their vectors, found none"),
        ("the\n", r"vectors.txt:1: expected a word and its numbers"),
    ],
)
def test_a_faulty_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_vectors(write(tmp_path, text), {"the", "of"})


def posts(*sentences: str, split: str = "train") -> dict[int, Post]:
    return {
        n: Post(id=str(n), tokens=tuple(sentence.split()), split=split, picture=None)
        for n, sentence in enumerate(sentences)
    }


def test_the_vocabulary_is_that_of_training_and_of_vectors(tmp_path: Path) -> None:
    file = write(tmp_path, "the 1 2\nnew 3 4\n00:00 5 6\nunused 7 8\n")
    splits = {"train": posts("The THE cat 12:45"), "val": posts("new dog", split="val")}
    config = TrainConfig(system="hbilstm-crf", encoder=None, word_vectors=str(file))
    tokenizer, model, report = build_words(HEADS["ner"], splits, ["O", "B-A"], config)
    assert isinstance(model, WordEncoder)
    assert len(tokenizer) == 2 + 4
    rows = {w: model.vectors.weight[i].tolist() for w, i in tokenizer.get_vocab().items()}
    assert (rows["the"], rows["new"], rows["12:45"]) == ([1, 2], [3, 4], [5, 6])
    assert "unused" not in rows
    assert model.config.characters == "".join(sorted(set("TheTHEcat12:45")))
    assert model.once == [tokenizer.get_vocab()[w] for w in ("cat", "12:45")]
    assert report == {
        "vectors": "vectors.txt",
        "width": 2,
        "words": 4,
        "without_vector": {"train": 1 / 4, "val": 1 / 2},
        "unknown": {"train": 0, "val": 1 / 2},
    }


def test_a_file_without_any_of_the_words_is_reported(tmp_path: Path) -> None:
    file = write(tmp_path, "ada 1 2\n")
    config = TrainConfig(system="pcnn", variant="text-only", encoder=None, word_vectors=str(file))
    splits = {"train": posts("Bo met Al")}
    report = build_words(HEADS["re"], splits, ["None", "a"], config)[2]
    assert (report["vectors"], report["without_vector"]) == ("vectors.txt", {"train": 1.0})


def test_a_word_is_one_token() -> None:
    tokenizer = word_tokenizer({"[PAD]": 0, "[UNK]": 1, "straße": 2, "a.b-c": 3})
    found = tokenize([["Straße", "[PAD]", "A.b-C", "new"], []], tokenizer, None)
    assert found == [([2, 1, 3, 1], [0, 1, 2, 3]), ([1], [None])]
    assert tokenize([["straße"] * 5], tokenizer, 3)[0][0] == [2, 2, 2]


def test_relations_of_words_have_the_places_of_both_entities() -> None:
    words = "a b c d e f g h".split()
    tokenizer = word_tokenizer({w: n for n, w in enumerate(["[PAD]", "[UNK]", *words])})
    post = Post(id="1", tokens=tuple(words), split="train", picture=None, head=(5, 7), tail=(1, 2))
    [whole] = encode_relations({0: post}, tokenizer, [], 8, markers=None)
    assert tokenizer.convert_ids_to_tokens(whole.input_ids) == words
    assert whole.positions == [5, 1, 6, 1]
    assert whole.owners == [*range(8)]
    [short] = encode_relations({0: post}, tokenizer, [], 6, markers=None)
    assert tokenizer.convert_ids_to_tokens(short.input_ids) == words[1:7]
    assert short.positions == [4, 0, 5, 0]
    [cut] = encode_relations({0: post}, tokenizer, [], 4, markers=None)
    assert cut.cut
    kept = tokenizer.convert_ids_to_tokens(cut.input_ids)
    assert kept[cut.positions[0] : cut.positions[2] + 1] == ["f", "g"]
    assert kept[cut.positions[1]] == "b"
    assert len(kept) <= 4
    assert encode_relations({0: post}, tokenizer, [], 2, markers=None) == []
