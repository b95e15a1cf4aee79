"""Table 1: scores of each variant over seeds, with intervals, controls and the published rows."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from model.hvpnet.variants import HVPNET, TEXT_ONLY
from pipeline.engine.files import write_json
from pipeline.experiments.markup import details, figure, floats, notes, sentences, table
from pipeline.experiments.published import TABLE_1, cited_name, footnote
from pipeline.experiments.rows import (
    CONTROLLED,
    ON_OTHERS,
    WITHOUT_TEXTS,
    Row,
    grouped,
    score_rows,
    write_csv,
)
from pipeline.experiments.runs import CONTROLS, REGIONS
from pipeline.pages.charts import intervals_chart
from pipeline.training.results import PRF, aligned

# A row that others are compared with -> the column of their differences.
OVER = {
    TEXT_ONLY: "F1 over text-only",
    WITHOUT_TEXTS: "F1 over no picture texts",
    ON_OTHERS: "F1 over training on other texts",
}
CITED = "cited P / R / F1"
CHART = "table1-{dataset}-{task}.svg"


def table1_into(folder: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Write `results.json`, `table1.csv` and a chart of each data set and task into `folder`.

    about: further entries of `results.json`.
    """
    scored = score_rows(rows)
    cited = [
        {
            "dataset": dataset,
            "group": row.group,
            "system": row.system,
            **dict(zip(PRF, row.scores[dataset], strict=True)),
            "note": footnote(row, dataset),
        }
        for dataset in dict.fromkeys(row.dataset for row in rows)
        for row in TABLE_1
        if dataset in row.scores
    ]
    write_json(folder / "results.json", {**about, "rows": scored, "cited": cited})
    write_csv(folder / "table1.csv", scored, cited)
    for (dataset, task), group in grouped(scored).items():
        chart = folder / CHART.format(dataset=dataset, task=task)
        chart.write_text(_chart(group), encoding="utf-8")


def _chart(rows: Sequence[Mapping[str, Any]]) -> str:
    return intervals_chart(
        f"{rows[0]['title']}: F1 on {rows[0]['split']}",
        [row["name"] for row in rows],
        [tuple(row["interval"][n] for n in ("value", "low", "high")) for row in rows],
        {
            control: [
                row["controls"][control]["mean"]["f1"] if control in row["controls"] else None
                for row in rows
            ]
            for control in _controls(rows)
        },
    )


