"""A tokenizer that does not fit its encoder, or knows too few words, is refused or logged."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase

from model.encoder import EncoderError, load_encoder
from pipeline import corpus
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.training.build import build
from pipeline.training.config import SCRATCH, TrainConfig
from pipeline.training.encode import load_tokenizer, save_tokenizer, tokenize, unknown_words
from pipeline.training.evaluate import evaluate_into
from pipeline.training.head_of import HEADS
from pipeline.training.train import train
from pipeline.training.vocabulary import check_vocabulary, most_tokens
from tests.tiny import MINILM, SHARED, encoder_config

CASE = SHARED / "cases" / "encoder-without-tokenizer"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
CONFIG = TrainConfig(encoder=SCRATCH, variant="text-only", epochs=1, evaluate_from=1, max_tokens=40)
ROBERTA = '{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4}'
NO_MODEL = '{"version": "1.0", "added_tokens": [], "model": {"type": "Nope"}}'
BERTWEET = {"tokenizer_config.json": '{"tokenizer_class": "BertweetTokenizer"}'}


def encoder(folder: Path, files: Mapping[str, str], kind: str = "bert", **fields: Any) -> Path:
    """Write a tiny encoder's folder with the given tokenizer files."""
    config = encoder_config(kind)
    for name, value in fields.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def words(*pieces: str, size: int = 60) -> str:
    """Return a vocab.txt of special pieces, the given pieces, and unused ones."""
    unused = [f"[unused{n}]" for n in range(size - len(SPECIAL) - len(pieces))]
    return "\n".join((*SPECIAL, *pieces, *unused)) + "\n"


def post(text: str = "ann in oslo", split: str = "train") -> Post:
    tokens = tuple(text.split())
    return Post("1", split, tokens, tags=("O",) * len(tokens), head=(0, 1), tail=(2, 3))


def check(folder: Path) -> None:
    """Check tokenizer and encoder as training does."""
    build(HEADS["ner"], [], ["O", "B-X"], replace(CONFIG, encoder=str(folder), max_tokens=30), None)


@pytest.mark.parametrize(
    ("kind", "files", "missing"),
    [
        ("bert", {}, r"vocab.txt \(or tokenizer.json\)"),
        ("distilbert", {}, r"vocab.txt \(or tokenizer.json\)"),
        ("electra", {}, r"vocab.txt \(or tokenizer.json\)"),
        ("roberta", {}, r"vocab.json and merges.txt \(or tokenizer.json\)"),
        ("xlm-roberta", {}, r"sentencepiece.bpe.model \(or tokenizer.json\)"),
        ("bert", {"tokenizer_config.json": "{}"}, r"vocab.txt \(or tokenizer.json\)"),
    ],
)
def test_missing_files_of_a_tokenizer_are_named(
    kind: str, files: dict[str, str], missing: str, tmp_path: Path
) -> None:
    folder = encoder(tmp_path / "encoder", files, kind)
    with pytest.raises(
        DataError, match=f"{folder}: the tokenizer's files are missing: {missing}; put"
    ):
        load_tokenizer(str(folder))


@pytest.mark.parametrize(
    ("kind", "files", "reason"),
    [
        ("modernbert", {}, "files are missing: tokenizer.json"),
        ("roberta", {"vocab.json": '{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4}'}, ""),
        ("bert", {"tokenizer.json": ""}, ""),
        ("bert", {"tokenizer.json": "{}"}, ""),
        ("roberta", BERTWEET, "files are missing: vocab.txt and bpe.codes"),
        ("roberta", {**BERTWEET, "vocab.txt": "a 1\n"}, "files are missing: bpe.codes"),
    ],
)
def test_a_tokenizer_that_cannot_be_loaded_is_one_line(
    kind: str, files: dict[str, str], reason: str, tmp_path: Path
) -> None:
    folder = encoder(tmp_path / "encoder", files, kind)
    line = rf"^[^\n]*encoder '{folder}'[^\n]*{reason}[^\n]*; (give|put) [^\n]*$"
    with pytest.raises(DataError, match=line):
        load_tokenizer(str(folder))


