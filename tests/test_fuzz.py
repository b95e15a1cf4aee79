"""The short form of `tests.fuzz`, and hostile files and texts that are too large for it."""

import os
import pickle
import struct
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import nn

from features.weights import WeightsError, fill, read_state
from pipeline.errors import DataError
from pipeline.grounding.noun_phrases import (
    MOST_PARSED,
    Chunker,
    SpacyPhrases,
    clean,
    installed,
    readable,
)
from tests import fuzz

EXAMPLES = 12  # of each target


@pytest.mark.parametrize("target", fuzz.TARGETS, ids=lambda target: target.name)
def test_damaged_inputs_are_read_rightly_or_refused(target: fuzz.Target) -> None:
    counts = fuzz.fuzz(target, EXAMPLES)
    assert counts["accepted"] + counts["refused"] >= EXAMPLES


def crash(folder: Path, value: object) -> None:
    raise KeyError(value)


def two_lines(folder: Path, value: object) -> None:
    raise DataError("one\ntwo")


def peep(folder: Path, value: object) -> None:
    (folder / "../secret.png").read_text()


def leave(folder: Path, value: object) -> None:
    os.mkdir(folder / "../more")


def dawdle(folder: Path, value: object) -> None:
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (crash, "0"),
        (two_lines, "not a line"),
        (peep, "opened"),
        (leave, "left"),
        (dawdle, "seconds"),
    ],
)
def test_the_fuzzer_sees(use: Callable, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.04)
    target = fuzz.Target("a", st.just(0), use)
    with pytest.raises((KeyError, AssertionError), match=told):
        fuzz.fuzz(target, 1)


# --- weights


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_weights_is_never_run(suffix: str, zipped: bool, tmp_path: Path) -> None:
    path, made = tmp_path / f"a{suffix}", tmp_path / "made"
    value = {"weight": torch.ones(1), "more": Evil(made)}
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError) as caught:
        read_state(path)
    assert str(caught.value).isprintable()
    assert not made.exists()
    with path.open("rb") as file:
        torch.load(file, weights_only=False)  # it does work: the line above could have failed
    assert made.exists()


def with_pickle(path: Path, content: bytes, how: int = zipfile.ZIP_STORED) -> None:
    """A .pth file whose pickle is another."""
    torch.save({}, path.with_suffix(".old"))
    with zipfile.ZipFile(path.with_suffix(".old")) as old, zipfile.ZipFile(path, "w", how) as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else old.read(name))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02X\xff\xff\xff\x7f",  # a string of 2 GB, which isn't there
        b"\x80\x02\x8b\xff\xff\xff\x7f",
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        b"\x80\x02cnumpy\ndtype\nU\x0bV9000000000\x85R.",
        b"\x80\x02cnumpy\ndtype\nU\x01O\x85R.",
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x08" + struct.pack("<q", 2**60) + b"\x85R.",
        b"\x80\x02.",
        b"",
    ],
)
def test_absurd_pickles_are_refused(content: bytes, tmp_path: Path) -> None:
    with_pickle(tmp_path / "a.pth", content)
    with pytest.raises(WeightsError) as caught:
        read_state(tmp_path / "a.pth")
    assert str(caught.value).isprintable()


def test_compressed_weights_are_not_unpacked(tmp_path: Path) -> None:
    content = pickle.dumps({}, 2) + bytes(5_000_000)
    with_pickle(tmp_path / "a.pth", content, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="is compressed"):
        read_state(tmp_path / "a.pth")


def test_a_numpy_scalar_beside_weights_is_read(tmp_path: Path) -> None:
    scores = {"best": np.float64(0.5), "step": np.int64(7)}
    torch.save({"state_dict": {"a": torch.ones(2)}, **scores}, tmp_path / "a.pth")
    assert read_state(tmp_path / "a.pth")["a"].tolist() == [1, 1]


HEADERS = {
    "length": struct.pack("<Q", 2**63) + b"{}",
    "short": struct.pack("<Q", 90_000_000) + b"{}",
    "deep": struct.pack("<Q", 500_000) + b'{"a":' * 100_000,
    "shape": b'{"a":{"dtype":"F32","shape":[4611686014132420609,4],"data_offsets":[0,4]}}',
    "offset": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[9223372036854775808,4]}}',
    "overlap": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    b'"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "type": b'{"a":{"dtype":"Q\\n","shape":[1],"data_offsets":[0,4]}}',
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_absurd_headers_are_refused(header: bytes, tmp_path: Path) -> None:
    whole = header if header[:1] != b"{" else struct.pack("<Q", len(header)) + header + b"four"
    (tmp_path / "a.safetensors").write_bytes(whole)
    with pytest.raises(WeightsError) as caught:
        read_state(tmp_path / "a.safetensors")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "state",
    [
        {1: torch.ones(1)},
        {"a": torch.eye(3).to_sparse()},
        {"a": torch.ones(1, device="meta")},
        {"a": "text"},
        [torch.ones(1)],
    ],
    ids=["key", "sparse", "meta", "text", "list"],
)
def test_what_is_no_state_is_refused(state: object, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_weights_that_are_no_file(
    make: Callable[[Path], None], suffix: str, tmp_path: Path
) -> None:
    make(tmp_path / f"a{suffix}")
    with pytest.raises(WeightsError, match="no such file"):
        read_state(tmp_path / f"a{suffix}")


def test_odd_names_of_weights_stay_on_one_line() -> None:
    state = {"weight": torch.ones(2, 3), "bias": torch.ones(2), "a\nb": torch.ones(1)}
    with pytest.raises(WeightsError, match=r"^x: unexpected: 'a\\nb'$"):
        fill(nn.Linear(3, 2), state, "x")


# --- phrases


class Words(Chunker):
    """Each word is a phrase. Remembers how many words it was given at once."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def chunks(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        self.lengths += [len(sentence) for sentence in sentences]
        return [list(sentence) for sentence in sentences]


def test_long_sentences_are_parsed_in_parts() -> None:
    words = [f"w{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{n // 676}" for n in range(1000)]
    posts = [["Oslo"], words, [], words[:MOST_PARSED], ["Rome", "Bern"]]
    chunker = Words()
    assert chunker.batch(posts) == [tuple(post) for post in posts]
    assert chunker.lengths == [1, MOST_PARSED, MOST_PARSED, 1000 - 2 * MOST_PARSED, MOST_PARSED, 2]


@pytest.mark.skipif(not installed(), reason="spaCy is not installed")
def test_a_text_longer_than_spacy_takes() -> None:
    tokens = ["the", "dog", "sees", "Oslo", "."] * 500 + ["x" * 1_100_000]
    assert SpacyPhrases().batch([tokens]) == [("dog", "Oslo")]


@pytest.mark.parametrize("token", ["&#" + "9" * 5000 + ";", "a" * 101, "http://" + "x" * 9999])
def test_what_is_no_word_is_dropped(token: str) -> None:
    assert readable(["in", token, "Oslo"]) == ["in", "Oslo"]


@pytest.mark.parametrize("piece", ["the ", ". ", "a.", "@ a ", "# a ", "RT @ a : ", "' s ", "& "])
def test_cleaning_takes_time_by_length(piece: str) -> None:
    start = time.process_time()
    clean([piece * 100_000])
    assert time.process_time() - start < 10  # it takes under a second; the square, a minute
