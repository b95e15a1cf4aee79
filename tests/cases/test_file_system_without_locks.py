"""The case `file-system-without-locks`: flock fails, as such a disk's does."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli import HOME, LUIGI
from tests.tiny import SHARED

CASE = SHARED / "cases" / "file-system-without-locks"
COMPILER = shutil.which("gcc")
needed = pytest.mark.skipif(
    not CASE.exists() or COMPILER is None, reason="the case or a compiler is not there"
)


@needed
@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_it_is_one_line_and_nothing_is_left(error: str, tmp_path: Path) -> None:
    library, store = tmp_path / "no_locks.so", tmp_path / "store"
    subprocess.run(
        [str(COMPILER), "-shared", "-fPIC", "-o", str(library), str(CASE / "no_locks.c")],
        check=True,
    )
    command = [str(LUIGI), "--module", "tasks", "GroundCrops", "--dataset", "posts"]
    paths = ["--paths-data", str(CASE / "data"), "--paths-store", str(store)]
    done = subprocess.run(
        [*command, *paths],
        cwd=HOME,
        env=os.environ | {"LD_PRELOAD": str(library), "NO_LOCKS": error},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 30
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if "cannot be locked" in line]
    assert str(store / "locks" / "ReadPosts-posts-") in line
    assert "no working locks" in line
    assert "--paths-store" in line
    assert [path.name for path in store.rglob("*") if path.is_file()] == ["digests.sqlite"]