@pytest.mark.parametrize(
    ("kind", "files", "reason"),
    [
        ("bert", {"vocab.txt": "caf\xe9\n"}, "BertTokenizer: vocab.txt: .*UTF-8"),
        ("bert", {"tokenizer.json": '{"a": "\xe9"}'}, "tokenizer.json is not JSON: .*utf-8"),
        ("bert", {"tokenizer.json": NO_MODEL}, "BertTokenizer: tokenizer.json: .*untagged enum"),
        ("bert", {"tokenizer_config.json": "{"}, "tokenizer_config.json is not JSON: Expecting"),
        ("bert", {"tokenizer_config.json": "[]"}, "tokenizer_config.json holds no JSON object"),
        ("bert", {"tokenizer_config.json": '{"tokenizer_class": "X"}'}, "no class 'X'"),
        ("bert", {"config.json": "{}"}, "config.json: expected a model_type .*, found None"),
        ("roberta", {"vocab.json": ROBERTA}, r"are missing: merges.txt \(or tokenizer.json\)"),
        ("roberta", {"vocab.json": ROBERTA, "merges.txt": "\nb c\n"}, "merges.txt: Error while"),
        ("roberta", {"vocab.json": "[]", "merges.txt": ""}, "vocab.json holds no JSON object"),
        ("xlm-roberta", {"sentencepiece.bpe.model": "x"}, "Tokenizer: sentencepiece.bpe.model: "),
    ],
)
def test_the_file_at_fault_is_named(
    kind: str, files: dict[str, str], reason: str, tmp_path: Path
) -> None:
    folder = encoder(tmp_path / "encoder", {}, kind)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"^[^\n]*{reason}[^\n]*; put the files [^\n]*$"):
        load_tokenizer(str(folder))


def test_missing_merges_are_refused(tmp_path: Path) -> None:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *LETTERS, "Ġa", "an", "Ġan", "nn"]
    vocabulary = json.dumps({piece: n for n, piece in enumerate(pieces)})
    files = {"vocab.json": vocabulary, "merges.txt": "#version: 0.2\nĠ a\na n\nĠa n\nn n\n"}
    check(encoder(tmp_path / "whole", files, "roberta", pad_token_id=1))
    files["merges.txt"] = "#version: 0.2\nĠ a\n"
    with pytest.raises(DataError, match="3 of its 4 longer word pieces, such as 'an', are made by"):
        check(encoder(tmp_path / "cut", files, "roberta", pad_token_id=1))


def reshape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 80}))


def spoil(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["embeddings.word_embeddings.weight"][1, 1] = float("inf")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (reshape, r"1 of its weights have another shape.* expected \(80, 32\), found \(40, 32\)"),
        (spoil, "its weight embeddings.word_embeddings.weight holds values that are not finite"),
    ],
)
def test_weights_that_do_not_fit_the_configuration_are_named(
    change: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    folder = encoder(tmp_path / "encoder", {"vocab.txt": words(*LETTERS)})
    change(folder)
    with pytest.raises(EncoderError, match=message):
        check(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab.txt": ""}, "special pieces alone"),
        ({"vocab.txt": words(size=5)}, "5 special pieces alone"),
        ({"vocab.txt": words(*LETTERS, size=61)}, "tokenizer of 60 pieces.* found one of 61"),
        ({"vocab.txt": "\n".join("abcdefg") + "\n"}, r"vocab.txt: expected \[UNK\], \[CLS\]"),
    ],
)
def test_another_vocabulary_is_refused(files: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        check(encoder(tmp_path / "encoder", files))


def test_ids_count_and_not_pieces(tmp_path: Path) -> None:
    """A vocabulary that has a word twice has fewer pieces than ids."""
    twice = words("a", "a", *LETTERS[:20], size=61)
    with pytest.raises(DataError, match="found one of 61"):
        check(encoder(tmp_path / "encoder", {"vocab.txt": twice}))


def test_embeddings_may_be_padded_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {"vocab.txt": words(*LETTERS, size=50)}
    with caplog.at_level(logging.INFO):
        check(encoder(tmp_path / "padded", files))
    assert "10 rows of its embeddings have no word piece" in caplog.text
    large = encoder(tmp_path / "large", files, vocab_size=1100)
    with pytest.raises(DataError, match=r"tokenizer of 1,100 pieces.* found one of 50"):
        check(large)


def test_another_padding_piece_is_logged_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {"vocab.txt": words(*LETTERS)}
    check(encoder(tmp_path / "bert", files, pad_token_id=4))
    assert "gives the padding piece the id 4, its tokenizer 0" in caplog.text
    tokenizer = load_tokenizer(str(tmp_path / "bert"))
    shifted = encoder_config("roberta")
    shifted.pad_token_id = 1
    with pytest.raises(DataError, match="padding piece has the id 1, found 0"):
        check_vocabulary(tokenizer, shifted, 60, "some/encoder")
    assert most_tokens(tokenizer, shifted) == 38  # of 40 positions


def test_a_cached_encoder_without_its_tokenizer_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only configuration and weights were downloaded before."""
    folder = encoder(tmp_path / "encoder", {})
    load = AutoTokenizer.from_pretrained
    asked: list[str] = []

    def offline(name: str, **options: Any) -> Any:
        if not options.get("local_files_only"):
            (folder / "vocab.txt").write_text(words(*LETTERS))
        return load(folder)

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", offline)
    monkeypatch.setattr("pipeline.training.encode.snapshot_folder", lambda name: folder)
    monkeypatch.setattr("pipeline.training.encode.ask_hub", asked.append)
    assert len(load_tokenizer("some/encoder")) == 60
    assert asked == ["some/encoder"]


def lose(*beginnings: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that drops the weights whose names start with `beginnings`."""
    return lambda state: {n: w for n, w in state.items() if not n.startswith(beginnings)}


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (lose("embeddings.word"), {}, "1 of its weights are missing, such as embeddings.word_"),
        (lose("encoder.layer.2.output.dense.bias"), {}, "1 of its weights are missing"),
        (dict, {"num_hidden_layers": 4}, "16 of its weights are missing, such as encoder.layer.3"),
        (dict, {"num_hidden_layers": 2}, "no place for 16 of its weights, such as encoder.layer.2"),
        (dict, {"vocab_size": 61}, "have another shape"),
    ],
)
def test_missing_weights_are_never_initialised_silently(
    change: Callable[[dict[str, Any]], dict[str, Any]],
    config: dict[str, int],
    message: str,
    tmp_path: Path,
) -> None:
    folder = encoder(tmp_path / "encoder", {})
    state = load_file(folder / "model.safetensors")
    save_file(change(state), folder / "model.safetensors")
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | config))
    with pytest.raises(EncoderError, match=message):
        load_encoder(str(folder), lambda name: None)


