"""Extraction: rows equal torchvision's forward, are computed once, and problems are reported."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from bench.end_to_end import PREPARE
from features.backbone import load_backbone
from features.grounding import Region
from features.pyramid import pool
from features.reader import Reader
from features.store import Shard, Store, StoreError
from pipeline.errors import DataError, DeviceError, SpaceError
from pipeline.extraction import extract as extraction
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.extract import Extraction, extract
from pipeline.extraction.rows import RowSource, rows_folder, sources_of
from pipeline.grounding.crops import Grounded
from pipeline.machine import Machine, pick_device
from tests.features.test_pictures import drawn

CONFIG = ExtractConfig(backbone="resnet18", weights="random")
BOX = (10.0, 20.0, 90.0, 110.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with three pictures."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 150, 200, 3), np.uint8)
    for n, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"{n}.png")
    return tmp_path


def post(picture: str | None, *regions: Region) -> Grounded:
    return Grounded("id", "train", ("a",), picture, None, (), regions)


def box_region(box: tuple[float, float, float, float] = BOX) -> Region:
    return Region(None, box, 0.5, None, "salience")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(root: Path, posts: list[Grounded], config: ExtractConfig = CONFIG, batch: int = 2) -> dict:
    """Extract into root/rows and root/out. Returns the report."""
    out = root / "out"
    out.mkdir(exist_ok=True)
    machine = Machine("cpu", batch_size=batch, threads=2)
    extract(posts, Extraction(root, 4, digest, root / "rows", "random", config, machine), out)
    report: dict = json.loads((out / "report.json").read_text())
    return report


def rows(root: Path) -> np.ndarray:
    """Read the indexed rows, (posts, slots, ΣC, h, w); zero if there is no region."""
    index = np.load(root / "out/index.npy")
    about = json.loads((root / "out/pyramids.json").read_text())
    reader = Reader(root / "rows", about["shards"])
    values = np.zeros((*index.shape[:2], *reader.row_shape), np.float16)
    there = index[..., 0] >= 0
    values[there] = reader.read(reader.places(index[there]))
    return values


def test_row_of_absent_regions_is_stored_once_and_comes_from_zeros(root: Path) -> None:
    run(root, [post("0.png")])
    run(root, [post("0.png"), post("1.png")])
    files = [Shard(file) for file in (root / "rows").glob("*.h5")]
    assert sum(len(shard.keys) for shard in files) == 3
    about = json.loads((root / "out/pyramids.json").read_text())
    reader = Reader(root / "rows", about["shards"])
    kept = reader.read(reader.places(np.array([about["absent"]])))
    with torch.no_grad():
        zeros = load_backbone("resnet18", "random", 0)(torch.zeros(1, 3, 224, 224))
    expected = pool(zeros, 2, "floor").numpy()
    np.testing.assert_allclose(kept.astype(np.float32), expected, atol=2e-3, rtol=2e-3)
    assert kept.any()


def test_rows_are_those_of_torchvisions_own_forward(root: Path) -> None:
    run(root, [post("0.png", box_region())])
    backbone = load_backbone("resnet18", "random", 0)
    resnet = models.resnet18()
    resnet.load_state_dict(backbone.state_dict(), strict=False)
    resnet.eval()
    maps = []
    for layer in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4):
        layer.register_forward_hook(lambda *args: maps.append(args[2]))
    picture = Image.open(root / "0.png")
    for slot, image in enumerate((picture, picture.crop((10, 20, 90, 110)))):
        maps.clear()
        with torch.no_grad():
            resnet(PREPARE(image)[None])
        expected = torch.cat(
            [torch.nn.functional.avg_pool2d(m, m.shape[-1] // 2)[..., :2, :2] for m in maps], 1
        )
        actual = torch.from_numpy(rows(root)[0, slot]).float()
        torch.testing.assert_close(actual, expected[0], atol=2e-3, rtol=1e-3)


def test_same_picture_is_computed_once_and_shared(root: Path) -> None:
    report = run(root, [post("0.png"), post("0.png", box_region()), post("1.png", box_region())])
    assert (report["rows_computed"], report["pictures_computed"]) == (4, 2)
    index = np.load(root / "out/index.npy")
    assert index[0, 0].tolist() == index[1, 0].tolist()
    assert (index[0, 1:] == -1).all()
    assert run(root, [post("1.png")])["rows_computed"] == 0


def test_files_of_the_same_bytes_are_one_row(root: Path) -> None:
    (root / "copy.png").write_bytes((root / "0.png").read_bytes())
    report = run(root, [post("0.png"), post("copy.png")])
    assert report["rows"] == 1
    index = np.load(root / "out/index.npy")
    assert index[0].tolist() == index[1].tolist()


def test_no_readable_picture_is_an_error(root: Path) -> None:
    (root / "0.png").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(DataError, match="expected pictures that are readable, found none of 1"):
        run(root, [post("0.png")])


def test_crop_files_do_not_count_as_pictures_in_the_report(root: Path) -> None:
    crop = Region(None, None, None, "2.png", "released")
    report = run(root, [post("0.png", crop)])
    assert (report["pictures"], report["rows"]) == (1, 2)


def test_batches_do_not_change_rows(root: Path) -> None:
    posts = [post("0.png", box_region()), post("1.png", box_region((0, 0, 50, 50)))]
    run(root, posts, batch=1)
    alone = rows(root)
    for shard in (root / "rows").iterdir():
        shard.unlink()
    run(root, posts, batch=4)
    np.testing.assert_allclose(rows(root), alone, atol=2e-3)


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "resnet34"},
        {"seed": 1},
        {"grid": 3},
        {"pooling": "adaptive"},
        {"precision": "bfloat16"},
    ],
)
def test_what_changes_rows_changes_their_folder(change: dict) -> None:
    assert rows_folder(replace(CONFIG, **change), "w") != rows_folder(CONFIG, "w")


def test_weights_change_the_rows_folder() -> None:
    config = replace(CONFIG, weights="a.pth")
    assert rows_folder(config, "sha256 1") != rows_folder(config, "sha256 2")
    assert rows_folder(replace(config, seed=5), "sha256 1") == rows_folder(config, "sha256 1")


@pytest.mark.parametrize("change", [{"resize": "stretch"}, {"size": 64}])
def test_preparation_is_in_the_rows_key(root: Path, change: dict) -> None:
    run(root, [post("0.png")])
    assert run(root, [post("0.png")], replace(CONFIG, **change))["rows_computed"] == 1


def test_a_folder_in_a_pictures_place_is_named(root: Path) -> None:
    (root / "folder.png").mkdir()
    report = run(root, [post("folder.png"), post("0.png")])
    assert report["problems"] == {"folder.png": "missing: a folder in a picture's place"}


def test_missing_broken_and_impossible_are_counted_and_left_out(root: Path) -> None:
    (root / "broken.png").write_bytes(b"\x89PNG broken")
    outside = box_region((500.0, 500.0, 600.0, 600.0))
    posts = [
        post("gone.png"),
        post("broken.png"),
        post("0.png"),
        post("1.png", outside),
        post(None),
    ]
    report = run(root, posts)
    assert report["problems"]["gone.png"] == "missing"
    assert report["problems"]["broken.png"].startswith("broken: not a picture")
    assert report["problems"]["1.png"].startswith("crop: ")
    present = np.load(root / "out/index.npy")[..., 0] >= 0
    assert present[:, 0].tolist() == [False, False, True, True, False]
    assert not present[:, 1].any()


def test_crop_files_are_rows_of_their_own(root: Path) -> None:
    crop = Region(None, None, None, "2.png", "released")
    assert sources_of(post("0.png", crop), root, 3) == [
        RowSource(root / "0.png", None),
        RowSource(root / "2.png", None),
        None,
    ]


def test_only_the_shard_with_a_flipped_byte_is_made_again(root: Path) -> None:
    run(root, [post("0.png")])
    run(root, [post("0.png"), post("1.png")])
    first, second = sorted((root / "rows").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    untouched = second.stat().st_mtime_ns
    content = bytearray(first.read_bytes())
    content[5000] ^= 16
    first.write_bytes(content)
    assert run(root, [post("0.png"), post("1.png")])["rows_computed"] == 1
    assert second.stat().st_mtime_ns == untouched
    assert len(Store(root / "rows")) == 3  # two pictures, and the row of absent regions


def test_a_resumed_run_makes_the_same_rows(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are equal bit by bit, though batches of three would cross the shards of four."""
    monkeypatch.setattr(extraction, "SHARD_ROWS", 4)
    boxes = [box_region((0, 0, side, side)) for side in (40.0, 60.0, 80.0)]
    posts = [post(f"{n}.png", *boxes) for n in range(3)]
    run(root, posts, batch=3)
    whole = rows(root)
    written = sorted((root / "rows").iterdir(), key=lambda file: file.stat().st_mtime_ns)
    assert len(written) == 4
    for file in written[1:]:
        file.unlink()
    (root / "rows" / ".left.h5.123.tmp").touch()
    assert run(root, posts, batch=3)["rows_computed"] == 9
    assert (rows(root) == whole).all()
    assert sorted((root / "rows").iterdir()) == sorted(written)


