"""Cases (Table 2): posts with the predictions of several runs, and the attention to the picture."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from model.hvpnet.variants import HVPNET, PAPER
from pipeline.corpus.labels import entities_of
from pipeline.corpus.post import Post
from pipeline.corpus.posts import load_posts
from pipeline.engine.files import write_json
from pipeline.errors import SettingError
from pipeline.experiments.attention import attention_of, regions_of
from pipeline.experiments.cases_page import section
from pipeline.experiments.chosen import held_out, with_ids
from pipeline.experiments.opened import OpenRun
from pipeline.experiments.runs import PREDICTIONS, TrainedRun, items_of, lines_of
from pipeline.prediction.comparison import choose_posts
from pipeline.prediction.gold import Gold, gold_of

__all__ = ["cases_into", "published_cases", "section"]

# Head and tail of the posts in the paper's Table 2, which is about test of MNRE: the relevant, the
# weakly relevant and the irrelevant picture.
PUBLISHED = (
    ("Taylor Hill", "Jun"),
    ("Limpopo Province", "Blyde River Canyon"),
    ("Bush", "America"),
)

Line = Mapping[str, Any]  # of a predictions.jsonl


def published_cases(dataset: str, posts: Sequence[Post]) -> list[str]:
    """Return the ids of the posts of the paper's Table 2; empty unless all of them are there."""
    if dataset != "mnre":
        return []
    ids: dict[tuple[str, ...], str] = {}
    for post in posts:
        if post.split == "test" and post.head is not None and post.tail is not None:
            ends = tuple(" ".join(post.tokens[slice(*span)]) for span in (post.head, post.tail))
            ids.setdefault(ends, post.id)
    return [ids[ends] for ends in PUBLISHED] if ids.keys() >= {*PUBLISHED} else []


def cases_into(
    folder: Path, runs: Sequence[TrainedRun], chosen: Sequence[str], most: int, device: str
) -> None:
    """Write `results.json`, `cases.csv` and pictures of test, or val if there is no test.

    runs: of one task on the same posts; pictures are shown as the first that looks at them reads
        them, of HVPNeT if there is one, whose attention is shown too.
    chosen: ids of the posts to show; empty: `most` posts on which the runs differ.

    Raises SettingError for runs of different tasks or posts; DataError for an unknown id.
    """
    _check_alike(runs)
    split, posts = held_out(runs[0].task, load_posts(runs[0].posts))
    answers = [_lines(run, split, posts) for run in runs]
    rights = [[_is_right(line) for line in lines] for lines in answers]
    first = _looking(runs)
    others = _compared_with(runs, first)
    gains = [_gain(own, first, others) for own in zip(*rights, strict=True)]
    where = f"{split} posts of {runs[0].metrics['dataset']}"
    places = with_ids(chosen, posts.values(), where) or _differing(posts, rights, gains, most)
    shown = [_case([*posts.values()][n], [lines[n] for lines in answers]) for n in places]
    looking = runs[first]
    if looking.files is not None:
        opened, numbers = OpenRun.open(looking, device), [*posts]
        for rank, (place, case) in enumerate(zip(places, shown, strict=True), start=1):
            number = numbers[place]
            case |= regions_of(opened, number, looking.files, folder, rank)
            if looking.system == HVPNET:
                case |= attention_of(opened, number, posts[number])
    results = {
        "task": runs[0].task,
        "dataset": runs[0].metrics["dataset"],
        "title": runs[0].title,
        "split": split,
        "runs": [_about(run) for run in runs],
        "looking": None if looking.files is None else first,
        "compared": [looking.name, [runs[place].name for place in others]],
        "posts": len(posts),
        "differ": sum(len({*own}) > 1 for own in zip(*rights, strict=True)),
        "gained": sum(gain > 0 for gain in gains),
        "lost": sum(gain < 0 for gain in gains),
        "chosen_by_id": bool(chosen),
        "shown": shown,
    }
    write_json(folder / "results.json", results)
    _write_table(folder / "cases.csv", results)


def _check_alike(runs: Sequence[TrainedRun]) -> None:
    """Raise SettingError unless the runs are of one task and one reading of a data set."""
    kinds = {(run.task, run.posts) for run in runs}
    if len(kinds) > 1:
        names = ", ".join(f"{run.name} ({run.task}, {run.posts.name})" for run in runs)
        raise SettingError(
            f"expected runs of one task on the same posts, found {names}; choose one data set"
        )


