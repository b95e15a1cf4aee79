"""Rows from pixels, without a store: a row does not depend on the rest of its batch."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from features.pictures import normalise, read_picture
from pipeline.extraction import compute as compute_module
from pipeline.extraction.compute import RowComputer, Wanted
from pipeline.extraction.config import ExtractConfig
from pipeline.machine import Machine

CONFIG = ExtractConfig(backbone="resnet18", weights="random", size=64)
BOX = (10.0, 20.0, 90.0, 110.0)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    noise = np.random.default_rng(0).integers(0, 256, (3, 150, 200, 3), np.uint8)
    files = [tmp_path / f"{n}.png" for n in range(3)]
    for file, pixels in zip(files, noise, strict=True):
        Image.fromarray(pixels).save(file)
    return files


def compute(
    wanted: Iterable[Wanted], problems: dict[Path, str] | None = None, batch: int = 8
) -> dict[bytes, np.ndarray]:
    computer = RowComputer(CONFIG, Machine("cpu", batch_size=batch, threads=2))
    batches = computer.rows(wanted, {} if problems is None else problems, {})
    return {key: row for keys, rows in batches for key, row in zip(keys, rows, strict=True)}


def test_a_row_alone_is_the_row_in_a_batch(pictures: list[Path]) -> None:
    wanted = [
        Wanted(file, {bytes([n]): None, bytes([n, 1]): BOX}) for n, file in enumerate(pictures)
    ]
    together = compute(wanted)
    assert list(together) == [key for picture in wanted for key in picture.boxes]
    assert together[b"\0"].shape == (64 + 128 + 256 + 512, 2, 2)
    assert together[b"\0"].dtype == np.float16
    for picture in wanted:
        for key, row in compute([picture], batch=1).items():
            np.testing.assert_allclose(row, together[key], atol=2e-3, rtol=2e-3)


def test_an_unusable_picture_or_box_loses_only_its_own_rows(
    pictures: list[Path], tmp_path: Path
) -> None:
    pictures[1].write_bytes(b"no picture")
    far = (500.0, 500.0, 600.0, 600.0)
    problems: dict[Path, str] = {}
    rows = compute(
        [
            Wanted(pictures[0], {b"whole": None, b"far": far}),
            Wanted(pictures[1], {b"broken": None}),
            Wanted(tmp_path / "gone.png", {b"gone": None}),
            Wanted(pictures[2], {b"good": None}),
        ],
        problems,
    )
    assert list(rows) == [b"whole", b"good"]
    assert problems.keys() == {pictures[0], pictures[1], tmp_path / "gone.png"}
    assert problems[pictures[0]].startswith("crop: ")
    assert problems[pictures[1]].startswith("broken: ")
    assert problems[tmp_path / "gone.png"].startswith("missing")


def test_an_all_zero_input_is_not_a_black_picture(pictures: list[Path]) -> None:
    Image.new("RGB", (64, 64)).save(pictures[0])
    rows = compute([Wanted(None, {b"absent": None}), Wanted(pictures[0], {b"black": None})])
    assert list(rows) == [b"absent", b"black"]
    assert np.abs(rows[b"absent"].astype(float) - rows[b"black"]).max() > 0.01


def test_no_batch_crosses_a_span(pictures: list[Path]) -> None:
    computer = RowComputer(CONFIG, Machine("cpu", batch_size=2, threads=1))
    wanted = [
        Wanted(file, {bytes([n]): None, bytes([n, 1]): BOX}) for n, file in enumerate(pictures)
    ]
    sizes = [len(keys) for keys, _ in computer.rows(wanted, {}, {}, span=3)]
    assert sizes == [2, 1, 2, 1]
    assert [len(keys) for keys, _ in computer.rows(wanted, {}, {})] == [2, 2, 2]


def test_batches_side_by_side_keep_their_order(pictures: list[Path]) -> None:
    boxes = {bytes([n]): (n, 0.0, n + 90.0, 110.0) for n in range(15)}
    rows = compute([Wanted(pictures[0], dict(boxes))], batch=2)
    assert list(rows) == list(boxes)
    (row,) = compute([Wanted(pictures[0], {b"\7": boxes[b"\7"]})]).values()
    np.testing.assert_allclose(row, rows[b"\7"], atol=2e-3, rtol=2e-3)


def test_each_batch_has_a_core_and_other_threads_have_all(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def seen_normalise(squares: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return normalise(squares)

    monkeypatch.setattr(compute_module, "normalise", seen_normalise)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    boxes = {bytes([n]): (n, 0.0, n + 90.0, 110.0) for n in range(20)}
    computer = RowComputer(CONFIG, Machine("cpu", batch_size=2, threads=1))
    try:
        for _ in computer.rows([Wanted(pictures[0], dict(boxes))], {}, {}):
            with ThreadPoolExecutor(1) as executor:
                assert executor.submit(torch.get_num_threads).result() == 3
        assert torch.get_num_threads() == 3
        assert seen == [1] * 10
        list(computer.rows([Wanted(pictures[0], {b"alone": None})], {}, {}))
        assert seen[10:] == [3]
    finally:
        torch.set_num_threads(before)


def test_small_batches_of_pictures_that_are_not_files(pictures: list[Path]) -> None:
    contents = {Path(f"post {n}"): file.read_bytes() for n, file in enumerate(pictures)}
    computer = RowComputer(CONFIG, Machine("cpu", threads=2))
    rows: dict[bytes, np.ndarray] = {}
    problems: dict[Path, str] = {}
    for n, name in enumerate([*contents, Path("bad")]):
        wanted = [Wanted(name, {bytes([n]): None, bytes([n, 1]): BOX})]
        batches = computer.rows(
            wanted, problems, {}, lambda path: read_picture(contents.get(path, b"bad"))
        )
        rows |= {
            key: row for keys, values in batches for key, row in zip(keys, values, strict=True)
        }
    files = [Wanted(f, {bytes([n]): None, bytes([n, 1]): BOX}) for n, f in enumerate(pictures)]
    expected = compute(files)
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        np.testing.assert_allclose(row, expected[key], atol=2e-3, rtol=2e-3)
    assert problems == {Path("bad"): "broken: a text file in a picture's place"}
