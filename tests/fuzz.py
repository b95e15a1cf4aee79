"""Damaged inputs for everything that reads what comes from outside.

    python -m tests.fuzz [--examples N] [--seed S] [--target NAME]

Each input is valid data with damage done to it. It must be read rightly, or be refused by our own
error in one line: within SECONDS, without a row or word that isn't there, and without opening,
making or changing a file beside the data. Prints what became of the inputs of each target, and
ends with 1 where one did anything else.
"""

import argparse
import copy
import faulthandler
import io
import json
import math
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image
from safetensors.torch import save as to_safetensors
from torch import nn
from transformers import PreTrainedTokenizerFast

from features.pictures import MAX_PIXELS, PictureError, open_picture, picture_size
from features.store import Shard, StoreError, write_shard
from features.weights import WeightsError, fill, read_state
from pipeline.corpus import locate, read
from pipeline.corpus.files import MAX_BYTES
from pipeline.corpus.imports.write import import_posts
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.grounding.noun_phrases import MOST_WORDS, clean, readable
from pipeline.grounding.voc import read_voc
from pipeline.training.encode import load_tokenizer, scratch_tokenizer
from pipeline.training.entities import encode_entities
from pipeline.training.relations import MARKERS, add_markers, encode_relations
from tests.tiny import MINILM

EXAMPLES = 250  # of each target
SECONDS = 5.0  # of the processor, for one input
BACKSTOP = 120  # seconds: a hang in a library ends the process
CANARY = "beside the data"

# --- inputs: valid data of each kind, and what damages it

