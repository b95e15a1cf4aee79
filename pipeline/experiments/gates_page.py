"""The figures of gates, and the section of a page that shows them."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from model.hvpnet.variants import BLOCKS, RELEASED
from pipeline.pages.charts import HeatMap, heat_maps
from pipeline.pages.drawing import data_url
from pipeline.pages.plots import heat_table

EVEN = 1 / BLOCKS  # the gate of a layer that weighs all blocks alike
SMALLEST = 0.05  # reach of the figures' scale around EVEN, so that noise looks like noise
FIGURE, MEANS = "gates.svg", "gates-mean.svg"
# Thresholds of the sentences below the figure.
CHOOSES = 0.05  # distance of a mean gate from EVEN
DEPENDS = 0.02  # deviation of a gate over posts
RISES = 0.1  # difference of the mean block number between the two halves of the layers


def _scale_of(values: Sequence[Any]) -> tuple[float, float]:
    """Return the middle and the reach of the scale of colours for gates."""
    return EVEN, max(SMALLEST, *(float(abs(np.array(part) - EVEN).max()) for part in values))


def figure_4(results: Mapping[str, Any]) -> str:
    """Draw a heat map for each layer: shown posts × blocks."""
    gates = np.array([post["gate"] for post in results["shown"]])  # (N, L, 4)
    rows = [str(number) for number in range(1, len(gates) + 1)]
    maps = [HeatMap(f"layer {layer + 1}", rows, gates[:, layer]) for layer in range(gates.shape[1])]
    labels = ("post", _part(results), "gate")
    return heat_maps(maps, _numbers(BLOCKS), _scale_of([gates]), labels, across=min(4, len(maps)))


def mean_figure(results: Mapping[str, Any]) -> str:
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
    title = f"{results['title']}, {results['run']}"
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
