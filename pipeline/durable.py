"""What a stage needs of the disk: room before it begins, and that what it wrote stays."""

import os
import shutil
from pathlib import Path


class SpaceError(ValueError):
    """The disk has not the room that a stage will need. The message is one line."""


def need_space(folder: Path, size: int, what: str) -> None:
    """Raise SpaceError unless `size` bytes are free where `folder` is, which exists."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise SpaceError(
            f"{what} needs about {_told(size)} in {folder}, found {_told(free)} free; free some "
            "(Prune --dry-run tells what can go) or give another folder with --paths-store"
        )


def _told(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def settle(folder: Path) -> None:
    """Make all files and folders below `folder`, and itself, survive a power cut."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
