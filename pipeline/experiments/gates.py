"""Gates (HVPNeT, Eq. 4): Figure 4 for some posts, and their mean over all posts of a split."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from features.pictures import PictureError, open_picture
from model.hvpnet.variants import FLAT, HVPNET, ONE_TO_THREE
from pipeline.corpus.post import Post
from pipeline.corpus.posts import load_posts
from pipeline.engine.files import write_json
from pipeline.errors import DataError, SettingError
from pipeline.experiments.chosen import held_out, with_ids
from pipeline.experiments.gates_page import EVEN, FIGURE, MEANS, figure_4, mean_figure
from pipeline.experiments.opened import OpenRun
from pipeline.experiments.runs import TrainedRun
from pipeline.pages.charts import check_installed
from pipeline.pages.drawing import jpeg_of
from pipeline.prediction.prediction import USED
from pipeline.prediction.stored import StoredPictures

BATCH = 64  # posts
DIGITS = 6  # decimals in files
SIDE = 192  # longest side of a stored picture, pixels


def gates_into(
    folder: Path, run: TrainedRun, chosen: Sequence[str], most: int, device: str
) -> None:
    """Compute a run's gates on test, or val if there is no test; write them into `folder`.

    Writes `results.json`, `gates.csv`, the figures as SVG, and the shown posts' pictures.

    chosen: ids of the posts to show; empty: `most` posts, evenly spread over those with a picture.

    Raises SettingError for a run without a gate, or without matplotlib; DataError for an
    unknown id, or a post without a picture.
    """
    check_installed()
    _check_kind(run)
    opened = OpenRun.open(run, device)
    split, posts = held_out(run.task, load_posts(run.posts))
    gates, there = _gates(opened, [*posts])
    places = _places(opened, f"{split} posts of {run.metrics['dataset']}", posts, chosen, most)
    shown = []
    for rank, place in enumerate(places, start=1):
        number = [*posts][place]
        post = posts[number]
        picture = _store_picture(opened.pictures, run.root, number, folder, rank)
        gate = gates[place, opened.first].round(DIGITS).tolist()
        text = " ".join(post.tokens)
        shown.append({"id": post.id, "text": text, "picture": picture, "gate": gate})
    results = {
        "run": run.name,
        "folder": run.short,
        "task": run.task,
        "dataset": run.metrics["dataset"],
        "title": run.title,
        "style": opened.forward.saved.config.style,
        "split": split,
        "posts": len(posts),
        "shown_region": "first crop" if opened.first else "picture",
        "shown": shown,
        "regions": _figures(gates, there, opened.first),
    }
    write_json(folder / "results.json", results)
    _write_table(folder / "gates.csv", results["regions"])
    for name, svg in ((FIGURE, figure_4(results)), (MEANS, mean_figure(results))):
        (folder / name).write_text(svg, encoding="utf-8")


def _check_kind(run: TrainedRun) -> None:
    if run.system != HVPNET:
        raise SettingError(
            f"{run.name}: expected a run of system {HVPNET}, as others have no gate, found one of "
            f"{run.system}; choose another run"
        )
    variant = run.metrics["config"]["variant"]
    if variant in (FLAT, ONE_TO_THREE):
        raise SettingError(
            f"{run.name}: expected a run with a gate, found --variant {variant}, which chooses a "
            "block for each layer; choose another variant"
        )


def _gates(opened: OpenRun, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the gates (posts, R, L, 4) of posts, and which of their regions exist (posts, R)."""
    pyramids = opened.pictures.pyramids
    parts = [
        opened.forward.gates(pyramids(numbers[start : start + BATCH])["pyramid"]).double().numpy()
        for start in range(0, len(numbers), BATCH)
    ]
    return np.concatenate(parts), pyramids.there[[*numbers]]


def _places(
    opened: OpenRun, where: str, posts: Mapping[int, Post], chosen: Sequence[str], most: int
) -> list[int]:
    """Return the places of the posts to show, all with a region that the model reads."""
    seen = opened.pictures.pyramids.there[[*posts], opened.first]
    with_picture = [place for place, exists in enumerate(seen) if exists]
    if not with_picture:
        raise DataError(f"expected {where} with a picture, found none; choose another data set")
    if not chosen:
        count = min(most, len(with_picture))
        return [with_picture[n * len(with_picture) // count] for n in range(count)]
    places = with_ids(chosen, posts.values(), where)
    for place in places:
        if not seen[place]:
            number = [*posts][place]
            raise DataError(
                f"expected posts with a picture, found {posts[number].id!r} (picture: "
                f"{opened.pictures.status(number)}); choose others"
            )
    return places


def _store_picture(
    pictures: StoredPictures, root: Path, number: int, folder: Path, rank: int
) -> str | None:
    """Write a post's picture into `folder`, small; return its name, or None if it can't be read."""
    if pictures.status(number) != USED:  # only its crops, which are files, can be
        return None
    try:
        picture = open_picture(root / str(pictures.lines[number].picture))
    except PictureError:  # its row is in the store: the file was changed since
        return None
    (folder / f"{rank}.jpg").write_bytes(jpeg_of(picture, SIDE))
    return f"{rank}.jpg"


def _figures(gates: np.ndarray, there: np.ndarray, first: int) -> dict[str, Any]:
    """Return the figures of the picture and of the crops, each if the model reads any."""
    kinds = {"picture": gates[there[:, 0], 0], "crops": gates[:, 1:][there[:, 1:]]}
    return {name: _statistics(kinds[name]) for name in [*kinds][first:] if len(kinds[name])}


def _statistics(gates: np.ndarray) -> dict[str, Any]:
    """Return mean and sample deviation over N regions, and the mean's distance from 1/4.

    gates: (N, L, 4).
    """
    mean = gates.mean(0)
    deviation = gates.std(0, ddof=1) if len(gates) > 1 else np.zeros_like(mean)
    distance = mean - EVEN
    in_deviations = None
    if deviation.all():
        in_deviations = round(float(abs(distance / deviation).max()), 2)
    return {
        "count": len(gates),
        "mean": mean.round(DIGITS).tolist(),
        "deviation": deviation.round(DIGITS).tolist(),
        "distance": distance.round(DIGITS).tolist(),
        "mean_distance": round(float(abs(distance).mean()), DIGITS),
        "largest_distance": round(float(abs(distance).max()), DIGITS),
        "largest_distance_in_deviations": in_deviations,
    }


def _write_table(file: Path, regions: Mapping[str, Any]) -> None:
    columns = ("mean", "deviation", "distance")
    with file.open("w", encoding="utf-8", newline="") as opened:
        table = csv.writer(opened, lineterminator="\n")
        table.writerow(("regions", "layer", "block", *columns))
        for name, figures in regions.items():
            for layer, block in np.ndindex(np.shape(figures["mean"])):
                cells = [figures[column][layer][block] for column in columns]
                table.writerow((name, layer + 1, block + 1, *cells))
