"""Table 3: training on a data set from the start, and started from a run on another one."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pipeline.engine.files import write_json
from pipeline.experiments.markup import floats, notes, sentences, table
from pipeline.experiments.published import TABLE_3
from pipeline.experiments.rows import ALONE, Row, grouped, score_rows, write_csv
from pipeline.experiments.table1 import measured


def cross_task_into(folder: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Write `results.json` and `cross-task.csv` into `folder`.

    rows: with the fields `variant` and `source`, None for a run that was not started from another.
    about: further entries of `results.json`.
    """
    scored = score_rows(rows)
    datasets = {row.dataset for row in rows}
    cited = [vars(row) for row in TABLE_3 if {row.source, row.target} <= datasets]
    write_json(folder / "results.json", {**about, "rows": scored, "cited": cited})
    write_csv(folder / "cross-task.csv", scored, [])


def section(results: Mapping[str, Any], folder: Path) -> str:
    """Return the HTML of the report's section."""
    parts = ["<h2>Table 3, from one task to another</h2>", table(*_transfers(results["rows"]))]
    parts.append(sentences(words for row in results["rows"] for words in row["words"]))
    for rows in grouped(results["rows"]).values():
        parts.append(f"<h3>{escape(rows[0]['title'])}</h3>{measured(rows)}")
    if results["cited"]:
        cells = [
            [
                *(row["system"], f"{row['source']} → {row['target']}"),
                *(f"{row['alone']:.2f}", f"{row['started']:.2f}"),
                f"{row['started'] - row['alone']:+.2f}",
            ]
            for row in results["cited"]
        ]
        head = ["cited", "from → to", "alone", "started", "gain"]
        parts.append(table(head, cells, "Cited from the paper, F1, not measured here."))
        parts.append(notes(row["note"] for row in results["cited"] if row["note"]))
    return "".join(parts)


def _transfers(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[list[str], list[list[str]], str]:
    """Return heading, cells and caption of the table of gains."""
    alone = {
        (row["dataset"], row["task"], row["fields"]["variant"]): row
        for row in rows
        if row["fields"]["source"] is None
    }
    cells = []
    for row in rows:
        if row["fields"]["source"] is None:
            continue
        split, variant = row["split"], row["fields"]["variant"]
        before = alone[row["dataset"], row["task"], variant]
        gain = row["differences"][ALONE]
        cells.append(
            [
                f"{row['fields']['source']} → {row['title']}",
                variant,
                *(
                    floats(r["mean"][split]["f1"], r["deviation"][split]["f1"])
                    for r in (before, row)
                ),
                f"{gain['value']:+.2f} ({gain['low']:+.2f} to {gain['high']:+.2f})",
            ]
        )
    head = ["from → to", "variant", "alone", "started", "gain (95 %)"]
    return head, cells, "F1 on test. All weights but the head's are taken over, then trained."


def f1(row: Mapping[str, Any], split: str) -> str:
    """Return a row's mean F1 on a split, with its deviation."""
    return floats(row["mean"][split]["f1"], row["deviation"][split]["f1"])
