"""Figure 3: scores after training on a share of the posts, with pictures and without."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pipeline.engine.files import write_json
from pipeline.experiments.markup import figure, sentences
from pipeline.experiments.rows import Row, grouped, score_rows, write_csv
from pipeline.experiments.table1 import measured
from pipeline.pages.charts import Point, curves_chart

CHART = "low-resource-{dataset}-{task}.svg"


def low_resource_into(folder: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Write `results.json`, `low-resource.csv` and a chart of each data set and task.

    rows: with the fields `variant` and `share`, a share of the training posts in percent.
    about: further entries of `results.json`.
    """
    scored = score_rows(rows)
    write_json(folder / "results.json", {**about, "rows": scored})
    write_csv(folder / "low-resource.csv", scored, [])
    for (dataset, task), group in grouped(scored).items():
        title = f"{group[0]['title']}: F1 on {group[0]['split']}"
        curves, controls = _curves(group)
        chart = curves_chart(title, "% of the training posts", curves | controls, [*controls])
        (folder / CHART.format(dataset=dataset, task=task)).write_text(chart, encoding="utf-8")


def _curves(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, list[Point]], dict[str, list[Point]]]:
    """Return the curve of each variant, and that of each variant's controls."""
    curves: dict[str, list[Point]] = {}
    controls: dict[str, list[Point]] = {}
    for row in rows:
        variant, share = row["fields"]["variant"], float(row["fields"]["share"].split()[0])
        mean, deviation = row["mean"][row["split"]], row["deviation"][row["split"]]
        curves.setdefault(variant, []).append((share, mean["f1"], deviation["f1"]))
        for control, found in row["controls"].items():
            point = (share, found["mean"]["f1"], found["deviation"]["f1"])
            controls.setdefault(f"{variant}, {control}", []).append(point)
    return curves, controls


def section(results: Mapping[str, Any], folder: Path) -> str:
    """Return the HTML of the report's section. folder: where the charts are."""
    parts = []
    for (dataset, task), rows in grouped(results["rows"]).items():
        chart = (folder / CHART.format(dataset=dataset, task=task)).read_text(encoding="utf-8")
        words = sentences(words for row in rows for words in row["words"])
        parts.append(
            f"<h2>Figure 3, low resource: {escape(rows[0]['title'])}</h2>"
            f"{figure(chart, 'Bands: one deviation over seeds.')}{measured(rows)}{words}"
        )
    return "".join(parts)
