"""The case `percent-in-a-path`: the project, the data and the store below folders with a `%`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli import HOME, LUIGI, outputs
from tests.tiny import SHARED

CASE = SHARED / "cases" / "percent-in-a-path"
READ = [str(LUIGI), "--module", "tasks", "ReadPosts", "--dataset", "posts"]
needs_case = pytest.mark.skipif(not CASE.exists(), reason="the case is not there")


def run(folder: Path, *options: str) -> None:
    """Run the command in a folder, with the project that lies there, if one does."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [*READ, *options], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@needs_case
def test_the_project_lies_below_such_a_folder(tmp_path: Path) -> None:
    project = tmp_path / "100%" / "project"
    shutil.copytree(CASE / "data", project / "data")
    for name in ("tasks.py", "luigi.cfg"):
        shutil.copy(HOME / name, project)
    for name in ("pipeline", "features", "model"):
        shutil.copytree(HOME / name, project / name)
    run(project)  # its own luigi.cfg: data and store beside it
    assert len(outputs(project / "store", "ReadPosts")) == 1
    store = tmp_path / "50% off"
    run(project, "--paths-data", str(project / "data"), "--paths-store", str(store))
    assert len(outputs(store, "ReadPosts")) == 1


@needs_case
def test_the_present_luigi_cfg_names_such_folders(tmp_path: Path) -> None:
    home = tmp_path / "50% off"
    shutil.copytree(CASE / "data", home / "data")
    text = f"[paths]\ndata = {home}/data\nstore = {home}/store\n"
    (tmp_path / "luigi.cfg").write_text(text)
    run(tmp_path)
    assert len(outputs(home / "store", "ReadPosts")) == 1
