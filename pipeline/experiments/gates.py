"""Gates (HVPNeT, Eq. 4): Figure 4 for some posts, and their mean over all posts of a split."""

import csv
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from features.pictures import PictureError, open_picture
from model.hvpnet.gate import BLOCKS
from model.hvpnet.variants import FLAT, ONE_TO_THREE, RELEASED
from pipeline.corpus.post import Post
from pipeline.engine.files import write_json
from pipeline.errors import DataError, SettingError
from pipeline.experiments.opened import OpenRun, held_out, with_ids
from pipeline.experiments.runs import TrainedRun
from pipeline.pages.charts import HeatMap, check_installed, heat_maps
from pipeline.pages.drawing import data_url, jpeg_of
from pipeline.pages.plots import heat_table
from pipeline.prediction.prediction import USED
from pipeline.prediction.stored import StoredPictures
from pipeline.training.possible import PREDICTED

BATCH = 64  # posts
DIGITS = 6  # decimals in files
EVEN = 1 / BLOCKS  # the gate of a layer that weighs all blocks alike
SMALLEST = 0.05  # reach of the figures' scale around EVEN, so that noise looks like noise
SIDE = 192  # longest side of a stored picture, pixels
FIGURE, MEANS = "gates.svg", "gates-mean.svg"
# Thresholds of the sentences below the figure.
CHOOSES = 0.05  # distance of a mean gate from EVEN
DEPENDS = 0.02  # deviation of a gate over posts
RISES = 0.1  # difference of the mean block number between the two halves of the layers


def gates_into(
    folder: Path, run: TrainedRun, chosen: Sequence[str], most: int, device: str
) -> None:
    """Compute a run's gates on test, or val if there is no test; write them into `folder`.

    Writes `results.json`, `gates.csv`, the figures as SVG, and the shown posts' pictures.

    chosen: ids of the posts to show; empty: `most` posts, evenly spread over those with a picture.

    Raises SettingError for a variant without a gate, or without matplotlib; DataError for an
    unknown id, or a post without a picture.
    """
    check_installed()
    _check_variant(run)
    opened = OpenRun.open(run, device)
    split, posts = held_out(run)
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
        "style": opened.forward.saved.config.style,
        "split": split,
        "posts": len(posts),
        "shown_region": "first crop" if opened.first else "picture",
        "shown": shown,
        "regions": _figures(gates, there, opened.first),
    }
    write_json(folder / "results.json", results)
    _write_table(folder / "gates.csv", results["regions"])
    for name, svg in ((FIGURE, _figure_4(results)), (MEANS, _mean_figure(results))):
        (folder / name).write_text(svg, encoding="utf-8")


def _check_variant(run: TrainedRun) -> None:
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


# --- figures


def _scale_of(values: Sequence[Any]) -> tuple[float, float]:
    """Return the middle and the reach of the scale of colours for gates."""
    return EVEN, max(SMALLEST, *(float(abs(np.array(part) - EVEN).max()) for part in values))


def _figure_4(results: Mapping[str, Any]) -> str:
    """Draw a heat map for each layer: shown posts × blocks."""
    gates = np.array([post["gate"] for post in results["shown"]])  # (N, L, 4)
    rows = [str(number) for number in range(1, len(gates) + 1)]
    maps = [HeatMap(f"layer {layer + 1}", rows, gates[:, layer]) for layer in range(gates.shape[1])]
    labels = ("post", _part(results), "gate")
    return heat_maps(maps, _numbers(BLOCKS), _scale_of([gates]), labels, across=min(4, len(maps)))


def _mean_figure(results: Mapping[str, Any]) -> str:
    """Draw the mean gates: layers × blocks, of the picture and of the crops."""
    regions = results["regions"]
    means = {name: np.array(figures["mean"]) for name, figures in regions.items()}
    maps = [HeatMap(name, _numbers(len(mean)), mean) for name, mean in means.items()]
    labels = ("layer", _part(results), "mean gate")
    scale = _scale_of([*means.values()])
    return heat_maps(maps, _numbers(BLOCKS), scale, labels, len(maps), digits=3)


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(1, count + 1)]


def _part(results: Mapping[str, Any]) -> str:
    """Return the name of the things that the gate weighs."""
    return "part" if results["style"] == RELEASED else "block"


# --- section of a page