NAMES = (
    *("../secret.png", "/etc/passwd", "..", ".", "", "a/../../../secret.png", "..\\secret.png"),
    *("C:\\a.jpg", "C:a.jpg", "a\0.png", "a\n.png", "a\u2028b", "\ud800", "é" * 128, "x" * 256),
    *("~", "a.png/", "secret.png", "CON", "\u202egnp.a", "a.png:large"),
)
WORDS = (
    *("<head>", "</head>", "<tail>", "x</tail>", "[SEP]", "[CLS]", "a[PAD]b", "[MASK]", "[UNK]"),
    *("<s>", "</s>", "<mask>", "<pad>", "##ing", "\x00", "\x1b[2J", "\u200b", "\ufe0f", "\u202e"),
    *(
        "👩\u200d👩\u200d👧",
        "e\u0301" * 50,
        "ß",
        "İ",
        "東京",
        "&#99999999;",
        "&#" + "9" * 5000 + ";",
    ),
    *("http://" + "." * 500, "a'" * 500, "@", "#", "the", "x" * 5000, "A.B." * 50, "\u00a0", "a b"),
)
NUMBERS = (float("nan"), float("inf"), -1, 0, 2**63, 10**400, 1e308, -0.0, True)
VALUES: tuple[Any, ...] = (
    None,
    *NUMBERS,
    [],
    {},
    [[[[]]]],
    "B-\u2028",
    "I-" + "X" * 300,
    *NAMES,
    *WORDS,
)
FRAGMENTS = (
    *(b"../../secret.png", b"\x00", b"\xff\xff\xff\xff", b"\xed\xa0\x80", b"[" * 3000, b"9" * 5000),
    *(b"NaN", b"1e999", b"\\ud800", b'"', b"'", b"\n", b"\r\n", b"\t", b"{" * 200, b"-" * 3000),
    *(b"IMGID:../1", b"\xef\xbb\xbf", b"\x80\x02c__builtin__\neval\n(V1\ntR.", b"&x;", b"<name>"),
    b'<!DOCTYPE a [<!ENTITY x SYSTEM "secret.png">]>',
    *(b"\x01\x00\x00\x00", b"\xff\xff\xff\x7f", b"\x00" * 64),
)


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """Bytes with up to six faults: flipped, overwritten, cut out or off, put in, or doubled."""
    data = bytearray(valid)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3, 6)))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.sampled_from((1, 2, 4, 8, 30, 500)))
        kind = draw(st.sampled_from(("flip", "byte", "put", "over", "delete", "end", "double")))
        if kind == "put":
            data[place:place] = draw(st.sampled_from(FRAGMENTS))
        elif kind == "over":
            piece = draw(st.sampled_from(FRAGMENTS) | st.binary(min_size=1, max_size=16))
            data[place : place + len(piece)] = piece
        elif kind == "delete":
            del data[place : place + length]
        elif kind == "end":
            del data[place:]
        elif kind == "double":
            data[place:place] = data[place : place + length]
        elif data:
            data[place] = draw(st.integers(0, 255)) if kind == "byte" else data[place] ^ 1 << 4
    return bytes(data)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all parts of nested lists and dicts."""
    keys: Any = value if isinstance(value, dict) else ()
    if isinstance(value, list):
        keys = range(len(value))
    return [path, *(p for key in keys for p in _places(value[key], (*path, key)))]


@st.composite
def swapped(draw: st.DrawFn, valid: Any) -> Any:
    """Lists and dicts in which one or two values are others, or a field is more or less."""
    value = [copy.deepcopy(valid)]
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(_places(value)[1:]))
        holder: Any = value
        for key in way:
            holder = holder[key]
        if isinstance(holder, dict) and draw(st.integers(0, 4)) == 0:
            gone = holder.pop(last)
            if draw(st.booleans()):
                holder[draw(st.sampled_from((*NAMES, "more")))] = gone
        else:
            holder[last] = draw(st.sampled_from(VALUES) | st.text(max_size=8))
    return value[0]


POSTS: list[dict[str, Any]] = [
    {
        "id": f"p{n}",
        "split": split,
        "tokens": ["Ann", "and", "Bob"],
        "picture": "a.png",
        "tags": ["B-PER", "O", "B-PER"],
        "head": [0, 1],
        "tail": [2, 3],
        "relation": "friends",
        "phrases": ["Ann"],
        "boxes": [[0, 0, 4, 5.5]],
    }
    for n, split in enumerate(("train", "val", "test"))
]
LABELLED = [
    {
        "id": str(n),
        "image_id": "a.png",
        "text": "Ann !",
        "tokens": ["Ann", "!"],
        "label": ["B-PER", "O"],
    }
    for n in range(3)
]
MNRE = [
    {
        "token": ["Ann", "in", "Oslo"],
        "h": {"name": "Ann", "pos": [0, 1]},
        "t": {"name": "Oslo", "pos": [2, 3]},
        "img_id": "a.png",
        "relation": "/per/per/peer",
    }
    for _ in range(3)
]
RELATIONS = {"None": 0, "/per/per/peer": 1, "new": 2}
CROPS = {n: ["a.png", "b.png"] for n in range(3)}
TWITTER = "IMGID:1\nAnn\tB-PER\nin\tO\nOslo\tB-LOC\n\nIMGID:2\nRT\tO\n\n"
VOC = (
    "<annotation><size><width>40</width><height>30</height></size>"
    "<object><name>Ann</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax>"
    "</bndbox></object><object><name>Oslo</name></object></annotation>"
)
TEXT = "Ann works for Acme in Oslo"
ENTITIES = [{"start": 0, "end": 3, "label": "PER"}, {"start": 14, "end": 18, "label": "ORG"}]
RELATED = [{"head": 0, "tail": 1, "label": "works_for"}]
RECORDS: list[Any] = [
    {"id": "a", "text": TEXT, "entities": ENTITIES, "relations": RELATED, "picture": "a.png"},
    {"tokens": ["Ann", "x"], "entities": ENTITIES[:1], "picture": ["a.png", "b.png"]},
]
TASKS: list[Any] = [
    {
        "id": 1,
        "data": {"text": TEXT, "image": "/data/upload/1/0a1b2c3d-a.png"},
        "annotations": [
            {
                "result": [
                    {"id": "a", "type": "labels", "value": {"start": 0, "end": 3, "text": "Ann",
                                                            "labels": ["PER"]}},
                    {"id": "b", "type": "labels", "value": {"start": 14, "end": 18,
                                                            "labels": ["ORG"]}},
                    {"from_id": "a", "to_id": "b", "type": "relation", "labels": ["works_for"]},
                ]
            }
        ],
    }
]  # fmt: skip
DOCCANO: list[Any] = [
    {
        "id": 1,
        "text": TEXT,
        "entities": [{"id": 7, "label": "PER", "start_offset": 0, "end_offset": 3},
                     {"id": 8, "label": "ORG", "start_offset": 14, "end_offset": 18}],
        "relations": [{"id": 1, "from_id": 7, "to_id": 8, "type": "works_for"}],
    },
    {"id": 2, "text": TEXT, "label": [[0, 3, "PER"]], "meta": {"image": "a.png"}},
]  # fmt: skip
BRAT = "T1\tPER 0 3\tAnn\nT2\tLOC 14 18;22 26\tAcme Oslo\nR1\tin Arg1:T1 Arg2:T2\n#1\tN T1\tx\n"
CONLL = "-DOCSTART- -X- O O\n\nAnn NNP B-NP B-PER\nin IN B-PP O\n\nOslo NNP B-NP B-LOC\n"
STATE = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
ROWS = np.arange(5 * 3 * 2 * 2, dtype=np.float16).reshape(5, 3, 2, 2)
KEYS = [bytes([n]) * 32 for n in range(1, 6)]


def _lines(records: list[Any], write: Callable[[Any], str] = json.dumps) -> bytes:
    return "".join(write(record) + "\n" for record in records).encode("utf-8", "surrogatepass")


def _records(valid: list[Any], write: Callable[[Any], str] = json.dumps) -> SearchStrategy[bytes]:
    """Lines of which a value is another, or some bytes."""
    spoilt = swapped(valid).filter(lambda value: isinstance(value, list))
    return spoilt.map(lambda value: _lines(value, write)) | damaged(_lines(valid, write))


def _saved(value: object, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def _either(value: object) -> SearchStrategy[bytes]:
    return damaged(_saved(value)) | damaged(_saved(value, zipped=False))


FORMS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000") + (
    ("AVIF",) if find_spec("PIL._avif") else ()
)


def _drawn(form: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (20, 24, 3)).astype(np.uint8)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    options: dict[str, Any] = {} if form in ("GIF", "BMP", "PPM") else {"exif": exif}
    if form in ("GIF", "WEBP", "PNG"):
        options |= {"save_all": True, "append_images": [Image.new("RGB", (24, 20), "red")]}
    Image.fromarray(noise).save(file, form, **options)
    return file.getvalue()


def _shard() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return (Path(folder) / write_shard(Path(folder), KEYS, ROWS)).read_bytes()


def _sentences() -> SearchStrategy[list[str]]:
    words = st.sampled_from(WORDS) | st.sampled_from(("Ann", "in", "Oslo")) | st.text(min_size=1)
    short = st.lists(words, min_size=2, max_size=12)
    # As long as a line of a file may be, or 5,000 words.
    return short | short.map(
        lambda words: (words * min(800, MAX_BYTES // 4 // len("".join(words))))[:5000] or words
    )


INPUTS: dict[str, SearchStrategy[Any]] = {
    "own": _records(POSTS),
    "records": _records(RECORDS),
    "labelled": _records(LABELLED),
    "label-studio": swapped(TASKS).map(lambda v: json.dumps(v).encode("utf-8", "surrogatepass"))
    | damaged(json.dumps(TASKS).encode()),
    "doccano": _records(DOCCANO),
    "brat": damaged(BRAT.encode()),
    "conll": damaged(CONLL.encode()),
    "mnre": _records(MNRE, repr),
    "twitter": damaged(TWITTER.encode()),
    "relations": swapped(RELATIONS).map(lambda value: _lines([value]))
    | damaged(_lines([RELATIONS])),
    "crops": swapped(CROPS).map(_saved) | _either(CROPS),
    "voc": damaged(VOC.encode()),
    "pictures": st.sampled_from(FORMS).flatmap(lambda form: damaged(_drawn(form))),
    "names": st.sampled_from(NAMES) | st.text(),
    "pth": _either(STATE),
    "safetensors": damaged(to_safetensors(STATE)),
    "encoder": _sentences(),
    "phrases": _sentences(),
    "store": damaged(_shard()),
}


# --- uses: each writes its input into a folder, reads it, and checks what was read

REFUSALS = (DataError, PictureError, WeightsError, StoreError)


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- posts


def _own(root: Path, content: bytes) -> None:
    _write(root / "mine/posts.jsonl", content)
    _posts(root, "mine")


def _export(form: str) -> Callable[[Path, bytes], None]:
    def use(root: Path, content: bytes) -> None:
        _import(root, form, _write(root / "export/file", content))

    return use


def _brat(root: Path, content: bytes) -> None:
    _write(root / "export/1.txt", TEXT.encode())
    _import(root, "brat", _write(root / "export/1.ann", content).parent)


def _import(root: Path, form: str, file: Path) -> None:
    """Import what reading then takes, whatever the scheme of the tags."""
    lines = import_posts("mine", file, form, root / "export", root, overwrite=False)
    assert all(len(line.splitlines()) == 1 for line in lines)
    _posts(root, "mine")


def _labelled(root: Path, content: bytes) -> None:
    for split in ("train", "dev", "test"):
        _write(root / f"mine/texts/{split}/{split}.json", content)
    _posts(root, "mine")


def _release(root: Path, **changed: bytes) -> None:
    """A release of MNRE's, of which a file is another. Its posts are read."""
    files = {"train": _lines(MNRE, repr), "crops": _saved(CROPS), **changed}
    for split in ("train", "val", "test"):
        _write(
            root / f"mnre/{split}.txt", files["train"] if split == "train" else _lines(MNRE, repr)
        )
    for split in ("train", "dev", "test"):
        _write(root / f"mnre/mre_{split}_dict.pth", files["crops"])
    if "relations" in files:
        _write(root / "mnre/ours_rel2id.json", files["relations"])
    _posts(root, "mnre")


