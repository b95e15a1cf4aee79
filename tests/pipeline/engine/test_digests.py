"""Digests of files and folders, and differences between keys."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.engine.digests import Digests
from pipeline.engine.status import changes


@pytest.fixture
def digests(tmp_path: Path) -> Digests:
    return Digests(tmp_path / "memo" / "digests.sqlite")


def test_digest_is_sha256(digests: Digests, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert digests.of(tmp_path / "a") == hashlib.sha256(b"content").hexdigest()


def test_unchanged_file_is_not_read_again(
    digests: Digests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    first = digests.of(path)
    digests.close()
    again = Digests(tmp_path / "memo" / "digests.sqlite")
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert again.of(path) == first


def test_altered_file_of_the_same_size_and_time_is_read_again(
    digests: Digests, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    stat = path.stat()
    first = digests.of(path)
    path.write_bytes(b"after!")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digests.of(path) != first


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two files, a subfolder with one, a hidden file, broken and circular links."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for name in ("a", "b", "more/c", ".hidden"):
        (folder / name).write_text(name)
    (folder / "nowhere").symlink_to("gone")
    (folder / "circle").symlink_to("circle")
    (folder / "more/up").symlink_to(folder)
    return folder


def test_a_folder_s_digest_covers_names_and_bytes(digests: Digests, pictures: Path) -> None:
    lines = [f"{n} {hashlib.sha256(n.encode()).hexdigest()}" for n in ("a", "b", "more/c")]
    whole = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digests.of_folder(pictures) == f"3 files, sha256 {whole[:16]}"


def test_an_unchanged_folder_needs_no_file_and_no_digest(
    digests: Digests, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = digests.of_folder(pictures)
    monkeypatch.setattr(Digests, "of_all", None)
    assert digests.of_folder(pictures) == first


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a").write_text("A"),
        lambda folder: (folder / "more/c").write_text("more/C"),
        lambda folder: (folder / "a").unlink(),
        lambda folder: (folder / "d").touch(),
        lambda folder: (folder / "a").rename(folder / "d"),
        lambda folder: (folder / "gone").touch(),  # the target of a link
    ],
)
def test_a_change_changes_the_digest(change: Callable, digests: Digests, pictures: Path) -> None:
    before = digests.of_folder(pictures)
    stat = (pictures / "a").stat()
    change(pictures)
    if (pictures / "a").exists():
        os.utime(pictures / "a", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digests.of_folder(pictures) != before


def test_swapped_names_change_the_digest(digests: Digests, pictures: Path) -> None:
    before = digests.of_folder(pictures)
    for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
        (pictures / old).rename(pictures / new)
    assert digests.of_folder(pictures) != before


def test_two_folders_with_the_same_names_and_status_differ(
    digests: Digests, tmp_path: Path
) -> None:
    results = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    for name in ("one", "two"):  # times may be equal, so leave them out
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "pipeline.engine.digests._FIELDS", ("st_mode", "st_size", "st_nlink", "st_uid")
            )
            results.append(digests.of_folder(tmp_path / name))
    assert results[0] != results[1]


def test_a_file_dated_far_in_the_future_and_a_pipe(digests: Digests, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/a").write_text("a")
    os.utime(tmp_path / "far/a", ns=(0, 2**33 * 10**9))
    assert digests.of_folder(tmp_path / "far").startswith("1 files")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="no regular file"):
        digests.of(tmp_path / "pipe")


def test_a_forgotten_digest_is_computed_again(digests: Digests, tmp_path: Path) -> None:
    """A disk may flip a bit of a file without a change in the file's status."""
    path = tmp_path / "a"
    path.write_bytes(b"content")
    first = digests.of(path)
    key = os.stat(path)
    digests._keep("update digests set sha256='rotten' where inode=?", [(key.st_ino,)])
    assert digests.of(path) == "rotten"
    digests.forget(path)
    assert digests.of(path) == first


def test_digests_work_without_permission_to_store_them(
    digests: Digests, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a").write_bytes(b"content")
    digests._memo._connection.execute("pragma query_only=1")  # as on a read-only disk
    assert digests.of(tmp_path / "a") == hashlib.sha256(b"content").hexdigest()
    assert "new values are not stored" in caplog.text


def test_changes_are_described() -> None:
    before = {
        "version": 1,
        "settings": {"learning_rate": 3e-05, "seed": 1},
        "sources": {"a": "sha256 1", "b": "sha256 2"},
        "requires": {"ReadPosts": "x"},
    }
    after = {
        "version": 2,
        "settings": {"learning_rate": 1e-05, "seed": 1},
        "sources": {"a": "sha256 1", "c": "sha256 3"},
        "requires": {"ReadPosts": "y"},
    }
    assert changes(before, after) == [
        "version 1 → 2",
        "learning_rate 3e-05 → 1e-05",
        "b is gone (was sha256 2)",
        "c is new (sha256 3)",
        "ReadPosts changed",
    ]