def section(results: Mapping[str, Any], folder: Path) -> str:
    """Return HTML of the results that `gates_into` wrote into `folder`."""
    title = f"{results['dataset']}, {PREDICTED[results['task']]}, {results['run']}"
    drawn = [(folder / name).read_text(encoding="utf-8") for name in (FIGURE, MEANS)]
    posts = "".join(
        _shown(number, post, folder) for number, post in enumerate(results["shown"], start=1)
    )
    tables = "".join(_tables(name, part, results) for name, part in results["regions"].items())
    sentences = "".join(f"<p>{line}</p>" for line in in_words(results))
    spread = f"{results['posts']:,} {results['split']} posts"
    return f"""<section><h2>Gates (Figure 4): {escape(title)}</h2>{sentences}
<p class="soft">Run {escape(results["folder"])}. The gate's weights of the four {_part(results)}s
sum to 1; without a preference each is 1/4, white in the figures. The scale of colours reaches at
least {SMALLEST} to both sides. First figure: the gate of the {results["shown_region"]} of single
posts. Second figure and tables: over all {spread}.</p>
<figure class="figure">{drawn[0]}</figure><div class="posts">{posts}</div>
<figure class="figure">{drawn[1]}</figure><div class="heats">{tables}</div></section>"""


def _shown(number: int, post: Mapping[str, Any], folder: Path) -> str:
    picture = ""
    if post["picture"] is not None:
        address = data_url((folder / post["picture"]).read_bytes())
        picture = f'<img src="{address}" alt="">'
    return (
        f'<div>{picture}<p><b>{number}</b> <span class="soft">{escape(post["id"])}</span><br>'
        f"<bdi>{escape(post['text'])}</bdi></p></div>"
    )


def _tables(name: str, figures: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    columns = [f"{_part(results)} {number}" for number in range(1, BLOCKS + 1)]
    tables = ""
    for kind, title in (("mean", "mean gate"), ("deviation", "deviation")):
        rows = [(f"layer {n}", row) for n, row in enumerate(figures[kind], start=1)]
        counted = f"{figures['count']:,} {name.removesuffix('s')}s"
        tables += heat_table(f"{title}, {counted}", columns, rows, 3)
    return tables


def in_words(results: Mapping[str, Any]) -> list[str]:
    """Return sentences that say what the figures show, with the thresholds that they use."""
    part = _part(results)
    lines = [_preference(name, figures, part) for name, figures in results["regions"].items()]
    name, figures = next(iter(results["regions"].items()))
    if results["style"] != RELEASED and len(figures["mean"]) > 1:
        lines.append(_trend(name, np.array(figures["mean"])))
    return lines


def _preference(name: str, figures: Mapping[str, Any], part: str) -> str:
    largest, deviation = figures["largest_distance"], float(np.max(figures["deviation"]))
    chooses = "hardly chooses" if largest < CHOOSES else "chooses"
    depends = "hardly depends" if deviation < DEPENDS else "depends"
    region, in_deviations = name.removesuffix("s"), figures["largest_distance_in_deviations"]
    also = "" if in_deviations is None else f", up to {in_deviations:.1f} times its deviation"
    return (
        f"{name.capitalize()}: the mean gate differs from 1/4 by at most {largest:.3f} and by "
        f"{figures['mean_distance']:.3f} on average{also}: on this run the gate {chooses} among "
        f"{part}s (threshold {CHOOSES}). Its deviation over {figures['count']:,} {region}s is at "
        f"most {deviation:.3f}: it {depends} on the {region} (threshold {DEPENDS})."
    )


def _trend(name: str, mean: np.ndarray) -> str:
    """Say whether higher layers prefer higher blocks, as the paper reads its figure.

    name: of the regions. mean: their mean gate (L, 4).
    """
    numbers = mean @ np.arange(1, BLOCKS + 1)  # (L,)
    low, high = np.array_split(numbers, 2)
    rise = high.mean() - low.mean()
    verdict = "shows no preference of low layers for low blocks, which the paper reports"
    if abs(rise) >= RISES:
        order = "low" if rise > 0 else "high"
        agreement = "as the paper reports" if rise > 0 else "contrary to the paper"
        verdict = f"means that low layers prefer {order} blocks, {agreement}"
    return (
        f"The mean block number of the {name} is {low.mean():.2f} in the lower half of the layers "
        f"and {high.mean():.2f} in the upper half; this {verdict} (threshold {RISES})."
    )
