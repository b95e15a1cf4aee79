"""Test cases: the posts chosen, predictions, attention recomputed, and the cards."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.corpus.post import Post
from pipeline.corpus.posts import load_posts
from pipeline.errors import DataError, SettingError
from pipeline.experiments.cases import cases_into, published_cases, section
from pipeline.experiments.runs import TrainedRun, lines_of
from pipeline.extraction.index import StoredPyramids
from pipeline.training.saved import SavedModel
from tests.pipeline.experiments.conftest import FILES, MISSING, WITHOUT, Pictured


def made(folder: Path, runs: list[TrainedRun], chosen: tuple[str, ...] = (), most: int = 6) -> Any:
    folder.mkdir(exist_ok=True)
    cases_into(folder, runs, chosen, most, "cpu")
    return json.loads((folder / "results.json").read_text())


def answering(folder: Path, answers: str, name: str = "text-only") -> TrainedRun:
    """A run without pictures. answers: for each test post "+", right, or "-", wrong."""
    folder.mkdir()
    posts = [
        Post(f"p{n}", "test", (f"Ada{n}", "met", "Bo"), head=(0, 1), tail=(2, 3), relation="peer")
        for n in range(len(answers))
    ]
    (folder / "posts.jsonl").write_text("".join(post.to_json() + "\n" for post in posts))
    with (folder / "predictions.jsonl").open("w") as file:
        for post, sign in zip(posts, answers, strict=True):
            answer = {"predicted_relation": "peer" if sign == "+" else "couple", "score": 0.75}
            file.write(json.dumps(json.loads(post.to_json()) | answer) + "\n")
    config = {"variant": "text-only", "style": "paper"}
    metrics = {"task": "re", "dataset": "own", "config": config}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return TrainedRun(folder, name, folder, folder, None)


def two(tmp_path: Path, first: str, second: str) -> list[TrainedRun]:
    one = answering(tmp_path / "first", first, "first")
    return [one, replace(answering(tmp_path / "second", second, "second"), posts=one.posts)]


# --- posts and predictions


def test_posts_are_chosen_where_runs_differ(tmp_path: Path) -> None:
    results = made(tmp_path / "cases", two(tmp_path, "++-+--++", "+-++---+"))
    assert [post["id"] for post in results["shown"]] == ["p1", "p2", "p6"]  # gain, loss, gain
    assert (results["differ"], results["gained"], results["lost"]) == (3, 2, 1)
    shown = section(results, tmp_path)
    assert "3 of 8 test posts are shown, of the 3 that some runs predict right" in shown
    assert "first is right and second wrong on 2 posts, the contrary on 1." in shown
    assert "No run looks at pictures." in shown


def test_without_a_difference_all_posts_are_candidates(tmp_path: Path) -> None:
    results = made(tmp_path / "cases", two(tmp_path, "+-+", "+-+"), most=2)
    assert len(results["shown"]) == 2
    assert "as no post is right in one run and wrong in another" in section(results, tmp_path)


def test_a_single_run_shows_right_and_wrong_posts_in_turn(tmp_path: Path) -> None:
    results = made(tmp_path / "cases", [answering(tmp_path / "run", "++--+")], most=4)
    assert [post["id"] for post in results["shown"]] == ["p0", "p2", "p1", "p3"]
    assert "text-only is right on 3 posts and wrong on 2." in section(results, tmp_path)


def test_the_table_has_a_row_for_each_post_and_run(tmp_path: Path) -> None:
    made(tmp_path / "cases", two(tmp_path, "+-", "-+"))
    with (tmp_path / "cases/cases.csv").open(newline="") as file:
        rows = [*csv.reader(file)]
    assert rows == [
        ["post", "run", "predicted", "score", "right"],
        *(["p0", "first", "peer", "0.75", "True"], ["p0", "second", "couple", "0.75", "False"]),
        *(["p1", "first", "couple", "0.75", "False"], ["p1", "second", "peer", "0.75", "True"]),
    ]


def test_an_unknown_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected ids of test posts of own.*found 'p9'"):
        made(tmp_path / "cases", two(tmp_path, "+-", "-+"), ("p0", "p9"))


def test_runs_of_two_tasks_are_refused(pictured: Pictured, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"one task on the same posts, found re \(re, posts\)"):
        made(tmp_path, [pictured["re"], pictured["objects"]])


def test_the_published_cases_of_mnre() -> None:
    def post(name: str, words: str, head: tuple[int, int], tail: tuple[int, int]) -> Post:
        return Post(name, "test", tuple(words.split()), head=head, tail=tail, relation="x")

    posts = [
        post("bush", "Bush sees America", (0, 1), (2, 3)),
        post("canyon", "Blyde River Canyon in Limpopo Province", (4, 6), (0, 3)),
        post("other", "Bush sees Europe", (0, 1), (2, 3)),
        post("hill", "Taylor Hill holding Jun", (0, 2), (3, 4)),
        post("again", "Bush and America", (0, 1), (2, 3)),
    ]
    assert published_cases("mnre", posts) == ["hill", "canyon", "bush"]
    assert published_cases("own", posts) == []
    assert published_cases("mnre", posts[:3]) == []


# --- pictures and attention


def attention(run: TrainedRun, name: str) -> tuple[Any, Any, np.ndarray]:
    """The encoded test post, its pieces, and its attention weights (L, heads, T, P + T)."""
    assert run.files is not None
    saved = SavedModel.open(run.model)
    posts = load_posts(run.posts)
    number = next(n for n, post in enumerate(posts) if post.id == name)
    [encoded] = saved.head.encode(
        {number: posts[number]}, saved.tokenizer, saved.labels, 80, saved.config.style
    )
    tensors = StoredPyramids.open(run.files.extraction, run.files.pyramids)([number])
    ids = torch.tensor([encoded.input_ids])
    with torch.no_grad():
        model = saved.load().eval()
        output = model.encode(ids, torch.ones_like(ids), **tensors, output_attentions=True)
    pieces = saved.tokenizer.convert_ids_to_tokens(encoded.input_ids)
    return posts[number], pieces, torch.stack(output.attentions)[:, 0].numpy()


def test_the_attention_is_that_of_the_opening_markers(pictured: Pictured, tmp_path: Path) -> None:
    results = made(tmp_path, [pictured["re"]], ("demo-400",))
    [case] = results["shown"]
    post, pieces, weights = attention(pictured["re"], "demo-400")
    regions = len(case["regions"])
    assert [region["name"] for region in case["regions"]][:2] == ["picture", "region 1"]
    assert [part["of"] for part in case["attention"]] == ["head", "tail"]
    for part, marker in zip(case["attention"], ("<head>", "<tail>"), strict=True):
        own = weights[:, :, pieces.index(marker)].mean(1)  # (L, P + T)
        prefix = own[:, : regions * 4].reshape(4, regions, 4)
        assert np.allclose(part["layers"], prefix, atol=1e-5)
        text = own[:, -len(pieces) :].sum(-1)
        assert np.allclose(np.sum(part["layers"], axis=(1, 2)) + text, 1, atol=1e-3)
    assert case["attention"][0]["text"] == " ".join(post.tokens[slice(*post.head)])
    assert case["even"] == pytest.approx(1 / (regions * 4 + len(pieces)), abs=1e-5)


def test_the_attention_of_entities_is_the_mean_of_their_words(
    pictured: Pictured, tmp_path: Path
) -> None:
    [case] = made(tmp_path, [pictured["objects"]], ("demo-396",))["shown"]
    post, _, weights = attention(pictured["objects"], "demo-396")
    assert case["regions"][0]["name"] == "region 1"
    asked = [(part["of"], part["text"]) for part in case["attention"]]
    assert asked == [("PER", "Austin"), ("PER", "Georgia Banks")]
    tokenizer = SavedModel.open(pictured["objects"].model).tokenizer
    owners = tokenizer(list(post.tokens), is_split_into_words=True).word_ids()
    places = [owners.index(post.tokens.index(word)) for word in ("Georgia", "Banks")]
    own = weights[:, :, places].mean((1, 2))[:, : 4 * len(case["regions"])]
    assert np.allclose(np.reshape(case["attention"][1]["layers"], (4, -1)), own, atol=1e-5)


def test_predictions_are_those_of_the_run(pictured: Pictured, tmp_path: Path) -> None:
    run = pictured["objects"]
    results = made(tmp_path, [run])
    lines = {line["id"]: line for line in lines_of(run.folder / "predictions.jsonl", "test")}
    assert results["shown"]
    for case in results["shown"]:
        line, [answer] = lines[case["id"]], case["predictions"]
        assert [(e["label"], e["score"]) for e in answer["predicted"]] == [
            (e["label"], e["score"]) for e in line["predicted_entities"]
        ]
        gold = {(e["text"], e["label"]) for e in case["entities"]}
        right = {(e["text"], e["label"]) for e in answer["predicted"]} == gold
        assert answer["right"] == right


def test_a_card_shows_the_regions_with_their_attention(pictured: Pictured, tmp_path: Path) -> None:
    results = made(tmp_path, [pictured["re"]], ("demo-400",))
    [case] = results["shown"]
    shown = section(results, tmp_path)
    count = len(case["regions"])
    assert shown.count('<svg class="part"') == 2 * count  # head and tail
    assert shown.count("data:image/jpeg") == 1
    values = np.mean(case["attention"][1]["layers"], axis=0)
    for value in values.ravel():
        assert f">{value:.3f}</text>" in shown
    for region, total in zip(case["regions"], values.sum(-1), strict=True):
        assert f"{region['name']} <b>{total:.3f}</b>" in shown
    width, height = case["picture"]["size"]
    side = min(width, height) * 64 / 73  # "center": the short side is scaled to 73, 64 are kept
    x, y = (width - side) / 2, (height - side) / 2
    assert case["regions"][0]["kept"] == pytest.approx([x, y, x + side, y + side], abs=0.01)
    assert shown.count("<bdi>layer 4</bdi>") == 2


def test_style_released_shows_sums_only(pictured: Pictured, tmp_path: Path) -> None:
    results = made(tmp_path, [pictured["released"]], ("demo-400",))
    shown = section(results, tmp_path)
    assert "a position of the prefix is a group of channels" in shown
    assert '<svg class="part"' in shown
    assert 'fill-opacity="' not in shown
    [case] = results["shown"]
    _, pieces, _ = attention(pictured["released"], "demo-400")
    assert case["even"] == pytest.approx(1 / (16 + len(pieces)), abs=1e-5)  # absent ones attended


def test_a_crop_that_is_a_file_is_shown_by_itself(pictured: Pictured, tmp_path: Path) -> None:
    results = made(tmp_path, [pictured["re"]], (FILES,))
    [case] = results["shown"]
    assert [region.get("file") for region in case["regions"]] == ["1.jpg", "1-1.jpg"]
    assert {path.name for path in tmp_path.glob("*.jpg")} == {"1.jpg", "1-1.jpg"}
    shown = section(results, tmp_path)
    assert shown.count("data:image/jpeg") == 2
    assert 'class="box"' not in shown


@pytest.mark.parametrize(
    ("name", "reason"), [(WITHOUT, "no picture"), (MISSING, "picture: missing")]
)
def test_a_post_without_a_picture_has_its_text_and_predictions(
    pictured: Pictured, tmp_path: Path, name: str, reason: str
) -> None:
    results = made(tmp_path, [pictured["re"]], (name,))
    [case] = results["shown"]
    assert case["regions"] == []
    shown = section(results, tmp_path)
    assert f'<p class="why">{reason}' in shown
    assert "<mark" in shown
    assert "<svg" not in shown


def test_text_is_escaped(tmp_path: Path) -> None:
    run = answering(tmp_path / "run", "+", "<b>run</b>")
    results = made(tmp_path / "cases", [run])
    results["shown"][0]["text"] += " <script>"
    shown = section(results, tmp_path)
    assert "<script>" not in shown
    assert "<b>run</b>" not in shown
