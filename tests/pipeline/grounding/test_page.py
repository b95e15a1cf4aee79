"""The page of ShowCrops, read with an HTML parser."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from features.grounding import Region
from features.pictures import Box
from pipeline.grounding.crops import Grounded
from pipeline.grounding.page import NAMED, show
from pipeline.pages.html import COLOURS
from pipeline.pages.plots import bar_chart
from tests.tiny import SHARED

VOID = {"meta", "img", "br", "rect", "path"}  # without a closing tag, or self-closing
DOG: Box = (20.25, 10.5, 120.75, 90.0)


class Element:
    """An HTML element: attributes, text, and all elements inside it at any depth."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag, self.attributes = tag, attributes
        self.text = ""
        self.inner: list[Element] = []

    def all(self, tag: str, kind: str | None = None) -> list["Element"]:
        return [
            element
            for element in self.inner
            if element.tag == tag and kind in (None, *element.attributes.get("class", "").split())
        ]

    def numbers(self, *names: str) -> list[float]:
        return [float(self.attributes[name]) for name in names]


class Reader(HTMLParser):
    """A parser that builds the elements, and fails if tags are not nested properly."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.page = Element("page", {})
        self.open = [self.page]
        self.feed(page.read_text(encoding="utf-8"))
        assert self.open == [self.page], "a tag is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        for outer in self.open:
            outer.inner.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for outer in self.open:
            outer.text += data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with a picture of 200×150 pixels: a white box on red."""
    image = Image.new("RGB", (200, 150), "red")
    ImageDraw.Draw(image).rectangle((50, 40, 99, 89), fill="white")
    image.save(tmp_path / "a.png")
    return tmp_path


def post(*regions: Region, text: str = "A dog and Bob Lee here", **fields: Any) -> Grounded:
    given: dict[str, Any] = {
        "id": "p1",
        "split": "train",
        "tokens": tuple(text.split()),
        "picture": "a.png",
        "problem": None,
        "phrases": tuple(region.phrase for region in regions if region.phrase),
        "regions": regions,
    }
    return Grounded(**given | fields)


def region(phrase: str | None = "dog", box: Box = DOG, score: float = 0.5) -> Region:
    return Region(phrase, box, score, None, "detector", "spacy")


def shown(root: Path, *grounded: Grounded, report: dict | None = None, posts: int = 50) -> Element:
    show(grounded, root, report or {}, "a title", posts, root / "page.html")
    return Reader(root / "page.html").page


def ids(page: Element) -> list[str]:
    return [card.inner[1].text for card in page.all("article")]


