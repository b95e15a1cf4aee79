"""The real command line, as people type it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import warm

LUIGI = Path(sys.executable).parent / "luigi"
HOME = Path(__file__).resolve().parents[1]


def luigi(
    task: str, *options: str, store: Path, data: Path | None = None, cwd: Path = HOME
) -> subprocess.CompletedProcess[str]:
    """Run `luigi --module tasks TASK OPTIONS`; stdout and stderr are kept apart.

    A process of `tests.warm` runs it, as importing torch takes longer than most commands.
    """
    paths = ["--paths-store", str(store)]
    if data is not None:
        paths += ["--paths-data", str(data)]
    command = [str(LUIGI), "--module", "tasks", task, *options, *paths]
    if warm.can_run():
        return warm.run(command, cwd)
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=warm.TIMEOUT)


def outputs(store: Path, stage: str) -> list[Path]:
    """Whole output folders of a stage, oldest first."""
    manifests = (store / stage).glob("[!.]*/manifest.json")
    return [p.parent for p in sorted(manifests, key=lambda p: p.stat().st_mtime_ns)]


def newest(store: Path, stage: str, name: str) -> Any:
    """A JSON file of the newest output of a stage."""
    return json.loads((outputs(store, stage)[-1] / name).read_text())
