"""Charts as SVG, drawn by matplotlib, which the extra `figures` installs."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import SettingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

BLUE, ORANGE = "#0072B2", "#D55E00"  # of Okabe and Ito: distinct for the colour-blind
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "hvpnet",  # the same data give the same bytes
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # labels may have two dollar signs
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def check_installed() -> None:
    """Raise SettingError if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise SettingError(
            "figures need matplotlib, which is not installed; install it with: pip install "
            "'hvpnet-pipeline[figures]'"
        )


@contextmanager
def drawing() -> Iterator[None]:
    """Apply the style of all charts."""
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        yield


def svg_of(figure: "Figure") -> str:
    """Return a figure as an SVG element, to be put into a page or a file."""
    file = io.StringIO()
    with drawing():
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def intervals_chart(
    title: str,
    names: Sequence[str],
    intervals: Sequence[tuple[float, float, float]],
    marks: Mapping[str, Sequence[float | None]],
) -> str:
    """Draw a value with its interval for each name, in rows, with further marks beside it.

    intervals: value, low, high. marks: what a mark stands for -> a value or None for each name.
    """
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(6.4, 0.7 + 0.34 * len(names)))
        axes = figure.subplots()
        rows = range(len(names))
        values = [value for value, _, _ in intervals]
        widths = [[v - low for v, low, _ in intervals], [high - v for v, _, high in intervals]]
        axes.errorbar(values, rows, xerr=widths, fmt="o", color=BLUE, capsize=3, label="F1")
        for (name, given), shape in zip(marks.items(), "xd+", strict=False):
            there = [(value, row) for row, value in enumerate(given) if value is not None]
            if there:
                axes.plot(*zip(*there, strict=True), shape, color=ORANGE, label=name)
        axes.set_yticks(rows, names)
        axes.invert_yaxis()
        axes.grid(axis="x", color="#ddd")
        axes.set_title(title, loc="left", fontsize=10)
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return svg_of(figure)


Point = tuple[float, float, float | None]  # x, y, deviation of y


def curves_chart(
    title: str, x_label: str, curves: Mapping[str, Sequence[Point]], dashed: Sequence[str] = ()
) -> str:
    """Draw curves by name, with a band of one deviation where there is one. dashed: names."""
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(5.6, 3.2))
        axes = figure.subplots()
        for name, points in curves.items():
            xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
            style = "--" if name in dashed else "-"
            [line] = axes.plot(xs, ys, style, marker=".", linewidth=1.2, label=name)
            if all(spread is not None for _, _, spread in points):
                low = [y - (spread or 0) for _, y, spread in points]
                high = [y + (spread or 0) for _, y, spread in points]
                axes.fill_between(xs, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set_xlabel(x_label)
        axes.locator_params(axis="x", integer=True)
        axes.set_title(title, loc="left", fontsize=10)
        axes.grid(color="#ddd")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return svg_of(figure)


def reliability_chart(title: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw accuracy by confidence (both 0-1) by name, with the diagonal of perfect calibration."""
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(5.6, 3.2))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#999", linewidth=0.8)
        for name, points in curves.items():
            axes.plot(*zip(*points, strict=True), marker=".", linewidth=1.2, label=name)
        axes.set_xlabel("score")
        axes.set_ylabel("share correct")
        axes.set_title(title, loc="left", fontsize=10)
        axes.grid(color="#ddd")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return svg_of(figure)


def confusion_chart(
    title: str, labels: Sequence[str], shares: np.ndarray, counts: np.ndarray
) -> str:
    """Draw a matrix, darker where the share (0-1) is larger, with its counts in the cells."""
    from matplotlib.figure import Figure

    with drawing():
        size = 1.4 + 0.32 * len(labels)
        figure = Figure(figsize=(size + 1.2, size))
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=7)
        axes.set_yticks(range(len(labels)), labels, fontsize=7)
        axes.set_title(title, loc="left", fontsize=9)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.6 else "black"
                axes.text(
                    column, row, str(count), ha="center", va="center", fontsize=6, color=color
                )
        return svg_of(figure)


@dataclass(frozen=True)
class HeatMap:
    """A matrix of values to draw. values: (rows, columns)."""

    title: str
    rows: Sequence[str]
    values: np.ndarray


def heat_maps(
    maps: Sequence[HeatMap],
    columns: Sequence[str],
    scale: tuple[float, float],
    labels: tuple[str, str, str],
    across: int,
    digits: int | None = None,
) -> str:
    """Draw matrices of shares (0-1) with the same columns, on one scale of colours, as SVG.

    scale: the value in the middle of the scale, and the distance to both of its ends.
    labels: of the rows, of the columns, and of the scale.
    across: maps side by side.
    digits: decimals of the value written into each cell; None: no values.
    """
    from matplotlib.figure import Figure

    middle, reach = scale
    down = -(-len(maps) // across)
    wide = 1.25 if digits is None else 1.75  # inches
    tall = 0.17 * max(len(one.rows) for one in maps) + 0.45
    with drawing():
        figure = Figure((1.0 + wide * across, 0.3 + tall * down), layout="constrained")
        places = figure.subplots(down, across, squeeze=False).ravel().tolist()
        for axes in places[len(maps) :]:
            axes.remove()
        used = places[: len(maps)]
        meshes = [
            _draw_map(axes, one, columns, scale, digits)
            for axes, one in zip(used, maps, strict=True)
        ]
        for axes in used[::across]:
            axes.set_ylabel(labels[0])
        for axes in used[-across:]:
            axes.set_xlabel(labels[1])
        bar = figure.colorbar(meshes[0], ax=used, label=labels[2], aspect=30)
        bar.ax.set_ylim(max(0.0, middle - reach), min(1.0, middle + reach))
    return svg_of(figure)


def _draw_map(
    axes: "Axes",
    one: HeatMap,
    columns: Sequence[str],
    scale: tuple[float, float],
    digits: int | None,
) -> "QuadMesh":
    """Draw one matrix, its first row at the top; arguments as for `heat_maps`."""
    middle, reach = scale
    mesh = axes.pcolormesh(
        one.values,
        cmap="RdBu_r",
        vmin=middle - reach,
        vmax=middle + reach,
        edgecolors="white",
        linewidth=0.5,
    )
    axes.invert_yaxis()
    axes.set_title(one.title, fontsize=9)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(one.rows)) + 0.5, one.rows)
    axes.tick_params(length=0, labelsize=7)
    for (row, column), value in np.ndenumerate(one.values if digits is not None else ()):
        axes.text(
            *(column + 0.5, row + 0.52, f"{value:.{digits}f}"),
            ha="center",
            va="center",
            fontsize=7,
            color="white" if abs(value - middle) > 0.7 * reach else "black",
        )
    return mesh
