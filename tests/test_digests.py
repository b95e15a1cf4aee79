"""Digests, and the keys that are made of them."""

import hashlib
import os
from pathlib import Path

import pytest

from pipeline.digests import Digests
from pipeline.manage import changes


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


def test_changes_in_words() -> None:
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