def _twitter(root: Path, content: bytes) -> None:
    _write(root / "twitter2015/train.txt", content)
    for split, shift in (("valid", "3"), ("test", "4")):
        text = TWITTER.replace("IMGID:", f"IMGID:{shift}")
        _write(root / f"twitter2015/{split}.txt", text.encode())
    _posts(root, "twitter2015")


def _posts(root: Path, dataset: str) -> None:
    """Read posts, open their pictures, and check both."""
    corpus = read(locate(dataset, root))
    assert len({post.id for post in corpus.posts}) == len(corpus.posts) > 0
    for post in corpus.posts:
        _check_post(post)
        for name in (post.picture, *(post.crops or ())):
            if name is not None:
                _try_picture(root, root / name)


def _check_post(post: Post) -> None:
    assert Post.from_json(post.to_json()) == post
    post.to_json().encode()
    assert len(post.id.splitlines()) == 1
    assert post.split in ("train", "val", "test")
    assert post.tokens
    assert all(post.tokens)
    assert post.tags is None or len(post.tags) == len(post.tokens)
    for start, end in filter(None, (post.head, post.tail)):
        assert 0 <= start < end <= len(post.tokens)
    for box in post.boxes or ():
        assert all(map(math.isfinite, box))


def _try_picture(root: Path, path: Path) -> None:
    """The path stays in the data. That nothing else is opened is seen by the caller."""
    assert path.resolve().is_relative_to(root.resolve())
    try:
        open_picture(path)
    except PictureError as error:
        _check_message(error)


