"""Exports of annotation tools, written by hand as their documentation describes."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpus import locate, read
from pipeline.corpus.imports.write import FORMATS, find_picture, import_posts
from pipeline.corpus.post import Post
from pipeline.corpus.tasks import EXPORTS
from pipeline.errors import DataError, SettingError

TEXT = "Ada Lovelace joins Globex in Oslo."
TOKENS = ("Ada", "Lovelace", "joins", "Globex", "in", "Oslo", ".")
TAGS = ("B-PER", "I-PER", "O", "B-ORG", "O", "B-LOC", "O")
WORKS = ((0, 2), (3, 4), "works_for")
IN = ((3, 4), (5, 6), "located_in")


def region(id: str, start: int, end: int, *labels: str, text: str = TEXT) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": text[start:end], "labels": [*labels]}
    return {"id": id, "from_name": "label", "to_name": "text", "type": "labels", "value": value}


def relation(head: str, tail: str, *labels: str, direction: str = "right") -> dict[str, Any]:
    return {"from_id": head, "to_id": tail, "type": "relation", "direction": direction,
            "labels": [*labels]}  # fmt: skip


REGIONS = [region("a", 0, 12, "PER"), region("b", 19, 25, "ORG"), region("c", 29, 33, "LOC")]


def task(id: int, *results: dict[str, Any], **data: Any) -> dict[str, Any]:
    annotation = {"id": 10 + id, "was_cancelled": False, "result": [*results]}
    return {"id": id, "data": {"text": TEXT, **data}, "annotations": [annotation],
            "predictions": []}  # fmt: skip


def export(folder: Path, content: Any, name: str = "export") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path


def imported(
    folder: Path, form: str, file: Path, pictures: Path | None = None, overwrite: bool = False
) -> tuple[list[Post], list[str]]:
    """Import a file; return the posts that ReadPosts then reads, and the import's lines."""
    lines = import_posts("mine", file, form, pictures, folder / "data", overwrite)
    assert all(line.isprintable() for line in lines)
    assert lines[-1] == "read them with: luigi --module tasks ReadPosts --dataset mine"
    return read(locate("mine", folder / "data")).posts, lines[:-1]


def refused(folder: Path, form: str, content: Any, name: str = "export") -> str:
    with pytest.raises(DataError) as caught:
        imported(folder, form, export(folder, content, name))
    assert str(caught.value).isprintable()
    assert not (folder / "data").exists()
    return str(caught.value)


def triples(posts: list[Post]) -> list[tuple[Any, ...]]:
    return [(post.head, post.tail, post.relation) for post in posts]


def test_every_choice_of_format_has_a_reader() -> None:
    assert tuple(FORMATS) == EXPORTS


# --- Label Studio


def test_label_studio(tmp_path: Path) -> None:
    tied = (relation("a", "b", "works_for"), relation("c", "b", "located_in", direction="left"))
    tasks = [
        task(1, *REGIONS, *tied, image="/data/upload/1/0a1b2c3d-ada.jpg", split="test"),
        task(2, image="/data/local-files/?d=more/two.jpg"),
        {"id": 3, "data": {"text": TEXT}, "annotations": []},
    ]
    for name in ("ada.jpg", "more/two.jpg"):
        export(tmp_path / "pictures", name, name)
    posts, lines = imported(
        tmp_path, "label-studio", export(tmp_path, tasks), tmp_path / "pictures"
    )
    assert [post.id for post in posts] == ["1#0", "1#1", "2", "3"]
    assert (posts[0].tokens, posts[0].tags, posts[0].split) == (TOKENS, TAGS, "test")
    assert triples(posts[:2]) == [WORKS, IN]
    assert posts[2].tags == ("O",) * 7  # annotated, without entities
    assert posts[3].tags is None  # not annotated
    assert [post.picture for post in posts[1:]] == [
        "mine/pictures/ada.jpg",
        "mine/pictures/two.jpg",
        None,
    ]
    assert (tmp_path / "data/mine/pictures/two.jpg").read_text() == "more/two.jpg"
    target = tmp_path / "data/mine/posts.jsonl"
    assert lines == [f"{target}: 3 posts, 3 entities, 2 relations, 2 pictures copied"]


