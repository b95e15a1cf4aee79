"""The readers: real texts, the published layouts, own data, and malformed files."""

import json
import os
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.corpus import Corpus, locate, read
from pipeline.corpus.files import Layout, clip, crop_names, lines
from pipeline.corpus.jsonl import split_text
from pipeline.corpus.mnre import RELATIONS
from pipeline.corpus.post import SPLITS, Post
from pipeline.errors import DataError
from pipeline.grounding.voc import read_voc

REPO = Path(__file__).resolve().parents[3]
DATA = REPO.parent / "shared" / "data"

real = pytest.mark.skipif(not (DATA / "mnre").is_dir(), reason="the real texts are not there")


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def save(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)
    return path


def refused(dataset: str, data: Path) -> str:
    """Return the message of the error about a data set, which must be one line."""
    with pytest.raises(DataError) as caught:
        read(locate(dataset, data))
    message = str(caught.value)
    assert message.isprintable()
    return message


def by_split(posts: list[Post]) -> dict[str, list[Post]]:
    assert [p.split for p in posts] == sorted((p.split for p in posts), key=SPLITS.index)
    return {split: [p for p in posts if p.split == split] for split in SPLITS}


def counts(values: dict[str, list[Post]], of: Callable[[list[Post]], int]) -> tuple[int, ...]:
    return tuple(of(values[split]) for split in SPLITS)


# Real texts -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mnre() -> Corpus:
    return read(locate("mnre", DATA))


@real
def test_mnre_counts(mnre: Corpus) -> None:
    rows = by_split(mnre.posts)
    assert counts(rows, len) == (12247, 1624, 1614)
    assert counts(rows, lambda posts: len({p.picture for p in posts})) == (7356, 931, 914)
    assert counts(rows, lambda posts: sum(p.relation == "None" for p in posts)) == (7744, 1000, 974)
    assert max(Counter(p.picture for p in mnre.posts).values()) == 21
    assert len({p.id for p in mnre.posts}) == 15485
    assert rows["val"][-1].id == "val-1623"


@real
def test_mnre_spans_are_unchanged(mnre: Corpus) -> None:
    train = [p for p in mnre.posts if p.split == "train"]
    assert sum(p.tail is not None and p.tail[1] == len(p.tokens) for p in train) == 90
    first = train[0]
    assert first.head is not None
    assert first.tail is not None
    assert first.tokens[slice(*first.head)] == ("Circle", "Undone")
    assert first.tokens[slice(*first.tail)] == ("Arkham", "Horror", "LCG")
    assert first.picture == "mnre/img_org/train/twitter_19_31_16_6.jpg"
    assert (first.crops, first.tags, first.phrases) == (None, None, None)


@real
def test_mnre_has_the_published_relations(mnre: Corpus) -> None:
    assert mnre.relations == list(RELATIONS)
    assert {p.relation for p in mnre.posts} == set(RELATIONS)


@real
@pytest.mark.parametrize(
    ("dataset", "rows", "kinds"),
    [
        ("twitter2015", (4000, 1000, 3257), {"PER", "LOC", "ORG", "MISC"}),
        ("twitter2017", (3373, 723, 723), {"PER", "LOC", "ORG", "MISC"}),
    ],
)
def test_twitter_counts(dataset: str, rows: tuple[int, ...], kinds: set[str]) -> None:
    corpus = read(locate(dataset, DATA))
    assert corpus.relations is None
    assert counts(by_split(corpus.posts), len) == rows
    assert len({p.id for p in corpus.posts}) == sum(rows)
    assert {tag[2:] for p in corpus.posts for tag in p.tags or () if tag != "O"} == kinds
    assert all(p.tags is not None and len(p.tags) == len(p.tokens) > 0 for p in corpus.posts)


def orphans(posts: list[Post]) -> int:
    """Count the I- tags that follow neither B- nor I- of their type."""
    return sum(
        tag.startswith("I-") and (before == "O" or before[2:] != tag[2:])
        for p in posts
        for before, tag in zip(("O", *(p.tags or ())), p.tags or (), strict=False)
    )


@real
def test_twitter2015_is_read_unchanged() -> None:
    rows = by_split(read(locate("twitter2015", DATA)).posts)
    assert counts(rows, orphans) == (186, 53, 135)
    assert counts(rows, lambda posts: sum("\xa0" in p.tokens for p in posts)) == (0, 1, 0)
    assert rows["test"][-1].tokens[-1] == "http://t.co/kd1OVQmsyy"  # no blank line after it
    assert rows["train"][0].id == "1015799"
    assert rows["train"][0].picture == "twitter2015/twitter2015_images/1015799.jpg"


@real
def test_every_real_post_survives_json(mnre: Corpus) -> None:
    posts = mnre.posts[::40] + read(locate("twitter2015", DATA)).posts[::20]
    assert [Post.from_json(p.to_json()) for p in posts] == posts


# The published layouts ------------------------------------------------------------------------