def test_rows_are_checked_when_they_are_written(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the disk alters rows once, a warning is logged; if it always does, it is an error."""
    write, times = Store.write, [0, 1]

    def altered(store: Store, keys: list[bytes], values: np.ndarray) -> str:
        name = write(store, keys, values)
        if times.pop(0) == 0:
            content = bytearray((store.folder / name).read_bytes())
            content[5000] ^= 16
            (store.folder / name).write_bytes(content)
        return name

    monkeypatch.setattr(Store, "write", altered)
    assert run(root, [post("0.png")])["rows_computed"] == 1
    assert "computing a damaged shard again" in caplog.text
    assert rows(root).any()
    times[:] = [0, 0, 0]
    with pytest.raises(StoreError, match="is the disk failing"):
        run(root, [post("1.png")])


@pytest.mark.parametrize("altered", [True, False])
def test_a_picture_that_changes_during_the_run_gives_no_row(altered: bool, root: Path) -> None:
    """Its row would have the key of the old picture. A rewrite with the same bytes is allowed."""

    def changed_after(path: Path) -> str:
        before = digest(path)
        if path.name == "0.png":
            path.write_bytes((root / ("2.png" if altered else "0.png")).read_bytes())
        return before

    out = root / "out"
    out.mkdir()
    posts = [post("0.png"), post("1.png")]
    machine = Machine("cpu", batch_size=2, threads=2)
    run = Extraction(root, 4, changed_after, root / "rows", "random", CONFIG, machine)
    if altered:
        with pytest.raises(DataError, match=r"0\.png: changed during this run"):
            extract(posts, run, out)
    else:
        extract(posts, run, out)
        assert json.loads((out / "report.json").read_text())["rows_computed"] == 2


def test_a_link_that_leads_out_gives_no_row(root: Path) -> None:
    outside = root.parent / f"{root.name}-private.png"
    (root / "0.png").replace(outside)
    (root / "0.png").symlink_to(outside)
    report = run(root, [post("0.png"), post("1.png")])
    assert report["problems"]["0.png"].startswith("outside: a link")
    assert report["rows"] == 1


def test_disk_space_is_checked_before_anything_is_computed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.extraction.compute.load_backbone", None)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(SpaceError, match=r"needs about 2\.0 MB in .*rows, found 1\.0 MB free"):
        run(root, [post("0.png")])


def test_no_picture_at_all_is_an_error(root: Path) -> None:
    with pytest.raises(DataError, match=r"found none of 1.*gone\.png.*text-only"):
        run(root, [post("gone.png")])


def test_missing_gpu_is_one_line() -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    with pytest.raises(DeviceError, match="finds no GPU"):
        pick_device("cuda")
    assert pick_device("auto") == "cpu"


def test_a_picture_that_is_cut_off_gives_a_row_and_is_named(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drawn(320, 200).save(root / "cut.jpg")
    data = (root / "cut.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(data[: -len(data) // 33])
    report = run(root, [post("cut.jpg"), post("0.png")])
    assert report["rows_computed"] == 2
    assert report["problems"] == {}
    assert report["filled_now"] == {"cut.jpg": "3 % of its data is missing"}
    assert "cut.jpg (3 % of its data is missing)" in caplog.text
