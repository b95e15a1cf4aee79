"""The report of DescribePictures: counts in `report.json`, and a summary in the log."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.description.texts import Counts
from pipeline.engine.files import write_json

log = logging.getLogger(__name__)


def write_report(
    counts: Counts, made_by: Mapping[str, Any], details: Mapping[str, Any], folder: Path
) -> None:
    """Write `report.json` into `folder`, and log its numbers.

    details: what else the describer counted; only its numbers are logged.
    """
    report = {"settings": dict(made_by), **counts.described(), **details}
    write_json(folder / "report.json", report)
    numbers = {name: n for name, n in report.items() if isinstance(n, int) and n}
    log.info(
        "picture texts by %s: %s",
        made_by["describer"],
        ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in numbers.items()),
    )