def mnre_row(picture: str, relation: str = "None", **changes: object) -> str:
    row = {
        "token": ["Ann", "&amp;", "Bob"],
        "h": {"name": "Ann", "pos": [0, 1]},
        "t": {"name": "Bob", "pos": [2, 3]},
        "img_id": picture,
        "relation": relation,
    }
    return repr(row | changes) + "\n"


@pytest.fixture
def re_release(tmp_path: Path) -> Path:
    """The RE release: texts are named val, dictionaries dev."""
    base = tmp_path / "RE_data"
    write(base / "txt/ours_train.txt", mnre_row("a.jpg", "/per/per/peer") + mnre_row("b.jpg"))
    write(base / "txt/ours_val.txt", mnre_row("c.jpg"))
    write(base / "txt/ours_test.txt", mnre_row("d.jpg"))
    write(base / "ours_rel2id.json", json.dumps({r: n for n, r in enumerate(RELATIONS)}))
    crops = [f"a.jpg_pred_yolo_crop_{n}.png" for n in range(5)]
    save(base / "txt/mre_train_dict.pth", {0: crops})
    save(base / "txt/mre_dev_dict.pth", {0: ["c_pred_yolo_crop_0.png"]})
    save(base / "txt/mre_test_dict.pth", {0: []})
    for split, name in (("train", "a.jpg"), ("train", "b.jpg"), ("val", "c.jpg")):
        write(base / "img_org" / split / name, "")
        write(base / "img_vg" / split / "crops" / f"{name}.png", "")
    return tmp_path


def test_re_release(re_release: Path) -> None:
    layout = locate("mnre", re_release)
    txt = re_release / "RE_data/txt"
    assert layout.texts == {split: txt / f"ours_{split}.txt" for split in SPLITS}
    assert layout.extras == (
        *(txt / f"mre_{name}_dict.pth" for name in ("train", "dev", "test")),
        re_release / "RE_data/ours_rel2id.json",
    )
    assert [p.name for p in layout.pictures] == ["train", "img_org", "val"]
    assert [p.parent.name for p in layout.crops] == ["train", "val"]
    assert layout.released
    a, b, c, d = read(layout).posts
    assert (a.id, a.tokens, a.relation) == ("train-0", ("Ann", "&amp;", "Bob"), "/per/per/peer")
    assert a.picture == "RE_data/img_org/train/a.jpg"
    assert a.crops == tuple(
        f"RE_data/img_vg/train/crops/a.jpg_pred_yolo_crop_{n}.png" for n in range(3)
    )
    assert b.crops == ()  # no entry
    assert c.crops == ("RE_data/img_vg/val/crops/c_pred_yolo_crop_0.png",)
    assert (d.crops, d.picture) == ((), "RE_data/img_org/d.jpg")  # empty entry, no test folder


def test_a_split_without_dictionary_has_no_crops_and_the_layout_is_not_released(
    re_release: Path,
) -> None:
    (re_release / "RE_data/txt/mre_dev_dict.pth").unlink()
    layout = locate("mnre", re_release)
    assert not layout.released
    assert len(layout.extras) == 3
    assert [p.crops is None for p in read(layout).posts] == [False, False, True, False]


def test_the_first_of_two_places_of_a_file_is_read(re_release: Path) -> None:
    outer = write(re_release / "RE_data/mre_dev_dict.pth", "not read")
    inner = write(re_release / "RE_data/txt/ours_rel2id.json", json.dumps({"None": 0}))
    extras = locate("mnre", re_release).extras
    assert outer not in extras
    assert extras[-1] == inner
    assert len(extras) == 4


def test_only_files_in_the_layout_are_read(re_release: Path) -> None:
    dictionary = re_release / "RE_data/txt/mre_dev_dict.pth"
    moved = dictionary.rename(re_release / "aside")
    layout = locate("mnre", re_release)
    moved.rename(dictionary)  # after the layout was located
    assert read(layout).posts[2].crops is None


@pytest.mark.parametrize("folder", ["img_org", "pictures", "images"])
def test_flat_picture_folders(re_release: Path, folder: str) -> None:
    write(re_release / "RE_data" / folder / "d.jpg", "")
    assert read(locate("mnre", re_release)).posts[3].picture == f"RE_data/{folder}/d.jpg"


def test_the_first_mnre_layout_is_read(re_release: Path) -> None:
    for split in SPLITS:
        write(re_release / f"mnre/{split}.txt", mnre_row("plain.jpg"))
    assert locate("mnre", re_release).texts["val"].name == "ours_val.txt"
    for split in SPLITS:
        write(re_release / f"mnre/txt/ours_{split}.txt", mnre_row("nested.jpg"))
    (re_release / "RE_data").rename(re_release / "elsewhere")
    nested = read(locate("mnre", re_release)).posts[0]
    assert nested.picture == "mnre/img_org/train/nested.jpg"
    (re_release / "mnre/txt").rename(re_release / "mnre/away")
    assert read(locate("mnre", re_release)).posts[0].picture == "mnre/img_org/train/plain.jpg"


