"""Hints for a missing file: name an existing file whose name is almost the same."""

import os
from contextlib import suppress
from pathlib import Path
from unicodedata import normalize


class NearNames:
    """The names in folders, each folder listed only once, however many files are missing."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]]] = {}

    def hint(self, file: Path) -> str:
        """Name the file that is there instead of a missing one and say how to rename it.

        Returns "" unless its folder has a single file whose name differs only in case or in the
        Unicode form of its letters (composed or decomposed). If a folder of the path is missing,
        the hint is about that folder.
        """
        while not file.parent.is_dir() and file != file.parent:
            file = file.parent
        near = self._near(file)
        if near is None:
            return ""
        if normalize("NFC", near) == normalize("NFC", file.name):
            # The two names look the same, so show their characters as escapes.
            return (
                f"{near!a} is there, the same name in another Unicode form; rename it to "
                f"{file.name!a}"
            )
        return f"{near!r} is there; rename it to {file.name!r}"

    def _near(self, file: Path) -> str | None:
        names = self._names(file.parent).get(_folded(file.name), [])
        if len(names) > 1:  # prefer names that differ only in the suffix's case or Unicode form
            names = [name for name in names if _stem(name) == _stem(file.name)]
        return names[0] if len(names) == 1 and names[0] != file.name else None

    def _names(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._folders:
            names: dict[str, list[str]] = {}
            with suppress(PermissionError):  # some folders may be entered but not listed
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
    """Append the hint, if any, to a reason."""
    return f"{reason}: {hint}" if hint else reason