def test_label_studio_counts_and_names_left_out_annotations(tmp_path: Path) -> None:
    box = {"id": "x", "type": "rectanglelabels", "value": {}}
    results = (
        *(region("a", 0, 2, "PER", "ORG"), region("b", 19, 25), region("c", 29, 33, "LOC"), box),
        *(relation("a", "x", "on"), relation("a", "c"), region("s", 3, 4, "PER")),
    )
    twice = task(5, *results)
    twice["annotations"].append(twice["annotations"][0])
    posts, lines = imported(tmp_path, "label-studio", export(tmp_path, [twice]))
    assert posts[0].tags == ("B-PER", "O", "O", "O", "O", "B-LOC", "O")
    assert lines[1:] == [
        "1 tasks have several annotations: the ground truth or the first is read: item 1",
        "1 results that are neither labels in the text nor relations are left out: item 1 "
        "'rectanglelabels'",
        "2 regions or relations without a label are left out: item 1; item 1",
        "1 regions with several labels: the first is read: item 1 ['PER', 'ORG']",
        "1 entities that are only spaces are left out: item 1 [3, 4)",
        "1 spans that don't fall on words are widened to whole words: item 1 'Ad' → 'Ada'",
        "1 relations whose head or tail is not an entity are left out: item 1 'on'",
    ]


def test_label_studio_with_offsets_in_utf16(tmp_path: Path) -> None:
    text = "😀😀 Ada in Oslo"
    ada, oslo = region("a", 3, 6, "PER", text=text), region("b", 10, 14, "LOC", text=text)
    for entity in (ada, oslo):  # a browser counts an emoji as two
        value = entity["value"]
        entity["value"] |= {"start": value["start"] + 2, "end": value["end"] + 2}
    [post], _ = imported(
        tmp_path, "label-studio", export(tmp_path, [task(1, ada, oslo, text=text)])
    )
    assert dict(zip(post.tokens, post.tags or (), strict=True)) == {
        "😀": "O",
        "Ada": "B-PER",
        "in": "O",
        "Oslo": "B-LOC",
    }


@pytest.mark.parametrize("made", [None, []])
def test_label_studio_with_only_predictions_leaves_entities_unknown(
    made: Any, tmp_path: Path
) -> None:
    item = {"data": {"text": TEXT}, "annotations": made, "predictions": [{"result": REGIONS}]}
    [post], _ = imported(tmp_path, "label-studio", export(tmp_path, [item]))
    assert (post.tokens, post.tags) == (TOKENS, None)


def test_label_studio_prefers_the_ground_truth(tmp_path: Path) -> None:
    item = task(1)
    item["annotations"] += [{"result": []}, {"ground_truth": True, "result": REGIONS}]
    [post], lines = imported(tmp_path, "label-studio", export(tmp_path, [item]))
    assert post.tags == TAGS
    assert lines[1:] == [
        "1 tasks have several annotations: the ground truth or the first is read: item 1"
    ]


def test_label_studio_null_fields(tmp_path: Path) -> None:
    empty = {"id": 1, "data": {"text": TEXT}, "annotations": [{"result": None}]}
    tie = relation("a", "b", "works_for") | {"direction": None}
    posts, _ = imported(tmp_path, "label-studio", export(tmp_path, [empty, task(2, *REGIONS, tie)]))
    assert posts[0].tags == ("O",) * len(TOKENS)
    assert triples(posts[1:]) == [WORKS]


def test_label_studio_with_a_single_task_outside_a_list(tmp_path: Path) -> None:
    [post], _ = imported(tmp_path, "label-studio", export(tmp_path, task(1, *REGIONS)))
    assert post.tags == TAGS