def pixels(image: Element) -> np.ndarray:
    data = image.attributes["src"].removeprefix("data:image/jpeg;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_page_is_self_contained(root: Path) -> None:
    page = shown(root, post(region(), text="see http://t.co/x dog"), post(problem="missing"))
    assert {element.attributes["src"][:23] for element in page.all("img")} == {
        "data:image/jpeg;base64,"
    }
    assert all(element.attributes.get("href", "#")[0] == "#" for element in page.inner)
    assert not {element.tag for element in page.inner} & {"script", "link", "iframe", "object"}
    assert not any(word in page.all("style")[0].text for word in ("url(", "@import", "http"))


def test_the_page_has_a_title_and_encoding(root: Path) -> None:
    page = shown(root, post())
    assert (root / "page.html").read_bytes().startswith(b"<!DOCTYPE html>\n<html lang=")
    assert page.all("meta")[0].attributes == {"charset": "utf-8"}
    assert page.all("title")[0].text == page.all("h1")[0].text == "a title"
    assert "prefers-color-scheme:dark" in page.all("style")[0].text


def test_all_that_comes_from_data_is_escaped(root: Path) -> None:
    evil = '<script>alert("1")</script>\'&amp;🎉مرحبا'
    why = f"{evil}: {evil}"
    grounded = (
        post(
            Region(evil, DOG, 0.5, None, evil, evil),
            text=f"x {evil} y",
            id=evil,
            split=evil,
            phrase_source=evil,
        ),
        post(picture=evil, problem=why),
        post(Region(evil, None, None, evil, evil, evil)),
    )
    report = {evil: 1, "counts": {evil: 2}, "settings": {evil: evil}, "problems": {evil: why}}
    show(grounded, root, report, evil, 50, root / "page.html")
    page = Reader(root / "page.html").page
    assert not page.all("script")
    for place in (page.all("title")[0], page.all("header")[0], page.all("section")[0]):
        assert evil in place.text
    card = page.all("article")[0]
    assert card.text.count(evil) >= 4  # id, split, phrase source, crop
    assert evil in card.all("text")[1].text.replace("\u2068", "").replace("\u2069", "")
    assert not any("<" in value for element in page.inner for value in element.attributes.values())


def test_boxes_stand_where_the_regions_are(root: Path) -> None:
    other: Box = (0, 0, 200, 150)
    card = shown(root, post(region(), region(None, other))).all("article")[0]
    boxes = [element.numbers("x", "y", "width", "height") for element in card.all("rect", "box")]
    assert boxes == [[20.25, 10.5, 100.5, 79.5], [0, 0, 200, 150]]
    assert card.all("svg")[0].attributes["viewbox"] == "0 0 200 150"


def test_a_turned_picture_is_shown_upright(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees
    Image.open(root / "a.png").save(root / "b.jpg", exif=exif)
    card = shown(root, post(region(), picture="b.jpg")).all("article")[0]
    assert card.all("svg")[0].attributes["viewbox"] == "0 0 150 200"
    height, width, _ = pixels(card.all("img")[0]).shape
    assert (width, height) == (150, 200)


def test_large_pictures_are_made_smaller(root: Path) -> None:
    Image.new("RGB", (2240, 1120)).save(root / "b.jpg")
    card = shown(root, post(region(box=(0, 0, 800, 1000)), picture="b.jpg")).all("article")[0]
    assert [pixels(element).shape[:2] for element in card.all("img")] == [(280, 560), (160, 128)]
    assert card.all("img")[0].numbers("width", "height") == [560, 280]


def test_small_pictures_are_enlarged_a_little(root: Path) -> None:
    Image.new("RGB", (20, 10)).save(root / "b.png")
    image = shown(root, post(picture="b.png")).all("img")[0]
    assert image.numbers("width", "height") == [60, 30]


def test_crops_show_the_pixels_of_their_box(root: Path) -> None:
    crop = shown(root, post(region("dog", (52, 42, 98, 88), 0.876))).all("figure")[-1]
    assert pixels(crop.all("img")[0]).min() > 240  # all white
    assert crop.all("figcaption")[0].text.split() == "1 dog 0.88detector, spacy46×46 pixels".split()


def test_a_crop_that_is_a_file_is_shown(root: Path) -> None:
    Image.new("RGB", (30, 20), (0, 0, 200)).save(root / "crop.png")
    card = shown(root, post(Region(None, None, None, "crop.png", "released"))).all("article")[0]
    assert card.all("rect", "box") == []
    np.testing.assert_allclose(pixels(card.all("img")[1]).mean((0, 1)), (0, 0, 200), atol=3)


def test_a_crop_that_cannot_be_shown_says_why(root: Path) -> None:
    regions = (Region(None, None, None, "gone.png", "released"), region(box=(300, 0, 310, 9)))
    card = shown(root, post(*regions)).all("article")[0]
    captions = [element.text for element in card.all("figcaption")]
    assert "gone.png: no such file" in captions[0]
    assert "holds no pixel" in captions[1]
    assert card.all("rect", "box") == []


@pytest.mark.parametrize(
    ("text", "phrase", "marked"),
    [
        ("The old Dog sleeps", "dog", "Dog"),
        ("Love #GoStars tonight", "GoStars", "#GoStars"),
        ("Love # GoStars tonight", "GoStars", "GoStars"),
        ("in St. Louis , MO", "St Louis", "St. Louis"),
        ("Ann @ MoMA &amp; Bob", "MoMA & Bob", "MoMA & Bob"),
        ("New 🎉 York", "New York", "New 🎉 York"),
        ("do n't stop", "don't", "do n't"),
        ("a catalogue cat", "cat", "cat"),
        ("aa b", "a b", ""),
        ("🎉 x", "🎉", ""),
    ],
)
def test_phrases_are_marked_in_the_sentence(
    text: str, phrase: str, marked: str, root: Path
) -> None:
    card = shown(root, post(text=text, phrases=(phrase,))).all("article")[0]
    sentence = card.all("p", "text")[0]
    assert "".join(element.text for element in sentence.all("span", "lost")) == marked
    absent = card.all("p", "also")
    assert [element.text for element in absent] == (
        [] if marked else [f"also looked for: {phrase}"]
    )


def test_of_phrases_that_overlap_the_one_with_a_box_is_marked(root: Path) -> None:
    grounded = post(region("York City"), text="New York City", phrases=("New York", "York City"))
    card = shown(root, grounded).all("article")[0]
    assert card.all("p", "text")[0].text == "New York City1"
    assert [element.text for element in card.all("mark")] == ["York City1"]
    assert card.all("p", "also")[0].text == "also looked for: New York"


def test_a_phrase_has_the_colour_and_the_numbers_of_its_boxes(root: Path) -> None:
    regions = (region("Bob Lee"), region("dog"), region("Bob Lee", (0, 0, 9, 9)), region(None))
    card = shown(root, post(*regions)).all("article")[0]
    marks = [(element.attributes["class"], element.text) for element in card.all("mark")]
    assert marks == [("c1", "dog2"), ("c0", "Bob Lee1,3")]
    boxes = [element.attributes["class"] for element in card.all("g")]
    assert boxes == ["c0", "c1", "c0", "c2"] * 2  # boxes, then labels
    assert [element.attributes["class"] for element in card.all("figure")] == [
        "c0",
        "c1",
        "c0",
        "c2",
    ]


def test_every_class_of_a_colour_has_a_rule(root: Path) -> None:
    regions = (region(f"thing {n}") for n in range(2 * len(COLOURS)))
    page = shown(root, post(*regions))
    used = {element.attributes["class"] for element in page.all("g")}
    assert used == {f"c{n}" for n in range(len(COLOURS))}
    assert all(f".{name}{{--c:#" in page.all("style")[0].text for name in used)


def test_labels_lie_in_the_picture_and_apart(root: Path) -> None:
    Image.new("RGB", (1000, 700)).save(root / "b.png")
    corner: Box = (900, 0, 1000, 30)
    bottom: Box = (0, 690, 1000, 700)
    boxes = ((0.0, 0.0, 1000.0, 700.0), *[corner] * 3, *[bottom] * 3)
    regions = [region("a phrase", box) for box in boxes]
    card = shown(root, post(*regions, picture="b.png")).all("article")[0]
    tags = [element.numbers("x", "y", "width", "height") for element in card.all("rect", "tag")]
    assert len(tags) == len(boxes)
    for n, (x, y, width, height) in enumerate(tags):
        assert x >= 0
        assert y >= 0
        assert x + width <= 1000.1
        assert y + height <= 700.1
        for x2, y2, width2, height2 in tags[:n]:
            across = min(x + width, x2 + width2) - max(x, x2)
            down = min(y + height, y2 + height2) - max(y, y2)
            assert min(across, down) <= 0.15  # pixels: coordinates are rounded


def test_a_label_is_cut_to_the_picture(root: Path) -> None:
    Image.new("RGB", (200, 560)).save(root / "b.png")
    regions = (region("a phrase of far too many letters", (0, 0, 200, 560)),)
    card = shown(root, post(*regions, picture="b.png")).all("article")[0]
    number, label = (element.text for element in card.all("text"))
    assert number == "1"
    assert label.startswith("\u2068a phrase")
    assert label.endswith("…\u2069 0.50")
    assert card.all("rect", "tag")[0].numbers("width")[0] <= 200


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"phrases": ("dog",)}, "No region: nothing was found."),
        ({}, "No region: nothing was found, and the post has no phrase to look for."),
        ({"picture": "b.png", "problem": "missing"}, "Picture b.png: missing"),
        ({"picture": "b.png", "problem": "broken: cut off"}, "Picture b.png: broken: cut off"),
        ({"picture": "b.png"}, "The picture can't be opened: "),
    ],
)
def test_a_post_without_regions_says_why(fields: dict[str, Any], why: str, root: Path) -> None:
    card = shown(root, post(**fields)).all("article")[0]
    assert card.all("p", "why")[0].text.startswith(why)
    assert card.all("figure") == []


