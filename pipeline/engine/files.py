"""Files on a disk: checks of free space and links, writes that survive a power cut, sizes."""

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from pipeline.errors import SpaceError


def leads_out(file: Path, root: Path) -> bool:
    """Return True if a picture is a link to a file outside the data root and its own folder.

    A whole folder of pictures may be a link, but a link in place of a single picture could expose
    any file on the disk.
    """
    if not file.is_symlink():
        return False
    real = os.path.realpath(file)
    within = (os.path.realpath(root), os.path.realpath(file.parent))
    return not any(real.startswith(os.path.join(folder, "")) for folder in within)


def need_space(folder: Path, size: int, what: str) -> None:
    """Raise SpaceError unless `size` bytes are free on the disk of `folder`, which exists.

    what: the name of the stage, for the message.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise SpaceError(
            f"{what} needs about {_in_units(size)} in {folder}, found {_in_units(free)} free; free "
            "some space (Prune --dry-run lists what it would remove) or give another folder with "
            "--paths-store"
        )


def _in_units(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def settle(folder: Path) -> None:
    """Write a folder and everything below it to disk, readable by everyone it is meant for.

    Some libraries (safetensors) write files that only their owner may read, whatever the umask.
    The folder itself has the umask's permissions, so everything below it gets at least those.
    """
    rights = stat.S_IMODE(folder.stat().st_mode)
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            _grant(descriptor, rights)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _grant(descriptor: int, rights: int) -> None:
    """Add a folder's permissions to a file or folder inside it; files don't become executable."""
    status = os.fstat(descriptor)
    mode = stat.S_IMODE(status.st_mode)
    wanted = mode | (rights & (0o777 if stat.S_ISDIR(status.st_mode) else 0o666))
    if wanted != mode and status.st_uid == os.geteuid():  # only the owner may change them
        os.fchmod(descriptor, wanted)


def near(path: Path) -> Path:
    """The path as people type it: relative where it is below the present folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def size_of(path: Path) -> int:
    """Return the size in bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees either the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> Any:
    """Read the value that `write_json` wrote. Raises OSError or ValueError."""
    return json.loads(path.read_text(encoding="utf-8"))
