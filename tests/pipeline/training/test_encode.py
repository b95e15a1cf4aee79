"""Encoding as word pieces: tags stay with their words, markers with their entities."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pipeline import corpus
from pipeline.corpus.mnre import RELATIONS
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.training.encode import Encoded, load_tokenizer, scratch_tokenizer
from pipeline.training.entities import encode_entities, entity_labels
from pipeline.training.relations import (
    MARKERS,
    add_markers,
    encode_relations,
    mark_as_released,
    mark_spans,
)
from tests.tiny import MINILM, SHARED

GOLDEN = SHARED / "golden" / "hvpnet" / "set_a"
needs_shared = pytest.mark.skipif(not GOLDEN.exists(), reason="needs the shared data")


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
        (
            (1, 2),
            (0, 1),
            "<tail> a <head> </tail> b </head> c",
        ),  # adjacent: the second span opens before the first closes
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
    assert encoded.number == 7
    assert [words[place] for place in encoded.positions] == ["zu", "in", "tokyo"]
    assert encoded.words == [0, -1, 1, 2]  # the second word has no piece
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
    dropped = post("\ufe0f \u200b", tags=("B-PER", "O"))
    [encoded] = encode_entities({0: dropped}, tokenizer, ["O", "B-PER"], 80)
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


def shown(encoded: Encoded, tokenizer: PreTrainedTokenizerFast) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens(encoded.input_ids))


@pytest.mark.parametrize(
    ("head", "tail", "longest", "expected"),
    [
        (20, 60, 20, [17, 18, 19, 20, 21, 22, 23, 57, 58, 59, 60, 61, 62, 63]),
        (60, 20, 20, [17, 18, 19, 20, 21, 22, 23, 57, 58, 59, 60, 61, 62, 63]),
        (0, 99, 20, [0, 1, 2, 3, 4, 5, 6, 93, 94, 95, 96, 97, 98, 99]),
        (20, 60, 19, [18, 19, 20, 21, 22, 23, 24, 57, 58, 59, 60, 61, 62]),
        (20, 60, 8, [20, 60]),
    ],
)
def test_entities_too_far_apart_keep_the_words_around_both(
    head: int, tail: int, longest: int, expected: list[int]
) -> None:
    words = [f"x{n}" for n in range(100)]
    spans = {"head": (head, head + 1), "tail": (tail, tail + 1)}
    vocabulary = scratch_tokenizer([post(" ".join(words))])
    add_markers(vocabulary)
    far = post(" ".join(words), relation="r", **spans)
    [encoded] = encode_relations({3: far}, vocabulary, ["r"], longest)
    pieces = shown(encoded, vocabulary).split()
    assert encoded.cut
    assert len(pieces) == longest
    assert (pieces[0], pieces[-1]) == ("[CLS]", "[SEP]")
    for name, place, at in zip(("head", "tail"), (head, tail), encoded.positions, strict=True):
        assert pieces[at : at + 3] == [f"<{name}>", f"x{place}", f"</{name}>"]
    kept = [int(piece[1:]) for piece in pieces if piece.startswith("x")]
    assert kept == expected
    assert encode_relations({3: far}, vocabulary, ["r"], longest) == [encoded]


def test_a_post_that_fits_is_not_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    near = post(" ".join("x" * 74), head=(0, 1), tail=(73, 74), relation="r")
    far = post(" ".join("x" * 75), head=(0, 1), tail=(74, 75), relation="r")
    fits, cut = encode_relations({0: near, 1: far}, tokenizer, ["r"], 80)
    assert (len(fits.input_ids), fits.cut) == (80, False)
    assert (len(cut.input_ids), cut.cut) == (80, True)


@pytest.mark.parametrize("style", ["paper", "released"])
def test_a_span_up_to_the_end_is_kept_whole(tokenizer: PreTrainedTokenizerFast, style: str) -> None:
    """The published code does not close the span."""
    text = " ".join(["start", *"x" * 90, "the", "end"])
    far = post(text, head=(0, 1), tail=(91, 93), relation="r")
    [encoded] = encode_relations({0: far}, tokenizer, ["r"], 20, style)
    closed = " </tail>" if style == "paper" else ""
    assert shown(encoded, tokenizer).endswith(f"<tail> the end{closed} [SEP]")
    assert len(encoded.input_ids) == 20


@pytest.mark.parametrize(
    ("head", "tail"),
    [((0, 90), (95, 96)), ((0, 60), (65, 99)), ((0, 99), (50, 51)), ((0, 60), (40, 99))],
)
def test_a_post_whose_entities_do_not_fit_is_left_out(
    tokenizer: PreTrainedTokenizerFast, head: tuple[int, int], tail: tuple[int, int]
) -> None:
    long = post(" ".join("x" * 100), head=head, tail=tail, relation="r")
    short = post("a b", head=(0, 1), tail=(1, 2), relation="r")
    [encoded] = encode_relations({0: long, 5: short}, tokenizer, ["r"], 80)
    assert encoded.number == 5


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


SPECIAL_WORDS = (
    "<head> a[SEP] x<tail>y [CLS] [PAD] [MASK] [UNK] <s> </s> <mask> </head> </tail> [sep] Ann"
)


def tokenizers() -> list[PreTrainedTokenizerFast]:
    """Return MiniLM's tokenizer and one made of the special words, both with markers."""
    both = [load_tokenizer(str(MINILM)), scratch_tokenizer([post(SPECIAL_WORDS)])]
    for tokenizer in both:
        add_markers(tokenizer)
    return both


def apart(words: str) -> list[str]:
    """Split off the signs of the words, so that the pieces are the same and none is special."""
    return [re.sub(r"([<>\[\]/])", r" \1 ", word) for word in words.split(" ")]


