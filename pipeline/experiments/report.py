"""The report: one page of every table and figure that the store has for some data sets."""

import csv
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from pipeline.engine.digests import Digests
from pipeline.engine.files import read_json, settle, write_json
from pipeline.engine.outputs import damage, folders, read_manifest
from pipeline.engine.versions import versions
from pipeline.errors import DataError
from pipeline.experiments import cases_page, cross_task, gates_page, low_resource, table1
from pipeline.experiments.markup import details, notes
from pipeline.experiments.run_groups import TRAININGS, Group, run_groups, unusable
from pipeline.experiments.run_sections import Charts, runs_section
from pipeline.pages.html import whole_page
from pipeline.training.results import PRF

PAGE = "report.html"
# Each experiment, and the function that makes its section, in the order of the page.
SECTIONS: Mapping[str, Callable[[Mapping[str, Any], Path], str]] = {
    "Table1": table1.section,
    "LowResource": low_resource.section,
    "CrossTask": cross_task.section,
    "Gates": gates_page.section,
    "Cases": cases_page.section,
}


def write_report(folder: Path, store: Path, datasets: Sequence[str], digests: Digests) -> None:
    """Write `report.html` into `folder`, with JSON, CSV and SVG beside it; replaces an older one.

    Raises DataError if the store has no finished run or experiment for the data sets.
    """
    groups = run_groups(store, datasets, digests)
    outputs = experiments(store, datasets, digests)
    if not groups and not outputs:
        raise DataError(
            f"expected runs or experiments on {' or '.join(datasets)}, found none in {store}; make "
            "some first, such as with Table1"
        )
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
    except PermissionError as error:
        raise DataError(
            f"{folder}: cannot be made: permission denied; give another folder with --folder"
        ) from error
    charts: Charts = {}
    parts = []
    for name, output in outputs:
        shown = [SECTIONS[name](read_json(file), file.parent) for file in result_files(output)]
        parts.append("".join(shown) + _about(name, output))
        _copy(name, output, partial)
    for (dataset, task), same in _by_task(groups).items():
        parts.append(runs_section(dataset, task, same, charts))
    missing = unusable(store, (*TRAININGS, *SECTIONS), datasets, digests)
    if missing:
        parts.append(f"<h2>Not finished, or damaged</h2>{notes(missing)}")
    for name, svg in charts.items():
        (partial / name).write_text(svg, encoding="utf-8")
    _write_runs(partial, groups)
    now = datetime.now(UTC).isoformat(timespec="minutes")
    header = (
        f'<p class="soft">Made {now}. Figures are measured unless they are marked as cited.</p>'
    )
    title = f"Report: {', '.join(datasets)}"
    body = "".join(f"<section>{part}</section>" for part in parts)
    page = whole_page(title, header, f"<main>{body}</main>")
    (partial / PAGE).write_text(page, encoding="utf-8")
    about = {"datasets": [*datasets], "made": now, "versions": versions(), "missing": missing}
    experiments_made = [f"{name}/{output.name}" for name, output in outputs]
    write_json(partial / "report.json", {**about, "experiments": experiments_made})
    settle(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def experiments(store: Path, datasets: Sequence[str], digests: Digests) -> list[tuple[str, Path]]:
    """Return name and folder of the undamaged experiments on some data sets, newest first."""
    found = []
    for name in SECTIONS:
        made = []
        for folder in folders(store, name):
            manifest = read_manifest(folder)
            if manifest is not None and damage(folder, digests) is None:
                of = {d for file in result_files(folder) for d in _datasets(read_json(file))}
                if of & {*datasets}:
                    made.append((manifest["made"], folder))
        found += [(name, folder) for _, folder in sorted(made, reverse=True)]
    return found


def result_files(output: Path) -> list[Path]:
    """Return the `results.json` of an experiment: its own, or one for each data set and task."""
    return sorted(output.rglob("results.json"))


def _datasets(results: Mapping[str, Any]) -> list[str]:
    return [*results.get("datasets", ()), *filter(None, [results.get("dataset")])]


def _about(name: str, output: Path) -> str:
    """Return where a section comes from, with its settings and versions."""
    manifest = read_manifest(output) or {}
    settings = json.dumps(manifest.get("key", {}).get("settings", {}), indent=1)
    body = (
        f"<p>{escape(name)}/{escape(output.name)}, made {escape(str(manifest.get('made')))} in "
        f"{manifest.get('seconds')} s with {escape(json.dumps(manifest.get('versions')))}</p>"
        f"<pre>{escape(settings)}</pre>"
    )
    return details("Where this comes from", body)


def _copy(name: str, output: Path, folder: Path) -> None:
    """Copy the tables and charts of an experiment beside the page."""
    for file in sorted(output.rglob("*")):
        if file.suffix in (".csv", ".svg") or file.name == "results.json":
            target = folder / name / output.name / file.relative_to(output)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _by_task(groups: Sequence[Group]) -> dict[tuple[str, str], list[Group]]:
    found: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        found.setdefault((group.dataset, group.task), []).append(group)
    return found


def _write_runs(folder: Path, groups: Sequence[Group]) -> None:
    """Write a line for each run and split to `runs.csv`."""
    with (folder / "runs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "task", "group", "seed", "run", "split", *PRF, "seconds"])
        for group in groups:
            for seed, run in group.runs.items():
                for split in ("val", "test"):
                    if split in run.metrics:
                        figures = [run.metrics[split][name] for name in PRF]
                        of = [group.dataset, group.task, group.name, seed, run.folder.name, split]
                        writer.writerow([*of, *figures, group.seconds[seed]])