def test_label_studio_line_ends_of_one_character(tmp_path: Path) -> None:
    seen = "Ada\nLovelace joins\nGlobex 😀 Oslo"
    regions = [region("a", 0, 12, "PER", text=seen), region("b", 19, 25, "ORG", text=seen)]
    regions.append(region("c", 29, 33, "LOC", text=seen))
    regions[2]["value"] |= {"start": 29, "end": 33, "text": "Oslo"}  # 😀 is two UTF-16 units
    item = task(1, *regions) | {"data": {"text": seen.replace("\n", "\r\n")}}
    [post], _ = imported(tmp_path, "label-studio", export(tmp_path, [item]))
    assert post.tags == ("B-PER", "I-PER", "O", "B-ORG", "O", "B-LOC")


def test_label_studio_line_ends_written_as_a_backslash(tmp_path: Path) -> None:
    ada = region("a", 0, 12, "PER")
    ada["value"]["text"] = "Ada\\nLovelace"
    item = task(1, ada) | {"data": {"text": TEXT.replace("Ada ", "Ada\n")}}
    [post], _ = imported(tmp_path, "label-studio", export(tmp_path, [item]))
    assert post.tags == ("B-PER", "I-PER", *"OOOOO")


def test_pictures_inside_an_export_are_left_out(tmp_path: Path) -> None:
    item = task(1, image="data:image/png;base64,iVBOR/w0KGgo=")
    [post], lines = imported(tmp_path, "label-studio", export(tmp_path, [item]))
    assert post.picture is None
    assert lines[1:] == [
        "1 pictures are left out, because they are inside the export (data: URLs): item 1"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"text": TEXT, "label": []}], "item 1: expected a task with data and annotations"),
        ([task(1, region("a", 0, 99, "PER"))], "within 34 characters, found [0, 99]"),
        ([task(1), task(1)], "item 2: expected an id not used before, found '1'"),
        ([{"data": {"a": "x", "b": "y"}}], "a field named text, or one string, in data"),
        ([task(1, relation("a", "b", "x", direction="up"))], "direction to be right, left or bi"),
        (
            [task(1, region("a", 1, 4, "PER", text="xAda"))],
            "item 1: expected text[1:4] to be the region's text, 'Ada', found 'da '; was the text",
        ),
        ([], "expected posts in the export, found none with text"),
        ("[{", "cannot be read as JSON"),
        ("", "expected posts, found an empty file"),
        ("[" * 99999, "cannot be read as JSON"),
    ],
)
def test_label_studio_refused(tmp_path: Path, content: Any, message: str) -> None:
    assert message in refused(tmp_path, "label-studio", content)


# --- doccano


