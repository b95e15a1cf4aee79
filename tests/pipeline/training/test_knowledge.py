"""Picture texts behind the sentence: pieces, segments, separators, and what stays as it is."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertweetTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from pipeline.corpus.post import Post
from pipeline.training.batches import Collator
from pipeline.training.encode import Encoded, load_tokenizer, scratch_tokenizer
from pipeline.training.head_of import HEADS
from pipeline.training.knowledge import Texts, separators, with_texts
from pipeline.training.relations import add_markers
from tests.tiny import MINILM

POSTS = {
    7: Post("a", "train", ("Ann", "met", "Bob"), tags=("B-PER", "O", "B-PER")),
    9: Post("b", "train", ("Hello", "world"), tags=("O", "O")),
}
WORDS = ("ann", "met", "bob", "hello", "world", "a", "red", "boat", "b")


def texts(**known: str) -> Texts:
    """Texts by number; other posts have none."""

    def of(numbers: Sequence[int]) -> list[str]:
        return [known.get(f"n{number}", "") for number in numbers]

    return of


@pytest.fixture(scope="module")
def bert() -> PreTrainedTokenizerBase:
    return load_tokenizer(str(MINILM))


def encoded(tokenizer: PreTrainedTokenizerBase, style: str = "paper") -> list[Encoded]:
    head = HEADS["ner"]
    return head.encode(POSTS, tokenizer, head.labels(["O", "B-PER", "I-PER"], style), 80, style)


@pytest.mark.parametrize("style", ["paper", "released"])
def test_the_sentence_stays_and_the_text_follows(bert: PreTrainedTokenizerBase, style: str) -> None:
    before = encoded(bert, style)
    after = with_texts(before, texts(n7="a red boat"), bert, 64)
    first, second = before
    assert bert.convert_ids_to_tokens(after[0].input_ids) == [
        *("[CLS]", "ann", "met", "bob", "[SEP]", "a", "red", "boat", "[SEP]")
    ]
    assert after[0].knowledge == 4
    for name in ("number", "positions", "labels", "words"):
        assert getattr(after[0], name) == getattr(first, name)
    assert after[1] == second  # a post without a text


def test_the_text_is_cut_to_its_room_and_keeps_its_end(bert: PreTrainedTokenizerBase) -> None:
    first, _ = with_texts(encoded(bert), texts(n7="red boat " * 50), bert, 8)
    assert first.knowledge == 8
    assert bert.convert_ids_to_tokens(first.input_ids[-8:]) == ["red", "boat"] * 3 + [
        "red",
        "[SEP]",
    ]


def test_words_spelled_like_special_pieces_are_plain_text(bert: PreTrainedTokenizerBase) -> None:
    first, _ = with_texts(encoded(bert), texts(n7="[SEP] <head>"), bert, 64)
    assert bert.sep_token_id not in first.input_ids[-first.knowledge : -1]


def test_only_words_that_the_tokenizer_drops_are_no_text(bert: PreTrainedTokenizerBase) -> None:
    first, _ = with_texts(encoded(bert), texts(n7="\u200b"), bert, 64)
    assert first == encoded(bert)[0]


def test_segments_and_mask_of_a_batch(bert: PreTrainedTokenizerBase) -> None:
    posts = with_texts(encoded(bert), texts(n7="a red boat"), bert, 64)
    collate = Collator(bert.pad_token_id, HEADS["ner"].collate)
    batch = collate(posts)
    assert batch["segment_ids"].tolist() == [[0] * 5 + [1] * 4, [0] * 9]
    assert batch["attention_mask"].tolist() == [[1] * 9, [1] * 4 + [0] * 5]
    assert "segment_ids" not in collate(posts[1:])


def test_markers_stay_where_they_are() -> None:
    tokenizer = load_tokenizer(str(MINILM))
    add_markers(tokenizer)
    post = Post("a", "train", ("Ann", "met", "Bob"), relation="x", head=(0, 1), tail=(2, 3))
    (before,) = HEADS["re"].encode({7: post}, tokenizer, ["x"], 80, "paper")
    (after,) = with_texts([before], texts(n7="a red boat"), tokenizer, 64)
    assert after.positions == before.positions
    assert after.input_ids[: len(before.input_ids)] == before.input_ids
    assert after.input_ids[len(before.input_ids) :] == [
        *tokenizer.convert_tokens_to_ids(["a", "red", "boat", "[SEP]"])
    ]


def roberta() -> PreTrainedTokenizerFast:
    """A tokenizer with RoBERTa's template: <s> A </s></s> B </s>."""
    vocabulary = {name: n for n, name in enumerate(("<s>", "</s>", "<unk>", "<pad>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 1)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", sep_token="</s>"
    )


def test_separators_are_those_of_the_tokenizers_pairs(bert: PreTrainedTokenizerBase) -> None:
    sep = bert.sep_token_id
    assert separators(bert) == ([], [sep])
    assert separators(roberta()) == ([1], [1])
    scratch = scratch_tokenizer(POSTS.values())  # has no template for pairs
    assert separators(scratch) == ([], [scratch.sep_token_id])


def test_separators_of_a_tokenizer_in_python(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a 1\nb 1\n")
    (tmp_path / "bpe.codes").write_text("a b 1\n")
    tokenizer = BertweetTokenizer(str(tmp_path / "vocab.txt"), str(tmp_path / "bpe.codes"))
    sep = tokenizer.sep_token_id
    assert separators(tokenizer) == ([sep], [sep])