def test_a_post_with_regions_has_no_explanation(root: Path) -> None:
    assert shown(root, post(region())).all("p", "why") == []


def test_each_post_with_a_picture_is_shown_once(root: Path) -> None:
    grounded = [
        post(id="one"),
        post(id="the same", regions=(region(),)),
        post(id="another sentence", text="other"),
        post(id="no picture", picture=None),
        post(id="another picture", picture="b.png"),
        post(id="crops alone", picture="c.png", problem="missing", regions=(region(),)),
    ]
    page = shown(root, *grounded)
    assert ids(page) == ["one", "another sentence", "another picture", "crops alone"]
    assert "4 of 4 posts with a picture" in page.text


def test_unusable_pictures_are_not_shown(root: Path) -> None:
    lost = [post(id=f"{n}", picture=f"{n}.png", problem="missing") for n in range(9)]
    assert ids(shown(root, *lost, post(id="one"), posts=5)) == ["one"]
    assert len(ids(shown(root, *lost, posts=5))) == 5


def test_posts_are_evenly_spread(root: Path) -> None:
    grounded = [post(id=f"{n}", text=f"number {n}") for n in range(11)]
    assert ids(shown(root, *grounded, posts=4)) == ["0", "2", "5", "8"]


def test_a_data_set_without_pictures_has_a_page(root: Path) -> None:
    page = shown(root, post(picture=None))
    assert ids(page) == []
    assert "0 of 0 posts" in page.text