def _names(root: Path, name: str) -> None:
    """A name as any caller may give it: it needs to be no picture of ours to be refused."""
    (root / "pictures").mkdir()
    for act in (picture_size, open_picture):
        act(root / "pictures" / name.replace("..", "").lstrip("/"))


def _voc(root: Path, content: bytes) -> None:
    found = read_voc(_write(root / "1.xml", content))
    assert found.faults >= 0
    assert all(side > 0 for side in found.size or ())
    for x0, y0, x1, y1 in (box for boxes in found.boxes.values() for box in boxes):
        assert x0 < x1
        assert y0 < y1


# --- pictures, weights, rows


def _pictures(root: Path, content: bytes) -> None:
    path = _write(root / "a.jpg", content)
    width, height = picture_size(path)
    assert 0 < width * height <= MAX_PIXELS
    picture = open_picture(path)
    assert picture.mode == "RGB"
    assert isinstance(picture, Image.Image)
    assert 0 < math.prod(picture.size) <= MAX_PIXELS


def _weights(suffix: str) -> Callable[[Path, bytes], None]:
    def use(root: Path, content: bytes) -> None:
        fill(nn.Linear(3, 2), read_state(_write(root / f"a{suffix}", content)), "a")

    return use


def _store(root: Path, content: bytes) -> None:
    """Rows whose CRC is right are those that were written under their keys."""
    shard = Shard(_write(root / "a.h5", content))
    bad, rows = set(shard.verify()), shard.map_rows()
    for number, key in enumerate(shard.keys):
        if number not in bad:
            expected = ROWS[KEYS.index(key.tobytes())]
            assert np.array_equal(rows[number], expected), number