def test_a_pooler_is_not_needed_nor_is_the_head_of_pretraining(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "encoder", {})
    state = lose("pooler.")(load_file(folder / "model.safetensors"))
    state = {f"bert.{n}": w for n, w in state.items()} | {"cls.predictions.bias": torch.zeros(60)}
    save_file(state, folder / "model.safetensors")
    loaded = load_encoder(str(folder), lambda name: None)
    expected = state["bert.embeddings.word_embeddings.weight"]
    assert torch.equal(loaded.get_input_embeddings().weight, expected)


def test_unknown_words_are_counted_once_each(tmp_path: Path) -> None:
    letters = [*"abxy", *(f"##{c}" for c in "abxy")]
    tokenizer = load_tokenizer(str(encoder(tmp_path / "encoder", {"vocab.txt": words(*letters)})))
    posts = [Post("1", "train", tuple("ab a.b.? q \ufe0f [UNK] ba".split()))]
    assert unknown_words(posts, tokenizer) == (4, 6)


def test_more_unknown_words_than_allowed_are_refused(tmp_path: Path) -> None:
    letters = [*LETTERS[:20], *(f"##{c}" for c in LETTERS[:20])]
    folder = encoder(tmp_path / "encoder", {"vocab.txt": words(*letters)})
    tags = ("B-X", "O", "O", "O")
    posts = [replace(post("ann is xyz o", s), tags=tags) for s in ("train", "val", "test")]
    arguments = (HEADS["ner"], posts, ["O", "B-X"], replace(CONFIG, encoder=str(folder)), None)
    refused = r"doesn't know 1 of 4 words .*25.0%.*, more than 10.0%; .* --max-unknown 0.25$"
    with pytest.raises(DataError, match=refused):
        train(*arguments, tmp_path / "run", "cpu")
    assert not (tmp_path / "run/model").exists()
    result = train(*arguments, tmp_path / "run", "cpu", max_unknown=0.25)
    assert result["unknown_words"] == 0.25


def slow_bert() -> PreTrainedTokenizerBase:
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    return BertTokenizerLegacy(MINILM / "vocab.txt")


@pytest.mark.skipif(not (SHARED / "data").exists(), reason="needs the shared data")
@pytest.mark.parametrize("longest", [None, 20])
@pytest.mark.parametrize("dataset", ["mnre", "twitter2015", "twitter2017"])
def test_slow_tokenizers_give_the_pieces_of_fast_ones(dataset: str, longest: int | None) -> None:
    posts = corpus.read(corpus.locate(dataset, SHARED / "data")).posts[::8]
    sentences = [p.tokens for p in posts]
    slow, fast = slow_bert(), BertTokenizer.from_pretrained(MINILM)
    assert (slow.is_fast, fast.is_fast) == (False, True)
    assert tokenize(sentences, slow, longest) == tokenize(sentences, fast, longest)


def bertweet(folder: Path) -> Path:
    """Write a tiny encoder with BERTweet's tokenizer, which has all letters and one merge."""
    vocabulary = ["an", *LETTERS, *(f"{c}@@" for c in LETTERS)]
    files = {
        **BERTWEET,
        "vocab.txt": "".join(f"{piece} 1\n" for piece in vocabulary),
        "bpe.codes": "a n</w> 9\n",
    }
    return encoder(folder, files, "roberta", vocab_size=128, pad_token_id=1)


