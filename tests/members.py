"""Members of a group who share a store, and folders that they can reach."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

GROUP = 60001
FIRST, SECOND = 60001, 60002  # users without an account

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@contextmanager
def member(user: int, umask: int) -> Iterator[None]:
    """Act as a member of the group, with a umask. Only root can."""
    groups, before = os.getgroups(), os.umask(umask)
    os.setgroups([])
    os.setegid(GROUP)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        os.umask(before)


@contextmanager
def group_folder() -> Iterator[Path]:
    """A folder of the group, below one that all may enter: pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o2775)
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2775)  # the change of group took the bit away
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def lacking(folder: Path, files: int, folders: int) -> list[str]:
    """What lies below `folder` with fewer rights than given."""
    return sorted(
        f"{path.relative_to(folder)} {stat.S_IMODE(path.stat().st_mode):o}"
        for path in folder.rglob("*")
        if (need := folders if path.is_dir() else files) & path.stat().st_mode != need
    )


def having(folder: Path, rights: int) -> list[str]:
    """What lies below `folder` with any of these rights."""
    return sorted(
        str(p.relative_to(folder)) for p in folder.rglob("*") if p.stat().st_mode & rights
    )