def _lines(run: TrainedRun, split: str, posts: Mapping[int, Post]) -> list[Line]:
    """Return a run's predictions of posts, in their order."""
    lines: list[Line] = [*lines_of(run.folder / PREDICTIONS, split)]
    assert [line["id"] for line in lines] == [post.id for post in posts.values()], run.folder
    return lines


def _is_right(line: Line) -> bool:
    """Return True if the relation, or all entities, are right."""
    gold, predicted = items_of(line)
    return gold == predicted


def _looking(runs: Sequence[TrainedRun]) -> int:
    """Return the place of the first run that looks at pictures, one of HVPNeT's if there is any.

    Returns 0 if none does.
    """
    places = [place for place, run in enumerate(runs) if run.files is not None]
    own = [place for place in places if runs[place].system == HVPNET]
    return [*own, *places, 0][0]


def _compared_with(runs: Sequence[TrainedRun], first: int) -> list[int]:
    """Return the places of the runs to compare the first with: text-only ones, or else all."""
    others = [place for place in range(len(runs)) if place != first]
    return [place for place in others if runs[place].files is None] or others


def _gain(rights: Sequence[bool], first: int, others: Sequence[int]) -> int:
    """Return how many others the first run beats on a post; negative: how many beat it.

    Without others, return 1 if it is right, else -1.
    """
    if not others:
        return 1 if rights[first] else -1
    return sum(rights[first] - rights[place] for place in others)


def _differing(
    posts: Mapping[int, Post], rights: Sequence[Sequence[bool]], gains: Sequence[int], most: int
) -> list[int]:
    """Choose places of posts that some runs predict right and others wrong; if none, of any."""
    every = range(len(posts))
    differ = [place for place in every if len({own[place] for own in rights}) > 1] or [*every]
    tokens = [post.tokens for post in posts.values()]
    chosen = choose_posts([(gains[n], 0) for n in differ], [tokens[n] for n in differ], most)
    return [differ[place] for place in chosen]


def _about(run: TrainedRun) -> dict[str, str]:
    config = run.metrics["config"]
    return {
        "name": run.name,
        "folder": run.short,
        "variant": config["variant"],
        "system": run.system,
        "style": config.get("style", PAPER),
    }


def _case(post: Post, lines: Sequence[Line]) -> dict[str, Any]:
    """Return a post, its gold labels and its predictions in JSON types."""
    gold = gold_of(post)
    if "predicted_relation" in lines[0]:
        gold = _with_ends(gold)
    return {
        **asdict(gold),
        "id": post.id,
        "predictions": [
            {"right": _is_right(line), "score": line.get("score"), "predicted": _predicted(line)}
            for line in lines
        ],
    }


def _with_ends(gold: Gold) -> Gold:
    """Mark head and tail as the post's entities."""
    assert gold.head is not None, gold.text
    assert gold.tail is not None, gold.text
    return replace(
        gold, entities=(replace(gold.head, label="head"), replace(gold.tail, label="tail"))
    )


def _predicted(line: Line) -> Any:
    """Return the predicted relation, or the entities with text, label, score and `right`."""
    if "predicted_relation" in line:
        return line["predicted_relation"]
    scores = {
        (entity["label"], entity["start"], entity["end"]): entity["score"]
        for entity in line.get("predicted_entities", ())
    }
    gold, _ = items_of(line)
    return [
        {
            "text": " ".join(line["tokens"][entity[1] : entity[2]]),
            "label": entity[0],
            "score": scores.get(entity),
            "right": entity in (gold or ()),
        }
        for entity in entities_of(line["predicted_tags"])
    ]


def _write_table(file: Path, results: Mapping[str, Any]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        table = csv.writer(opened, lineterminator="\n")
        table.writerow(("post", "run", "predicted", "score", "right"))
        for post in results["shown"]:
            for run, prediction in zip(results["runs"], post["predictions"], strict=True):
                answer, scores = prediction["predicted"], [prediction["score"]]
                if not isinstance(answer, str):
                    scores = [entity["score"] for entity in answer]
                    answer = "; ".join(f"{entity['text']} ({entity['label']})" for entity in answer)
                known = "; ".join(str(score) for score in scores if score is not None)
                table.writerow((post["id"], run["name"], answer, known, prediction["right"]))