@pytest.mark.parametrize("number", [0, 1], ids=["minilm", "scratch"])
@pytest.mark.parametrize("style", ["paper", "released"])
def test_words_like_special_pieces_are_plain_text(number: int, style: str) -> None:
    tokenizer = tokenizers()[number]
    plain = tokenizer(apart(SPECIAL_WORDS), is_split_into_words=True)["input_ids"]
    last = len(SPECIAL_WORDS.split(" ")) - 1
    tagged = post(SPECIAL_WORDS, head=(last, last + 1), tail=(0, 1), relation="r")
    [encoded] = encode_entities({0: tagged}, tokenizer, ["O"], 80, style)
    assert encoded.input_ids == plain
    [encoded] = encode_relations({0: tagged}, tokenizer, ["r"], 80, style)
    markers = tokenizer.convert_tokens_to_ids(["<head>", "<tail>"])
    assert [encoded.input_ids[place] for place in encoded.positions] == markers
    pieces = tokenizer.convert_ids_to_tokens(encoded.input_ids)
    assert pieces[:6] == "[CLS] <tail> < head > </tail>".split()
    assert encoded.positions == [pieces.index("ann") - 1, 1]
    special = {*tokenizer.all_special_ids, *tokenizer.convert_tokens_to_ids(list(MARKERS))}
    assert [n for n in encoded.input_ids if n not in special] == plain[1:-1]


@pytest.mark.parametrize("number", [0, 1], ids=["minilm", "scratch"])
def test_ordinary_texts_keep_their_pieces(number: int) -> None:
    tokenizer = tokenizers()[number]
    texts = [
        "RT @x : Zoë's <3 of 東京 😀 [sic] & a_b #Oslo </p> -- http://t.co/x?y=[1]",
        "\u200b\ufe0f \u202eabc e\u0301 👩\u200d👩 \x00 İ " + "x" * 300,
        "a",
    ]
    posts = {n: post(text, head=(0, 1), tail=(0, 1), relation="r") for n, text in enumerate(texts)}
    tagged = encode_entities(posts, tokenizer, ["O"], 80)
    marked = encode_relations(posts, tokenizer, ["r"], 80)
    for entities, relations, source in zip(tagged, marked, posts.values(), strict=True):
        expected = tokenizer(list(source.tokens), is_split_into_words=True)["input_ids"]
        assert entities.input_ids == expected
        expected = tokenizer(mark_spans(source), is_split_into_words=True)["input_ids"]
        assert relations.input_ids == expected


@needs_shared
@pytest.mark.parametrize("style", ["paper", "released"])
def test_real_texts_keep_their_pieces(tokenizer: PreTrainedTokenizerFast, style: str) -> None:
    mark = mark_as_released if style == "released" else mark_spans
    posts = corpus.read(corpus.locate("mnre", SHARED / "data")).posts[::20]
    result = encode_relations(dict(enumerate(posts)), tokenizer, list(RELATIONS), 999, style)
    expected = tokenizer([mark(p) for p in posts], is_split_into_words=True)["input_ids"]
    assert [encoded.input_ids for encoded in result] == expected


def test_special_pieces_of_the_vocabulary_are_unknown_as_words() -> None:
    vocabulary = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -1.0), ("a", -2.0)]
    backend = Tokenizer(models.Unigram(vocabulary, 0, False))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    [encoded] = encode_entities({0: post("a <s>", tags=("O", "O"))}, tokenizer, ["O"], 80)
    pieces = tokenizer.convert_ids_to_tokens(encoded.input_ids)
    assert pieces == ["<s>", "▁", "a", "▁", "<unk>", "</s>"]


def test_dropped_words_keep_their_markers(tokenizer: PreTrainedTokenizerFast) -> None:
    dropped = post("\ufe0f \u200b", head=(0, 1), tail=(1, 2), relation="r")
    [encoded] = encode_relations({0: dropped}, tokenizer, ["r"], 80)
    pieces = tokenizer.convert_ids_to_tokens(encoded.input_ids)
    assert pieces == "[CLS] <head> </head> <tail> </tail> [SEP]".split()
    assert encoded.positions == [1, 3]


def test_ten_thousand_words(tokenizer: PreTrainedTokenizerFast) -> None:
    many = post(" ".join(["word"] * 10_000), head=(5000, 5001), tail=(5002, 5003), relation="r")
    [encoded] = encode_relations({0: many}, tokenizer, ["r"], 80)
    assert len(encoded.input_ids) == 80


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
    for result, ids, mask, label in zip(
        encoded, golden["input_ids"], golden["attention_mask"], golden["labels"], strict=True
    ):
        assert result.input_ids == ids[mask == 1].tolist()
        assert result.labels == [label]


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
    for result, ids, mask, numbers in zip(
        encoded, golden["input_ids"], golden["attention_mask"], golden["labels"], strict=True
    ):
        assert result.input_ids == ids[mask == 1].tolist()
        assert result.labels == numbers[mask == 1].tolist()


def test_without_a_network_loading_a_tokenizer_fails_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offline: list[bool] = []

    def loader(name: str, local_files_only: bool = False, **others: Any) -> None:
        offline.append(local_files_only)
        raise OSError("not in the cache")

    def no_hub(name: str) -> None:
        raise OSError("no network")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", loader)
    monkeypatch.setattr("pipeline.training.encode.ask_hub", no_hub)
    with pytest.raises(DataError, match=r"'some/encoder' can't be loaded \(no network\)"):
        load_tokenizer("some/encoder")
    assert offline == [True]
