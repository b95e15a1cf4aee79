"""Table 3: training on a data set from the start, and started from a run on another one."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pipeline.engine.files import write_json
from pipeline.experiments.markup import floats, notes, sentences, table
from pipeline.experiments.published import NOT_STARTED, TABLE_3
from pipeline.experiments.rows import ALONE, Row, grouped, score_rows, write_csv
from pipeline.experiments.table1 import measured


def cross_task_into(folder: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Write `results.json` and `cross-task.csv` into `folder`.

    rows: with the fields `variant` and `source`: None for the runs of Table 1, which others start
        from; NOT_STARTED, or where a run was started from.
    about: further entries of `results.json`.
    """
    scored = score_rows(rows)
    datasets = {row.dataset for row in rows}
    cited = [vars(row) for row in TABLE_3 if {row.source, row.target} <= datasets]
    write_json(folder / "results.json", {**about, "rows": scored, "cited": cited})
    write_csv(folder / "cross-task.csv", scored, [])


def section(results: Mapping[str, Any], folder: Path) -> str:
    """Return the HTML of the report's section."""
    titles = ", ".join(dict.fromkeys(row["title"] for row in results["rows"]))
    parts = [f"<h2>Table 3, from one task to another: {escape(titles)}</h2>"]
    parts += [table(*_transfers(results["rows"]))]
    for rows in grouped(results["rows"]).values():
        words = sentences(words for row in rows for words in row["words"])
        parts.append(f"<h3>{escape(rows[0]['title'])}</h3>{measured(rows)}{words}")
    if results["cited"]:
        cells = [
            [
                *(row["system"], f"{row['source']} → {row['target']}"),
                *(f"{row['alone']:.2f}", f"{row['started']:.2f}"),
                f"{row['started'] - row['alone']:+.2f}",
            ]
            for row in results["cited"]
        ]
        head = ["cited", "from → to", "Table 1", "started", "gain"]
        parts.append(table(head, cells, "Cited from the paper, F1, not measured here."))
        parts.append(notes(row["note"] for row in results["cited"] if row["note"]))
    return "".join(parts)


def _transfers(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]], str]:
    """Return heading, cells and caption of the table of gains."""
    others = {
        (row["dataset"], row["task"], row["fields"]["variant"], row["fields"]["source"]): row
        for row in rows
    }
    cells = []
    for row in rows:
        gain = row["differences"].get(ALONE)
        if gain is None:
            continue
        of = (row["dataset"], row["task"], row["fields"]["variant"])
        three = (others[*of, None], others[*of, NOT_STARTED], row)
        cells.append(
            [
                f"{row['fields']['source']} → {row['title']}",
                row["fields"]["variant"],
                *(_f1(other) for other in three),
                f"{gain['value']:+.2f} ({gain['low']:+.2f} to {gain['high']:+.2f})",
            ]
        )
    caption = (
        "F1 on test (val, if there is no test). Table 1: with the settings of Table 1. Not started "
        "and started: with the recipe cross-task. Started: all weights but the head's are those of "
        "the run on the first data set. The gain is that of started over not started."
    )
    return (
        ["from → to", "variant", "Table 1", NOT_STARTED, "started", "gain (95 %)"],
        cells,
        caption,
    )


def _f1(row: Mapping[str, Any]) -> str:
    mean, deviation = row["mean"][row["split"]], row["deviation"][row["split"]]
    return floats(mean["f1"], deviation["f1"])