def _controls(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the controls that some rows have, in their order."""
    return [name for name in CONTROLS if any(name in row["controls"] for row in rows)]


# --- the section of the report


def section(results: Mapping[str, Any], folder: Path) -> str:
    """Return the HTML of the report's section. folder: where the charts are."""
    parts = []
    for (dataset, task), rows in grouped(results["rows"]).items():
        cited = [row for row in results["cited"] if row["dataset"] == dataset]
        chart = (folder / CHART.format(dataset=dataset, task=task)).read_text(encoding="utf-8")
        parts.append(
            f"<h2>Table 1: {escape(rows[0]['title'])}</h2>"
            f"{measured(rows, cited)}{figure(chart)}"
            f"{sentences(words for row in rows for words in row['words'])}"
            f"{by_class(rows)}{_cited(cited)}"
        )
    return "".join(parts)


def measured(rows: Sequence[Mapping[str, Any]], cited: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the table of measured rows of one data set and task.

    cited: the paper's rows, which a table with other systems shows beside the measured ones.
    """
    split, seeds = rows[0]["split"], sorted({int(seed) for row in rows for seed in row["seeds"]})
    head = ["measured", "P", "R", "F1", "95 %", "F1 on val"]
    shown = _controls(rows)
    over = [name for name in OVER if any(name in row["differences"] for row in rows)]
    head += [*shown, *(OVER[name] for name in over)]
    beside = _beside(rows, cited)
    head += [CITED] * len(beside[0])
    cells = []
    for row, published in zip(rows, beside, strict=True):
        mean, spread = row["mean"], row["deviation"]
        own = [floats(mean[split][n], spread[split][n]) for n in PRF]
        interval = row["interval"]
        val = floats(mean["val"]["f1"], spread["val"]["f1"]) if "val" in mean else ""
        controls = [
            floats(row["controls"][c]["mean"]["f1"], row["controls"][c]["deviation"]["f1"])
            if c in row["controls"]
            else ""
            for c in shown
        ]
        gains = [_gain(row["differences"].get(name)) for name in over]
        spanned = f"{interval['low']:.2f} to {interval['high']:.2f}"
        cells.append([row["name"], *own, spanned, val, *controls, *gains, *published])
    caption = (
        f"{_about(rows)}. {rows[0]['posts']:,} posts of {split}; "
        f"seeds {', '.join(map(str, seeds))}: mean ± sample deviation. 95 %: interval of the mean "
        "F1 over 10,000 draws of posts. The epoch of each run is the best on val."
    )
    if shown:
        given = "; ".join(f"{name}: {CONTROLLED[name][0]}" for name in shown)
        caption += f" Controls, F1 of the same models ({given})."
    if beside[0]:
        caption += " Cited: the paper's figures, not measured here."
    return table(head, cells, caption)


def _beside(
    rows: Sequence[Mapping[str, Any]], cited: Sequence[Mapping[str, Any]]
) -> list[list[str]]:
    """Return a cell of cited P / R / F1 for each row.

    No cell for a table of HVPNeT alone, or if nothing is cited of the data set.
    """
    figures = {}
    if any("system" in row["fields"] for row in rows):
        figures = {
            row["system"]: " / ".join(f"{row[name]:.2f}" for name in PRF)
            for row in cited
            if row["dataset"] == rows[0]["dataset"]
        }
    return [[figures.get(_cited_name(row), "")] if figures else [] for row in rows]


def _cited_name(row: Mapping[str, Any]) -> str | None:
    """Return the paper's name of a measured row; the paper's rows read no picture texts."""
    fields = row["fields"]
    if fields["knowledge"]:
        return None
    return cited_name(row["task"], fields["variant"], fields.get("system", HVPNET))


def _gain(difference: Mapping[str, float] | None) -> str:
    if difference is None:
        return ""
    return f"{difference['value']:+.2f} ({difference['low']:+.2f} to {difference['high']:+.2f})"


def _about(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the runs' settings in a line; a setting that rows differ in names its rows.

    Rows that use no pictures may lack the number of regions.
    """
    names: dict[str, list[str]] = {}
    for row in rows:
        for setting in row["about"].split("; "):
            names.setdefault(setting, []).append(row["name"])
    every = {row["name"] for row in rows}
    looking = {row["name"] for row in rows if row["fields"].get("variant") != TEXT_ONLY}
    return "; ".join(
        setting
        if (looking if setting.startswith(REGIONS) else every) <= {*own}
        else f"{setting} ({' and '.join(own)})"
        for setting, own in names.items()
    )


def by_class(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of F1 of each class. rows: with `name` and `per_class`."""
    gold: dict[str, int] = {}
    for row in rows:
        for name, found in row["per_class"].items():
            gold[name] = max(gold.get(name, 0), found["support"])
    head = ["class", "gold", *(row["name"] for row in rows)]
    cells = [
        [
            name,
            f"{gold[name]:,}",
            *(
                floats(found["mean"]["f1"], found["deviation"]["f1"])
                if (found := row["per_class"].get(name))
                else ""
                for row in rows
            ),
        ]
        for name in sorted(gold, key=lambda name: (-gold[name], name))
    ]
    return details("F1 of each class", table(head, cells, ""))


def _cited(cited: Sequence[Mapping[str, Any]]) -> str:
    if not cited:
        return ""
    marks: dict[str, str] = {}
    cells = []
    for row in cited:
        mark = ""
        if row["note"]:
            mark = marks.setdefault(row["note"], "*" * (len(marks) + 1))
        cells.append([row["group"], row["system"], *(f"{row[n]:.2f}" for n in PRF[:2])])
        cells[-1].append(f"{row['f1']:.2f}{mark}")
    caption = "Cited from the paper, not measured here: other encoders, crops and settings."
    head = ["cited: group", "system", "P", "R", "F1"]
    return table(head, cells, caption) + notes(f"{mark} {note}" for note, mark in marks.items())


def text(results: Mapping[str, Any]) -> list[str]:
    """Return the tables and their sentences as lines for a terminal."""
    lines = []
    for rows in grouped(results["rows"]).values():
        split, seeds = rows[0]["split"], len(rows[0]["seeds"])
        title = f"{rows[0]['title']}, {split}, mean of {seeds}"
        shown = _controls(rows)
        beside = _beside(rows, results.get("cited", ()))
        cells = [[title, "P / R / F1", *(f"F1 {control}" for control in shown)]]
        cells[0] += [CITED] * len(beside[0])
        for row, published in zip(rows, beside, strict=True):
            mean, spread = row["mean"][split], row["deviation"][split]
            controls = [row["controls"].get(control) for control in shown]
            cells.append(
                [
                    row["name"],
                    " / ".join(floats(mean[name], spread[name]) for name in PRF),
                    *(floats(c["mean"]["f1"], c["deviation"]["f1"]) if c else "" for c in controls),
                    *published,
                ]
            )
        lines += [*aligned(cells), *(words for row in rows for words in row["words"])]
    return lines