# --- words


@lru_cache
def _tokenizers() -> tuple[PreTrainedTokenizerFast, ...]:
    posts = [Post("1", "train", ("Ann", "in", "Oslo", "<", ">", "[", "]", "/"))]
    both = (load_tokenizer(str(MINILM)), scratch_tokenizer(posts))
    for tokenizer in both:
        add_markers(tokenizer)
    return both


def _encoder(root: Path, tokens: list[str]) -> None:
    words = tuple(token for token in tokens if token.isprintable()) or ("Ann",)
    last = len(words)
    post = Post("1", "train", words, tags=("O",) * last, head=(0, 1), tail=(last - 1, last))
    for tokenizer in _tokenizers():
        _check_entities(post, tokenizer)
        _check_relations(post, tokenizer)


def _plain(post: Post, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The pieces of the words, whose brackets are set apart so that none is a special piece."""
    apart = [re.sub(r"([<>\[\]])", r" \1 ", word) for word in post.tokens]
    return list(tokenizer(apart, is_split_into_words=True, verbose=False)["input_ids"])


def _check_entities(post: Post, tokenizer: PreTrainedTokenizerFast) -> None:
    [encoded] = encode_entities({0: post}, tokenizer, ["O"], 10**6)
    assert encoded.input_ids == _plain(post, tokenizer)
    assert len(encoded.words) == len(post.tokens)
    assert len(encoded.labels) == len(encoded.positions)
    [short] = encode_entities({0: post}, tokenizer, ["O"], 80)
    assert len(short.input_ids) == min(80, len(encoded.input_ids))


def _check_relations(post: Post, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.convert_tokens_to_ids(list(MARKERS))
    [encoded] = encode_relations({0: post}, tokenizer, [], 10**6)
    assert [piece for piece in encoded.input_ids if piece not in ids] == _plain(post, tokenizer)
    assert sorted(piece for piece in encoded.input_ids if piece in ids) == sorted(ids)
    assert [encoded.input_ids[place] for place in encoded.positions] == [ids[0], ids[2]]
    assert encoded.positions[0] == 1
    [short] = encode_relations({0: post}, tokenizer, [], 80)
    assert len(short.input_ids) <= 80
    assert [short.input_ids[place] for place in short.positions] == [ids[0], ids[2]]


def _phrases(root: Path, tokens: list[str]) -> None:
    del root
    assert all(word.strip() for word in readable(tokens))
    for phrase in clean([" ".join(tokens), *tokens]):
        assert 0 < len(phrase.split()) <= MOST_WORDS


USES: dict[str, Callable[[Path, Any], None]] = {
    "own": _own,
    "records": _own,
    "labelled": _labelled,
    "label-studio": _export("label-studio"),
    "doccano": _export("doccano"),
    "brat": _brat,
    "conll": _export("conll"),
    "mnre": lambda root, content: _release(root, train=content),
    "twitter": _twitter,
    "relations": lambda root, content: _release(root, relations=content),
    "crops": lambda root, content: _release(root, crops=content),
    "voc": _voc,
    "pictures": _pictures,
    "names": _names,
    "pth": _weights(".pth"),
    "safetensors": _weights(".safetensors"),
    "encoder": _encoder,
    "phrases": _phrases,
    "store": _store,
}


# --- running them

_watched: list[str] = []  # the folder of the present input
_opened: list[str] = []  # files in it, outside the data, that were opened


@dataclass(frozen=True)
class Target:
    """Inputs, what reads them, and what it may raise.

    `use` gets a new folder for its files, and the input.
    """

    name: str
    inputs: SearchStrategy[Any]
    use: Callable[[Path, Any], None]


TARGETS = [Target(name, inputs, USES[name]) for name, inputs in INPUTS.items()]


def fuzz(target: Target, examples: int, seed: int | None = None) -> Counter[str]:
    """What became of so many inputs: "accepted" or "refused". Without a seed always the same ones.

    Raises what an input raised that it may not, after Hypothesis has made the input small.
    """
    counts: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=seed is None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @hypothesis.given(target.inputs)
    def each(value: object) -> None:
        counts[outcome(target, value)] += 1

    (each if seed is None else hypothesis.seed(seed)(each))()
    return counts


def outcome(target: Target, value: object) -> str:
    """ "accepted" or "refused"; raises for anything else."""
    with tempfile.TemporaryDirectory() as name:
        outside = Path(name).resolve()
        folder = outside / "data"
        folder.mkdir()
        (outside / "secret.png").write_text(CANARY)
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _watch(outside, lambda: _told(target, folder, value))
        spent = time.process_time() - start
        assert spent < SECONDS, f"took {spent:.1f} seconds"
        left = {file.name for file in outside.iterdir()} ^ {"data", "secret.png"}
        assert not left, f"left or removed {left}"
        assert (outside / "secret.png").read_text() == CANARY, "changed a file beside the data"
    return found


def _told(target: Target, folder: Path, value: object) -> str:
    try:
        target.use(folder, value)
    except REFUSALS as error:
        _check_message(error)
        return "refused"
    return "accepted"


def _check_message(error: Exception) -> None:
    assert len(str(error).strip().splitlines()) == 1, f"not a line: {str(error)!r}"


def _watch(outside: Path, act: Callable[[], str]) -> str:
    """Run and see that no file of `outside` but those in its data is opened or made."""
    _watched[:], _opened[:] = [str(outside)], []
    try:
        found = act()
    finally:
        _watched.clear()
    assert not _opened, f"opened {_opened}"
    return found


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: Python tells of each file that it opens."""
    if event != "open" or not _watched or not isinstance(arguments[0], str):
        return
    path, [outside] = str(Path(arguments[0]).resolve()), _watched
    if path.startswith(f"{outside}/") and not path.startswith(f"{outside}/data/"):
        _opened.append(path)


sys.addaudithook(_hear)


def main() -> int:
    """Fuzz all targets and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=[target.name for target in TARGETS])
    arguments = parser.parse_args()
    faulthandler.enable()
    total: Counter[str] = Counter()
    for target in TARGETS:
        if arguments.target in (None, target.name):
            counts = _survey(target, arguments.examples, arguments.seed)
            print(_line(target.name, counts), flush=True)
            total += counts
    print(_line("all", total))
    return 1 if total["failures"] else 0


def _survey(target: Target, examples: int, seed: int) -> Counter[str]:
    faulthandler.dump_traceback_later(BACKSTOP + examples, exit=True)
    try:
        return fuzz(target, examples, seed)
    except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
        traceback.print_exc()
        return Counter(failures=1)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _line(name: str, counts: Counter[str]) -> str:
    kinds = ("accepted", "refused", "failures")
    return f"{name:12}" + "".join(f"{counts[kind]:8} {kind}" for kind in kinds)


if __name__ == "__main__":
    sys.exit(main())
