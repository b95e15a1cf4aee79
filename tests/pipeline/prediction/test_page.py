"""Test the page of predictions: texts with their entities, relations, pictures, reasons."""

from pathlib import Path

from PIL import Image

from features.grounding import Region
from pipeline.prediction.page import MOST, mean_attention, page
from pipeline.prediction.prediction import USED, Entity, Prediction, Relation

NESTED = Prediction(
    "<New York> Times",
    (
        Entity(1, 9, "LOC", "New York", 0.5),
        Entity(1, 9, "", "New York"),
        Entity(11, 16, "A&B", "Times"),
    ),
    (Relation(0, 2, "part > of", 0.25),),
    "broken: not a <picture>",
    truncated=True,
    given={"id": "<id>"},
)


def test_all_that_is_known_is_shown_and_escaped() -> None:
    shown = page([NESTED])
    assert (
        '&lt;<mark class="c2">New York<span class="n">0\u00a0LOC\u00a00.50</span></mark>&gt; '
        in shown
    )
    assert '<mark class="c1">Times<span class="n">2\u00a0A&amp;B</span></mark></p>' in shown
    assert '<p class="also" dir="auto"><mark class="c0">New York<span class="n">1</span>' in shown
    assert "<b>part &gt; of</b>" in shown
    for text in ("&lt;id&gt;", "not a &lt;picture&gt;", "longer than the model reads at once"):
        assert text in shown


def test_an_error_is_shown_instead_of_an_answer() -> None:
    assert '<p class="why">line 1: x &lt; y</p></article>' in page(
        [Prediction(error="line 1: x < y")]
    )


def test_regions_have_other_colours_than_labels(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    region = Region("a dog", (1.0, 1.0, 20.0, 20.0), 0.5, None, "detector")
    entities = (Entity(0, 1, "PER", "a", 0.5),)
    one = Prediction(
        "a", entities, picture_status=USED, regions=(region,), pictures=(tmp_path / "a.png",)
    )
    assert '<mark class="c0">' in page([one])
    assert '<g class="c1"><rect class="halo"' in page([one])
    (tmp_path / "a.png").unlink()
    assert "a.png" in page([one])  # the reason why it is not shown


def test_a_page_ends() -> None:
    assert page([Prediction("a")] * (MOST + 5)).count("<article>") == MOST


def test_attention_is_a_mean_over_layers() -> None:
    layers = [[0.0, 0.2], [0.4, 0.2]]
    part = {"attention": [[layers, [[1.0, 1.0]]]]}
    one = Prediction(
        "a b",
        (Entity(0, 1, "", "a"), Entity(2, 3, "", "b")),
        (Relation(1, 0, "r", 0.5),),
        explanation={"relations": part, "entities": {"attention": [None, layers]}},
    )
    assert mean_attention(one, "relations") == [
        ("b, head of r", [0.2, 0.2]),
        ("a, tail of r", [1, 1]),
    ]
    assert mean_attention(one, "entities") == [("b", [0.2, 0.2])]