def test_problems_are_counted_and_the_first_listed(root: Path) -> None:
    why = {n: "missing" if n % 3 else "broken: torn" for n in range(NAMED + 4)}
    grounded = [post(picture=f"{n}.png", problem=problem) for n, problem in why.items()]
    section = shown(root, *grounded, posts=1).all("section")[0]
    assert section.all("p")[0].text == "16 missing, 8 broken"
    lines = [element.text for element in section.all("li")]
    assert lines[:2] == ["0.png: broken: torn", "1.png: missing"]
    assert lines[NAMED:] == ["and 4 more: report.json"]


def test_the_report_stands_at_the_top(root: Path) -> None:
    report = {
        "settings": {"grounder": "detector", "min_score": None, "max_crops": 3},
        "posts": 12345,
        "problems": {"x.png": "missing"},
        "posts_by_regions": {"0": 1},
        "rejected": {"too small": 7},
    }
    header = shown(root, post(problem="missing"), report=report).all("header")[0]
    assert header.all("p")[0].text == "grounder detector · max crops 3"
    facts = [element.text for element in header.all("dl")[0].all("div")]
    assert facts == ["posts12,345", "problems1", "rejectedtoo small 7"]


def test_bars_count_regions_and_scores(root: Path) -> None:
    page = shown(root, post(region(score=0.0), region(score=0.3)), post(), post(region(score=1.0)))
    regions, scores = page.all("figure", "chart")
    # each bar has the number of regions below it and the number of posts above it
    assert [element.text for element in regions.all("text")] == ["0", "1", "1", "1", "2", "1"]
    assert scores.text.startswith("detector: scores, median 0.30")
    filled = [n for n, element in enumerate(scores.all("rect")) if element.numbers("height")[0] > 0]
    assert filled == [0, 6, 19]


def test_bars_are_as_high_as_their_counts() -> None:
    chart = bar_chart("x", [("a", 1), ("b", 4), ("c", 0)])
    heights = [float(part.split('"')[0]) for part in chart.split(' height="')[1:]]
    assert heights == [16, 64, 0]


@pytest.mark.skipif(not (SHARED / "data/tweets").is_dir(), reason="no real pictures here")
def test_fifty_real_pictures_make_a_page_of_less_than_8_megabytes(tmp_path: Path) -> None:
    files = sorted((SHARED / "data/tweets/images").glob("*/*.jpg"))
    grounded = []
    for n in range(50):
        file = files[n % len(files)]
        width, height = Image.open(file).size
        boxes: list[Box] = [(0, 0, width, height), (0, 0, width / 2, height), (9, 9, width, 99)]
        name = file.relative_to(SHARED).as_posix()
        grounded.append(post(*(region(box=box) for box in boxes), picture=name, text=f"post {n}"))
    show(grounded, SHARED, {}, "tweets", 50, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 8e6