def test_doccano(tmp_path: Path) -> None:
    entities = [
        {"id": 7, "label": "PER", "start_offset": 0, "end_offset": 12},
        {"id": 8, "label": "ORG", "start_offset": 19, "end_offset": 25},
        {"id": 9, "label": "LOC", "start_offset": 29, "end_offset": 33},
    ]
    ties = [
        {"id": 1, "from_id": 7, "to_id": 8, "type": "works_for"},
        {"id": 2, "from_id": 8, "to_id": 9, "type": "located_in"},
    ]
    rows: list[dict[str, Any]] = [
        {"id": 5, "text": TEXT, "Comments": [], "entities": entities, "relations": ties,
         "meta": {"picture": "ada.jpg", "split": "dev"}},
        {"id": 6, "text": TEXT, "label": [[0, 12, "PER"], [19, 25, "ORG"], [29, 33, "LOC"]]},
        {"id": 7, "text": "", "labels": []},
    ]  # fmt: skip
    content = "".join(json.dumps(row) + "\n" for row in rows)
    posts, lines = imported(tmp_path, "doccano", export(tmp_path, content))
    assert triples(posts) == [WORKS, IN, (None, None, None)]
    assert [post.tags for post in posts] == [TAGS, None, TAGS]
    assert (posts[0].split, posts[0].picture) == ("val", "mine/pictures/ada.jpg")
    assert lines[1:] == [
        "1 posts without text are left out: line 3",
        "1 posts name pictures, which are not copied without --pictures FOLDER: 'ada.jpg'",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": TEXT}, "line 1: expected label, labels or entities"),
        ({"text": TEXT, "label": ["good"]}, "line 1: expected an entity as [start, end, label]"),
        ({"label": []}, "line 1: expected doccano's text"),
        ({"text": TEXT, "label": [[0, "3", "PER"]]}, "within 34 characters, found [0, '3']"),
    ],
)
def test_doccano_refused(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    assert message in refused(tmp_path, "doccano", json.dumps(row))


# --- brat


@pytest.mark.parametrize(
    "fields",
    [
        {"data": TEXT, "label": [[0, 12, "PER"]]},
        {"text": TEXT, "entities": [], "label": [[0, 12, "PER"]]},
        {"text": TEXT, "label": None, "labels": [[0, 12, "PER"]], "relations": None},
    ],
)
def test_doccano_of_other_versions(fields: dict[str, Any], tmp_path: Path) -> None:
    [post], _ = imported(tmp_path, "doccano", export(tmp_path, json.dumps(fields)))
    assert post.tags == ("B-PER", "I-PER", *"OOOOO")


def test_doccano_labels_of_whole_texts(tmp_path: Path) -> None:
    message = refused(tmp_path, "doccano", json.dumps({"text": TEXT, "label": ["news"]}))
    assert message.endswith("found 'news'; a label of the whole text is not an entity: export a "
                            "project of sequence labelling")  # fmt: skip


ANN = "T1\tPER 0 12\tAda Lovelace\nT2\tORG 19 25\tGlobex\nT3\tLOC 29 33\tOslo\n"


def brat(folder: Path, ann: str, text: str = TEXT) -> Path:
    export(folder / "brat", text, "a/doc1.txt")
    export(folder / "brat", ann, "a/doc1.ann")
    return folder / "brat"


def test_brat(tmp_path: Path) -> None:
    ties = "R1\tworks_for Arg1:T1 Arg2:T2\t\nR2\tlocated_in Arg1:T2 Arg2:T3\n"
    more = "*\tEquiv T1 T2\n#1\tAnnotatorNotes T1\tsure?\nA1\tNegation E1\n"
    folder = brat(tmp_path, ANN + ties + more)
    export(folder, "picture", "a/doc1.png")
    export(folder, TEXT, "doc2.txt")  # not annotated
    posts, lines = imported(tmp_path, "brat", folder, folder)
    assert [post.id for post in posts] == ["a/doc1#0", "a/doc1#1", "doc2"]
    assert triples(posts[:2]) == [WORKS, IN]
    assert [post.tags for post in posts] == [TAGS, None, None]
    assert posts[0].picture == "mine/pictures/doc1.png"
    assert lines[1:] == [
        "3 annotations that are neither entities nor relations are left out: "
        "'doc1.ann' line 6; 'doc1.ann' line 7; 'doc1.ann' line 8"
    ]


def test_brat_spans_of_several_parts_are_merged(tmp_path: Path) -> None:
    text = "North and South America"
    ann = "T1\tLOC 0 5;16 23\tNorth America\nT2\tLOC 10 23\tSouth America\n"
    [post], lines = imported(tmp_path, "brat", brat(tmp_path, ann, text))
    assert post.tags == ("B-LOC", "I-LOC", "I-LOC", "I-LOC")
    assert lines[1:] == [
        "1 spans of several parts are merged into one: 'doc1.ann' T1 'North and South America'"
    ]


@pytest.mark.parametrize(
    ("ann", "message"),
    [
        ("T1\tPER 0 3\tBob\n", "doc1.ann, line 1: expected the text there, 'Ada', found 'Bob'"),
        ("T1\tPER 0 99\tAda\n", "[start, end) within 34 characters, found '0 99'"),
        ("T1\tPER 0\tAda\n", "expected T1, a tab, a type with start and end"),
        (ANN + "R1\tworks_for T1 T2\n", "line 4: expected R1, a tab, and a type with Arg1"),
        (
            ANN + "T1\tPER 0 3\tAda\n",
            "line 4: expected an id not used before, found 'T1'",
        ),
        ("Ada\n", "expected an annotation: T, R or one of EAMN#*, a number, a tab"),
    ],
)
def test_brat_refused(tmp_path: Path, ann: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        imported(tmp_path, "brat", brat(tmp_path, ann))
    assert message in str(caught.value)


def test_brat_needs_texts(tmp_path: Path) -> None:
    assert "expected a folder of .txt and .ann files" in refused(tmp_path, "brat", ANN)
    export(tmp_path, ANN, "alone/doc.ann")
    with pytest.raises(DataError, match=r"expected its text doc\.txt beside it"):
        imported(tmp_path, "brat", tmp_path / "alone")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("end", [" ", "\r\n"])
def test_brat_offsets_with_and_without_byte_order_mark_and_carriage_returns(
    mark: str, counted: bool, end: str, tmp_path: Path
) -> None:
    text = f"{mark}Ada Lovelace{end}joins Globex"
    seen = text if counted else text.removeprefix("\ufeff").replace("\r\n", "\n")
    spans = [(seen.index(name), name) for name in ("Ada", "Globex")]
    rows = [f"T{at}\tX {at} {at + len(name)}\t{name}" for at, name in spans]
    folder = export(tmp_path, "", "brat/doc.ann").parent
    (folder / "doc.ann").write_bytes((mark + "\r\n".join(rows)).encode())
    (folder / "doc.txt").write_bytes(text.encode())
    [post], _ = imported(tmp_path, "brat", folder)
    assert post.tokens == ("Ada", "Lovelace", "joins", "Globex")
    assert post.tags == ("B-X", "O", "O", "B-X")


def test_brat_skips_hidden_files(tmp_path: Path) -> None:
    folder = brat(tmp_path, ANN)
    (folder / "a" / "._doc1.txt").write_bytes(b"\0\xff")
    (folder / ".git").mkdir()
    export(folder, ANN, ".git/alone.ann")
    assert [post.id for post in imported(tmp_path, "brat", folder)[0]] == ["a/doc1"]


# --- CoNLL


def test_conll_of_two_columns(tmp_path: Path) -> None:
    rows = "".join(f"{token}\t{tag}\n" for token, tag in zip(TOKENS, TAGS, strict=True))
    posts, lines = imported(tmp_path, "conll", export(tmp_path, f"{rows}\n\n{rows}"))
    assert [(post.id, post.tokens, post.tags) for post in posts] == [
        ("0", TOKENS, TAGS),
        ("1", TOKENS, TAGS),
    ]
    assert "2 posts, 2 with tags, 0 pictures copied" in lines[0]


def test_conll_of_four_columns_in_iob1_and_three_files(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- -X- O\n\nAda NNP I-NP I-PER\njoins VBZ I-VP O\n\nGlobex NNP I-NP I-ORG\n"
    for name in ("train.conll", "dev.conll", "test.conll", "notes.md"):
        export(tmp_path / "conll", text, name)
    posts, _ = imported(tmp_path, "conll", tmp_path / "conll")
    assert [post.split for post in posts] == ["val", "val", "test", "test", "train", "train"]
    assert {post.tags for post in posts} == {("B-PER", "O"), ("B-ORG",)}


def test_conll_with_pictures(tmp_path: Path) -> None:
    file = export(tmp_path, "IMGID:7\nAda\tB-PER\n\nOslo\tB-LOC\n")
    export(tmp_path / "pictures", "picture", "7.jpg")
    posts, _ = imported(tmp_path, "conll", file, tmp_path / "pictures")
    assert [(p.id, p.picture) for p in posts] == [("7", "mine/pictures/7.jpg"), ("1", None)]


def test_conll_comments_are_left_out_and_counted(tmp_path: Path) -> None:
    text = "# id 12\tdomain=en\nAda _ _ B-PER\n\n# id 13\tdomain=en\n# _ _ O\nBob _ _ B-PER\n"
    posts, lines = imported(tmp_path, "conll", export(tmp_path, text))
    assert [post.tokens for post in posts] == [("Ada",), ("#", "Bob")]
    assert lines[1:] == [
        "2 lines are comments, which are left out: 'export' line 1; 'export' line 4"
    ]


def test_conll_2003_file_names(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- O O\n\nAda NNP I-NP I-PER\n"
    for name in ("eng.train", "eng.testa", "eng.testb"):
        export(tmp_path / "conll", text, name)
    posts, _ = imported(tmp_path, "conll", tmp_path / "conll")
    assert [post.split for post in posts] == ["val", "test", "train"]


def test_conll_with_spaces_at_the_end_of_a_line(tmp_path: Path) -> None:
    [post], _ = imported(tmp_path, "conll", export(tmp_path, "Ada\tB-PER \njoins\tO\t\n"))
    assert (post.tokens, post.tags) == (("Ada", "joins"), ("B-PER", "O"))


def test_conll_folder_without_a_split_names_its_files(tmp_path: Path) -> None:
    export(tmp_path / "conll", "Ada B-PER\n", "all.conll")
    with pytest.raises(DataError, match=r"files named train, .* and test, found 'all\.conll'"):
        imported(tmp_path, "conll", tmp_path / "conll")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Ada\n", "line 1: expected 2 or 4 columns, the token first and the tag last"),
        ("Ada B-PER\nin IN O\n", "line 2: expected 2 columns"),
        (
            "Ada PER\n",
            "line 1: expected a tag like B-PER, found 'PER'; write token and tag; a tag is O",
        ),
        ("B-PER Ada\n", "found 'Ada'; write the token first and the tag last"),
        ("# x = 1\n1\tA\tA\tX\tX\t_\t2\tx\t_\t_\n", "found '_'; CoNLL-U has no column of entities"),
        ("Ada B-PER\nx E-PER\n\nBob L-PER\n", "mine: expected tags of one scheme"),
    ],
)
def test_conll_refused(tmp_path: Path, content: str, message: str) -> None:
    assert message in refused(tmp_path, "conll", content)


# --- records


def test_records_written_by_prediction(tmp_path: Path) -> None:
    entities = [
        {"start": 0, "end": 12, "label": "PER", "text": "Ada Lovelace", "score": 0.9},
        {"start": 19, "end": 25, "label": "ORG", "text": "Globex", "score": 0.8},
    ]
    ties = [{"head": 0, "tail": 1, "label": "works_for", "score": 0.7}]
    record = {"id": "x", "text": TEXT, "picture": str(tmp_path / "pictures/a.jpg"),
              "picture_status": "used", "truncated": False, "regions": [],
              "entities": entities, "relations": ties}  # fmt: skip
    export(tmp_path / "pictures", "picture", "a.jpg")
    file = export(tmp_path, json.dumps(record))
    [post], _ = imported(tmp_path, "records", file, tmp_path / "pictures")
    assert triples([post]) == [WORKS]
    assert post.picture == "mine/pictures/a.jpg"
    assert (tmp_path / "data/mine/pictures/a.jpg").is_file()
    bad = record | {"relations": [{"head": 0, "tail": 2, "label": "r"}]}
    with pytest.raises(DataError, match="line 1: expected head and tail of a relation"):
        imported(tmp_path, "records", export(tmp_path, json.dumps(bad)), overwrite=True)


# --- the data set written


def test_nothing_is_replaced_without_overwrite(tmp_path: Path) -> None:
    file = export(tmp_path, [task(1, *REGIONS, image="a.jpg")])
    pictures = export(tmp_path / "pictures", "one", "a.jpg").parent
    imported(tmp_path, "label-studio", file, pictures)
    target = tmp_path / "data/mine/posts.jsonl"
    before = target.read_bytes()
    with pytest.raises(DataError, match=r"posts\.jsonl exists already; give another --dataset"):
        imported(tmp_path, "label-studio", file, pictures)
    target.unlink()
    export(tmp_path / "pictures", "another", "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg is another picture than"):
        imported(tmp_path, "label-studio", file, pictures)
    assert not target.exists()
    imported(tmp_path, "label-studio", file, pictures, overwrite=True)
    assert target.read_bytes() == before
    assert (tmp_path / "data/mine/pictures/a.jpg").read_text() == "another"
    names = [path.name for path in (tmp_path / "data/mine").rglob("*")]
    assert sorted(names) == ["a.jpg", "pictures", "posts.jsonl"]


@pytest.mark.parametrize("name", ["mnre", "twitter2015", "demo", "../mine", ".mine", "a/b"])
def test_names_that_a_data_set_cannot_have(name: str, tmp_path: Path) -> None:
    file = export(tmp_path, [task(1)])
    with pytest.raises(SettingError, match="--dataset: expected"):
        import_posts(name, file, "label-studio", None, tmp_path / "data", False)


def test_pictures_are_searched_only_below_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    inside = export(folder, "in", "a/b.jpg")
    secret = export(tmp_path, "out", "secret.jpg")
    (folder / "link.jpg").symlink_to(secret)
    assert find_picture("a/b.jpg", folder) == inside
    assert find_picture("s3://bucket/b.jpg", folder / "a") == inside
    assert find_picture("https://example.org/x/b.jpg?size=2", folder / "a") == inside
    assert find_picture("C:\\pictures\\b.jpg", folder / "a") == inside
    for name in ("../secret.jpg", str(secret), "link.jpg", "..", "", "a", "http://[x/b.jpg"):
        assert find_picture(name, folder) is None


def test_pictures_with_the_same_name_are_both_kept(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for name in ("a/x.jpg", "b/x.jpg"):
        export(folder, name, name)
    tasks = [task(n, image=name) for n, name in enumerate(("a/x.jpg", "b/x.jpg", "a/x.jpg"))]
    posts, lines = imported(tmp_path, "label-studio", export(tmp_path, tasks), folder)
    names = [str(post.picture) for post in posts]
    assert names == [f"mine/pictures/{name}" for name in ("x.jpg", "b-x.jpg", "x.jpg")]
    assert (tmp_path / "data" / names[1]).read_text() == "b/x.jpg"
    assert "2 pictures copied" in lines[0]


def test_missing_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    file = export(tmp_path, [task(1, image="https://example.org/no.jpg")])
    [post], lines = imported(tmp_path, "label-studio", file, tmp_path / "pictures")
    assert post.picture == "mine/pictures/no.jpg"
    assert lines[1:] == ["1 pictures are not in --pictures; their names are kept: 'no.jpg'"]


@pytest.mark.parametrize(
    ("there", "hint"),
    [
        ("a.jpg", "'A.JPG': 'a.jpg' is there; rename it to 'A.JPG'"),
        ("a.Jpg", "'A.JPG': 'a.Jpg' is there; rename it to 'A.JPG'"),
    ],
)
def test_pictures_with_similar_names_are_named(there: str, hint: str, tmp_path: Path) -> None:
    export(tmp_path / "pictures", "picture", there)
    file = export(tmp_path, [task(1, image="https://example.org/A.JPG")])
    _, lines = imported(tmp_path, "label-studio", file, tmp_path / "pictures")
    assert lines[1:] == [f"1 pictures are not in --pictures; their names are kept: {hint}"]