def test_relations_are_in_the_order_of_the_published_file(re_release: Path) -> None:
    numbers = {"/per/per/peer": 1, "None": 0, "new": 2}
    write(re_release / "RE_data/ours_rel2id.json", json.dumps(numbers))
    assert read(locate("mnre", re_release)).relations == ["None", "/per/per/peer", "new"]


@pytest.mark.parametrize(
    "text",
    [
        '{"None": 1, "a": 0}',
        '{"None": 0, "a": 2}',
        '{"None": 0, "a": true}',
        '{"None": 1, "None": 0}',
        '{"None": 0, "a\\nb": 1}',
        '{"None": 0, "a": ' + "1" * 5000 + "}",
        " " * 2_000_000,
        "[]",
        "{",
        "[" * 99999,
    ],
)
def test_bad_relation_numbers(re_release: Path, text: str) -> None:
    path = write(re_release / "RE_data/ours_rel2id.json", text)
    assert refused("mnre", re_release).startswith(f"{path}: ")


def tweet(id: str, *pairs: str) -> str:
    return "\n".join([f"IMGID:{id}", *pairs]) + "\n"


@pytest.fixture(params=["in the folder", "beside it"])
def ner_release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The NER release: texts are named valid, dictionaries val."""
    base = tmp_path / "NER_data/twitter2015"
    around = base if request.param == "in the folder" else base.parent
    write(base / "train.txt", tweet("1", "Rome\tB-LOC") + "\n" + tweet("2", "\xa0\tO"))
    write(base / "valid.txt", tweet("3", "The\tO", "Who\tI-OTHER"))
    write(base / "test.txt", tweet("4", "x\tO").rstrip("\n"))
    for split, id in (("train", "1"), ("val", "3"), ("test", "4")):
        save(around / f"twitter2015_{split}_dict.pth", {f"{id}.jpg": [f"{id}_crop.png"]})
        write(around / f"twitter2015_aux_images/{split}/crops/{id}_crop.png", "")
        write(around / f"twitter2015_images/{id}.jpg", "")
    return around


def test_ner_release(ner_release: Path, tmp_path: Path) -> None:
    layout = locate("twitter2015", tmp_path)
    assert layout.texts["val"].name == "valid.txt"
    assert [p.name for p in layout.extras] == [f"twitter2015_{s}_dict.pth" for s in SPLITS]
    assert [p.parent.name for p in layout.crops] == list(SPLITS)
    assert layout.pictures == (ner_release / "twitter2015_images",)
    assert layout.released
    around = ner_release.relative_to(tmp_path).as_posix()
    first, second, third, fourth = read(layout).posts
    assert first == Post(
        id="1",
        split="train",
        tokens=("Rome",),
        picture=f"{around}/twitter2015_images/1.jpg",
        tags=("B-LOC",),
        crops=(f"{around}/twitter2015_aux_images/train/crops/1_crop.png",),
    )
    assert (second.tokens, second.crops) == (("\xa0",), ())
    assert (third.split, third.tags) == ("val", ("O", "I-MISC"))
    assert third.crops == (f"{around}/twitter2015_aux_images/val/crops/3_crop.png",)
    assert (fourth.split, fourth.tokens) == ("test", ("x",))


def test_only_newlines_end_twitter_lines(ner_release: Path, tmp_path: Path) -> None:
    tokens = ("\x85", "a\u2028b", "\x0b", "\ufeff", "IMGID:7", " ")
    text = "\ufeff" + tweet("9", *(f"{token}\tO" for token in tokens)) + "\n\n\n"
    write(tmp_path / "NER_data/twitter2015/test.txt", text.replace("\n", "\r\n"))
    assert read(locate("twitter2015", tmp_path)).posts[-1].tokens == tokens


def test_locate_opens_and_lists_nothing(re_release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(os, "listdir", opened.append)
    monkeypatch.setattr(os, "scandir", opened.append)
    monkeypatch.setattr(Path, "open", lambda self, *args, **kwargs: opened.append(self))
    monkeypatch.setattr("builtins.open", lambda *args, **kwargs: opened.append(args))
    layout = locate("mnre", re_release)
    monkeypatch.undo()
    assert layout.released
    assert opened == []


def test_reading_texts_does_not_import_torch() -> None:
    code = "import sys, pipeline.corpus; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO, check=False).returncode == 0


# Malformed files -----------------------------------------------------------------------------


class Malicious:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused(re_release: Path, zipped: bool) -> None:
    path, folder = re_release / "RE_data/txt/mre_dev_dict.pth", re_release / "made"
    value = {0: ["a.png"], 1: Malicious(folder)}
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    message = refused("mnre", re_release)
    assert message.startswith(f"{path}: ")
    assert message.endswith("it was not loaded")
    assert not folder.exists()
    torch.load(path, weights_only=False)  # works, so the refusal above is not trivial
    assert folder.exists()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (["a.png"], "a dictionary, found ['a.png']"),
        ({"a.jpg": ["a.png"]}, "keys of type int, found 'a.jpg'"),
        ({True: ["a.png"]}, "keys of type int, found True"),
        ({0: "a.png"}, "a list of crops for 0, found 'a.png'"),
        ({0: [1]}, "plain file names for 0, found 1"),
        ({0: ["../a.png"]}, "plain file names for 0, found '../a.png'"),
        ({0: ["/etc/passwd"]}, "plain file names for 0, found '/etc/passwd'"),
        ({0: ["a", "b", "c", "d/e"]}, "plain file names for 0, found 'd/e'"),
        ({0: ["a\\b"]}, r"plain file names for 0, found 'a\\b'"),
        ({0: [".."]}, "plain file names for 0, found '..'"),
        ({0: [""]}, "plain file names for 0, found ''"),
        ({0: ["a\0b"]}, r"plain file names for 0, found 'a\x00b'"),
        ({0: torch.eye(2)}, "a list of crops for 0, found <Tensor>"),
        ({0: [bytearray(2000)]}, "plain file names for 0, found <bytearray>"),
    ],
)
def test_dictionaries_with_other_content(re_release: Path, value: object, found: str) -> None:
    path = save(re_release / "RE_data/txt/mre_test_dict.pth", value)
    assert refused("mnre", re_release) == f"{path}: expected {found}"


def test_a_compressed_dictionary_is_not_unpacked(re_release: Path) -> None:
    plain = save(re_release / "plain.pth", {0: ["a.png"]})
    path = re_release / "RE_data/txt/mre_test_dict.pth"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + bytes(1_000_000))
    assert "is compressed" in refused("mnre", re_release)


def test_long_keys_of_dictionaries_are_shortened(tmp_path: Path) -> None:
    dictionary = {"a" * 100_000: ["../a"]}
    path = save(tmp_path / "a.pth", dictionary)
    with pytest.raises(DataError, match=r"plain file names for 'a+\.\.\.a+', found '\.\./a'$"):
        crop_names(path, str)


def test_twitter_dictionaries_have_names_as_keys(ner_release: Path, tmp_path: Path) -> None:
    path = save(ner_release / "twitter2015_val_dict.pth", {0: ["a.png"]})
    assert refused("twitter2015", tmp_path) == f"{path}: expected keys of type str, found 0"


@pytest.mark.parametrize("length", [0, 1, 7, 18, 100, 300])
@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_dictionaries(re_release: Path, length: int, zipped: bool) -> None:
    path = re_release / "RE_data/txt/mre_train_dict.pth"
    torch.save({0: ["a" * 500]}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:length])
    assert refused("mnre", re_release).startswith(f"{path}: ")


MNRE_SLIPS: list[tuple[str | bytes, str]] = [
    ("", "expected a Python dict, found ''"),
    ("{'token': [", "expected a Python dict, found"),
    ("__import__('os').getcwd()", "expected a Python dict, found"),
    ("{[]: 1}", "expected a Python dict, found '{[]: 1}'"),
    ("[1]", "expected a dict with token, h, t, img_id, relation, found [1]"),
    ("{'token': ['a']}", "expected a dict with token, h, t, img_id, relation, found"),
    ("[" * 100_000, "expected a Python dict, found '[[["),
    ("-" * 900_000 + "1", "expected a Python dict, found '---"),
    ("[" + "1," * 500_000 + "]", "expected a line of at most 1,000,000 bytes, found b'[1,1,1"),
    ("1+" * 100_000 + "1", "expected a Python dict, found '1+1"),
    ("\x00", r"expected a Python dict, found '\x00'"),
    (b"{'\xff'}", "expected UTF-8, found b\"{'\\xff'}\""),
    (mnre_row("a.jpg", token=[]), "expected token to be a list of strings that aren't empty"),
    (mnre_row("a.jpg", token=["a", "", "b"]), "expected token to be a list of strings"),
    (mnre_row("a.jpg", token=["a", 1, "b"]), "expected token to be a list of strings"),
    (mnre_row("a.jpg", token="a b c"), "expected token to be a list of strings"),
    (mnre_row("a.jpg", h=7), "expected the pos of h to be [start, end) within 3 tokens, found 7"),
    (
        mnre_row("a.jpg", h={}),
        "expected the pos of h to be [start, end) within 3 tokens, found None",
    ),
    (mnre_row("a.jpg", h={"pos": [1, 1]}), "expected the pos of h to be [start, end) within 3"),
    (mnre_row("a.jpg", h={"pos": [-1, 1]}), "within 3 tokens, found [-1, 1]"),
    (mnre_row("a.jpg", h={"pos": [True, 2]}), "within 3 tokens, found [True, 2]"),
    (mnre_row("a.jpg", t={"pos": [2, 4]}), "expected the pos of t to be [start, end) within 3"),
    (mnre_row("a.jpg", t={"pos": [2]}), "within 3 tokens, found [2]"),
    (mnre_row("HUGE").replace("[0, 1]", f"[0, 0x{'f' * 9000}]"), "within 3 tokens, found <list>"),
    (mnre_row("../a.jpg"), "expected img_id to be a plain file name, found '../a.jpg'"),
    (mnre_row("/a.jpg"), "expected img_id to be a plain file name, found '/a.jpg'"),
    (mnre_row("a\u2028b"), r"expected img_id to be a plain file name, found 'a\u2028b'"),
    (mnre_row("a" * 256), "expected img_id to be a plain file name, found 'aaa"),
    (mnre_row("a.jpg", "/per/per/pear"), "one of the 23 relations, found '/per/per/pear'"),
    (mnre_row("a.jpg", relation=[1]), "expected one of the 23 relations, found [1]"),  # type: ignore[arg-type]
]

TWITTER_SLIPS: list[tuple[str | bytes, str]] = [
    ("Rome", "expected a token, a tab and a tag, found 'Rome'"),
    ("Rome B-LOC", "expected a token, a tab and a tag, found 'Rome B-LOC'"),
    ("\tO", r"expected a token, a tab and a tag, found '\tO'"),
    ("Rome\tB-CITY", "expected O, or B- or I- with PER, LOC, ORG or MISC, found 'B-CITY'"),
    ("Rome\tO\tO", "expected O, or B- or I- with PER, LOC, ORG or MISC, found"),
    ("Rome\tO\x1b[2J", r"with PER, LOC, ORG or MISC, found 'O\x1b[2J'"),
    (b"\xe9\tO", "expected UTF-8, found b'\\xe9\\tO'"),
    ("IMGID:", "expected IMGID:<a picture's plain file name>, found 'IMGID:'"),
    ("IMGID:../1\nx\tO", "expected IMGID:<a picture's plain file name>, found 'IMGID:../1'"),
    ("IMGID:" + "1" * 252 + "\nx\tO", "expected IMGID:<a picture's plain file name>"),
    ("IMGID:1\nx\tO", "expected an IMGID not used before, found 'IMGID:1'"),
    ("IMGID:8", "expected tokens after IMGID, found 'IMGID:8'"),
]


def own_line(**changes: object) -> str:
    fields: dict[str, object] = {"id": "x", "split": "train", "tokens": ["a", "b", "c"]}
    fields |= changes
    return json.dumps({k: v for k, v in fields.items() if v != "left out"})


OWN_SLIPS: list[tuple[str | bytes, str]] = [
    ("", "expected a JSON object, found ''"),
    ("{'id': 1}", "expected a JSON object (Expecting property name enclosed in double quotes"),
    ("[1]", "object per line, without brackets around all of them, found [1]"),
    ("[" * 900_000, "expected a JSON object, found '[[["),
    ("[" * 10_000_000, "expected a line of at most 1,000,000 bytes, found b'[[["),
    (own_line().replace("{", '{"id": "y", '), "expected each field once, found 'id twice'"),
    (own_line(tokens=[{"a": 1}]).replace('"a"', '"a": 2, "a"'), "each field once, found 'a twice'"),
    ('{"id": ' + "9" * 5000 + "}", "expected a JSON object, found"),
    (b"\xff", "expected UTF-8, found b'\\xff'"),
    (own_line(pictrue="a.jpg"), "found 'pictrue'; did you mean picture?"),
    (own_line(id=""), "expected id to be a string of one line, or an integer, found ''"),
    (own_line(id="a\nb"), r"expected id to be a string of one line, or an integer, found 'a\nb'"),
    (own_line(id="a" * 256), "expected id to be a string of one line, or an integer, found 'aaa"),
    (own_line(id=True), "expected id to be a string of one line, or an integer, found True"),
    (own_line(id="first"), "expected an id not used before, found 'first'"),
    (own_line(split=""), "expected split to be one of train, val, test, found ''"),
    (own_line(split="valid"), "expected split to be one of train, val, test, found 'valid'"),
    (own_line(split=[]), "expected split to be one of train, val, test, found []"),
    (own_line(tokens="left out"), "expected tokens or text, found ['id', 'split']"),
    (own_line(text="a b"), "expected tokens to be those of text, in its order, found ['a', 'b'"),
    (own_line(tokens="left out", text=" \n"), r"expected text to be a sentence, found ' \n'"),
    (own_line(tokens=[]), "expected tokens to be strings that aren't empty, at least one"),
    (own_line(tokens=["a", ""]), "expected tokens to be strings that aren't empty, at least one"),
    (own_line(tokens=["\ud800"]), r"strings that aren't empty, at least one, found ['\ud800']"),
    (own_line(picture="a/b.jpg"), "expected picture to be a plain file name, found 'a/b.jpg'"),
    (own_line(picture=".."), "expected picture to be a plain file name, found '..'"),
    (own_line(picture="a\x7f.jpg"), r"to be a plain file name, found 'a\x7f.jpg'"),
    (own_line(picture=3), "expected picture to be a plain file name, found 3"),
    (own_line(tags=["O"]), "expected 3 tags, one per token, found ['O']"),
    (own_line(tags="OOO"), "expected tags to be a list of"),
    (own_line(tags=["O", "O", "PER"]), 'a tag like "O", "B-PER" or "I-PER", found \'PER\''),
    (own_line(head=[0, 1]), "expected head and tail together, and relation with both"),
    (own_line(relation="r"), "expected head and tail together, and relation with both"),
    (own_line(head=[0, 1], tail=[3, 4]), "tail to be [start, end) within 3 tokens, found [3, 4]"),
    (own_line(head=[0, 1.0], tail=[1, 2]), "expected head to be [start, end) within 3 tokens"),
    (own_line(head=[0, 1], tail=[1, 2], relation=1), "to be a string of one line, found 1"),
    (own_line(head=[0, 1], tail=[1, 2], relation="a\nb"), r"string of one line, found 'a\nb'"),
    (own_line(tags=["O", "O", "B-" + "X" * 300]), "expected a tag like"),
    (own_line(phrases="a dog"), "expected phrases to be a list of strings that aren't empty"),
    (own_line(phrases=[""]), "expected phrases to be a list of strings that aren't empty"),
    (own_line(boxes={}), "expected boxes to be a list, found {}"),
    (own_line(boxes=[[0, 0, 1]]), "expected a box to be x0, y0, x1, y1 in pixels"),
    (own_line(boxes=[[2, 0, 2, 1]]), "x0 < x1 and y0 < y1, found [2, 0, 2, 1]"),
    (own_line(boxes=[[0, 3, 1, 2]]), "x0 < x1 and y0 < y1, found [0, 3, 1, 2]"),
    (own_line(boxes=[[0, 0, 1, float("nan")]]), "x0 < x1 and y0 < y1, found [0, 0, 1, nan]"),
    (own_line(boxes=[[0, 0, 1, float("inf")]]), "x0 < x1 and y0 < y1, found [0, 0, 1, inf]"),
    (own_line(boxes=[[0, 0, 10**400, 1]]), "x0 < x1 and y0 < y1, found [0, 0, 1000"),
    (own_line(boxes=[[0, 0, True, 1]]), "x0 < x1 and y0 < y1, found [0, 0, True, 1]"),
]  # fmt: skip


def after(good: str, slip: str | bytes, end: str) -> bytes:
    """Return the bytes of a file with a valid part, the slip and an end."""
    middle = slip if isinstance(slip, bytes) else slip.encode()
    return good.encode() + middle.rstrip(b"\n") + b"\n" + end.encode()


def ids(slips: list[tuple[str | bytes, str]]) -> list[str]:
    return [str(n) for n in range(len(slips))]  # the slips are too long for test ids


@pytest.mark.parametrize(("slip", "message"), MNRE_SLIPS, ids=ids(MNRE_SLIPS))
def test_malformed_mnre(re_release: Path, slip: str | bytes, message: str) -> None:
    path = re_release / "RE_data/txt/ours_train.txt"
    write(path, after(mnre_row("a.jpg"), slip, mnre_row("b.jpg")))
    refusal = refused("mnre", re_release)
    assert refusal.startswith(f"{path}, line 2: expected ")
    assert message in refusal
    assert len(refusal.split(", found ")[-1]) <= 80


@pytest.mark.parametrize(("slip", "message"), TWITTER_SLIPS, ids=ids(TWITTER_SLIPS))
def test_malformed_twitter(tmp_path: Path, slip: str | bytes, message: str) -> None:
    for name in ("train", "valid", "test"):
        write(tmp_path / f"twitter2017/{name}.txt", tweet(name, "x\tO"))
    path = tmp_path / "twitter2017/valid.txt"
    write(path, after(tweet("1", "x\tO"), slip, "\n" + tweet("5", "x\tO")))
    refusal = refused("twitter2017", tmp_path)
    assert refusal.startswith(f"{path}, line 3: expected ")
    assert message in refusal


def test_tokens_outside_a_tweet(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        write(tmp_path / f"twitter2017/{name}.txt", tweet(name, "x\tO", "", "y\tO"))
    assert refused("twitter2017", tmp_path) == (
        f"{tmp_path}/twitter2017/train.txt, line 4: "
        r"expected IMGID:<id> before a tweet's tokens, found 'y\tO'"
    )


def test_one_tweet_in_two_splits_is_refused(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        write(tmp_path / f"twitter2017/{name}.txt", tweet("1", "x\tO"))
    assert refused("twitter2017", tmp_path).startswith(f"{tmp_path}/twitter2017/valid.txt, line 1:")


@pytest.mark.parametrize(("slip", "message"), OWN_SLIPS, ids=ids(OWN_SLIPS))
def test_malformed_own_data(tmp_path: Path, slip: str | bytes, message: str) -> None:
    path = tmp_path / "mine/posts.jsonl"
    write(path, after(own_line(id="first") + "\n", slip, own_line(id="last")))
    refusal = refused("mine", tmp_path)
    assert refusal.startswith(f"{path}, line 2: expected ")
    assert message in refusal


@pytest.mark.parametrize("text", ["", "\n\r\n", "\ufeff"])
def test_empty_files(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "mine/posts.jsonl", text)
    assert refused("mine", tmp_path) == f"{path}: expected posts, found an empty file"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\\b", "a\nb", "x" * 300])
def test_names_that_are_not_a_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path / "b/posts.jsonl", own_line())
    message = refused(name, tmp_path)
    assert message.startswith("dataset: expected mnre, twitter2015, twitter2017 or the plain name")


@pytest.mark.parametrize(
    ("dataset", "looked"),
    [
        ("mnre", ["RE_data/txt/ours_train.txt", "mnre/txt/ours_train.txt", "mnre/train.txt"]),
        ("twitter2015", ["NER_data/twitter2015/train.txt", "twitter2015/train.txt"]),
        ("mine", ["mine/posts.jsonl"]),
    ],
)
def test_no_texts(tmp_path: Path, dataset: str, looked: list[str]) -> None:
    message = refused(dataset, tmp_path)
    assert ", ".join(f"{tmp_path}/{path}" for path in looked) in message
    assert 'README, section "Data"' in message


def test_incomplete_texts(re_release: Path) -> None:
    path = re_release / "RE_data/txt/ours_val.txt"
    path.unlink()
    assert f"{path} missing" in refused("mnre", re_release)


def test_blank_lines_are_counted_except_at_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a", b"\xef\xbb\xbf\n\r\na\n\n\nb\r\n\r\n\n")
    numbered = [(line.number, line.text) for line in lines(path)]
    assert numbered == [(1, ""), (2, ""), (3, "a"), (4, ""), (5, ""), (6, "b")]


def test_values_in_messages_are_short_and_printable() -> None:
    for value in (
        "x" * 500,
        ["y" * 30] * 50,
        {"a": {"b": ["c" * 99]}},
        "\x1b\n\u202e" * 50,
        10**5000,
    ):
        assert len(clip(value)) <= 80
        assert clip(value).isprintable()
    assert clip("short") == "'short'"


# Own data -------------------------------------------------------------------------------------


def test_own_data(tmp_path: Path) -> None:
    write(tmp_path / "mine/pictures/a b.jpg", "")
    rows = [
        own_line(id=7, picture="a b.jpg", tags=["B-PER", "I-PER", "O"], phrases=[], boxes=[]),
        own_line(split="test", tokens="left out", text="Hi @ann!", picture=None),
        own_line(
            id="é",
            split="val",
            picture="not there.jpg",
            head=[0, 1],
            tail=[1, 3],
            relation="knows",
            phrases=["a dog"],
            boxes=[[0, 1, 2.5, 3]],
        ),
        own_line(id="ask", head=[2, 3], tail=[0, 2]),
    ]
    write(tmp_path / "mine/posts.jsonl", "\n".join(rows))
    layout = locate("mine", tmp_path)
    assert layout == Layout(
        dataset="mine",
        root=tmp_path,
        texts={"all": tmp_path / "mine/posts.jsonl"},
        pictures=(tmp_path / "mine/pictures",),
    )
    abc = ("a", "b", "c")
    assert read(layout) == Corpus(
        [
            Post("7", "train", abc, "mine/pictures/a b.jpg", tags=("B-PER", "I-PER", "O"),
                 phrases=(), boxes=()),
            Post("x", "test", ("Hi", "@ann", "!")),
            Post("é", "val", abc, "mine/pictures/not there.jpg", head=(0, 1), tail=(1, 3),
                 relation="knows", phrases=("a dog",), boxes=((0.0, 1.0, 2.5, 3.0),)),
            Post("ask", "train", abc, head=(2, 3), tail=(0, 2)),
        ],
        None,
    )  # fmt: skip


def test_own_ids_are_unique_as_strings(tmp_path: Path) -> None:
    write(tmp_path / "mine/posts.jsonl", own_line(id=1) + "\n" + own_line(id="1"))
    assert "line 2: expected an id not used before" in refused("mine", tmp_path)


def test_json_round_trip() -> None:
    full = Post(
        id="é",
        split="val",
        tokens=("\xa0", "b\u2028"),
        picture="mine/pictures/a.jpg",
        tags=("O", "B-PER"),
        head=(0, 1),
        tail=(1, 2),
        relation="r",
        phrases=(),
        boxes=((0.0, 1.0, 2.5, 3.0),),
        crops=("mine/c.png",),
    )
    assert "\n" not in full.to_json()
    assert Post.from_json(full.to_json()) == full
    bare = Post("1", "test", ("a",))
    assert json.loads(bare.to_json()) == {"id": "1", "split": "test", "tokens": ["a"]}
    assert Post.from_json(bare.to_json()) == bare


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("RT @a_b: so #cool!!", "RT|@a_b|:|so|#cool|!|!"),
        ("see http://t.co/Ab-1?x=y. (www.x.org/a)", "see|http://t.co/Ab-1?x=y|.|(|www.x.org/a|)"),
        ("HTTPS://T.CO", "HTTPS://T.CO"),
        ("don’t can't well-known 'quote' -- it", "don’t|can't|well-known|'|quote|'|-|-|it"),
        ("A &amp; B & C;", "A|&amp;|B|&|C|;"),
        ("Zoë 東京 😀😀", "Zoë|東京|😀|😀"),
        ("http://", "http|:|/|/"),
        (" \t\n", ""),
    ],
)
def test_split_text(text: str, tokens: str) -> None:
    assert split_text(text) == tuple(tokens.split("|") if tokens else ())


@pytest.mark.parametrize(
    "piece", ["www.", "&", "'", "-", "a'", "&a", "http://", "@a", "#", "https", "&#1", "a.,;:"]
)
def test_split_text_takes_linear_time(piece: str) -> None:
    start = time.process_time()
    split_text(piece * 100_000)
    split_text("http://" + piece * 100_000)
    assert time.process_time() - start < 5  # linear: a tenth of a second; quadratic: minutes


@real
def test_split_text_loses_only_spaces(mnre: Corpus) -> None:
    for post in mnre.posts[::50]:
        text = " ".join(post.tokens)
        assert "".join(split_text(text)) == "".join(text.split())


# --- labelled JSON lines


@pytest.mark.skipif(not (DATA / "tweets").exists(), reason="the real tweets are not there")
def test_real_labelled_tweets() -> None:
    posts = read(locate("tweets", DATA)).posts
    assert Counter(post.split for post in posts) == {"train": 5, "val": 5, "test": 5}
    assert posts[0].id == "train-1"
    assert posts[0].picture == "tweets/images/train/1.jpg"
    assert posts[0].tags is not None
    assert (posts[0].tokens[2], posts[0].tags[2]) == ("indyindians", "B-ORG")
    assert all((DATA / str(post.picture)).is_file() for post in posts)


def test_labelled_lines_name_file_and_line(tmp_path: Path) -> None:
    good = {
        "id": "1",
        "image_id": "1.jpg",
        "text": "a b",
        "tokens": ["a", "b"],
        "label": ["O", "O"],
    }
    for name in ("train", "dev", "test"):
        write(tmp_path / f"mine/texts/{name}/{name}.json", json.dumps(good) + "\n")
    assert [post.id for post in read(locate("mine", tmp_path)).posts] == [
        "train-1",
        "val-1",
        "test-1",
    ]
    bad = json.dumps(good) + "\n" + json.dumps({**good, "id": "2", "label": ["O"]}) + "\n"
    write(tmp_path / "mine/texts/dev/dev.json", bad)
    with pytest.raises(DataError, match=r"dev\.json, line 2: expected 2 tags.*found \['O'\]"):
        read(locate("mine", tmp_path))


# --- Pascal-VOC XML


def annotation(*objects: str, before: str = "", size: str = "") -> str:
    return f"{before}<annotation>{size}{''.join(objects)}</annotation>"


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
NAMED = "<object><name>{}</name></object>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            annotation(NAMED.format("&l9;"), before=f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]>'),
            "DOCTYPE",
        ),
        (
            annotation(NAMED.format("&x;"), before='<!DOCTYPE a [<!ENTITY x SYSTEM "secret">]>'),
            "DOCTYPE",
        ),
        (annotation(before='<!DOCTYPE a SYSTEM "secret">'), "DOCTYPE"),
        (annotation(NAMED.format("&x;")), "undefined entity"),
        (annotation(" " * 1_000_000), "more than 1,000,000 bytes"),
        ("<a>" * 300_000, "no element found"),
        (
            annotation(
                f"<object><name>a</name><bndbox><xmin>{'x' * 9999}</xmin></bndbox></object>"
            ),
            "expected four numbers in bndbox, found ['xxx",
        ),
    ],
)
def test_hostile_annotations(text: str, expected: str, tmp_path: Path) -> None:
    write(tmp_path / "secret", "the secret")
    path = write(tmp_path / "1.xml", text)
    with pytest.raises(DataError) as caught:
        read_voc(path)
    message = str(caught.value)
    assert message.startswith(f"{path}")
    assert expected in message
    assert message.isprintable()
    assert len(message) < len(str(path)) + 200


@pytest.mark.parametrize("width", ["9" * 5000, "-1", "1e3", "²"])
def test_a_size_that_is_not_a_number_is_unknown(width: str, tmp_path: Path) -> None:
    size = f"<size><width>{width}</width><height>5</height></size>"
    assert read_voc(write(tmp_path / "1.xml", annotation(size=size))).size is None


def test_nested_objects_take_linear_time(tmp_path: Path) -> None:
    text = "<object><name>a</name>" * 20_000 + "</object>" * 20_000
    start = time.process_time()
    read_voc(write(tmp_path / "1.xml", annotation(text)))
    assert time.process_time() - start < 5  # linear: a tenth of a second; quadratic: minutes


def test_a_pipe_is_not_an_annotation(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.xml")
    with pytest.raises(DataError, match="no such file"):
        read_voc(tmp_path / "1.xml")
