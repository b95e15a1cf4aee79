"""A missing file whose name is nearly that of one that is there: say which, and how to mend it."""

import os
from contextlib import suppress
from pathlib import Path
from unicodedata import normalize


class NearNames:
    """The names in folders, each folder listed once, however many of its files are missing."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]]] = {}

    def hint(self, file: Path) -> str:
        """What is there instead of a missing file, and how to rename it; "" where nothing is.

        It is the one file of its folder, or folder of its path, whose name differs in the Unicode
        form of its letters (composed or decomposed) or their case only.
        """
        while not file.parent.is_dir() and file != file.parent:
            file = file.parent
        near = self._near(file)
        if near is None:
            return ""
        if normalize("NFC", near) == normalize("NFC", file.name):
            # They look alike, so show what they are made of.
            return (
                f"{near!a} is there, the same name in another Unicode form; rename it to "
                f"{file.name!a}"
            )
        return f"{near!r} is there; rename it to {file.name!r}"

    def _near(self, file: Path) -> str | None:
        names = self._names(file.parent).get(_folded(file.name), [])
        if len(names) > 1:  # the nearest: only the suffix's case differs, or the Unicode form
            names = [n for n in names if _stem(n) == _stem(file.name)]
        return names[0] if len(names) == 1 and names[0] != file.name else None

    def _names(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._folders:
            names: dict[str, list[str]] = {}
            with suppress(PermissionError):  # a folder may be entered without being listed
                for name in sorted(os.listdir(folder)):
                    names.setdefault(_folded(name), []).append(name)
            self._folders[folder] = names
        return self._folders[folder]


def _folded(name: str) -> str:
    """Fold case and Unicode form, so that names that differ only in these are equal."""
    return normalize("NFD", normalize("NFD", name).casefold())


def _stem(name: str) -> str:
    return normalize("NFC", Path(name).stem)


def described(reason: str, hint: str) -> str:
    """A reason with its hint, if there is one."""
    return f"{reason}: {hint}" if hint else reason
