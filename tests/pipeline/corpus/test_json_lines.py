"""Files that are almost JSON lines: the message names the cause."""

import gzip
import json
from pathlib import Path

import pytest

from pipeline.corpus import locate, read
from pipeline.corpus.json_lines import misspelt
from pipeline.errors import DataError
from tests.tiny import SHARED

CASE = SHARED / "cases" / "almost-json-lines" / "data"
POST = {"id": 1, "split": "train", "text": "Ada joins Globex"}
LINE = json.dumps(POST)
TASK = {"id": 1, "data": {"text": "Ada"}, "annotations": [{"result": []}]}


def refused(data: Path, dataset: str = "mine") -> str:
    with pytest.raises(DataError) as caught:
        read(locate(dataset, data))
    assert str(caught.value).isprintable()
    return str(caught.value)


def put(data: Path, name: str, content: str | bytes) -> Path:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return data


@pytest.mark.skipif(not CASE.is_dir(), reason="the case is not there")
@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("pretty", "line 1: expected the whole object on one line"),
        ("commas", "line 1: expected a JSON object and nothing after it on its line, found ','"),
        ("packed", "found 'posts.jsonl.gz', which is packed: unpack it"),
        ("single", "found 'posts.json', which is one array: write one object per line into"),
    ],
)
def test_case_almost_json_lines(name: str, cause: str) -> None:
    message = refused(CASE, name)
    assert cause in message
    assert "each field once" not in message


IMPORT = "luigi --module tasks ImportPosts --dataset NAME --file FILE --format"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (json.dumps(POST, indent=1), "line 1: expected the whole object on one line"),
        (LINE[:25], "line 1: expected the whole object on one line"),  # within a string
        (LINE + "\n" + json.dumps(POST, indent=1), "line 2: expected the whole object on one line"),
        (LINE + " " + LINE, "nothing after it on its line, found '{\"id\": 1"),
        (LINE + "\n},", "line 2: expected a whole JSON object on one line"),
        ("[\n" + LINE + "\n]", "on its own line, without brackets around all"),
        (f"[{LINE}, {LINE}]", "write one object per line, without brackets around all"),
        ("id,text\n1,Ada", "line 1: expected a JSON object, found 'id,text'"),
        (str(POST), "Expecting property name enclosed in double quotes at character 2"),
        (LINE.replace("{", '{"text": "x", '), "expected each field once, found 'text twice'"),
        (gzip.compress(LINE.encode(), mtime=0), "it is packed with gzip: unpack it"),
        (LINE.encode("utf-16"), "it is UTF-16: save it as UTF-8"),
        (json.dumps([TASK]), f"an export of label-studio; move it out of this folder and read it "
         f"with: {IMPORT} label-studio"),
        (json.dumps([TASK], indent=2), f"{IMPORT} label-studio"),
        (json.dumps({"text": "Ada", "label": [[0, 3, "PER"]]}), f"{IMPORT} doccano"),
        (json.dumps({"text": "Ada", "label": [{"start": 0, "end": 3, "labels": ["PER"]}]}),
         f"{IMPORT} label-studio"),
        (json.dumps({"text": "Ada", "entities": [{"id": 1, "start_offset": 0}]}), "doccano"),
    ],
)  # fmt: skip
def test_the_cause_is_named(tmp_path: Path, content: str | bytes, cause: str) -> None:
    assert cause in refused(put(tmp_path, "mine/posts.jsonl", content))


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("mine/posts.jsonl.zip", "", "found 'posts.jsonl.zip', which is packed: unpack it"),
        ("mine.jsonl", LINE, "found 'mine.jsonl', which has one object per line: move it to"),
        ("mine/all.jsonl", LINE, "found 'all.jsonl', which has one object per line: move it to"),
        ("mine/posts.json", json.dumps(POST, indent=1), "'posts.json', which does not have one"),
        ("mine/POSTS.txt", LINE, None),
        ("mine/posts.jsonl.txt", LINE, "rename it to posts.jsonl"),
        ("mine/posts.csv", "id", "write each post as a JSON object on a line of posts.jsonl"),
        ("mine/1.ann", "T1", f"found '1.ann': move it out of this folder and read it with: "
         f"{IMPORT} brat"),
        ("mine/a.conll", "Ada B-PER", f"{IMPORT} conll"),
        ("mine/export.json", json.dumps([TASK]), f"an export of label-studio: move it out of this "
         f"folder and read it with: {IMPORT} label-studio"),
        ("mine/admin.jsonl", '{"text": "Ada", "label": []}', f"{IMPORT} doccano"),
    ],
)  # fmt: skip
def test_similar_files_nearby_are_named(
    tmp_path: Path, name: str, content: str, cause: str | None
) -> None:
    message = refused(put(tmp_path, name, content))
    assert message.startswith("no texts of mine: looked for ")
    assert cause is None or cause in message
    assert (cause is not None) == ("; found " in message)


def test_columns_without_pictures_are_an_export(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        put(tmp_path, f"mine/{name}.txt", "Ada B-PER\n")
    message = refused(tmp_path)
    assert "line 1: expected IMGID:<id> before a tweet's tokens" in message
    assert f"{IMPORT} conll" in message


def test_of_a_published_data_set_only_packed_files_are_named(tmp_path: Path) -> None:
    put(tmp_path, "mnre/ours_rel2id.json", "{}")
    put(tmp_path, "mnre.zip", "")
    message = refused(tmp_path, "mnre")
    assert "found 'mnre.zip', which is packed: unpack it; put them there" in message
    assert "ours_rel2id" not in message


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("pictrue", "picture"), ("Picture", "picture"), ("token", "tokens"), ("tag", "tags")),
        *(("relatoin", "relation"), ("entites", "entities"), ("ID", "id"), ("spilt", "split")),
        *(("picture_url", None), ("user", None), ("comment", None), ("image", None)),
        *(("text", None), ("created_at", None)),
    ],
)
def test_misspelt_names(name: str, meant: str | None) -> None:
    known = ("id", "split", "tokens", "text", "picture", "tags", "entities", "relation")
    assert misspelt(name, known) == meant
