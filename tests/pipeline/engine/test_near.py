"""Names that are almost those of existing files."""

import os
from pathlib import Path
from unicodedata import normalize

import pytest

from pipeline.engine.near import NearNames

COMPOSED, DECOMPOSED = normalize("NFC", "fête-é.jpg"), normalize("NFD", "fête-é.jpg")


def made(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("there", "asked", "hint"),
    [
        ([DECOMPOSED], COMPOSED, r"'fe\u0302te-e\u0301.jpg' is there, the same name in another"),
        ([COMPOSED], DECOMPOSED, r"'f\xeate-\xe9.jpg' is there, the same name in another"),
        (["a.JPG"], "a.jpg", "'a.JPG' is there; rename it to 'a.jpg'"),
        (["A.jpg"], "a.jpg", "'A.jpg' is there; rename it to 'a.jpg'"),
        ([DECOMPOSED.replace("jpg", "JPG")], COMPOSED, "is there; rename it to"),
        (["a.JPG", "A.JPG"], "a.jpg", "'a.JPG' is there"),  # only the suffix differs
        (["a.JPG", "a.Jpg"], "a.jpg", ""),  # ambiguous
        (["b.jpg", "a.jpeg", "a"], "a.jpg", ""),
    ],
)
def test_the_only_similar_file_is_named(
    there: list[str], asked: str, hint: str, tmp_path: Path
) -> None:
    result = NearNames().hint(made(tmp_path / "pictures", *there) / asked)
    assert result.startswith(hint) or (hint and hint in result)
    assert bool(result) == bool(hint)


def test_a_similar_folder_of_the_path_is_named(tmp_path: Path) -> None:
    made(tmp_path / "Own" / "pictures", "a.jpg")
    result = NearNames().hint(tmp_path / "own" / "pictures" / "a.jpg")
    assert result == "'Own' is there; rename it to 'own'"


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, *(f"{n}.JPG" for n in range(50)))
    listed: list[object] = []
    listdir = os.listdir

    def counted(folder: Path) -> list[str]:
        listed.append(folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", counted)
    near = NearNames()
    assert all(near.hint(tmp_path / f"{n}.jpg") for n in range(50))
    assert listed == [tmp_path]