def test_a_tokenizer_in_python_trains_and_is_saved_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = bertweet(tmp_path / "encoder")
    splits = ("train", "val", "test")
    posts = [
        Post(split, split, ("an", "<s>", "ban", "in", "oslo"), None, None, (2, 3), (4, 5), "r")
        for split in splits
    ]
    config = replace(CONFIG, encoder=str(folder), max_tokens=38)
    train(HEADS["re"], posts, ["None", "r"], config, None, tmp_path, "cpu", max_unknown=0.5)
    saved, original = load_tokenizer(str(tmp_path / "model")), load_tokenizer(str(folder))
    HEADS["re"].add_markers(original)
    assert not saved.is_fast
    assert original.tokenize("an ban") == ["an", "b@@", "an"]
    [expected] = HEADS["re"].encode({0: posts[0]}, original, ["None", "r"], 38, "paper")
    [encoded] = HEADS["re"].encode({0: posts[0]}, saved, ["None", "r"], 38, "paper")
    assert encoded == expected
    pieces = saved.convert_ids_to_tokens(encoded.input_ids)
    assert " ".join(pieces) == (
        "<s> an <unk> s@@ <unk> <head> b@@ an </head> i@@ n <tail> o@@ s@@ l@@ o </tail> </s>"
    )
    evaluated = tmp_path / "evaluated"
    evaluated.mkdir()
    (tmp_path / "posts.jsonl").write_text("".join(p.to_json() + "\n" for p in posts))
    with caplog.at_level(logging.INFO):
        evaluate_into(evaluated, tmp_path / "model", tmp_path, None, "cpu", "float32", {})
    assert "2 of 10 words of val and test (20.00 %) are unknown to the tokenizer" in caplog.text
    predictions = [(run / "predictions.jsonl").read_text() for run in (tmp_path, evaluated)]
    assert predictions[0] == predictions[1]


def lose_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()


def take_another_tokenizer(model: Path) -> None:
    """Save MiniLM's tokenizer, which lacks the markers, with the model."""
    other = load_tokenizer(str(MINILM))
    save_tokenizer(other, model)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lose_tokenizer,
            "the tokenizer's files are missing: tokenizer.json.* make the model again",
        ),
        (take_another_tokenizer, "expected a tokenizer .*found"),
    ],
)
def test_a_model_without_its_tokenizer_is_refused(
    spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    posts = [replace(post(split=s), relation="r") for s in ("train", "val", "test")]
    config = replace(CONFIG, max_tokens=20)
    train(HEADS["re"], posts, ["None", "r"], config, None, tmp_path, "cpu")
    (tmp_path / "posts.jsonl").write_text("".join(p.to_json() + "\n" for p in posts))
    spoil(tmp_path / "model")
    with pytest.raises(DataError, match=f"{tmp_path / 'model'}.*{message}"):
        evaluate_into(tmp_path / "e", tmp_path / "model", tmp_path, None, "cpu", "float32", {})


@pytest.mark.skipif(not CASE.exists(), reason="needs the shared cases")
@pytest.mark.parametrize("task", ["re", "ner"])
def test_case_encoder_without_tokenizer(task: str, tmp_path: Path) -> None:
    layout = corpus.locate("posts", CASE / "data")
    data = corpus.read(layout)
    labels = {"re": corpus_labels(data.posts)[0], "ner": corpus_labels(data.posts)[1]}[task]
    shutil.copytree(CASE / "encoder", tmp_path / "encoder", copy_function=shutil.copyfile)
    (tmp_path / "encoder").chmod(0o755)
    config = replace(CONFIG, encoder=str(tmp_path / "encoder"), max_tokens=80)
    arguments = (HEADS[task], data.posts, labels, config, None)
    missing = rf"{tmp_path / 'encoder'}: the tokenizer's files are missing: vocab.txt"
    with pytest.raises(DataError, match=missing):
        train(*arguments, tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()
    signs = sorted({sign for p in data.posts for word in p.tokens for sign in word.lower()})
    vocabulary = words(*signs, *(f"##{sign}" for sign in signs), size=200)
    (tmp_path / "encoder/vocab.txt").write_text(vocabulary)
    train(*arguments, tmp_path / "run", "cpu")
    assert (tmp_path / "run/model/model.safetensors").exists()


def corpus_labels(posts: list[Post]) -> tuple[list[str], list[str]]:
    from pipeline.corpus.labels import relation_labels, tag_labels

    return relation_labels(posts), tag_labels(posts)
