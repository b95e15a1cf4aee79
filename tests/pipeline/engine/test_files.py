"""Files of the store: their permissions."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipeline.engine.files import settle
from tests.members import having, lacking


@pytest.fixture(params=[0o002, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_of_libraries_get_the_permissions_of_the_umask(umask: int, tmp_path: Path) -> None:
    folder = tmp_path / "output"
    (folder / "model").mkdir(parents=True)
    save_file({"a": torch.zeros(2)}, folder / "model" / "model.safetensors")
    (folder / "closed").mkdir(mode=0o700)
    settle(folder)
    assert lacking(folder, files=0o666 & ~umask, folders=0o777 & ~umask) == []
    assert having(folder, umask) == []
    file = folder / "model" / "model.safetensors"
    assert not file.stat().st_mode & 0o111


def test_a_folder_keeps_its_setgid_bit(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    (folder / "inner").mkdir(parents=True)
    folder.chmod(0o775)
    (folder / "inner").chmod(0o2700)
    settle(folder)
    assert stat.S_IMODE((folder / "inner").stat().st_mode) == 0o2775
