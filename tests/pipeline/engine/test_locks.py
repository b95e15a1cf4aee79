"""Locks of the store: held, checked with read permission only, on a disk without locks."""

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.locks import check_ranges, in_use, locked
from pipeline.errors import LockError


def refusing(number: int) -> Any:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def as_on_nfs(descriptor: int, operation: int) -> None:
    """flock as on NFS, by fcntl locks: an exclusive lock needs a file open for writing."""
    fcntl.lockf(descriptor, operation)


def test_a_lock_is_in_use_only_while_it_is_held(tmp_path: Path) -> None:
    assert not in_use(tmp_path, "a")
    with locked(tmp_path, "a", "working"):
        assert in_use(tmp_path, "a")
        assert not in_use(tmp_path, "b")
    assert not in_use(tmp_path, "a")


@pytest.mark.parametrize("umask", [0o002, 0o022])
def test_a_lock_file_has_the_permissions_of_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with locked(tmp_path / "store", "a", "working"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "store/locks/a").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "store/locks").stat().st_mode) == 0o777 & ~umask


def test_in_use_works_with_read_permission_on_nfs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path, "a", "working"):
        pass
    monkeypatch.setattr(fcntl, "flock", as_on_nfs)
    assert not in_use(tmp_path, "a")
    with locked(tmp_path, "a", "working"):
        pass


@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL"])
def test_a_disk_without_locks_is_a_one_line_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(getattr(errno, name)))
    with (
        pytest.raises(LockError, match=r"locks/a: cannot be locked \(flock: .*--paths-store"),
        locked(tmp_path, "a", "working"),
    ):
        pytest.fail("not locked")
    assert list((tmp_path / "locks").iterdir()) == []
    (tmp_path / "locks/a").touch()
    with pytest.raises(LockError, match="locks/a: cannot be locked"):
        in_use(tmp_path, "a")


def test_a_temporary_error_does_not_mean_a_disk_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ESTALE))
    with (
        pytest.raises(OSError, match="locks/a") as caught,
        locked(tmp_path, "a", "working"),
    ):
        pytest.fail("not locked")
    assert caught.value.errno == errno.ESTALE
    assert (tmp_path / "locks/a").exists()


def test_sqlite_s_locks_are_checked_before_sqlite_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "a").open("w+") as file:
        check_ranges(file.fileno(), tmp_path / "a")
        monkeypatch.setattr(fcntl, "lockf", refusing(errno.EAGAIN))  # another process is writing
        check_ranges(file.fileno(), tmp_path / "a")
        monkeypatch.setattr(fcntl, "lockf", refusing(errno.ENOLCK))
        with pytest.raises(LockError, match=r"cannot be locked \(fcntl: "):
            check_ranges(file.fileno(), tmp_path / "a")


def test_a_lock_is_seen_by_another_process(tmp_path: Path) -> None:
    with locked(tmp_path, "a", "working"):
        child = os.fork()
        if child == 0:
            os._exit(0 if in_use(tmp_path, "a") else 1)
        assert os.waitpid(child, 0)[1] == 0
